"""From the body of a good answer to a job: whole, unambiguous, and the one that was asked for."""

import json

import pytest

from sieve_async import DecodeError, Job, ResponseTooLargeError
from sieve_async.decode import parse_model, parse_state
from sieve_async.messages import Request, Response

JOB = Request("GET", "/v2/jobs/j", Job, expected_id="j")


def answer(status: int, body: object = b"") -> Response:
    """An answer with a body, either bytes or what becomes JSON."""
    return Response(status, (), body if isinstance(body, bytes) else json.dumps(body).encode(), str)


def refusal(status: int, body: object) -> DecodeError:
    """What both readers say of an answer; they agree."""
    errors = []
    for read in (parse_model, parse_state):
        with pytest.raises(DecodeError) as caught:
            read(JOB, answer(status, body))
        errors.append(caught.value)
    assert errors[0].args == errors[1].args
    return errors[0]


@pytest.mark.parametrize("status", [200, 201, 202, 203, 226])
def test_good_answers(status: int) -> None:
    """Any 2xx that holds the whole object will do, for a lookup and for a poll."""
    good = answer(status, {"id": "j", "status": "a"})

    assert parse_model(JOB, good).id == "j"
    assert parse_state(JOB, good).id == "j"


@pytest.mark.parametrize("status", [204, 205, 206])
def test_good_answers_without_object(status: int) -> None:
    """An answer without a body, or with a part of one, holds no job."""
    body = {"id": "j", "status": "finished"} if status == 206 else b""

    error = refusal(status, body)

    assert (error.status, error.problems) == (status, ())


@pytest.mark.parametrize("found", ["", "J", "j2", "i", " j", "j\n", "\ud800"])
def test_answers_about_another_job(found: str) -> None:
    """An answer with another id than the one asked for is refused."""
    error = refusal(200, {"id": found, "status": "finished"})

    assert error.problems == ("$.id: is not the id that was asked for",)


@pytest.mark.parametrize(
    "body",
    [
        b'{"id": "j", "status": "finished", "status": "error"}',
        b'{"status": "finished", "id": "x", "id": "j"}',
        b'\xef\xbb\xbf {"id": "j", "status": "error", "outputs": [], "status": "error"}',
        b'{"id": "x", "\\u0069d": "j", "status": "finished"}',
        b'{"id": "j", "status": "error", "st\\u0061tus": "finished"}',
        b'{"id": "x", "id": "j", "status": "error", "function": {"latest_version": null}}',
        (
            b'{"id": "x", "id": "j", "status": "error", "function": {"latest_version":'
            b' {"\\u0069d": "v", "build_status": "ready"}}}'
        ),
    ],
)
def test_ambiguous_answers(body: bytes) -> None:
    """An answer that has its id or status twice is refused: nobody knows which one counts."""
    assert refusal(200, body).problems == ("$: has its id or status more than once",)


@pytest.mark.parametrize(
    "body",
    [
        b'{"id": "j", "status": "a", "inputs": {}, "inputs": {}}',
        b'{"id": "j", "status": "a", "outputs": [{"data": {"id": 1, "status": 2, "id": 3}}]}',
        b'{"id": "j", "status": "a", "error": "\\"id\\" \\"id\\" \\"status\\" \\"status\\""}',
        b'{"id": "j", "status": "status", "run_id": "id", "id ": "id"}',
        b'{"id": "j", "status": "a", "function": {"name": "f", "name": "g", "id": 1, "id": 2}}',
    ],
)
def test_answers_that_are_not_ambiguous(body: bytes) -> None:
    """Other keys may stand twice, and ``id`` and ``status`` may stand further down."""
    assert parse_model(JOB, answer(200, body)).id == "j"


@pytest.mark.parametrize("body", [b"", b"<html>", b'{"id": "j"', b"[" * 201 + b"]" * 201, b"NaN"])
def test_answers_that_are_no_json(body: bytes) -> None:
    """A body that is not JSON is a DecodeError without problems, which says so."""
    error = refusal(200, body)

    assert error.reason.startswith("the body is ")
    assert (error.problems, error.payload) == ((), None)


def test_answers_of_too_many_parts() -> None:
    """A body of too many parts is an error of its own, which does not hold the body."""
    with pytest.raises(ResponseTooLargeError, match="more parts") as caught:
        parse_model(JOB, answer(200, b"[" * 2_000_001))

    assert len(caught.value.excerpt) <= 300


def test_problems_with_long_paths() -> None:
    """A problem fits into a log however long the keys are that lead to it, and says what it is."""
    inputs = {"k" * 100_000: {"type": 5}, "\x1b[2J": {"type": 5}}

    with pytest.raises(DecodeError) as caught:
        parse_model(JOB, answer(200, {"id": "j", "status": "a", "inputs": inputs}))

    first, second = caught.value.problems
    assert len(first) < 400
    assert first.startswith("$.inputs['kkk")
    assert first.endswith("...: must be a string, not an integer")
    assert second == "$.inputs['\\x1b[2J'].type: must be a string, not an integer"
