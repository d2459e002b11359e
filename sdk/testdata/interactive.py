"""Programs that are talked to, with and without asyncio: input, signals, a terminal, sessions, and that leaving kills."""

import asyncio

from runtools import AsyncRunTools, RunTools, RunToolsError

HANG = 200.0  # of the machine, seconds; less than the sleep
SLEEPER = "echo begun; sleep 250; echo lived > late"
LOOK = "ls late 2>/dev/null; true"
TRAP = "trap 'echo caught; exit 3' INT; echo ready; while :; do sleep 0.01; done"
SIZES = "trap 'stty size; exit' WINCH; stty size; while :; do sleep 0.01; done"


def wait_for(program, text):
    """Reads on until the program has said it."""
    said = ""
    for event in program:
        if event.type == "stdout":
            said += event.text
        if text in said:
            return
    raise AssertionError(said)


def finish(program):
    (*_, last) = program
    return last.result.run


with RunTools() as rt:
    much = bytes(range(256)) * 4096  # more than what waits anywhere on the way, there and back
    with rt.interactive("bash", "cat") as program:
        program.write(much)
        program.close_input()
        assert finish(program).stdout_bytes == much

    with rt.interactive("bash", TRAP) as program:
        wait_for(program, "ready\n")
        program.signal("SIGINT")
        run = finish(program)
        assert (run.code, run.stdout) == (3, "ready\ncaught\n"), run

    with rt.interactive("bash", SIZES, pty=(80, 24)) as program:
        wait_for(program, "24 80\r\n")
        program.resize(100, 30)
        assert finish(program).stdout == "24 80\r\n30 100\r\n"

    with rt.session("py-interactive") as session:
        with session.interactive("bash", "read X; export X") as program:
            program.write("kept\n")
            assert finish(program).code == 0
        assert session.execute("bash", "echo $X").run.stdout == "kept\n"
        with session.interactive("bash", SLEEPER) as program:
            wait_for(program, "begun\n")
        assert session.execute("bash", LOOK, timeout=HANG).run.stdout == "", "it lived on"

    try:
        with rt.interactive("python", "1", run_timeout=900_000) as program:
            finish(program)
    except RunToolsError as error:
        assert (error.code, error.field) == ("invalid_field", "run_timeout"), error
    else:
        raise AssertionError("it was not refused")


async def main():
    async with AsyncRunTools() as rt, rt.session("py-interactive-async") as session:
        async with session.interactive("bash", "cat; export X=kept") as program:
            await program.write(much)
            await program.close_input()
            *_, last = [event async for event in program]
        assert last.result.run.stdout_bytes == much
        assert (await session.execute("bash", "echo $X")).run.stdout == "kept\n"
        async with session.interactive("bash", SLEEPER) as program:
            async for event in program:
                break
        assert (await session.execute("bash", LOOK, timeout=HANG)).run.stdout == "", "it lived on"
        async with rt.interactive("bash", TRAP, pty=(80, 24)) as program:
            async for event in program:
                if event.type == "stdout" and "ready" in event.text:
                    await program.write("\x03")
        assert event.result.run.stdout == "ready\r\n^Ccaught\r\n", event.result.run


asyncio.run(main())
