"""What can be typed: commands, options and their help. Loads nothing that takes time."""

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path

from sieve_async.cli.completion import PrintCompletion
from sieve_async.cli.help_texts import (
    COMMON,
    DESCRIPTION,
    DESCRIPTIONS,
    EPILOG,
    EXIT_CODES,
    STRATEGY_HELP,
)

FORMATS = ("text", "json", "jsonl", "quiet")
# The same as those of the watcher, which takes long to load.
STRATEGIES = ("poll", "long_poll", "list")

_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0, "": 1.0}
_DURATION = re.compile(r"(?:\d+(?:\.\d*)?|\.\d+)(?:[dhms]|$)")
_VERSION = re.compile(r"([^/:\s]+)/([^/:\s]+)(?::([^/:\s]+))?")


class Options(argparse.Namespace):
    """The arguments as they were understood; each command sets those that it has."""

    command: str
    job_ids: list[str]
    job_id: str
    version: tuple[str, str, str]
    ids_file: Path | None = None
    timeout: float | None = None
    timeout_text: str | None = None
    strategy: str = "poll"
    any: bool = False
    fail_fast: bool = False
    no_fail: bool = False
    output: str = "text"
    no_progress: bool = False
    report: Path | None = None
    base_url: str | None = None
    key_file: Path | None = None
    debug: bool = False
    raw: bool = False
    offset: int = 0
    on_restart: str = "raise"
    jobs: int
    seed: int
    speed: float
    port: int


def parse(arguments: Sequence[str] | None) -> Options:
    """Understand the arguments; help, versions and mistakes end the program here."""
    parser = build_parser()
    options = parser.parse_args(arguments, namespace=Options())
    if options.command == "watch":
        _check_sources(parser, options)
    if options.report is not None and not options.report.resolve().parent.is_dir():
        parser.error(f"argument --report: there is no directory {options.report.resolve().parent}")
    return options


def build_parser() -> argparse.ArgumentParser:
    """The whole grammar."""
    parser = argparse.ArgumentParser(
        prog="sieve-async",
        description=DESCRIPTION,
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_PrintVersion)
    parser.add_argument("--print-completion", action=PrintCompletion, parser=parser)
    commands = parser.add_subparsers(dest="area", required=True, metavar="COMMAND")
    _add_job_commands(commands)
    _add_version_commands(commands)
    watch = _add(commands, "watch", parents=[_connecting(), _waiting(), _printing()])
    watch.add_argument("job_ids", nargs="*", metavar="ID", help="a job; - reads ids from stdin")
    watch.add_argument("--ids-file", type=Path, metavar="FILE", help="read ids from a file, too")
    watch.add_argument(
        "--report", type=Path, metavar="FILE", help="write a page with a picture of the batch"
    )
    _add_servers(commands)
    return parser


Commands = argparse._SubParsersAction  # noqa: SLF001 - it has no public name


def _add(
    commands: "Commands[argparse.ArgumentParser]",
    command: str,
    *,
    parents: Sequence[argparse.ArgumentParser],
) -> argparse.ArgumentParser:
    summary, description = DESCRIPTIONS[command]
    added = commands.add_parser(
        command.rsplit(maxsplit=1)[-1],
        parents=parents,
        help=summary,
        description=f"{summary[0].upper()}{summary[1:]}.\n\n{description}".strip(),
        epilog=None if command in {"demo", "serve"} else EXIT_CODES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    added.set_defaults(command=command)
    return added


def _add_area(
    commands: "Commands[argparse.ArgumentParser]", name: str
) -> "Commands[argparse.ArgumentParser]":
    summary, _ = DESCRIPTIONS[name]
    area = commands.add_parser(name, help=summary, description=f"{summary.capitalize()}.")
    return area.add_subparsers(dest="verb", required=True, metavar="COMMAND")


def _add_job_commands(commands: "Commands[argparse.ArgumentParser]") -> None:
    job = _add_area(commands, "job")
    get = _add(job, "job get", parents=[_connecting(), _printing()])
    get.add_argument("job_id", metavar="ID", help="the whole id of the job")
    get.add_argument("--raw", action="store_true", help="print the document just as it was sent")
    get.add_argument(
        "--offset", type=_count, default=0, metavar="N", help="leave out the first N outputs"
    )
    wait = _add(job, "job wait", parents=[_connecting(), _waiting(), _printing()])
    wait.add_argument("job_ids", nargs="+", metavar="ID", help="the whole id of a job")
    outputs = _add(job, "job outputs", parents=[_connecting(), _limited()])
    outputs.add_argument("job_id", metavar="ID", help="the whole id of the job")
    outputs.add_argument(
        "-o",
        "--output",
        choices=("jsonl", "json", "quiet"),
        default="jsonl",
        help="one JSON object a line (the default), one JSON array, or nothing",
    )
    outputs.add_argument(
        "--offset", type=_count, default=0, metavar="N", help="leave out the first N outputs"
    )
    outputs.add_argument(
        "--on-restart",
        choices=("raise", "continue"),
        default="raise",
        help="when the job restarts: end with 1 (the default), or go on with its new outputs",
    )


def _add_version_commands(commands: "Commands[argparse.ArgumentParser]") -> None:
    version = _add_area(commands, "version")
    get = _add(version, "version get", parents=[_connecting(), _printing()])
    wait = _add(version, "version wait", parents=[_connecting(), _limited(), _printing()])
    wait.add_argument("--no-fail", action="store_true", help="exit 0 also when the build failed")
    wait.add_argument("--no-progress", action="store_true", help="tell nothing on the way")
    for command in (get, wait):
        command.add_argument(
            "version",
            type=_version,
            metavar="OWNER/NAME[:SLUG]",
            help="the function; SLUG is an id, the beginning of an id, or latest (the default)",
        )


def _add_servers(commands: "Commands[argparse.ArgumentParser]") -> None:
    shared = argparse.ArgumentParser(add_help=False)
    shared.add_argument("--seed", type=int, default=1, help="which lives to play (default: 1)")
    shared.add_argument(
        "--speed", type=_speed, default=1.0, help="how many times as fast lives pass (default: 1)"
    )
    show = _add(commands, "demo", parents=[shared])
    show.add_argument("--jobs", type=_count, default=50, help="how many jobs (default: 50)")
    show.add_argument(
        "--strategy", choices=STRATEGIES, default="poll", help="how to watch them (default: poll)"
    )
    server = _add(commands, "serve", parents=[shared])
    server.add_argument("--port", type=int, default=8001, help="0 for any (default: 8001)")
    server.add_argument("--jobs", type=int, default=10, help="how many to begin with (default: 10)")


def _connecting() -> argparse.ArgumentParser:
    parent = argparse.ArgumentParser(add_help=False)
    group = parent.add_argument_group("connection")
    group.add_argument("--base-url", metavar="URL", help=COMMON["base_url"])
    group.add_argument("--key-file", type=Path, metavar="FILE", help=COMMON["key_file"])
    group.add_argument("--debug", action="store_true", help=COMMON["debug"])
    return parent


def _limited() -> argparse.ArgumentParser:
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument(
        "--timeout", type=_duration, action=_KeepText, metavar="TIME", help=COMMON["timeout"]
    )
    return parent


def _waiting() -> argparse.ArgumentParser:
    parent = argparse.ArgumentParser(add_help=False, parents=[_limited()])
    parent.add_argument("--strategy", choices=STRATEGIES, default="poll", help=STRATEGY_HELP)
    ends = parent.add_mutually_exclusive_group()
    ends.add_argument("--any", action="store_true", help="end with the first job that ends")
    ends.add_argument("--fail-fast", action="store_true", help="end with the first that goes wrong")
    parent.add_argument("--no-fail", action="store_true", help=COMMON["no_fail"])
    parent.add_argument("--no-progress", action="store_true", help="tell nothing on the way")
    return parent


def _printing() -> argparse.ArgumentParser:
    parent = argparse.ArgumentParser(add_help=False)
    parent.add_argument("-o", "--output", choices=FORMATS, default="text", help=COMMON["output"])
    return parent


class _KeepText(argparse.Action):
    """Keeps a duration also as it was typed, for the command that goes on."""

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        del parser, option_string
        assert isinstance(values, tuple)  # noqa: S101 - the type of the option makes it
        namespace.timeout, namespace.timeout_text = values


class _PrintVersion(argparse.Action):
    """Prints the version, which is not loaded before."""

    def __init__(self, option_strings: Sequence[str], dest: str) -> None:
        super().__init__(option_strings, dest, nargs=0, help="show the version and exit")

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        del namespace, values, option_string
        from sieve_async.config import __version__  # noqa: PLC0415 - as the docstring says

        print(f"sieve-async {__version__}")
        parser.exit()


def _check_sources(parser: argparse.ArgumentParser, options: Options) -> None:
    if not options.job_ids and options.ids_file is None:
        parser.error("which jobs? Name their ids, - for ids from standard input, or --ids-file")
    if "-" in options.job_ids and (options.job_ids != ["-"] or options.ids_file is not None):
        parser.error("- stands for all ids, and must be alone")


def _refused(reason: str) -> argparse.ArgumentTypeError:
    return argparse.ArgumentTypeError(reason)


def _duration(text: str) -> tuple[float, str]:
    pieces = _DURATION.findall(text)
    if not pieces or "".join(pieces) != text:
        raise _refused(f"{text!r} is no time: write 90m, 1h30m, 45s, 2d, or seconds")
    return sum(float(piece.rstrip("dhms")) * _UNITS[_unit(piece)] for piece in pieces), text


def _unit(piece: str) -> str:
    return piece[-1] if piece[-1] in _UNITS else ""


def _version(text: str) -> tuple[str, str, str]:
    if (match := _VERSION.fullmatch(text)) is None:
        raise _refused(f"{text!r} is no version: write OWNER/NAME or OWNER/NAME:SLUG")
    owner, name, slug = match.groups()
    return owner, name, slug or "latest"


def _number(kind: Callable[[str], float], text: str) -> float:
    try:
        return kind(text)
    except ValueError:
        raise _refused(f"{text!r} is no number") from None


def _count(text: str) -> int:
    count = int(_number(int, text))
    if count < 0:
        raise _refused(f"{text} is less than 0")
    return count


def _speed(text: str) -> float:
    speed = _number(float, text)
    if not 0 < speed < float("inf"):
        raise _refused(f"{text} is no speed")
    return speed
