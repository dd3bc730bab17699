"""The command line: arguments in, exit code out.

Only what the arguments need is loaded before they are understood, so that help comes at once.
"""

import os
import sys
from collections.abc import Sequence

from sieve_async.cli.arguments import parse


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: What stands behind the program's name; that of this process if not given.

    Returns:
        The exit code; ``sieve-async --help`` lists them.
    """
    _open_closed_streams()
    try:
        options = parse(arguments)
        from sieve_async.cli.running import run  # noqa: PLC0415 - as the module's docstring says

        return run(options)
    except KeyboardInterrupt:
        return 130


def _open_closed_streams() -> None:
    """Put the null device where a stream was closed: a socket would get its number otherwise."""
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode, encoding="utf-8"))  # noqa: SIM115, PTH123 - for good
