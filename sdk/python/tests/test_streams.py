"""Events and tests of programs, and the files of sessions: each test runs with RunTools and with AsyncRunTools."""

import inspect
import unittest

from runtools import FileEntry, RunToolsConnectionError, RunToolsError, RunToolsTimeoutError, SessionInfo, Test

from .fake import HANG, PRINTED_42, WAIT, answer, events, refusal
from .test_clients import Async, Calls, Sync

EXIT = ("exit", {"code": 0, "signal": None, "status": "OK"})
RESULT = ("result", PRINTED_42)


class Streaming(Calls):
    def collect(self, source, most=100):
        """The first events of a stream, which is left then."""
        if inspect.isgenerator(source):
            seen = []
            for event in source:
                seen.append(event)
                if len(seen) == most:
                    break
            source.close()
            return seen

        async def collected():
            seen = []
            async for event in source:
                seen.append(event)
                if len(seen) == most:
                    break
            await source.aclose()
            return seen

        return self.run_call(collected())

    def fails(self, call):
        with self.assertRaises(RunToolsError) as caught:
            call()
        return caught.exception

    def test_events(self):
        diagnostic = {"file": "main.c", "line": 2, "severity": "warning", "message": "m", "new": 1}
        compiled = {**PRINTED_42["run"], "diagnostics": [diagnostic], "violations": [{"syscall": "*", "count": 3}]}
        self.serve(
            events(
                ("compile", compiled),
                ("stdout", {"text": "é\n"}),
                ("stderr", {"text": "\ufffd", "text_base64": "/w=="}),
                ("learned_later", {}),
                ("test", {"index": 1, "test": {"verdict": "WA", "run": PRINTED_42["run"]}}),
                EXIT,
                RESULT,
            )
        )
        compile, out, err, test, end, last = self.collect(self.rt.stream("c", "x", run_timeout=5))
        self.assertEqual((compile.type, compile.compile.diagnostics[0].line, compile.compile.diagnostics[0].column), ("compile", 2, None))
        self.assertEqual(compile.compile.violations[0].count, 3)
        self.assertEqual((out.type, out.text, out.data), ("stdout", "é\n", "é\n".encode()))
        self.assertEqual((err.type, err.text, err.data), ("stderr", "\ufffd", b"\xff"))
        self.assertEqual((test.type, test.index, test.test.verdict), ("test", 1, "WA"))
        self.assertEqual((end.type, end.code, end.status), ("exit", 0, "OK"))
        self.assertEqual((last.type, last.result.run.stdout), ("result", "42\n"))
        (request,) = self.fake.requests
        self.assertEqual((request.body, request.headers["Accept"]), ({"language": "c", "code": "x", "run_timeout": 5}, "text/event-stream"))

    def test_refused_and_sent_again(self):
        self.serve(refusal(503, "overloaded"), refusal(400, "invalid_field"))
        error = self.fails(lambda: self.collect(self.rt.stream("c", "x")))
        self.assertEqual((error.code, error.may_have_run, len(self.fake.requests)), ("invalid_field", False, 2))

    def test_failures_after_the_beginning(self):
        for reply, kind, code in (
            (events(("stdout", {"text": "1"}), ("error", {"error": {"code": "interrupted", "message": "m", "request_id": "r"}})), RunToolsError, "interrupted"),
            (events(("stdout", {"text": "1"})), RunToolsConnectionError, "connection_failed"),
            (events(("stdout", {"text": "1"}), cut=True), RunToolsConnectionError, "connection_failed"),
        ):
            with self.subTest(reply):
                self.serve(reply)
                error = self.fails(lambda: self.collect(self.rt.stream("c", "x")))
                self.assertEqual((type(error), error.code, error.may_have_run), (kind, code, True))
                self.assertEqual(len(self.fake.requests), 1, "what may have run is not sent again")
        self.serve(events(("error", {"error": {"code": "overloaded", "message": "m"}})))
        self.assertFalse(self.fails(lambda: self.collect(self.rt.stream("c", "x"))).may_have_run)
        self.serve(answer(b"<html>", Content_Type="text/html"))
        self.assertEqual(self.fails(lambda: self.collect(self.rt.stream("c", "x"))).code, "unexpected_answer")

    def test_hang_up(self):
        self.serve(WAIT)
        error = self.fails(lambda: self.collect(self.rt.stream("c", "x", timeout=1.5)))
        self.assertIsInstance(error, RunToolsTimeoutError)
        self.fake.wait_for(1)
        self.assertTrue(self.fake.requests[0].hung_up.wait(HANG))
        # Leaving the loop does it too.
        self.serve(events(("stdout", {"text": "1"}), cut=True))
        (event,) = self.collect(self.rt.stream("c", "x"), most=1)
        self.assertEqual(event.text, "1")
        self.execute_again()

    def execute_again(self):
        self.fake.answers = (answer(PRINTED_42),)
        self.assertEqual(self.execute().run.code, 0)
        self.assertNotEqual(self.fake.requests[-1].port, self.fake.requests[-2].port, "a connection with the rest of an answer is used again")

    def test_tests(self):
        verdicts = [{"verdict": verdict, "run": PRINTED_42["run"]} for verdict in ("AC", "WA")]
        self.serve(answer({**PRINTED_42, "session_id": None, "tests": verdicts}))
        tests = [Test(stdin="1", expected_stdout="", checker="floats", tolerance=0.5), Test(stdin=b"\xff", args=("a",), files={"b": "c"})]
        result = self.execute("c", "x", tests=tests, stop_on_failure=True)
        self.assertEqual([test.verdict for test in result.tests], ["AC", "WA"])
        self.assertEqual(result.tests[0].run.stdout, "42\n")
        want = [
            {"stdin": "1", "expected_stdout": "", "checker": "floats", "tolerance": 0.5},
            {"stdin": "/w==", "stdin_encoding": "base64", "args": ["a"], "files": [{"name": "b", "content": "c"}]},
        ]
        self.assertEqual(self.fake.requests[0].body, {"language": "c", "code": "x", "tests": want, "stop_on_failure": True})

    def test_stream_of_a_session(self):
        self.serve(events(RESULT))
        session = self.rt.session()
        for want in (None, "s-1"):
            self.collect(session.stream("bash", "1"))
            self.assertEqual(self.fake.requests[-1].body.get("session_id"), want)
        self.collect(session.stream("bash", "1"), most=1)
        self.serve(answer(PRINTED_42))
        for field in ({"session_id": "s"}, {"ephemeral": True}, {"tests": []}):
            with self.assertRaises(TypeError):
                self.collect(session.stream("bash", "1", **field))

    def test_files(self):
        entry = {"path": "\ufffd", "path_base64": "/w==", "type": "file", "size": 3, "mode": "644", "modified": 1.5, "new": 1}
        octets = {"Content_Type": "application/octet-stream"}
        self.serve(
            answer(b"", 204),
            answer({"files": [entry]}),
            answer(b"{}", **octets),
            answer(b"bc", 206, **octets),
            refusal(416, "never_read"),
            answer(b"", 204),
            refusal(404, "not_found"),
            answer(b"tar", Content_Type="application/x-tar"),
            answer({"session_ids": ["f-1", "f-2"]}),
            answer({"session_id": "s", "bytes": 1, "env_bytes": 2, "busy": False, "last_used": "a", "expires": "b"}),
        )
        session = self.rt.session()
        for call in (session.info, session.archive, session.fork, session.files.list, lambda: session.files.get("x")):
            self.assertRegex(str(self.fails(lambda: self.run_call(call()))), "has not begun")
        self.assertFalse(self.run_call(session.files.delete("x")), "there is nothing yet")
        self.assertEqual(self.fake.requests, [])
        files = session.files
        self.run_call(files.put("a b/ü", "text"))
        id = session.id
        self.assertRegex(id, "^py-")
        (listed,) = self.run_call(files.list())
        self.assertEqual(listed, FileEntry("\ufffd", "file", 3, "644", 1.5, "/w=="))
        self.assertEqual(listed.path_bytes, b"\xff")
        self.assertEqual(self.run_call(files.get("x")), b"{}")
        self.assertEqual(self.run_call(files.get("x", offset=1, length=2)), b"bc")
        self.assertEqual(self.run_call(files.get("x", offset=9)), b"")
        self.assertTrue(self.run_call(files.delete("x")))
        self.assertFalse(self.run_call(files.delete("x")))
        self.assertEqual(self.run_call(session.archive()), b"tar")
        self.assertEqual([copy.id for copy in self.run_call(session.fork(2))], ["f-1", "f-2"])
        self.assertEqual(self.run_call(session.info()), SessionInfo("s", 1, 2, False, "a", "b"))
        put, *others = self.fake.requests
        self.assertEqual((put.raw, put.headers["Content-Type"]), (b"text", "application/octet-stream"))
        mine = f"/v1/sessions/{id}"
        self.assertEqual(
            [f"{request.method} {request.path} {request.headers.get('Range', '')}".strip() for request in self.fake.requests],
            [
                f"PUT {mine}/files/a%20b/%C3%BC",
                f"GET {mine}/files",
                f"GET {mine}/files/x",
                f"GET {mine}/files/x bytes=1-2",
                f"GET {mine}/files/x bytes=9-",
                f"DELETE {mine}/files/x",
                f"DELETE {mine}/files/x",
                f"GET {mine}/archive",
                f"POST {mine}/fork",
                f"GET {mine}",
            ],
        )
        for path in ("", "/x", "a//b", "..", "a/../b", "."):
            with self.subTest(path), self.assertRaisesRegex(ValueError, "relative"):
                self.run_call(files.get(path))
        for part in ({"offset": -1}, {"length": 0}, {"offset": 1 << 62}):
            with self.assertRaisesRegex(ValueError, "at least"):
                self.run_call(files.get("x", **part))
        self.assertEqual(len(self.fake.requests), 10)


class SyncTest(Sync, Streaming, unittest.TestCase):
    pass


class AsyncTest(Async, Streaming, unittest.TestCase):
    pass
