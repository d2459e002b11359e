"""What both clients do alike: each test runs with RunTools and with AsyncRunTools."""

import asyncio
import concurrent.futures
import gc
import inspect
import json
import os
import pathlib
import pickle
import socket
import subprocess
import sys
import threading
import time
import unittest
import warnings
from email.utils import formatdate
from unittest import mock

import runtools
from runtools import AsyncRunTools, File, RunTools, RunToolsConnectionError, RunToolsError, RunToolsTimeoutError
from runtools.result import decode_result

from .fake import HANG, HANG_UP, PRINTED_42, WAIT, Fake, answer, refusal

HELLO = ("python", "print(42)")


class Sync:
    def client(self, **options):
        client = RunTools("key", self.fake.url, **options)
        self.addCleanup(client.close)
        return client

    def run_call(self, call):
        return call


class Async:
    def setUp(self):
        super().setUp()
        self.loop = asyncio.new_event_loop()
        self.loop.set_exception_handler(lambda loop, context: self.leaks.append(context))
        self.addCleanup(self.loop.close)
        self.addCleanup(lambda: self.run_call(self.loop.shutdown_asyncgens()))  # as asyncio.run does

    def client(self, **options):
        client = AsyncRunTools("key", self.fake.url, **options)
        self.addCleanup(lambda: self.loop.run_until_complete(client.close()))
        return client

    def run_call(self, call):
        return self.loop.run_until_complete(call)


class Calls:
    def setUp(self):
        """A test fails that leaves a socket, a transport or a task behind, though Python only prints so while it collects garbage."""
        warned = warnings.catch_warnings(record=True)
        self.leaks = warned.__enter__()
        self.addCleanup(self.check_leaks, warned)
        warnings.simplefilter("ignore")
        warnings.simplefilter("always", ResourceWarning)
        self.addCleanup(gc.collect)

    def check_leaks(self, warned):
        warned.__exit__(None, None, None)
        self.assertEqual([str(getattr(leak, "message", leak)) for leak in self.leaks], [])

    def serve(self, *answers, **options):
        self.fake = Fake(*answers)
        self.addCleanup(self.fake.close)
        self.rt = self.client(**options)

    def execute(self, *args, **options):
        return self.run_call(self.rt.execute(*(args or HELLO), **options))

    def failure(self, *args, **options):
        with self.assertRaises(RunToolsError) as caught:
            self.execute(*args, **options)
        return caught.exception


class Scenarios(Calls):
    def test_request(self):
        self.serve(answer(PRINTED_42))
        result = self.execute(
            "c",
            "<&>é\ud800",
            version="13",
            files=[File("a.h", "x"), File("b", b"\xff")],
            stdin=b"\0\xff",
            args=("1",),
            env={"A": "b"},
            session_id="s",
            explain=True,
            artifacts=("*.png", "out/**"),
            repeat=3,
            run_timeout=1,
            compile_timeout=2,
            run_cpu_time=3,
            compile_cpu_time=4,
            run_memory_limit=5,
            compile_memory_limit=6,
            output_limit=7,
            request_id="mine",
        )
        self.assertEqual(result, decode_result(PRINTED_42))
        self.assertEqual(result.raw, PRINTED_42)
        (request,) = self.fake.requests
        self.assertEqual(
            request.body,
            {
                "language": "c",
                "code": "<&>é\ud800",
                "version": "13",
                "files": [{"name": "a.h", "content": "x"}, {"name": "b", "content": "/w==", "encoding": "base64"}],
                "stdin": "AP8=",
                "stdin_encoding": "base64",
                "args": ["1"],
                "env": {"A": "b"},
                "session_id": "s",
                "explain": True,
                "artifacts": ["*.png", "out/**"],
                "repeat": 3,
                "run_timeout": 1,
                "compile_timeout": 2,
                "run_cpu_time": 3,
                "compile_cpu_time": 4,
                "run_memory_limit": 5,
                "compile_memory_limit": 6,
                "output_limit": 7,
            },
        )
        self.assertEqual((request.method, request.path), ("POST", "/v1/execute"))
        want = {"Authorization": "Bearer key", "Content-Type": "application/json", "X-Request-Id": "mine"}
        want["User-Agent"] = "runtools-python/" + runtools.__version__
        self.assertEqual({name: request.headers[name] for name in want}, want)

    def test_files_by_name(self):
        self.serve(answer(PRINTED_42))
        self.execute("python", files={"main.py": "1", "data": b"\xff"}, ephemeral=True)
        files = [{"name": "main.py", "content": "1"}, {"name": "data", "content": "/w==", "encoding": "base64"}]
        self.assertEqual(self.fake.requests[0].body, {"language": "python", "files": files, "ephemeral": True})

    def test_arguments_that_cannot_be_meant(self):
        self.serve(answer(PRINTED_42))
        with self.assertRaisesRegex(TypeError, "want a list"):
            self.execute(args="one two")
        with self.assertRaisesRegex(TypeError, "artifacts: want a list"):
            self.execute(artifacts="*.png")
        with self.assertRaisesRegex(ValueError, "request_id"):
            self.execute(request_id="a\r\nX: y")
        self.assertEqual(self.fake.requests, [])

    def test_connections_are_used_again(self):
        for reply in (answer(PRINTED_42), answer(PRINTED_42, Transfer_Encoding="chunked")):
            self.serve(reply)
            for _ in range(3):
                self.assertEqual(self.execute().run.stdout, "42\n")
            self.assertEqual(len({request.port for request in self.fake.requests}), 1)

    def test_answers_that_end_their_connection(self):
        length = str(len(json.dumps(PRINTED_42)))
        for reply in (answer(PRINTED_42, Connection="close"), answer(PRINTED_42, Connection="close", Content_Length=length)):
            self.serve(reply)
            for _ in range(2):
                self.assertEqual(self.execute().run.stdout, "42\n")
            self.assertEqual(len({request.port for request in self.fake.requests}), 2)

    def test_a_kept_connection_that_the_server_closed_is_not_used(self):
        self.serve(answer(PRINTED_42, Content_Length=str(len(json.dumps(PRINTED_42)))))  # with it the fake closes, and does not say so
        for n in range(1, 4):
            self.execute()
            self.fake.wait_for(n, "closed")
            if hasattr(self, "loop"):
                self.run_call(asyncio.sleep(0.05))  # it hears of the end

    def test_an_answer_cut_short(self):
        self.serve(answer(b'{"language"', Content_Length="1000"))
        error = self.failure()
        self.assertIsInstance(error, RunToolsConnectionError)
        self.assertTrue(error.may_have_run)

    def test_refusals(self):
        for reply, want in (
            (
                refusal(400, "invalid_field", field="run_timeout"),
                dict(code="invalid_field", status=400, field="run_timeout", request_id="r-1", may_have_run=False),
            ),
            (refusal(429, "rate_limited", Retry_After="7"), dict(code="rate_limited", retry_after=7.0, may_have_run=False)),
            (refusal(503, "overloaded"), dict(code="overloaded", retry_after=None, may_have_run=False)),
            (refusal(503, "interrupted"), dict(code="interrupted", may_have_run=True)),
            (refusal(500, "internal"), dict(code="internal", may_have_run=True)),
            (refusal(418, "new_code"), dict(code="new_code", may_have_run=False)),
            (answer(b"<html>Bad gateway", 502), dict(code="unexpected_answer", status=502, may_have_run=True)),
            (answer(b"<html>" + b"x" * 5000), dict(code="unexpected_answer", status=200, may_have_run=True)),
            (answer({}, 404), dict(code="unexpected_answer", status=404, may_have_run=False)),
            (answer(b"", 301, Location="https://h/"), dict(code="unexpected_answer", status=301, may_have_run=False)),
        ):
            with self.subTest(want):
                self.serve(reply, max_retries=0)
                error = self.failure()
                self.assertIs(type(error), RunToolsError)
                self.assertEqual({name: getattr(error, name) for name in want}, want)
                self.assertLess(len(str(error)), 500)
                if want["code"] == "unexpected_answer":
                    self.assertIn("check base_url", str(error))
        self.assertIn("redirect to https://h/", str(error))

    def test_message(self):
        self.serve(refusal(400, "invalid_field", field="run_timeout"))
        self.assertEqual(str(self.failure()), "this is invalid_field (invalid_field, request r-1)")

    def test_what_has_not_run_is_sent_again(self):
        self.serve(
            refusal(429, "rate_limited", Retry_After="1"),
            refusal(503, "overloaded", Retry_After=formatdate(time.time() - 10, usegmt=True)),
            answer(PRINTED_42),
        )
        began = time.monotonic()
        self.assertEqual(self.execute(request_id="same").run.stdout, "42\n")
        self.assertGreaterEqual(time.monotonic() - began, 1 + 1, "the time that Retry-After names, and the second wait")
        self.assertEqual([request.headers["X-Request-Id"] for request in self.fake.requests], ["same"] * 3)
        self.assertEqual(len({str(request.body) for request in self.fake.requests}), 1)

    def test_retries_come_to_an_end(self):
        self.serve(refusal(503, "overloaded"))
        self.assertEqual(self.failure(max_retries=1).code, "overloaded")
        self.assertEqual(len(self.fake.requests), 2)
        self.serve(refusal(503, "overloaded", Retry_After="60"))
        self.assertEqual(self.failure(timeout=50).code, "overloaded", "the first wait would be longer than the timeout")
        self.assertEqual(len(self.fake.requests), 1)

    def test_what_may_have_run_or_will_not_pass_is_not_sent_again(self):
        for reply in (
            refusal(503, "interrupted"),
            refusal(500, "internal"),
            answer(b"a proxy's", 503),
            answer(b"", 504),
            HANG_UP,
            refusal(400, "invalid_field"),
            refusal(503, "overloaded", Retry_After="61"),
        ):
            with self.subTest(reply):
                self.serve(reply)
                self.failure()
                self.assertEqual(len(self.fake.requests), 1)

    def test_what_may_be_done_twice_is_sent_again_after_a_lost_connection(self):
        row = {"language": "c", "version": "13", "aliases": ["gcc"], "compiled": True, "new": 1}
        self.serve(HANG_UP, answer(b"", 502), answer([row]))
        (runtime,) = self.run_call(self.rt.runtimes())
        self.assertEqual(runtime, runtools.Runtime("c", "13", ["gcc"], True))
        self.assertEqual(len(self.fake.requests), 3)

    def test_a_lost_connection(self):
        self.serve(HANG_UP)
        error = self.failure()
        self.assertIsInstance(error, RunToolsConnectionError)
        self.assertIsInstance(error, ConnectionError)
        self.assertEqual((error.code, error.may_have_run), ("connection_failed", True))

    def test_no_server(self):
        self.serve(answer(PRINTED_42), max_retries=1)
        self.fake.close()
        error = self.failure()
        self.assertEqual((error.code, error.may_have_run), ("connection_failed", False))
        self.assertRegex(str(error), r"^cannot reach http://127.0.0.1:\d+: .*RUNTOOLS_URL")

    def test_a_server_that_comes_up_is_found_by_a_retry(self):
        with socket.create_server(("127.0.0.1", 0)) as taken:
            address = taken.getsockname()
        self.fake = mock.Mock(url="http://127.0.0.1:%d" % address[1])
        self.rt = self.client()

        def serve():
            with socket.create_server(address) as server:
                connection, _ = server.accept()
                connection.recv(1 << 16)
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n[]")
                connection.close()

        later = threading.Timer(0.2, serve)
        later.start()
        self.addCleanup(later.join)
        self.assertEqual(self.run_call(self.rt.runtimes()), [])

    def test_a_timeout_hangs_up(self):
        self.serve(WAIT)
        error = self.failure(timeout=1.5)
        self.assertIsInstance(error, RunToolsTimeoutError)
        self.assertIsInstance(error, TimeoutError)
        self.assertEqual((error.code, error.may_have_run), ("timeout", True))
        self.assertIn("1.5 s", str(error))
        self.fake.wait_for(1)
        self.assertTrue(self.fake.requests[0].hung_up.wait(HANG))

    def test_a_timeout_of_the_client_and_none(self):
        self.serve(WAIT, timeout=0.1)
        self.assertEqual(self.failure().code, "timeout")
        self.serve(answer(PRINTED_42), timeout=None)
        self.assertEqual(self.execute().run.code, 0)

    def test_a_closed_client(self):
        self.serve(answer(PRINTED_42))
        self.execute()
        closing = self.rt.close()
        if inspect.isawaitable(closing):
            self.run_call(closing)
        with self.assertRaisesRegex(RuntimeError, "closed"):
            self.execute()

    def test_a_client_that_is_dropped_closes_its_connections(self):
        self.serve(answer(PRINTED_42))
        client = type(self.rt)("key", self.fake.url)
        self.run_call(client.execute(*HELLO))
        del client
        gc.collect()
        if hasattr(self, "loop"):
            self.run_call(asyncio.sleep(0.05))
        self.fake.wait_for(1, "closed")

    def test_session(self):
        self.serve(answer(PRINTED_42), answer(PRINTED_42), answer(b"", 204), refusal(404, "not_found"), refusal(401, "unauthorized"))
        session = self.rt.session()
        self.assertIsNone(session.id)
        self.assertFalse(self.run_call(session.delete()), "there is nothing yet")
        self.run_call(session.execute("bash", "1"))
        self.assertEqual(session.id, "s-1")
        self.run_call(session.execute("bash", "2", run_timeout=5))
        self.assertTrue(self.run_call(session.delete()))
        self.assertFalse(self.run_call(self.rt.delete_session("a/b")))
        with self.assertRaises(RunToolsError) as caught:
            self.run_call(self.rt.delete_session("x"))
        self.assertEqual(caught.exception.code, "unauthorized")
        first, second, *deletes = self.fake.requests
        self.assertEqual(first.body, {"language": "bash", "code": "1"})
        self.assertEqual(second.body, {"language": "bash", "code": "2", "run_timeout": 5, "session_id": "s-1"})
        paths = [(request.method, request.path) for request in deletes]
        self.assertEqual(paths, [("DELETE", "/v1/sessions/s-1"), ("DELETE", "/v1/sessions/a%2Fb"), ("DELETE", "/v1/sessions/x")])
        for field in ({"session_id": "s"}, {"ephemeral": True}, {"repeat": 2}):
            with self.assertRaisesRegex(TypeError, "a session has its own"):
                self.run_call(session.execute("bash", "1", **field))

    def test_executions(self):
        pending = {"id": "e/1", "status": "pending", "created": "2026-01-02T03:04:05Z", "new": 1}
        ended = {**pending, "ended": "2026-01-02T03:04:06Z"}
        error = {"code": "internal", "message": "m", "field": "f", "request_id": "r"}
        self.serve(
            answer(pending, 202),
            answer(pending),
            HANG_UP,  # may be asked twice
            answer({**ended, "status": "done", "result": PRINTED_42}),
            answer({**ended, "status": "failed", "error": error, "webhook": {"status": "failed", "attempts": 6, "last_error": "status 500", "new": 1}}),
            answer(b"", 204),
            refusal(404, "not_found"),
            refusal(404, "not_found"),
            HANG_UP,
        )
        hook = runtools.Webhook("https://hooks.example.com/", "whsec_x")
        started = self.run_call(self.rt.start("bash", "sleep 9", run_timeout=5, webhook=hook, request_id="mine"))
        self.assertEqual(started, runtools.Execution("e/1", "pending", "2026-01-02T03:04:05Z"))
        self.assertEqual(self.run_call(self.rt.execution("e/1")), started)
        done = self.run_call(self.rt.execution("e/1", wait=1.5))
        self.assertEqual(done, runtools.Execution("e/1", "done", started.created, "2026-01-02T03:04:06Z", decode_result(PRINTED_42)))
        failed = self.run_call(self.rt.execution("e/1", wait=60))
        self.assertIsNone(failed.result)
        self.assertEqual(failed.webhook, runtools.WebhookState("failed", 6, "status 500"))
        self.assertEqual((str(failed.error), failed.error.code, failed.error.field, failed.error.request_id), ("m (internal, request r)", "internal", "f", "r"))
        self.assertTrue(self.run_call(self.rt.delete_execution("e/1")))
        self.assertFalse(self.run_call(self.rt.delete_execution("e/1")))
        with self.assertRaises(RunToolsError) as caught:
            self.run_call(self.rt.execution("e/1"))
        self.assertEqual(caught.exception.code, "not_found")
        with self.assertRaises(RunToolsConnectionError) as caught:  # and started once
            self.run_call(self.rt.start("bash", "1"))
        self.assertTrue(caught.exception.may_have_run)
        body = {"language": "bash", "code": "sleep 9", "run_timeout": 5}
        asked = [f"{request.method} {request.path}" for request in self.fake.requests]
        question = "GET /v1/executions/e%2F1?wait="
        delete = "DELETE /v1/executions/e%2F1"
        start = "POST /v1/executions"
        self.assertEqual(asked, [start, question + "0", question + "1.5", question + "1.5", question + "60", delete, delete, question + "0", start])
        self.assertEqual(self.fake.requests[0].body, {**body, "webhook": {"url": hook.url, "secret": hook.secret}})
        self.assertEqual(self.fake.requests[0].headers["X-Request-Id"], "mine")


class SyncTest(Sync, Scenarios, unittest.TestCase):
    def test_threads_share_a_client(self):
        self.serve(lambda request: answer({**PRINTED_42, "version": request.body["code"]}))

        def mine(i):
            return self.rt.execute("python", str(i)).version == str(i)

        with concurrent.futures.ThreadPoolExecutor(8) as threads:
            self.assertTrue(all(threads.map(mine, range(100))))
        self.assertLessEqual(len({request.port for request in self.fake.requests}), 8)

    def test_a_session_sends_one_request_at_a_time(self):
        running = []

        def one(request):
            running.append(1)
            time.sleep(0.02)
            self.assertEqual(len(running), 1)
            running.pop()
            return answer(PRINTED_42)

        self.serve(one)
        with self.rt.session("mine") as session:
            with concurrent.futures.ThreadPoolExecutor(4) as threads:
                list(threads.map(lambda code: session.execute("bash", code), "1234"))
        self.assertEqual([request.method for request in self.fake.requests], ["POST"] * 4 + ["DELETE"])

    def test_ctrl_c_hangs_up(self):
        self.serve(WAIT)
        with mock.patch("http.client.HTTPConnection.getresponse", side_effect=KeyboardInterrupt):
            with self.assertRaises(KeyboardInterrupt):
                self.execute()
        self.fake.wait_for(1)
        self.assertTrue(self.fake.requests[0].hung_up.wait(HANG))

    @unittest.skipUnless(hasattr(os, "fork"), "no fork")
    def test_a_fork_does_not_share_connections(self):
        self.serve(answer(PRINTED_42))
        self.execute()
        pid = os.fork()
        if pid == 0:
            status = 99
            try:
                self.execute()
                gc.collect()
                status = len(self.leaks)
            finally:
                os._exit(status)
        self.assertEqual(os.waitpid(pid, 0)[1], 0, "the child's failures or leaks")
        self.execute()
        mine, childs, mine_again = (request.port for request in self.fake.requests)
        self.assertEqual(mine, mine_again)
        self.assertNotEqual(mine, childs)


class AsyncTest(Async, Scenarios, unittest.TestCase):
    def test_cancelling_hangs_up(self):
        self.serve(WAIT)

        async def cancel():
            task = asyncio.ensure_future(self.rt.execute(*HELLO))
            await asyncio.get_running_loop().run_in_executor(None, self.fake.wait_for, 1)
            task.cancel()
            with self.assertRaises(asyncio.CancelledError):
                await task

        self.run_call(cancel())
        self.assertTrue(self.fake.requests[0].hung_up.wait(HANG))

    def test_many_at_a_time(self):
        together = threading.Barrier(40)

        def all_are_there(request):
            together.wait(HANG)
            return answer({**PRINTED_42, "version": request.body["code"]})

        self.serve(all_are_there)
        self.fake._server.request_queue_size = 40

        async def many():
            return await asyncio.gather(*(self.rt.execute("python", str(i)) for i in range(40)))

        self.assertEqual([result.version for result in self.run_call(many())], [str(i) for i in range(40)])

    def test_a_session_sends_in_the_order_of_the_calls(self):
        def slow(request):
            time.sleep(0.02)
            return answer(PRINTED_42)

        self.serve(slow)

        async def calls():
            async with self.rt.session() as session:
                await asyncio.gather(*(session.execute("bash", code) for code in "1234"))

        self.run_call(calls())
        posts = [request.body for request in self.fake.requests[:-1]]
        self.assertEqual([body["code"] for body in posts], list("1234"))
        self.assertEqual([body.get("session_id") for body in posts], [None, "s-1", "s-1", "s-1"])

    def test_one_event_loop_after_another(self):
        self.serve(answer(PRINTED_42))
        self.execute()
        self.run_call(self.rt._streams.close())
        self.rt = AsyncRunTools("key", self.fake.url)
        for _ in range(2):
            asyncio.run(self.in_own_loop())

    async def in_own_loop(self):
        self.assertEqual((await self.rt.execute(*HELLO)).run.code, 0)


class ResultTest(unittest.TestCase):
    def test_every_field(self):
        stage = {
            "stdout": "\ufffd",
            "stdout_base64": "/wA=",
            "stderr": "é",
            "code": None,
            "signal": "SIGKILL",
            "time_ms": 1.25,
            "cpu_time_ms": 0.5,
            "memory_kb": 1152,
            "status": "TO",
            "message": "m",
            "limit": {"name": "run_timeout", "limit": 1500, "used": 1501, "new": 1},
            "limits": [{"name": "stack", "set_by": None, "unit": "bytes", "limit": 8, "used": None, "peak": None, "fired": None, "new": 1}],
            "new": 1,
        }
        compiled = {**PRINTED_42["run"], "cached": True}
        result = decode_result({**PRINTED_42, "session_id": None, "session_created": True, "compile": compiled, "run": stage, "new": 1})
        self.assertEqual((result.session_id, result.session_created, result.compile.cached, result.run.cached), (None, True, True, False))
        run = result.run
        self.assertEqual((run.stdout_bytes, run.stderr_bytes), (b"\xff\0", "é".encode()))
        self.assertEqual((run.code, run.signal, run.time_ms, run.cpu_time_ms, run.memory_kb), (None, "SIGKILL", 1.25, 0.5, 1152))
        self.assertEqual((run.status, run.message, run.limit), ("TO", "m", runtools.LimitFired("run_timeout", 1500, 1501)))
        self.assertEqual(run.limits, [runtools.LimitUse("stack", "bytes", 8, None, None, None)])
        self.assertEqual(result.compile.limits, [])
        self.assertEqual((result.artifacts, result.artifacts_omitted, result.repeat, result.timing), ([], None, None, {}))

    def test_what_a_request_asked_for(self):
        spread = {"median": 2.5, "min": 1, "max": 9, "ci95": [1.5, 4], "new": 1}
        result = decode_result(
            {
                **PRINTED_42,
                "artifacts": [{"name": "a", "size": 2, "encoding": "base64", "content": "/wA=", "new": 1}],
                "artifacts_omitted": {"count": 1, "bytes": 7, "message": "m", "new": 1},
                "repeat": {
                    "runs": 3,
                    "wall_ms": spread,
                    "cpu_ms": spread,
                    "memory_kb": {**spread, "ci95": None},
                    "outputs_equal": True,
                    "quality": {"grade": "B", "reasons": ["load"], "new": 1},
                    "new": 1,
                },
                "timing": {"queue": 0.25, "run": 12},
            }
        )
        self.assertEqual(result.artifacts, [runtools.Artifact("a", b"\xff\0")])
        self.assertEqual(result.artifacts_omitted, runtools.ArtifactsOmitted(1, 7, "m"))
        wall = runtools.Spread(2.5, 1, 9, (1.5, 4))
        self.assertEqual(result.repeat, runtools.Repeat(3, wall, wall, runtools.Spread(2.5, 1, 9, None), True, "B", ["load"]))
        self.assertEqual(list(result.timing.items()), [("queue", 0.25), ("run", 12)])


class SettingsTest(unittest.TestCase):
    def test_arguments_then_environment_then_default(self):
        with mock.patch.dict(os.environ, {"RUNTOOLS_URL": "http://env:1/prefix/", "RUNTOOLS_API_KEY": "env"}):
            settings = RunTools()._settings
            self.assertEqual((settings.host, settings.port, settings.prefix, settings.api_key), ("env", 1, "/prefix", "env"))
            settings = AsyncRunTools("key", "https://[::1]")._settings
            self.assertEqual((settings.host, settings.port, settings.prefix, settings.api_key), ("::1", 443, "", "key"))
        with mock.patch.dict(os.environ, {"RUNTOOLS_URL": "", "RUNTOOLS_API_KEY": ""}):
            self.assertEqual(RunTools("key")._settings.base_url, "http://127.0.0.1:8080")
            with self.assertRaisesRegex(RunToolsError, "RUNTOOLS_API_KEY") as caught:
                RunTools()
            self.assertEqual(caught.exception.code, "unauthorized")

    def test_what_cannot_be_meant(self):
        for url in ("127.0.0.1:8080", "ftp://h", "http://", "http://h?q=1", "http://h#f", "http://u@h", "http://h:x", "http://h:99999"):
            with self.subTest(url), self.assertRaisesRegex(ValueError, "want http://host:port"):
                RunTools("key", url)
        with self.assertRaisesRegex(ValueError, "white space"):
            RunTools("key\n")


class ShapeTest(unittest.TestCase):
    def test_one_client_is_made_of_the_other(self):
        check = subprocess.run([sys.executable, pathlib.Path(runtools.__file__).parents[1] / "unasync.py", "--check"], capture_output=True, text=True)
        self.assertEqual(check.returncode, 0, check.stderr)

    def test_errors_can_be_pickled(self):
        for kind in (RunToolsError, RunToolsConnectionError, RunToolsTimeoutError):
            error = pickle.loads(pickle.dumps(kind("m", code="c", may_have_run=True)))
            self.assertEqual((type(error), str(error), error.code, error.may_have_run), (kind, "m", "c", True))
