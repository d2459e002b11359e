"""Programs that are talked to: each test runs with RunTools and with AsyncRunTools."""

import asyncio
import os
import threading
import unittest
from unittest import mock

from runtools import Interactive, RunToolsConnectionError, RunToolsError

from .fake import HANG, PRINTED_42, refusal
from .talks import Talks
from .test_clients import Async, Calls, Sync

SAY = ("bash", "cat")


def result(talk):
    talk.send("result", PRINTED_42)
    talk.frame(0x88, b"\x03\xe8")


def echo(talk):
    """A program that says what it is told."""
    talk.accept()
    talk.next()
    while (message := talk.next())["type"] == "stdin":
        talk.send("stdout", {"text": "", "text_base64": message["data"]})
    result(talk)


def error(code):
    return {"error": {"code": code, "message": "m", "request_id": "r"}}


class Talking(Calls):
    def serve(self, *talks, **options):
        self.fake = Talks(*talks)
        self.addCleanup(lambda: self.assertEqual(self.fake.failures, []))
        self.addCleanup(self.fake.close)
        self.rt = self.client(**options)

    def open(self, *args, of=None, **options):
        """A program in its `with`, until the end of the test; its methods without await."""
        program = (of or self.rt).interactive(*(args or SAY), **options)
        if not hasattr(self, "loop"):
            self.addCleanup(program.__exit__, None, None, None)
            return program.__enter__()
        self.addCleanup(lambda: self.run_call(program.__aexit__(None, None, None)))
        return Plain(self.run_call, self.run_call(program.__aenter__()))

    def fails(self, call):
        with self.assertRaises(RunToolsError) as caught:
            call()
        return caught.exception

    def test_the_conversation_in_the_words_of_the_api(self):
        def talk(talk):
            talk.accept()
            self.told = [talk.next() for _ in range(8)]
            talk.send("compile", PRINTED_42["run"])
            talk.frame(0x89, b"ping")
            self.pong = talk.read()
            talk.frame(0x01, b'{"type": "stdout", "data": {"text": "\xc3')  # a message in parts, a character cut in two, a pong between
            talk.frame(0x8A, b"")
            talk.frame(0x80, b'\xa9\\n"}}')
            talk.send("stdout", {"text": "\ufffd" * 100, "text_base64": "/w=="})
            talk.send("learned_later", {})
            talk.send("stderr", {"text": "x" * 100_000})
            talk.send("exit", {"code": 0, "signal": None, "status": "OK"})
            result(talk)

        self.serve(talk)
        program = self.open(*SAY, stdin="a", run_timeout=5, pty=os.terminal_size((80, 24)), artifacts=["*"], request_id="mine")
        program.write("é")
        program.write(b"\0\xff")
        program.write("")
        program.signal("SIGINT")
        program.resize(1, 2)
        program.close_input()
        program.write(b"x" * 65537)
        compile, first, second, err, end, last = program
        self.assertEqual((compile.type, first.text, second.data, len(err.text), end.status), ("compile", "é\n", b"\xff", 100_000, "OK"))
        self.assertEqual(last.result.raw, PRINTED_42)
        asked, *rest = self.told
        want = {"language": "bash", "code": "cat", "stdin": "a", "run_timeout": 5, "pty": {"cols": 80, "rows": 24}, "artifacts": ["*"]}
        self.assertEqual(asked, want)
        stdin = {"type": "stdin", "encoding": "base64"}
        others = [{"type": "signal", "signal": "SIGINT"}, {"type": "resize", "cols": 1, "rows": 2}, {"type": "stdin_close"}]
        self.assertEqual(rest[:5], [{**stdin, "data": "w6k="}, {**stdin, "data": "AP8="}, *others])
        self.assertEqual([len(message["data"]) * 3 // 4 for message in rest[5:]], [65538, 3])
        self.assertEqual(self.pong, (10, b"ping"))
        (seen,) = self.fake.seen
        self.assertEqual(seen.request, "GET /prefix/v1/execute/ws HTTP/1.1")
        self.assertEqual((seen.headers["authorization"], seen.headers["x-request-id"]), ("Bearer key", "mine"))
        self.assertTrue(seen.hung_up.wait(HANG))
        program.write("after the end")
        program.signal("SIGINT")
        self.assertEqual(list(program), [])
        self.assertEqual(list(program), [])

    def test_an_answer_to_what_was_read(self):
        self.serve(echo)
        program = self.open()
        program.write("0")
        for event in program:
            if event.type == "stdout" and int(event.data) < 3:
                program.write(str(int(event.data) + 1))
            elif event.type == "stdout":
                program.close_input()
        self.assertEqual(event.type, "result")

    def test_much_input_while_nobody_asks_for_events(self):
        self.serve(echo)
        program = self.open()
        much = os.urandom(6 << 20)  # more than what the network holds both ways
        program.write(much)
        program.close_input()
        *parts, last = program
        self.assertEqual((b"".join(part.data for part in parts) == much, last.type), (True, "result"))

    def test_refused_and_opened_again(self):
        def busy(talk):
            talk.refuse(*refusal(503, "overloaded")[::2])

        def asked(talk):
            talk.accept()
            talk.next()
            talk.send("error", error("overloaded"))

        self.serve(busy, lambda talk: "hang up", echo)
        program = self.open()
        program.close_input()
        self.assertEqual([event.type for event in program], ["result"])
        self.assertEqual(len(self.fake.seen), 3)
        for talk, want in (
            (busy, {"code": "overloaded", "status": 503, "may_have_run": False}),
            (lambda talk: talk.refuse(*refusal(401, "unauthorized")[::2]), {"code": "unauthorized", "may_have_run": False}),
            (lambda talk: talk.refuse(200, {}), {"code": "unexpected_answer", "status": 200}),
            (lambda talk: talk.accept("another key") or "hang up", {"code": "connection_failed", "may_have_run": False}),
        ):
            with self.subTest(want):
                self.serve(talk, max_retries=0)
                failure = self.fails(self.open)
                self.assertEqual({name: getattr(failure, name) for name in want}, want)
                self.assertTrue(self.fake.seen[0].hung_up.wait(HANG))

    def test_failures_are_raised_in_the_loop(self):
        def after(*steps):
            def talk(talk):
                talk.accept()
                talk.next()
                for step in steps:
                    step(talk)
                return "hang up"

            return talk

        output = lambda talk: talk.send("stdout", {"text": "a"})
        for talk, want in (
            (after(lambda talk: talk.send("error", error("overloaded"))), {"code": "overloaded", "request_id": "r", "may_have_run": False}),
            (after(output, lambda talk: talk.send("error", error("overloaded"))), {"code": "overloaded", "may_have_run": True}),
            (after(output), {"code": "connection_failed", "may_have_run": True}),
            (after(lambda talk: talk.frame(0x88, b"\x03\xf3why")), {"code": "connection_failed", "may_have_run": True}),
            (after(lambda talk: talk.frame(0x82, b"bytes")), {"code": "connection_failed", "may_have_run": True}),
            (after(lambda talk: talk.frame(0x81, b"no JSON")), {"code": "unexpected_answer", "may_have_run": True}),
            (after(lambda talk: talk.frame(0x81, b"[]")), {"code": "unexpected_answer", "may_have_run": True}),
        ):
            with self.subTest(want):
                self.serve(talk)
                program = self.open()
                failure = self.fails(lambda: list(program))
                self.assertEqual({name: getattr(failure, name) for name in want}, want)
                self.assertEqual(isinstance(failure, RunToolsConnectionError), want["code"] == "connection_failed")
                self.assertEqual(list(program), [], "an error is raised once")
                program.write("dropped")
        self.serve(after(lambda talk: talk.frame(0x88, b"\x03\xf3why")))
        self.assertIn("1011 why", str(self.fails(lambda: list(self.open()))))
        module = "runtools.socket_asyncio" if hasattr(self, "loop") else "runtools.socket_threads"
        with mock.patch(module + ".SILENCE", 0.1):
            self.serve(lambda talk: talk.accept())
            self.assertIn("silent", str(self.fails(lambda: list(self.open()))))

    def test_leaving_and_closing_hang_up(self):
        def forever(talk):
            talk.accept()
            talk.next()
            talk.send("stdout", {"text": "a"})

        self.serve(forever)
        program = self.open()
        self.assertEqual(next(iter(program)).text, "a")
        program.close()
        self.assertEqual(list(program), [])
        self.assertTrue(self.fake.seen[0].hung_up.wait(HANG))
        self.leave()
        self.assertTrue(self.fake.seen[1].hung_up.wait(HANG))

    def test_in_a_session(self):
        self.serve(echo)
        session = self.rt.session()
        for n, want in enumerate((None, "s-1")):
            program = self.open(of=session)
            program.close_input()
            self.assertEqual([event.type for event in program], ["result"])
            self.assertEqual((session.id, len(self.fake.seen)), ("s-1", n + 1))
        # The turn is given back by the result, and by leaving.
        program = self.open(of=session)
        program.close()
        self.open(of=session).close()
        for field in ({"session_id": "s"}, {"ephemeral": True}):
            with self.assertRaisesRegex(TypeError, "a session has its own"):
                session.interactive("bash", "1", **field)

    def test_what_cannot_be_meant(self):
        self.serve(echo)
        program = self.rt.interactive(*SAY)
        for call in (lambda: program.write("a"), program.close_input, lambda: next(iter(Plain(self.run_call, program)))):
            with self.assertRaisesRegex(RuntimeError, "in a `with`"):
                self.run_call(call())
        with self.assertRaises(TypeError):
            self.rt.interactive(*SAY, tests=[])
        self.assertEqual(self.fake.seen, [])
        with self.assertRaisesRegex(RuntimeError, "once"):
            program = self.open()
            self.run_call(program.__aenter__()) if hasattr(self, "loop") else program.__enter__()


class Plain:
    """An AsyncInteractive without await."""

    def __init__(self, run_call, program):
        self._run_call = run_call
        self._program = program

    def __getattr__(self, name):
        return lambda *args: self._run_call(getattr(self._program, name)(*args))

    def __aenter__(self):
        return self._program.__aenter__()

    def __iter__(self):
        return self

    def __next__(self):
        if isinstance(self._program, Interactive):
            return next(self._program)
        try:
            return self._run_call(self._program.__anext__())
        except StopAsyncIteration:
            raise StopIteration from None


class SyncTest(Sync, Talking, unittest.TestCase):
    def leave(self):
        with self.rt.interactive(*SAY) as program:
            for _ in program:
                break

    def test_one_thread_listens_and_others_talk(self):
        self.serve(echo)
        program = self.open()
        events = []
        listener = threading.Thread(target=lambda: events.extend(program))
        listener.start()
        talkers = [threading.Thread(target=lambda i=i: [program.write(bytes([i]) * 100_000) for _ in range(10)]) for i in range(3)]
        [thread.start() for thread in talkers]
        [thread.join(HANG) for thread in talkers]
        program.close_input()
        listener.join(HANG)
        self.assertEqual(events.pop().type, "result")
        said = b"".join(event.data for event in events)
        self.assertEqual([said.count(bytes([i])) for i in range(3)], [1_000_000] * 3)

    def test_closing_ends_the_loop_of_another_thread(self):
        self.serve(lambda talk: talk.accept())
        program = self.open()
        listener = threading.Thread(target=lambda: list(program))
        listener.start()
        program.close()
        listener.join(HANG)
        self.assertFalse(listener.is_alive())


class AsyncTest(Async, Talking, unittest.TestCase):
    def leave(self):
        async def leave():
            async with self.rt.interactive(*SAY) as program:
                async for _ in program:
                    break

        self.run_call(leave())

    def test_to_give_up_an_event_is_not_to_give_up_the_program(self):
        self.serve(echo)

        async def talk():
            async with self.rt.interactive(*SAY) as program:
                with self.assertRaises(asyncio.TimeoutError):
                    await asyncio.wait_for(program.__anext__(), 0.05)
                await program.close_input()
                return [event.type async for event in program]

        self.assertEqual(self.run_call(talk()), ["result"])

    def test_closing_ends_the_loop_of_another_task(self):
        self.serve(lambda talk: talk.accept())

        async def talk():
            async with self.rt.interactive(*SAY) as program:

                async def listen():
                    return [event async for event in program]

                listener = asyncio.ensure_future(listen())
                await asyncio.sleep(0.01)
                await program.close()
                return await listener

        self.assertEqual(self.run_call(talk()), [])
