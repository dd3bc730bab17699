"""Bodies that are long because one thing stands there again and again."""

import time

from faults.fuzz import plain_json
from faults.fuzz.asking_for import LIST, REQUESTS, failure_of, response
from faults.fuzz.draws import Draws
from sieve_async import ResponseTooLargeError
from sieve_async.decode import parse_model, parse_page, parse_state

# Few of them large: those take most of the time.
_SIZES = (
    *(0, 20, 100, 500, 1000, 1000, 5000, 5000),
    *(10_000, 65_536, 200_000),
    1_100_000,
    3_200_000,
)
_BEGINNINGS = (
    b"",
    b"[",
    b'{"id":"job-1","status":"finished","outputs":[',
    b'{"id":"job-1","status":"queued","inputs":{',
    b'{"id":"v-1","build_status":"ready","inputs":[',
    b'{"id":"job-1","status":"finished","new":[',
    b'{"id":"job-1","status":"finished",',
    b'{"data":[',
    b'{"detail":[',
)
_UNITS = (
    *(b"[],", b"{},", b"[", b'{"a":', b"1,", b'"a":5,', b'{"type":5,"name":5,"data":5},'),
    *(
        b'[{"type":5},{"type":5}],',
        b'"id":"job-1",',
        b"\\u0069d",
        b"9",
        b" ",
        b'{"id":"a","status":"b"},',
    ),
    *(b"-", b"null,", b"1.5e3,", b'"\\ud800",', b"\xff", b'"', b"&#", b"https://a?b "),
)
_ENDS = (b"]}", b"}}", b"]", b"}", b"", b"5]}", b'"a":{}}}', b"{}]}", b'"a":1}')
_MOST_SECONDS = 10.0


def target(data: bytes) -> None:
    """However large a body is, reading it is bounded, and too many parts are refused unread."""
    draws = Draws(data)
    request = draws.choice((*REQUESTS, LIST))
    status, size = draws.choice((200, 200, 422, 500)), draws.choice(_SIZES)
    beginning, unit = draws.choice(_BEGINNINGS), draws.choice((*_UNITS, draws.piece()))
    end = draws.choice((*_ENDS, draws.piece()))
    body = beginning + unit * (size // max(1, len(unit))) + end
    answer = response(body if status == 200 else body[:65_536], status)
    began = time.thread_time()
    errors = [failure_of(read, request, answer) for read in (parse_model, parse_state, parse_page)]
    assert time.thread_time() - began < _MOST_SECONDS
    too_many = plain_json.parts(answer.body) > plain_json.MOST_PARTS
    assert too_many == any(isinstance(error, ResponseTooLargeError) for error in errors)
