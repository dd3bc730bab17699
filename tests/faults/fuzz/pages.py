"""Any body of a good answer to a request for a list."""

from faults.fuzz import plain_json, without_orjson
from faults.fuzz.asking_for import LIST, failure_of, response, told
from faults.fuzz.documents import JOB, PAGE, body
from faults.fuzz.draws import Draws
from faults.fuzz.plain_json import Document, UnreadableError
from sieve_async import DecodeError, ResponseTooLargeError
from sieve_async.decode import parse_page

_ROWS: Document = PAGE | {"data": [*PAGE["data"], JOB]}


def target(data: bytes) -> None:
    """A page tells of those rows that can be read, and a page there is no further than it says."""
    draws = Draws(data)
    answer = response(body(draws, _ROWS) if draws.choice((True, False)) else draws.rest())
    error = failure_of(parse_page, LIST, answer)
    assert told(failure_of(without_orjson.parse_page, LIST, answer)) == told(error)
    try:
        document = plain_json.read(answer.body)
    except UnreadableError:
        is_deep = error is None and plain_json.depth(plain_json.text_of(answer.body)) > 200
        assert is_deep or isinstance(error, DecodeError | ResponseTooLargeError)
        return
    rows = document.get("data") if isinstance(document, dict) else None
    if not isinstance(rows, list):
        assert isinstance(error, DecodeError)
        assert error.problems
        return
    assert error is None
    further = document.get("next_offset")
    for read in (parse_page, without_orjson.parse_page):
        page = read(LIST, answer)
        assert [(job_id, str(status)) for job_id, status in page.jobs] == _readable(rows)
        is_reached = type(further) is int and 0 < further < 2**63
        assert page.next_offset == (further if is_reached else None)


def _readable(rows: list[object]) -> list[tuple[str, str]]:
    pairs = ((row.get("id"), row.get("status")) for row in rows if isinstance(row, dict))
    return [
        (one, word)
        for one, word in pairs
        if isinstance(one, str) and isinstance(word, str) and word
    ]
