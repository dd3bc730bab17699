"""From an answer to what it says: a model, the little that a poll needs, or an error."""

from collections.abc import Mapping
from contextlib import suppress
from functools import cache
from typing import Any, Generic, Protocol

import attrs

from sieve_async.decode.ambiguity import is_ambiguous
from sieve_async.decode.parsing import Document, NotJSONError, TooManyPartsError, parse, peek
from sieve_async.decode.refusals import error_from_response, masked
from sieve_async.errors import DecodeError, ResponseError, ResponseTooLargeError, TransportError
from sieve_async.messages import Model, Request, Response, shorten
from sieve_async.models import BuildStatus, Function, FunctionVersion, Job, JobStatus

_WORDS: Mapping[type, Mapping[str, JobStatus | BuildStatus]] = {
    Job: {word.value: word for word in JobStatus},
    FunctionVersion: {word.value: word for word in BuildStatus},
}
_PARTIAL_CONTENT = 206  # of something that was not asked for in parts


@attrs.define(eq=False)
class PolledState(Generic[Model]):
    """What one poll saw: enough to decide, and the rest undecoded.

    Attributes:
        id: The id in the answer.
        status: How far the job or build is.
        outputs: How many outputs the answer holds.
        run_id: Which run of the job it is, where the answer says so.
        restarts: How often the job had begun again, as far as the answer says.
    """

    id: str
    status: JobStatus | BuildStatus
    outputs: int
    request: Request[Model] = attrs.field(repr=False)
    response: Response = attrs.field(repr=False)
    run_id: str | None = None
    restarts: int = 0
    _model: Model | None = attrs.field(default=None, init=False, repr=False)

    def model(self) -> Model:
        """The whole model, built at the first call.

        Raises:
            DecodeError: A field does not fit.
        """
        if self._model is None:
            self._model = _build_quickly(self.request, _glance(self.request, self.response)[0])
        if self._model is None:
            document = read_document(self.request, self.response)
            self._model = _build(self.request, self.response, document)
        return self._model

    def settle(self, document: Document, body: bytes) -> None:
        """Make sure of an answer that ends a wait, and build its model while it is at hand.

        Raises:
            DecodeError: It is not JSON that we take, or says twice how it ended.
        """
        self._model = _build_quickly(self.request, document)
        if self._model is None:
            document, body = read_document(self.request, self.response), self.response.body
        _refuse_ambiguity(self.request, self.response, document, body)


def parse_state(request: Request[Model], response: Response) -> PolledState[Model]:
    """What a poll needs of an answer; builds no model.

    Raises:
        SieveError: The answer is an error, or its id and status cannot be read.
    """
    _enter_structuring(request)
    document, body = _glance(request, response)
    found, word = document.get("id"), document.get(_status_key(request))
    if found.__class__ is not str or word.__class__ is not str or not word:
        document = read_document(request, response)
        raise misfit(request, response, document, _explain(request, document))
    if not request.accepts(found):
        raise _other_id(request, response, read_document(request, response))
    status = _WORDS[request.model].get(word) or _status(request, word)
    run_id = document.get("run_id")
    seen = PolledState(
        found,
        status,
        _length(document, "outputs"),
        request,
        response,
        run_id if run_id.__class__ is str and run_id else None,
        _length(document, "restarts"),
    )
    if status.is_terminal:  # what ends a wait is read with all care
        seen.settle(document, body)
    return seen


def _length(document: Document, key: str) -> int:
    array = document.get(key)
    return len(array) if array.__class__ is list else 0


def glance(response: Response) -> Document:
    """The object in a good answer, read fast; an empty one for whatever needs a closer look."""
    if not 200 <= response.status < 300 or response.status == _PARTIAL_CONTENT:
        return {}
    try:
        document = peek(response.body)
    except (NotJSONError, TooManyPartsError):
        return {}
    return document if isinstance(document, dict) else {}


def read_document(request: Request[Any], response: Response) -> Document:
    """The object in a good answer, read with all care.

    Raises:
        SieveError: The answer is an error, or is no object.
    """
    if not 200 <= response.status < 300:
        raise error_from_response(request, response)
    wrong: type[ResponseError] = DecodeError
    try:
        document = parse(b"" if response.status == _PARTIAL_CONTENT else response.body)
    except NotJSONError as error:
        reason = str(error)
    except TooManyPartsError as error:
        reason, wrong = str(error), ResponseTooLargeError
    else:
        if isinstance(document, dict):
            return document
        raise misfit(request, response, document, ("$: must be an object",))
    raise wrong(reason, request.method, request.path, response.status, response.excerpt())


def misfit(
    request: Request[Any], response: Response, payload: object, problems: tuple[str, ...]
) -> DecodeError:
    """The error for an answer that is JSON, but not as documented."""
    return DecodeError(
        "the answer is not as documented",
        request.method,
        request.path,
        response.status,
        response.excerpt(),
        problems=tuple(_short(response.redact(problem)) for problem in problems),
        payload=masked(payload, response.redact),
    )


def _short(problem: str) -> str:
    """A problem with a path that can be read: the keys in it are the server's own."""
    path, colon, text = problem.rpartition(": ")
    return f"{shorten(path)}{colon}{text}"


def parse_model(request: Request[Model], response: Response) -> Model:
    """The model in an answer.

    Raises:
        SieveError: The answer is an error, or does not fit.
    """
    _enter_structuring(request)
    document, body = _glance(request, response)
    model = _build_quickly(request, document)
    if model is None:
        document, body = read_document(request, response), response.body
        model = _build(request, response, document)
    elif body is response.body and model.__class__ is Job and model.function is not None:
        _structuring().learn(body, model.function)
    _refuse_ambiguity(request, response, document, body)
    return model


def _glance(request: Request[Any], response: Response) -> tuple[Document, bytes]:
    """What ``glance`` says, and the bytes in which that stands: without a function that is known.

    All that is said of keys that stand twice can be said of these bytes, too.
    """
    if response.status == 200 and request.model is Job:
        found = _structuring().recognize(response.body)
        if found is not None:
            return found
    return glance(response), response.body


def _build_quickly(request: Request[Model], document: Document) -> Model | None:
    """The model in a document that was read fast; None for what needs a closer look."""
    model = _structuring().structure_quickly(document, request.model) if document else None
    return model if model is not None and request.accepts(model.id) else None


def _build(request: Request[Model], response: Response, document: Document) -> Model:
    """The model in a document that was read with all care."""
    try:
        model = _structuring().structure(document, request.model)
    except ValueError:
        model = None
    if model is None:
        raise misfit(request, response, document, _explain(request, document))
    if not request.accepts(model.id):
        raise _other_id(request, response, document)
    return model


def _explain(request: Request[Any], document: Document) -> tuple[str, ...]:
    return _structuring().explain(document, request.model)


class _Structuring(Protocol):
    def recognize(self, body: bytes) -> tuple[Document, bytes] | None: ...
    def learn(self, body: bytes, function: Function) -> None: ...
    def structure(self, document: Document, model: type[Model]) -> Model: ...
    def structure_quickly(self, document: Document, model: type[Model]) -> Model | None: ...
    def explain(self, document: Document, model: type[Model]) -> tuple[str, ...]: ...


def prepare() -> None:
    """Enter the room of cattrs before sockets take all descriptors, if it can be entered now."""
    with suppress(OSError):
        _structuring()


def _enter_structuring(request: Request[Any]) -> None:
    """Have the room of cattrs open before anything is said of an answer.

    Raises:
        TransportError: Its files cannot be read now: sockets have taken all descriptors.
    """
    failure = None
    try:
        _structuring()
    except OSError as error:
        failure = f"the decoder cannot be loaded: {error.strerror}"
    if failure is not None:
        raise TransportError(failure, request.method, request.path)


@cache
def _structuring() -> _Structuring:
    """The room of cattrs, entered with the first call, since it takes long to import."""
    from sieve_async.decode import structure  # noqa: PLC0415 - as the docstring says

    return structure


def _other_id(request: Request[Any], response: Response, document: Document) -> DecodeError:
    return misfit(request, response, document, ("$.id: is not the id that was asked for",))


def _status_key(request: Request[Any]) -> str:
    return "build_status" if request.model is FunctionVersion else "status"


def _status(request: Request[Any], word: str) -> JobStatus | BuildStatus:
    return BuildStatus(word) if request.model is FunctionVersion else JobStatus(word)


def _refuse_ambiguity(
    request: Request[Any], response: Response, document: Document, body: bytes
) -> None:
    """Raise when a key that decides stands there twice."""
    status_key = _status_key(request)
    if is_ambiguous(body, document, status_key):
        problem = f"$: has its id or {status_key} more than once"
        raise misfit(request, response, read_document(request, response), (problem,))
