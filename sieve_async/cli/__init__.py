"""The command line: arguments in, exit code out.

Importing this is quick: the client is imported after the arguments were parsed.
"""

import os
import sys
from collections.abc import Sequence

from sieve_async.cli.parser import parse


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: The arguments after the program's name; those of this process if not given.

    Returns:
        The exit code; ``sieve-async --help`` lists them.
    """
    _open_closed_streams()
    try:
        options = parse(arguments)
        import asyncio  # noqa: PLC0415 - as the module's docstring says

        from sieve_async.cli.commands import run_command  # noqa: PLC0415 - as above

        return int(asyncio.run(run_command(options)))
    except KeyboardInterrupt:
        return 130
    except OSError as error:  # the help or the version cannot be written
        if isinstance(error, BrokenPipeError):
            return 141
        print(f"sieve-async: {error}", file=sys.stderr)
        return 6


def _open_closed_streams() -> None:
    """Open the null device for each closed stream: a socket would get its number otherwise."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - it stays open
