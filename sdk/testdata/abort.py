"""A call that is given up kills its program. A session runs one request at a time, so the next one is answered at once only if the one
given up, which would sleep for minutes, is dead."""

import asyncio
import signal
import threading

from runtools import AsyncRunTools, RunTools, RunToolsTimeoutError

HANG = 200.0  # of the machine, seconds; less than the sleep
SLEEPER = "echo yes > began; sleep 250; echo lived > late"
LOOK = "cat began; ls late 2>/dev/null; true"


def until_begun(session, give_up):
    """How long a busy machine takes until the program has begun cannot be known: wait longer until it has.

    The session must be there before: one that a request makes whose caller hangs up is none.
    """
    session.execute("bash", "touch there")
    seconds, seen = 0.2, ""
    while seen != "yes\n":
        give_up(seconds)
        seen = session.execute("bash", LOOK, timeout=HANG).run.stdout
        assert seconds < HANG and "late" not in seen, seen
        seconds *= 2


def raises(kind, call):
    try:
        call()
    except kind:
        return
    raise AssertionError(f"no {kind.__name__}")


def interrupted(session, seconds):
    """Ctrl-C while the main thread waits for the answer."""
    main = threading.main_thread().ident
    timer = threading.Timer(seconds, lambda: signal.pthread_kill(main, signal.SIGINT))
    timer.start()
    try:
        session.execute("bash", SLEEPER)
    finally:
        timer.join()


with RunTools() as rt:
    with rt.session("py-timeout") as session:
        until_begun(session, lambda s: raises(RunToolsTimeoutError, lambda: session.execute("bash", SLEEPER, timeout=s)))
    with rt.session("py-interrupt") as session:
        until_begun(session, lambda s: raises(KeyboardInterrupt, lambda: interrupted(session, s)))
    assert rt.delete_session("py-interrupt") is False
    with rt.session("py-stream") as session:
        session.execute("bash", "touch there")
        for event in session.stream("bash", SLEEPER.replace(";", "; echo begun;", 1)):
            if event.type == "stdout":
                break  # which kills: the file is there, and the session is free
        assert session.execute("bash", LOOK, timeout=HANG).run.stdout == "yes\n"


async def cancelled():
    async with AsyncRunTools() as rt, rt.session("py-cancel") as session:
        await session.execute("bash", "touch there")
        seconds, seen = 0.2, ""
        while seen != "yes\n":
            task = asyncio.ensure_future(session.execute("bash", SLEEPER))
            await asyncio.sleep(seconds)
            task.cancel()
            assert isinstance((await asyncio.gather(task, return_exceptions=True))[0], asyncio.CancelledError)
            seen = (await session.execute("bash", LOOK, timeout=HANG)).run.stdout
            assert seconds < HANG and "late" not in seen, seen
            seconds *= 2


async def left():
    async with AsyncRunTools() as rt, rt.session("py-left") as session:
        await session.execute("bash", "touch there")
        async for event in session.stream("bash", SLEEPER.replace(";", "; echo begun;", 1)):
            if event.type == "stdout":
                break
        assert (await session.execute("bash", LOOK, timeout=HANG)).run.stdout == "yes\n"


asyncio.run(cancelled())
asyncio.run(left())
