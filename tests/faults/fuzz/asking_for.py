"""What is asked for, and what comes of an answer to it."""

import copy
import pickle
import unicodedata
from collections.abc import Callable
from typing import Any, TypeAlias

import attrs

from faults.fuzz.plain_models import said_by, written
from sieve_async import DecodeError, SieveError
from sieve_async.endpoints import await_job, get_job, get_version, list_jobs, pinned
from sieve_async.messages import Request, Response
from sieve_async.models import JobStatus
from sieve_async.transport.sender import _masking

KEY = "canary-4f1d9c7e-key"
Read: TypeAlias = Callable[[Request[Any], Response], Any]

REQUESTS: tuple[Request[Any], ...] = (
    get_job("job-1"),
    await_job("job-1", offset=3),
    get_version("o", "f"),
    get_version("o", "f", "v"),
    pinned(get_version("o", "f"), "v-1"),
)
LIST = list_jobs(status=JobStatus.QUEUED, limit=500, offset=0)
_HIDING = _masking(KEY)


def response(
    body: bytes, status: int = 200, headers: tuple[tuple[bytes, bytes], ...] = (), key: str = KEY
) -> Response:
    """An answer to a client that holds a key."""
    return Response(status, headers, body, _HIDING if key == KEY else _masking(key))


def failure_of(read: Read, request: Request[Any], answer: Response) -> SieveError | None:
    """The error that reading ends with; None when it goes well. Any other exception leaves."""
    try:
        read(request, answer)
    except SieveError as error:
        check_travels(error)
        return error
    return None


def told(error: SieveError | None) -> str:
    """All that an error says."""
    return "" if error is None else f"{type(error).__name__} {vars(error)!r}"


def check_travels(error: SieveError) -> None:
    """An error pickles and copies, and hangs on nothing of the libraries below."""
    for twin in (pickle.loads(pickle.dumps(error)), copy.copy(error)):
        assert told(twin) == told(error)
        assert str(twin) == str(error)
    assert error.__cause__ is None
    assert error.__context__ is None
    check_printable(str(error), most=5000)
    if isinstance(error, DecodeError):
        assert all(problem.startswith("$") for problem in error.problems)
        check_printable("".join(error.problems), most=1_000_000)


def check_printable(text: str, most: int) -> None:
    """A text can be written to a log: it is not endless, and nothing in it steers a terminal."""
    assert len(text) <= most
    assert not any(unicodedata.category(character) in {"Cc", "Cs"} for character in text)


def check_model(model: Any, expected: Any) -> None:
    """A model says what was to be said, pickles, and can be shown."""
    assert written(said_by(model)) == written(expected)
    assert pickle.loads(pickle.dumps(model)) == model
    assert attrs.evolve(model) == model
    repr(model)
