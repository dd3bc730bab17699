"""Runs the command line as people and scripts do: in pipes and at terminals of any size."""

import asyncio
import contextlib
import fcntl
import os
import pty
import struct
import sys
import termios
from collections.abc import AsyncIterator, Mapping

import attrs

from sieve_async.testing import FakeSieve

_PROGRAM = (sys.executable, "-W", "error", "-m", "sieve_async")


@attrs.frozen
class Ended:
    """How a command ended."""

    code: int | None
    printed: str
    told: str


def environment(sieve: FakeSieve, **more: str) -> Mapping[str, str]:
    """What a command finds around it."""
    inherited = {
        name: value for name, value in os.environ.items() if name not in {"CI", "NO_COLOR"}
    }
    return inherited | {"SIEVE_API_URL": sieve.url, "SIEVE_API_KEY": sieve.api_key} | more


async def start(sieve: FakeSieve, *arguments: str, **more: str) -> asyncio.subprocess.Process:
    """Start a command with three pipes."""
    return await asyncio.create_subprocess_exec(
        *_PROGRAM,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(sieve, **more),
    )


async def end_of(program: asyncio.subprocess.Process, typed: bytes = b"") -> Ended:
    """Wait until a command has ended."""
    printed, told = await program.communicate(typed if program.stdin else None)
    return Ended(program.returncode, printed.decode(), told.decode())


async def command(sieve: FakeSieve, *arguments: str, typed: bytes = b"", **more: str) -> Ended:
    """Run a command to its end."""
    return await end_of(await start(sieve, *arguments, **more), typed)


async def shell(sieve: FakeSieve, line: str, **more: str) -> Ended:
    """Run a line of the shell in which ``sieve-async`` is this very program."""
    function = f'sieve-async() {{ "{sys.executable}" -W error -m sieve_async "$@"; }}\n'
    program = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        function + line,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(sieve, **more),
    )
    return await end_of(program)


async def asked(sieve: FakeSieve, *paths: str) -> None:
    """Wait until each of these was asked for, or anything at all."""
    while not sieve.requests or not sieve.requests.by_path.keys() >= {*paths}:  # noqa: ASYNC110 - a server tells nobody
        await asyncio.sleep(0.01)


@attrs.define
class Terminal:
    """A pseudo-terminal, and what is shown on it."""

    ours: int
    theirs: int
    shown: str = ""

    async def read(self) -> None:
        """Read until nobody has it open any more."""
        with contextlib.suppress(OSError):  # Linux ends a terminal with an error
            while piece := await asyncio.to_thread(os.read, self.ours, 65536):
                self.shown += piece.decode()


@contextlib.asynccontextmanager
async def terminal(columns: int, rows: int) -> AsyncIterator[Terminal]:
    """A terminal of some size."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    try:
        yield Terminal(ours, theirs)
    finally:
        os.close(ours)


async def at_terminal(
    sieve: FakeSieve,
    *arguments: str,
    size: tuple[int, int],
    blocked: str = "",
    results: str = "piped",
    **more: str,
) -> tuple[Ended, str]:
    """Run a command with errors and progress at a terminal, and say what was shown there."""
    program = [*_PROGRAM, *arguments]
    if blocked:
        code = f"import sys; sys.modules[{blocked!r}] = None; from sieve_async.cli import main; "
        program = [sys.executable, "-c", f"{code}sys.exit(main(sys.argv[1:]))", *arguments]
    async with terminal(*size) as screen:
        running = await asyncio.create_subprocess_exec(
            *program,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=screen.theirs if results == "shared" else asyncio.subprocess.PIPE,
            stderr=screen.theirs,
            env=environment(sieve, **{"TERM": "xterm-256color"} | more),
        )
        os.close(screen.theirs)
        reading = asyncio.create_task(screen.read())
        printed, _ = await running.communicate()
        await reading
    return Ended(running.returncode, (printed or b"").decode(), ""), screen.shown
