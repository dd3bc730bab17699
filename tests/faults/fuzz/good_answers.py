"""Any body of a good answer to a lookup."""

from typing import Any

from faults.fuzz import plain_json, without_orjson
from faults.fuzz.asking_for import REQUESTS, check_model, failure_of, response, told
from faults.fuzz.documents import JOB, VERSION, body
from faults.fuzz.draws import Draws
from faults.fuzz.plain_json import Document, UnreadableError
from faults.fuzz.plain_models import READERS, MisfitError
from sieve_async import DecodeError, Job, ResponseTooLargeError
from sieve_async.decode import parse_model, parse_state, parse_text
from sieve_async.messages import Request, Response

_STATUSES = (200, 200, 200, 200, 201, 204, 206, 299)
_ENDS = {Job: {"finished", "error", "cancelled"}}
_ENDS_OF_BUILDS = {"ready", "error"}


def target(data: bytes) -> None:
    """A job or version is read as it stands there, or refused; id and status decide."""
    draws = Draws(data)
    request, is_built = draws.choice(REQUESTS), draws.choice((True, False))
    status = draws.choice(_STATUSES)
    base = JOB if request.model is Job else VERSION
    answer = response(body(draws, base) if is_built else draws.rest(), status)
    _check_model(request, answer)
    _check_state(request, answer)
    for plain, read in (
        (without_orjson.parse_model, parse_model),
        (without_orjson.parse_state, parse_state),
    ):
        assert told(failure_of(plain, request, answer)) == told(failure_of(read, request, answer))


def _check_model(request: Request[Any], answer: Response) -> None:
    error = failure_of(parse_model, request, answer)
    told_again = told(failure_of(parse_text, request, answer))
    try:
        document = plain_json.read(b"" if answer.status == 206 else answer.body)
    except UnreadableError:
        assert isinstance(error, DecodeError | ResponseTooLargeError)
        assert not getattr(error, "problems", ())
        assert told_again == told(error)
        return
    expected = _expected(request, document)
    if expected is None or _is_ambiguous(request, answer.body):
        assert isinstance(error, DecodeError)
        assert error.problems
        return
    assert error is None
    check_model(parse_model(request, answer), expected)
    check_model(without_orjson.parse_model(request, answer), expected)


def _expected(request: Request[Any], document: object) -> Document | None:
    """What the model is to say; None when there is to be none."""
    try:
        expected: Document = READERS[request.model](document)
    except MisfitError:
        return None
    return expected if _is_answer_to(request, expected["id"]) else None


def _is_answer_to(request: Request[Any], expected_id: str) -> bool:
    asked = request.path.split("/")[3 if request.model is Job else -1]
    if request.model is Job or asked == "v-1":
        return expected_id == asked
    letters = expected_id.replace("-", "a").replace(".", "a").replace("_", "a").replace("~", "a")
    is_id = letters.isalnum() and expected_id.isascii() and len(expected_id) <= 128
    is_id = is_id and expected_id[0].isalnum()
    return is_id and (asked == "latest" or expected_id.startswith(asked))


def _is_ambiguous(request: Request[Any], written: bytes) -> bool:
    return not plain_json.repeated(written).isdisjoint({"id", _status_key(request)})


def _check_state(request: Request[Any], answer: Response) -> None:
    error = failure_of(parse_state, request, answer)
    if error is not None:  # then the model is refused as well
        assert failure_of(parse_model, request, answer) is not None
        return
    text = plain_json.text_of(answer.body)
    if plain_json.depth(text) > plain_json.DEEPEST:
        return  # a quick look may see past that
    document = plain_json.read(answer.body)
    for read in (parse_state, without_orjson.parse_state):
        seen = read(request, answer)
        word = document[_status_key(request)]
        assert (seen.id, str(seen.status)) == (document["id"], word)
        assert type(word) is str
        assert word
        assert _is_answer_to(request, seen.id)
        assert seen.status.is_terminal == (word in _ENDS.get(request.model, _ENDS_OF_BUILDS))
        assert not (seen.status.is_terminal and _is_ambiguous(request, answer.body))
        assert seen.outputs == _length(document.get("outputs"))
        assert seen.restarts == _length(document.get("restarts"))
        run_id = document.get("run_id")
        assert seen.run_id == (run_id if isinstance(run_id, str) and run_id else None)
        if _expected(request, document) is not None:
            assert seen.model().id == seen.id
    if failure_of(parse_model, request, answer) is None:
        assert parse_state(request, answer).model() == parse_model(request, answer)


def _length(value: object) -> int:
    return len(value) if isinstance(value, list) else 0


def _status_key(request: Request[Any]) -> str:
    return "status" if request.model is Job else "build_status"
