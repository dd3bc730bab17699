"""The command line: arguments in, exit code out."""

import argparse
import asyncio
from collections.abc import Sequence

from sieve_async.cli.demo import demo
from sieve_async.cli.serve import serve
from sieve_async.config import __version__
from sieve_async.watching import STRATEGIES


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: What stands behind the program's name; that of this process if not given.

    Returns:
        The exit code: 0 when all went well, 1 when not, 130 when interrupted.
    """
    options = _parser().parse_args(arguments)
    try:
        match options.command:
            case "demo":
                return asyncio.run(
                    demo(
                        jobs=options.jobs,
                        strategy=options.strategy,
                        seed=options.seed,
                        speed=options.speed,
                    )
                )
            case _:
                return asyncio.run(
                    serve(
                        port=options.port,
                        jobs=options.jobs,
                        seed=options.seed,
                        speed=options.speed,
                    )
                )
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="sieve-async", description="Work with jobs of Sieve.")
    parser.add_argument("--version", action="version", version=f"sieve-async {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="command")
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--seed", type=int, default=1, help="which lives to play (default: 1)")
    shared.add_argument(
        "--speed", type=_speed, default=1.0, help="how many times as fast lives pass (default: 1)"
    )
    show = commands.add_parser(
        "demo",
        parents=[shared],
        help="watch jobs and two builds on an embedded server, and show how they end",
    )
    show.add_argument("--jobs", type=_count, default=50, help="how many jobs (default: 50)")
    show.add_argument(
        "--strategy", choices=STRATEGIES, default="poll", help="how to watch them (default: poll)"
    )
    server = commands.add_parser(
        "serve", parents=[shared], help="run a Sieve server for tests on this machine"
    )
    server.add_argument("--port", type=int, default=8001, help="0 for any (default: 8001)")
    server.add_argument("--jobs", type=int, default=10, help="how many to begin with (default: 10)")
    return parser


def _count(text: str) -> int:
    count = int(text)
    if count < 0:
        raise ValueError(text)
    return count


def _speed(text: str) -> float:
    speed = float(text)
    if not 0 < speed < float("inf"):
        raise ValueError(text)
    return speed
