"""Command-line grammar: commands, options and help texts. Imports nothing that takes time."""

import argparse
import difflib
import json
import os
import re
import shutil
import sys
from argparse import ArgumentTypeError
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, TextIO

FORMATS = ("text", "json", "jsonl", "quiet")
STRATEGIES = ("poll", "long_poll", "list")  # as in the library, whose import takes long

_DESCRIPTION = """\
Start Sieve jobs, wait for them, and look up jobs and function versions.

Results go to standard output, one as each job ends. Progress, warnings and
errors go to standard error. Interrupting this program ends no remote job."""

EXIT_CODES = """\
exit codes (of several jobs, the first that applies):
  129, 130, 143  interrupted by SIGHUP, Ctrl-C or SIGTERM
  141            the output pipe was closed
  4              there is no API key, or the server refused it
  6              the API, the network or a file failed
  124            --timeout expired
  2              an argument or an id is invalid
  5              a job, version or function was not found
  1              a job or build failed, restarted or cannot be cancelled
  3              a job was cancelled
  0              success (--exit-zero: also instead of 1 and 3)"""

_EPILOG = f"""\
{EXIT_CODES}

environment:
  SIEVE_API_KEY       the API key; it is never an argument
  SIEVE_API_KEY_FILE  a file with the key; default: ~/.config/.sieve/config
  SIEVE_API_URL       the API's address
  NO_COLOR            no colours
  CI, TERM=dumb       a progress line every 30 seconds instead of a live view

examples:
  sieve-async run sieve/dubbing --input target_language=spanish \\
      --input-json '{{"source_file": {{"url": "https://..."}}}}' --download out
  sieve-async job wait 8e6a0f1c-8d1f-4c7b-9f38-9a3f0c1d2e4b --timeout 90m
  sieve-async watch --ids-file ids.txt --format jsonl > outcomes.jsonl
  sieve-async version wait sieve/dubbing && ./start.sh"""

_SEE_ROOT = "Global options, environment and exit codes: sieve-async --help"


_UNITS = {"d": 86400.0, "h": 3600.0, "m": 60.0, "s": 1.0}
_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)([dhms])")
_FUNCTION = re.compile(r"[^/:\s]+/[^/:\s]+(?::[^/:\s]+)?")


def _duration(text: str) -> float:
    written = text if text.strip("0123456789.") else f"{text}s"  # 1h30 may be minutes or seconds
    pieces = list(_DURATION.finditer(written))
    if not pieces or "".join(piece[0] for piece in pieces) != written:
        raise ArgumentTypeError(f"{text!r} is not a time: write 90m, 1h30m, 45s, 2d or seconds")
    return sum(float(piece[1]) * _UNITS[piece[2]] for piece in pieces)


def _function_name(text: str) -> str:
    if not _FUNCTION.fullmatch(text):
        raise ArgumentTypeError(f"{text!r} is not a function: write OWNER/NAME or OWNER/NAME:SLUG")
    return text


def _number(kind: type[int | float], low: float, high: float) -> Callable[[str], float]:
    def parse(text: str) -> float:
        with suppress(ValueError):
            if low <= (value := kind(text)) <= high:
                return value
        raise ArgumentTypeError(f"{text!r} is not a number from {low:g} to {high:g}")

    return parse


def _json_object(text: str) -> dict[str, Any]:
    value = _json(text)
    if not isinstance(value, dict):
        raise ArgumentTypeError(f"not a JSON object: {text[:60]!r}")
    return value


def _named_input(text: str) -> tuple[str, Any]:
    name, separator, value = text.partition("=")
    if not separator or not name:
        raise ArgumentTypeError(f"{text!r} is not an input: write NAME=VALUE")
    return name, _json(value, otherwise=value)


def _json(text: str, *, otherwise: object = None) -> Any:
    """The value of a JSON text, or else another value."""
    try:
        return json.loads(text, parse_constant=int)  # NaN is not JSON: ValueError
    except (ValueError, RecursionError):
        return otherwise


def _webhook(text: str) -> tuple[str, str]:
    if re.match(r"(?i)https?://", text):
        return "job.complete", text
    kind, separator, url = text.partition("=")
    if not separator:
        raise ArgumentTypeError(f"{text!r} is not a webhook: write URL or TYPE=URL")
    return kind, url


def _variable(text: str) -> tuple[str, str | None]:
    name, separator, value = text.partition("=")
    if not name:
        raise ArgumentTypeError(f"{text!r} is not a variable: write NAME=VALUE, or NAME alone")
    return name, value if separator else None


def _flag(text: str) -> dict[str, Any]:
    return {"action": "store_true", "help": text}


def _value(metavar: str, text: str, kind: Any = str, **settings: Any) -> dict[str, Any]:
    return {"metavar": metavar, "help": text, "type": kind, **settings}


_GLOBAL_OPTIONS = {
    "--base-url": _value("URL", "the API's address"),
    "--key-file": _value("FILE", "a file with the API key", Path),
    "--debug": _flag("log each request, and show tracebacks"),
}
_FUNCTION_NAME = "OWNER/NAME[:SLUG]"
_SLUG_HELP = "SLUG: an id, the beginning of an id, or latest (default)"
_FORMAT_HELP = "text (default), json, jsonl (one object a line) or quiet"
_STRATEGY_HELP = (
    "poll (default); long_poll: the server holds requests, for few jobs; "
    "list: reads lists of running jobs, for hundreds"
)
_RESTART_HELP = "raise: exit 1 when the job restarts (default); continue: print the new outputs"
_INPUT_HELP = "one input; VALUE is JSON, or else a string; repeatable, and replaces the above"
_WEBHOOK_HELP = "call URL on events of TYPE (default: job.complete); repeatable"
_ENV_HELP = "a variable for the job, by default with its value here; repeatable"
_COUNT = _number(int, 0, 1e9)
_POSITIVE = _number(float, 0.001, 1e6)
_ARGUMENTS = {
    "job_id": _value("ID", "the id of the job"),
    "job_ids": _value("ID", "the id of a job", nargs="*"),
    "function": _value(_FUNCTION_NAME, _SLUG_HELP, _function_name),
    "directory": _value("DIR", "default: .", Path, nargs="?", default=Path()),
    # output
    "--format": _value("FORMAT", _FORMAT_HELP, choices=FORMATS),
    "--no-progress": _flag("print no progress"),
    "--raw": _flag("print the document as the server sent it"),
    "--offset": _value("N", "leave out the first N outputs", _COUNT),
    "--report": _value("FILE", "write an HTML report", Path),
    # waiting
    "--state": _value("FILE", "keep ids and outcomes in FILE, and continue from it", Path),
    "--show": _flag("print what the file of --state holds, and exit"),
    "--ids-file": _value("FILE", "read ids from FILE, too", Path),
    "--timeout": _value("TIME", "limit of the wait: 90m, 1h30m, 45s, 2d or seconds", _duration),
    "--rate": _value("N", "at most N polls a second (default: 100)", _POSITIVE),
    "--strategy": _value("WAY", _STRATEGY_HELP, choices=STRATEGIES),
    "--any": _flag("end with the first job that ends"),
    "--fail-fast": _flag("end with the first failure"),
    "--exit-zero": _flag("exit 0 also when jobs or builds failed"),
    "--on-restart": _value("ACTION", _RESTART_HELP, choices=("raise", "continue")),
    # starting jobs
    "--inputs-file": _value("FILE", "inputs: a file with a JSON object", Path),
    "--input-json": _value("JSON", "inputs: a JSON object", _json_object),
    "--input": _value("NAME=VALUE", _INPUT_HELP, _named_input, dest="inputs", action="append"),
    "--webhook": _value("[TYPE=]URL", _WEBHOOK_HELP, _webhook, dest="webhooks", action="append"),
    "--env": _value("NAME[=VALUE]", _ENV_HELP, _variable, action="append"),
    "--download": _value("DIR", "download the job's files to DIR", Path),
    "--cancel-on-timeout": _flag("cancel the job after --timeout"),
    # lists and files
    "--status": _value("STATUS", "only jobs with this status"),
    "--function": _value(_FUNCTION_NAME, "only this function", _function_name, dest="of_function"),
    "--limit": _value("N", "at most N jobs (default: all)", _COUNT),
    "--overwrite": _flag("replace existing files"),
    # embedded server
    "--jobs": _value("N", "jobs at the start (default: 50)", _COUNT),
    "--seed": _value("N", "seed of the random jobs (default: 1)", int),
    "--speed": _value("X", "speed of its clock (default: 1)", _POSITIVE),
    "--port": _value("N", "0: any free port (default: 8001)", _number(int, 0, 65535)),
}


class Command(NamedTuple):
    """A command; ``details`` is what its own help adds."""

    summary: str
    arguments: Sequence[str] = ()
    details: str = ""


_WAIT = ("--timeout", "--rate", "--exit-zero", "--no-progress", "--format")
_ENDS = ("--any", "--fail-fast", "--strategy")
_PUSH = ("function", "--inputs-file", "--input-json", "--input", "--webhook", "--env")
_SERVER = ("--jobs", "--seed", "--speed")
COMMANDS = {
    "run": Command(
        "start a job and wait for it",
        (*_PUSH, "--download", "--cancel-on-timeout", "--strategy", *_WAIT),
        "The id of the job is printed on standard error as soon as it is known.\n"
        "A job is started once: a request that may have arrived is never repeated.",
    ),
    "push": Command("start a job and print its id", (*_PUSH, "--format")),
    "watch": Command(
        "wait for many jobs; ids from arguments, a file or a pipe",
        ("job_ids", "--ids-file", "--state", "--show", "--report", *_ENDS, *_WAIT),
        "Ids are separated by white space or commas; # begins a comment. With - as ID,\n"
        "ids are read from standard input and watched as they arrive. With --state,\n"
        "ids and outcomes are kept in FILE: the same command continues the watch.",
    ),
    "job": Command("look up, wait for, list, cancel and download jobs"),
    "job get": Command(
        "print one job",
        ("job_id", "--raw", "--offset", "--format"),
        "Exits 0 whatever the status of the job.",
    ),
    "job wait": Command("wait for jobs, and print each as it ends", ("job_ids", *_ENDS, *_WAIT)),
    "job outputs": Command(
        "print the outputs of a job while it runs",
        ("job_id", "--offset", "--on-restart", "--timeout", "--rate", "--format"),
        "Each output is printed once, in order, as one line of JSON.",
    ),
    "job list": Command(
        "print the jobs of the organisation or of one function",
        ("--function", "--status", "--limit", "--format"),
    ),
    "job cancel": Command("cancel running jobs", ("job_ids", "--format")),
    "job download": Command(
        "download the files of a job",
        ("job_id", "directory", "--overwrite", "--no-progress", "--format"),
    ),
    "version": Command("look up function versions and wait for their builds"),
    "version get": Command(
        "print one version", ("function", "--format"), "Exits 0 whatever the status of its build."
    ),
    "version wait": Command(
        "wait until a version is ready or its build has failed",
        ("function", *_WAIT),
        "The version that is latest at the start is the one that is waited for.",
    ),
    "demo": Command("watch jobs of an embedded server; needs no account", (*_SERVER, "--strategy")),
    "serve": Command(
        "run a Sieve server for tests on this machine",
        (*_SERVER, "--port"),
        "Prints shell commands that make programs use it:\n"
        '  eval "$(sieve-async serve --port 8001 &)"',
    ),
}


def accepted_options(command: str) -> set[str]:
    """The options that a command takes."""
    return {*COMMANDS[command].arguments, *_GLOBAL_OPTIONS}


# Options that users of other tools try, and which option does it here.
_OPTION_ALIASES = {
    "-o": "--format",
    "--output": "--format",
    "--json": "--format json",
    "--quiet": "--format quiet",
    "--verbose": "--debug",
}


class Options(argparse.Namespace):
    """The parsed arguments; an option that was not given has the value below."""

    command: str
    parser: "Parser"
    job_ids: Sequence[str] = ()
    job_id: str
    function: str
    base_url: str | None = None
    key_file: Path | None = None
    debug: bool = False
    format: str = "text"
    no_progress: bool = False
    raw: bool = False
    offset: int = 0
    timeout: float | None = None
    rate: float | None = None
    strategy: Literal["poll", "long_poll", "list"] = "poll"
    any: bool = False
    fail_fast: bool = False
    exit_zero: bool = False
    on_restart: Literal["raise", "continue"] = "raise"
    ids_file: Path | None = None
    report: Path | None = None
    state: Path | None = None
    show: bool = False
    inputs: Sequence[tuple[str, Any]] = ()
    input_json: dict[str, Any] | None = None
    inputs_file: Path | None = None
    webhooks: Sequence[tuple[str, str]] = ()
    env: Sequence[tuple[str, str | None]] = ()
    download: Path | None = None
    cancel_on_timeout: bool = False
    status: str | None = None
    of_function: str | None = None
    limit: int | None = None
    directory: Path = Path()
    overwrite: bool = False
    jobs: int = 50
    seed: int = 1
    speed: float = 1.0
    port: int = 8001


class Parser(argparse.ArgumentParser):
    """A parser that suggests the command or option that was probably meant."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(
            allow_abbrev=False,
            argument_default=argparse.SUPPRESS,
            formatter_class=partial(
                argparse.RawDescriptionHelpFormatter,
                max_help_position=26,
                width=min(shutil.get_terminal_size().columns, 80) - 1,
            ),
            **settings,
        )

    def _check_value(self, action: argparse.Action, value: Any) -> None:
        if isinstance(action, argparse._SubParsersAction) and value not in action.choices:  # noqa: SLF001 - it has no public name
            area = self.prog.removeprefix("sieve-async").strip()
            meant = " or ".join(f"'{name}'" for name in _similar_commands(value, area))
            hint = f"; did you mean {meant}?" if meant else " (--help lists the commands)"
            self.error(f"there is no command '{f'{area} {value}'.strip()}'{hint}")
        super()._check_value(action, value)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write a text; on standard output a failure counts, which argparse itself ignores."""
        stream = file or sys.stderr
        try:
            stream.write(message)
            stream.flush()
        except OSError:
            redirect_to_null(stream)
            if stream is sys.stdout:
                raise

    def unknown_option(self, word: str) -> None:
        """End the program: this option does not exist."""
        name = word.split("=", 1)[0]
        known = [*re.findall(r"--[a-z][a-z-]+", self.format_usage()), *_GLOBAL_OPTIONS, "--help"]
        meant = _OPTION_ALIASES.get(name, "")
        if meant.split(" ")[0] not in known:
            meant = next(iter(_similar_words(name, known)), "")
        self.error(f"there is no option {name}" + (f"; did you mean {meant}?" if meant else ""))


def redirect_to_null(stream: TextIO) -> None:
    """Discard what is still written to this stream, also when the interpreter flushes it."""
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def parse(arguments: Sequence[str] | None) -> Options:
    """Parse the arguments; help, versions and invalid arguments end the program here."""
    options, unknown = build_parser().parse_known_args(arguments, namespace=Options())
    for word in unknown:
        if word.startswith("-") and word != "-":
            options.parser.unknown_option(word)
        if not options.job_ids:
            options.parser.error(f"unexpected argument {word!r}")
    options.job_ids = [*options.job_ids, *unknown]  # ids may also follow options
    _check(options)
    return options


def build_parser() -> Parser:
    """The parser of the whole command line."""
    root = Parser(prog="sieve-async", description=_DESCRIPTION, epilog=_EPILOG)
    root.add_argument("--version", action=_Print, make=_version, nargs=0, help="print the version")
    root.add_argument(
        "--print-completion",
        action=_Print,
        make=partial(_completion_script, root),
        choices=("bash", "zsh", "tcsh"),
        metavar="SHELL",
        help="print a completion script: bash, zsh or tcsh",
    )
    _add_global_options(root, is_shown=True)
    areas = {"": _add_commands(root)}
    for name, command in COMMANDS.items():
        area, _, word = name.rpartition(" ")
        parser: Parser = areas[area].add_parser(
            word,
            help=command.summary,
            description=f"{command.summary[0].upper()}{command.summary[1:]}.\n\n{command.details}".strip(),
            epilog=_SEE_ROOT,
        )
        parser.set_defaults(command=name, parser=parser)
        for argument in command.arguments:
            parser.add_argument(argument, **_ARGUMENTS[argument])
        _add_global_options(parser, is_shown=False)
        if not command.arguments:
            areas[name] = _add_commands(parser)
    return root


def _add_commands(parser: Parser) -> Any:  # argparse gives the type no public name
    return parser.add_subparsers(
        required=True, metavar="COMMAND", title="commands", prog=parser.prog
    )


def _add_global_options(parser: Parser, *, is_shown: bool) -> None:
    group = parser.add_argument_group("global options, accepted anywhere on the line")
    for name, settings in _GLOBAL_OPTIONS.items():
        group.add_argument(name, **settings | ({} if is_shown else {"help": argparse.SUPPRESS}))


def _check(options: Options) -> None:
    """Check what one argument alone cannot show."""
    error = options.parser.error
    if "job_ids" in COMMANDS[options.command].arguments:
        _check_ids(options)
    if options.any and options.fail_fast:
        error("give --any or --fail-fast, not both")
    if options.command == "run" and options.strategy == "list":
        error("argument --strategy: one job is waited for by poll or long_poll")
    names = [name for name, _ in options.inputs]
    for name in names:
        if names.count(name) > 1:
            error(f"argument --input: {name} is given twice")
    if options.report is not None and options.report in {options.state, options.ids_file}:
        error(f"argument --report: it would replace {options.report}, which is read")


def _check_ids(options: Options) -> None:
    error = options.parser.error
    if options.command != "watch":
        if not options.job_ids:
            error("the following arguments are required: ID")
    elif options.show and (options.state is None or options.job_ids or options.ids_file):
        error("--show takes --state FILE and no ids")
    elif not options.job_ids and options.ids_file is None and options.state is None:
        error("no job ids: give ids, - for standard input, --ids-file FILE or --state FILE")
    elif "-" in options.job_ids and (options.job_ids != ["-"] or options.ids_file is not None):
        error("- stands for all ids: give no other ids and no --ids-file")


class _Print(argparse.Action):
    """Prints a text, which is made only then, and ends the program."""

    def __init__(self, *names: Any, make: Callable[[str], str], **settings: Any) -> None:
        super().__init__(*names, **settings)
        self._make = make

    def __call__(self, parser: argparse.ArgumentParser, _: Any, values: Any, *__: Any) -> None:
        try:
            text = self._make(str(values))
        except ImportError:
            parser.error('completion needs shtab: pip install "sieve-async[cli]"')
        parser._print_message(f"{text}\n", sys.stdout)  # noqa: SLF001 - as that of the help
        parser.exit()


def _version(_: str) -> str:
    from sieve_async.config import __version__  # noqa: PLC0415 - not for other commands

    return f"sieve-async {__version__}"


def _completion_script(root: Parser, shell: str) -> str:
    import shtab  # noqa: PLC0415 - an optional dependency, and slow to import

    parsers: list[argparse.ArgumentParser] = [root]
    for parser in parsers:
        for action in parser._actions:  # noqa: SLF001 - as shtab itself does
            if action.type is Path:
                path = shtab.DIRECTORY if action.metavar == "DIR" else shtab.FILE
                action.complete = path  # type: ignore[attr-defined]
            if isinstance(action, argparse._SubParsersAction):  # noqa: SLF001 - it has no public name
                parsers += action.choices.values()
    script: str = shtab.complete(root, shell=shell)
    return script


def _similar_commands(word: str, area: str) -> list[str]:
    """The commands that were probably meant, those of the same area first."""
    verbs = {name: name.rsplit(maxsplit=1)[-1] for name in COMMANDS}
    close = [word] if word in verbs.values() else _similar_words(word, list(verbs.values()))
    found = [name for name, verb in verbs.items() if verb in close]
    return [name for name in found if area and name.startswith(f"{area} ")] or found


def _similar_words(word: str, known: Sequence[str]) -> list[str]:
    longer = [name for name in known if name.startswith(word)]
    return longer[:1] or difflib.get_close_matches(word, known, n=1, cutoff=0.7)
