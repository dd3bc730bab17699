"""Runs the command line in pipes, in a shell and at pseudo-terminals."""

import asyncio
import contextlib
import fcntl
import os
import pty
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator, Mapping

import attrs

from sieve_async.testing import FakeSieve

_PROGRAM = (sys.executable, "-W", "error", "-m", "sieve_async")


@attrs.frozen
class CommandResult:
    """The result of a command."""

    exit_code: int | None
    stdout: str
    stderr: str


def environment(sieve: FakeSieve, **more: str) -> Mapping[str, str]:
    """The environment of a command."""
    inherited = {
        name: value for name, value in os.environ.items() if name not in {"CI", "NO_COLOR"}
    }
    return inherited | {"SIEVE_API_URL": sieve.url, "SIEVE_API_KEY": sieve.api_key} | more


def reset_signals() -> None:
    """Give a child default dispositions: under nohup or in a background job some are ignored."""
    for name in (signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGTERM):
        signal.signal(name, signal.SIG_DFL)


async def start_command(
    sieve: FakeSieve, *arguments: str, **more: str
) -> asyncio.subprocess.Process:
    """Start a command with three pipes."""
    return await asyncio.create_subprocess_exec(
        *_PROGRAM,
        *arguments,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(sieve, **more),
        preexec_fn=reset_signals,
    )


async def finish_command(program: asyncio.subprocess.Process, typed: bytes = b"") -> CommandResult:
    """Wait until a command has ended."""
    stdout, stderr = await program.communicate(typed if program.stdin else None)
    return CommandResult(program.returncode, stdout.decode(), stderr.decode())


async def run_command(
    sieve: FakeSieve, *arguments: str, typed: bytes = b"", **more: str
) -> CommandResult:
    """Run a command to its end."""
    return await finish_command(await start_command(sieve, *arguments, **more), typed)


async def run_shell(sieve: FakeSieve, line: str, **more: str) -> CommandResult:
    """Run a line of bash in which ``sieve-async`` is this program."""
    function = f'sieve-async() {{ "{sys.executable}" -W error -m sieve_async "$@"; }}\n'
    program = await asyncio.create_subprocess_exec(
        "bash",
        "-c",
        function + line,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env=environment(sieve, **more),
        preexec_fn=reset_signals,
    )
    return await finish_command(program)


async def wait_until_requested(sieve: FakeSieve, *paths: str) -> None:
    """Wait until each of these paths was requested; without paths, until anything was."""
    while not sieve.requests or not sieve.requests.by_path.keys() >= {*paths}:  # noqa: ASYNC110 - the request log has no event
        await asyncio.sleep(0.01)


@attrs.define
class Terminal:
    """A pseudo-terminal and everything written to it."""

    ours: int
    theirs: int
    shown: str = ""

    async def read(self) -> None:
        """Read until no process has it open."""
        with contextlib.suppress(OSError):  # Linux ends a terminal with an error
            while piece := await asyncio.to_thread(os.read, self.ours, 65536):
                self.shown += piece.decode()


@contextlib.asynccontextmanager
async def terminal(columns: int, rows: int) -> AsyncIterator[Terminal]:
    """A terminal of the given size."""
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    try:
        yield Terminal(ours, theirs)
    finally:
        os.close(ours)
