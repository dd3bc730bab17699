"""From a good response to a value: a model, a page of jobs, or the little that a poll needs."""

from collections.abc import Mapping
from typing import Any, Generic

import attrs

from sieve_async.config import ID
from sieve_async.converter import Document, structure
from sieve_async.decode.error_responses import error_from_response
from sieve_async.decode.parser import NotJSONError, parse, parse_rows
from sieve_async.errors import DecodeError
from sieve_async.messages import Model, Request, Response
from sieve_async.models import BuildStatus, FunctionVersion, Job, JobStatus

_WORDS: Mapping[type, Mapping[str, JobStatus | BuildStatus]] = {
    Job: {word.value: word for word in JobStatus},
    FunctionVersion: {word.value: word for word in BuildStatus},
}
_PARTIAL_CONTENT = 206  # no request asks for a part
_MAX_OFFSET = 2**63 - 1


@attrs.define(eq=False)
class PolledState(Generic[Model]):
    """What one poll needs of an answer; the rest stays undecoded until it is asked for.

    Attributes:
        id: The id in the answer.
        status: The status of the job or build.
        output_count: How many outputs the answer holds.
        run_id: The run of the job; None where the answer does not say.
        restarts: How often the job had restarted; None where the answer does not say.
        is_whole: Whether it holds one output that is not in an array, so that none was left out.
    """

    id: str
    status: JobStatus | BuildStatus
    output_count: int
    request: Request[Model] = attrs.field(repr=False)
    response: Response = attrs.field(repr=False)
    run_id: str | None = None
    restarts: int | None = None
    is_whole: bool = False
    _model: Model | None = attrs.field(default=None, repr=False)

    def model(self) -> Model:
        """The model in the answer, built at the first call."""
        if self._model is None:
            self._model = parse_model(self.request, self.response)
        return self._model


@attrs.frozen
class JobPage:
    """One page of a list of jobs.

    Attributes:
        jobs: Id and status of each job whose row can be read.
        next_offset: Where the next page begins; None when none is named.
        is_last: Whether the page says that it is the last one: its ``next_offset`` is absent or -1.
    """

    jobs: list[tuple[str, JobStatus]]
    next_offset: int | None
    is_last: bool = True
    _rows: list[Document] = attrs.field(factory=list, repr=False)

    def models(self) -> list[Job]:
        """The jobs of all rows that can be read."""
        return [structure(row, Job) for row in self._rows]


def parse_state(request: Request[Model], response: Response) -> PolledState[Model]:
    """What a poll needs of an answer.

    Raises:
        SieveError: The answer is an error, or its id and status cannot be read.
    """
    document = parse_object(request, response)
    found_id, status = _read_identity(request, response, document)
    outputs, run_id = document.get("outputs"), document.get("run_id")
    word = _status(request.model, status)
    is_whole = not (outputs is None or isinstance(outputs, list))
    return PolledState(
        found_id,
        word,
        1 if is_whole else len(outputs or ()),
        request,
        response,
        run_id if isinstance(run_id, str) and run_id else None,
        _restart_count(document.get("restarts")),
        is_whole,
        structure(document, request.model) if word.is_terminal else None,  # it is wanted next
    )


def parse_model(request: Request[Model], response: Response) -> Model:
    """The model in an answer.

    Raises:
        SieveError: The answer is an error, or its id and status cannot be read.
    """
    document = parse_object(request, response)
    _read_identity(request, response, document)
    return structure(document, request.model)


def parse_page(request: Request[Job], response: Response) -> JobPage:
    """One page of a list; a row whose id or status cannot be read is left out.

    Raises:
        SieveError: The answer is an error, or is no page.
    """
    document = parse_object(request, response)
    rows = document.get("data")
    next_offset: Any = document.get("next_offset")
    if not isinstance(rows, list):
        raise _decode_error(request, response, "data must be an array")
    good = [row for row in rows if _is_job(row)]
    jobs = [(row["id"], JobStatus(row["status"])) for row in good]
    return JobPage(jobs, *_next(next_offset), good)


def parse_states(request: Request[Job], response: Response) -> JobPage:
    """The ids and states in one page of a list, to be compared with known ids; no models.

    Raises:
        SieveError: As for :func:`parse_page`.
    """
    parse_success(request, response)
    found = None if response.status == _PARTIAL_CONTENT else parse_rows(response.body)
    if found is None:
        return parse_page(request, response)
    rows, next_offset = found
    words = _WORDS[Job]
    jobs: list[Any] = [
        (row.id, words.get(row.status) or JobStatus(row.status))
        for row in rows
        if row.id.__class__ is row.status.__class__ is str
    ]
    return JobPage(jobs, *_next(next_offset))


def parse_text(request: Request[Any], response: Response) -> str:
    """The document of a good answer as it came, the key redacted.

    Raises:
        SieveError: The answer is an error, or is no JSON object.
    """
    parse_object(request, response)
    return response.text()


def parse_success(request: Request[Any], response: Response) -> None:
    """Accept any good answer, whatever its body.

    Raises:
        SieveError: The answer is an error.
    """
    if not 200 <= response.status < 300:
        raise error_from_response(request, response)


def parse_object(request: Request[Any], response: Response) -> Document:
    """The JSON object in a good answer.

    Raises:
        SieveError: The answer is an error, or is no JSON object.
    """
    parse_success(request, response)
    try:
        document = parse(b"" if response.status == _PARTIAL_CONTENT else response.body)
    except NotJSONError as error:
        reason = str(error)
    else:
        if isinstance(document, dict):
            return document
        reason = "the body is no JSON object"
    raise _decode_error(request, response, reason)


def _read_identity(
    request: Request[Any], response: Response, document: Document
) -> tuple[str, str]:
    """The id and the status word of an answer.

    Raises:
        DecodeError: They cannot be read, or the id is not the one that was asked for.
    """
    status_key = "build_status" if request.model is FunctionVersion else "status"
    found_id, status = document.get("id"), document.get(status_key)
    if not isinstance(found_id, str):
        raise _decode_error(request, response, "id is missing or no string")
    if not request.accepts(found_id):
        raise _decode_error(request, response, "id is not the one that was asked for")
    if not isinstance(status, str):
        raise _decode_error(request, response, f"{status_key} is missing or no string")
    return found_id, status


def _decode_error(request: Request[Any], response: Response, reason: str) -> DecodeError:
    return DecodeError(reason, request.method, request.path, response.status, response.excerpt())


def _next(offset: Any) -> tuple[int | None, bool]:
    """Where the next page begins, and whether there is none."""
    is_whole = offset.__class__ is int
    is_named = is_whole and 0 < offset <= _MAX_OFFSET
    return offset if is_named else None, offset is None or (is_whole and offset < 0)


def _is_job(row: object) -> bool:
    return (
        isinstance(row, dict)
        and isinstance(row.get("id"), str)
        and ID.fullmatch(row["id"]) is not None
        and isinstance(row.get("status"), str)
    )


def _status(model: type, word: str) -> JobStatus | BuildStatus:
    known = _WORDS[model].get(word)
    if known is not None:
        return known
    return JobStatus(word) if model is Job else BuildStatus(word)


def _restart_count(restarts: object) -> int | None:
    """Documented as an array of restarts; a number stands on some pages."""
    if isinstance(restarts, list):
        return len(restarts)
    if isinstance(restarts, int) and not isinstance(restarts, bool) and restarts >= 0:
        return restarts
    return None
