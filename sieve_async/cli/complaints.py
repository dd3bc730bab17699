"""Errors in one line that says what to do."""

import os
import traceback
from collections.abc import Mapping

from sieve_async.cli.arguments import Options
from sieve_async.errors import (
    AuthenticationError,
    ConnectError,
    JobRestartedError,
    NotFoundError,
    OutOfCreditsError,
    PermissionDeniedError,
    SieveError,
    TLSError,
)
from sieve_async.messages import shorten

NO_KEY = (
    "there is no API key: set SIEVE_API_KEY to it, or SIEVE_API_KEY_FILE to a file that holds it, "
    "or give --key-file FILE, or put it into ~/.config/.sieve/config"
)

_HINTS: tuple[tuple[type[SieveError], str], ...] = (
    (AuthenticationError, "the key in {key} was refused: is it whole, and still valid?"),
    (PermissionDeniedError, "the key in {key} may not see this"),
    (NotFoundError, "check the id, and that the key in {key} is of the same organisation"),
    (OutOfCreditsError, "the organisation has no credits left"),
    (TLSError, "check {url}, and the certificates of this machine"),
    (ConnectError, "check the network, and {url}"),
    (JobRestartedError, "what was printed so far is void; --on-restart again goes on by itself"),
)


def complaint(error: BaseException, options: Options) -> str:
    """One line: what went wrong, and what to do about it."""
    if not isinstance(error, SieveError):
        what = shorten(str(error))
        if isinstance(error, OSError):
            return what
        return f"{type(error).__name__}: {what} (a mistake of this program; --debug shows where)"
    places = {"key": _place_of_key(options, os.environ), "url": _place_of_url(options)}
    hint = next(
        (f"; {text.format(**places)}" for kind, text in _HINTS if isinstance(error, kind)), ""
    )
    what = f"{_subject(options)} was not found" if isinstance(error, NotFoundError) else str(error)
    return f"{shorten(what)}{hint}"


def _subject(options: Options) -> str:
    if options.command.startswith("version"):
        owner, name, slug = options.version
        return f"version {owner}/{name}:{slug}"
    return f"job {options.job_id}"


def whereabouts(error: BaseException) -> str:
    """The traceback, for ``--debug``; no values of variables are in it."""
    return "".join(traceback.format_exception(error)).rstrip()


def _place_of_key(options: Options, environment: Mapping[str, str]) -> str:
    if options.key_file is not None:
        return f"--key-file {options.key_file}"
    for name in ("SIEVE_API_KEY", "SIEVE_API_KEY_FILE"):
        if environment.get(name):
            return name
    return "~/.config/.sieve/config"


def _place_of_url(options: Options) -> str:
    return "--base-url" if options.base_url is not None else "SIEVE_API_URL (or --base-url)"
