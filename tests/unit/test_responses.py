"""Responses: redacted texts, and values; only an unreadable id or status makes one unusable."""

import json
import pickle
from collections.abc import Callable
from typing import Any, TypeAlias

import pytest

from sieve_async import BuildStatus, FunctionVersion, InputOutput, Job, JobStatus, errors
from sieve_async.config import ID
from sieve_async.decode import (
    JobPage,
    parse_model,
    parse_object,
    parse_page,
    parse_state,
    parse_states,
    parse_text,
    parser,
)
from sieve_async.endpoints import get_job, get_version, list_jobs
from sieve_async.messages import Request, Response

Read: TypeAlias = Callable[[Request[Any], Response], Any]

KEY = "canary-key"
JOB = get_job("j")
VERSION = get_version("o/f")
LIST = list_jobs()
NEW_JOB: dict[str, Any] = {"id": "j", "status": "queued"}


def answer(body: object, status: int = 200) -> Response:
    """An answer with a body, either bytes or what becomes JSON."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Response(status, (), content, lambda text: text.replace(KEY, "[API key]"))


def error_of(read: Read, request: Request[Any], response: Response) -> errors.SieveError:
    """What a reader raises; it travels, and hangs on nothing of the libraries below."""
    with pytest.raises(errors.SieveError) as caught:
        read(request, response)
    error = caught.value
    assert (error.__cause__, error.__context__) == (None, None)
    assert KEY not in f"{error}{error!r}{error.args}"
    assert repr(pickle.loads(pickle.dumps(error))) == repr(error)
    return error


@pytest.mark.parametrize("read", [parse_model, parse_state, parse_object, parse_text])
def test_answers_without_object(read: Read) -> None:
    """What is no JSON object is a DecodeError that holds the beginning of the body."""
    bodies: tuple[tuple[object, int, str], ...] = (
        (b"", 204, "the body is not JSON"),
        (NEW_JOB, 206, "the body is not JSON"),
        (b"<html>", 200, "the body is not JSON"),
        (b'{"id": "j"', 200, "the body is not JSON"),
        ([NEW_JOB], 200, "the body is no JSON object"),
        (None, 200, "the body is no JSON object"),
    )
    for body, status, reason in bodies:
        response = answer(body, status)
        error = error_of(read, JOB, response)
        assert isinstance(error, errors.DecodeError)
        assert (error.reason, error.status, error.path) == (reason, status, "/v2/jobs/j")
        assert error.excerpt == response.excerpt()


UNUSABLE: list[tuple[Request[Any], object, str]] = [
    (JOB, {"id": 5, "status": "a"}, "id is missing or no string"),
    (JOB, {"id": "j"}, "status is missing or no string"),
    (JOB, {"id": "j", "status": None}, "status is missing or no string"),
    (VERSION, {"id": "v", "status": "a"}, "build_status is missing or no string"),
    *(
        (JOB, {"id": found, "status": "finished"}, "id is not the one that was asked for")
        for found in ("", "J", "j2", " j", "j\n", "\ud800", KEY)
    ),
    (VERSION, {"id": "a/b", "build_status": "a"}, "id is not the one that was asked for"),
]


@pytest.mark.parametrize("read", [parse_model, parse_state])
def test_answers_without_id_or_status(read: Read) -> None:
    """An id or status that cannot be read, or another id, makes an answer unusable."""
    for request, document, reason in UNUSABLE:
        error = error_of(read, request, answer(document))
        assert isinstance(error, errors.DecodeError)
        assert error.reason == reason


@pytest.mark.parametrize("read", [parse_model, parse_state, parse_object, parse_text, parse_page])
def test_error_answers(read: Read) -> None:
    error = error_of(read, JOB, answer({"detail": f"Job not found. {KEY}"}, 404))
    assert isinstance(error, errors.NotFoundError)
    assert error.detail == "Job not found. [API key]"


def test_state() -> None:
    """A poll reads id, status and the number of outputs; its model can be had at any time."""
    for word in ("queued", "finished", "started", "", "\ud800"):
        document: dict[str, Any] = {
            "id": "j",
            "status": word,
            "outputs": [{}, [{}, {}]],
            "created_at": 5,
        }
        state = parse_state(JOB, answer(document))
        assert (state.id, state.status, state.output_count) == ("j", word, 2)
        assert type(state.status) is JobStatus
        assert state.model() is state.model()
        assert state.model() == parse_model(JOB, answer(document))
        assert len(repr(parse_state(JOB, answer(document | {"error": "x" * 1000})))) < 200


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"outputs": None, "run_id": None, "restarts": None}, (0, None, None)),
        ({"outputs": [], "run_id": "", "restarts": []}, (0, None, 0)),
        ({"outputs": [1, 2], "run_id": "r", "restarts": [{}, {}]}, (2, "r", 2)),
        ({"outputs": "text", "run_id": 5, "restarts": 3}, (1, None, 3)),
        ({"outputs": {"data": 1}, "restarts": True}, (1, None, None)),
        ({"outputs": False, "restarts": 1.5}, (1, None, None)),
        ({"restarts": -5}, (0, None, None)),
    ],
)
def test_outputs_and_restarts_of_a_state(
    fields: dict[str, Any], expected: tuple[int, str | None, int | None]
) -> None:
    """A state counts as many outputs as its model has, and the restarts that the answer names."""
    state = parse_state(JOB, answer(NEW_JOB | fields))
    assert (state.output_count, state.run_id, state.restarts) == expected
    assert len(state.model().outputs) == expected[0]


def test_state_of_a_version() -> None:
    state = parse_state(VERSION, answer({"id": "v", "build_status": "ready"}))
    assert (state.id, state.status, state.output_count) == ("v", BuildStatus.READY, 0)
    assert type(state.status) is BuildStatus
    assert state.model() == FunctionVersion("v", BuildStatus.READY)


def test_texts() -> None:
    """The document comes to the letter, but for the key."""
    body = f'{{"id" :  "j", "said": "{KEY}"}}'.encode()
    assert parse_text(JOB, answer(body)) == '{"id" :  "j", "said": "[API key]"}'
    assert parse_object(JOB, answer(body)) == {"id": "j", "said": KEY}


def test_next_offset() -> None:
    """There is a further page where a whole number above zero says so that a list can reach."""
    for value, expected, is_last in (
        *((None, None, True), (-1, None, True), (-(2**63), None, True), (0, None, False)),
        *((1, 1, False), (500, 500, False), (2**63 - 1, 2**63 - 1, False)),
        *((True, None, False), (500.0, None, False), ("500", None, False), ({}, None, False)),
        (2**63, None, False),
    ):
        page = parse_page(LIST, answer({"data": [], "next_offset": value}))
        assert page == JobPage([], expected, is_last=is_last)
    pages: list[Any] = [{}, {"data": None}, {"data": {"a": 1}}]
    for document in pages:
        error = error_of(parse_page, LIST, answer(document))
        assert isinstance(error, errors.DecodeError)
        assert error.reason == "data must be an array"


def test_rows() -> None:
    """Rows whose id or status cannot be read are left out; all others are jobs."""
    rows: list[Any] = [
        {"id": "a", "status": "queued", "outputs": [1]},
        *(None, 5, [], {}, {"id": "x"}, {"id": 5, "status": "queued"}, {"id": "x", "status": 5}),
        *({"id": "", "status": "queued"}, {"id": "a/b", "status": "queued"}),
        {"id": "b", "status": "napping", "inputs": [{"name": "i"}], "restarts": 2},
    ]
    page = parse_page(LIST, answer({"data": rows, "next_offset": 9}))
    assert page.jobs == [("a", JobStatus.QUEUED), ("b", JobStatus("napping"))]
    assert page.next_offset == 9
    assert page.models() == [
        Job("a", JobStatus.QUEUED, outputs=(InputOutput(data=1),)),
        Job("b", JobStatus("napping"), inputs={"i": InputOutput(name="i")}, extra={"restarts": 2}),
    ]


ODD_ROWS: list[Any] = [
    {"id": "a", "status": "queued", "outputs": [1, None]},
    *({}, {"id": "x"}, {"id": 5, "status": "queued"}, {"id": "x", "status": ["queued"]}),
    {"status": "napping", "id": "b", "id2": {"id": "c", "status": "queued"}},
    {"id": "\u00fc \\u0022", "status": "queued"},
]
PAGES: list[Any] = [
    json.dumps({"data": ODD_ROWS, "next_offset": 9}),
    json.dumps({"next_offset": -1, "data": [*ODD_ROWS, None, 5, []], "more": {"data": [{}]}}),
    '{"data": [{"id": "a", "cost": NaN, "status": "queued"}]}',
    '\ufeff{"data": [{"id": "a", "status": "queued"}], "next_offset": 0}',
    '{"data": [{"id": "a", "n": 1e999, "s": "\\ud800", "status": "queued"}]}',
    f'{{"data": [{{"id": "a", "n": {"1" * 100}, "status": "queued"}}], "next_offset": {2**70}}}',
    f'{{"data": [{{"deep": {"[" * 300}{"]" * 300}, "id": "a", "status": "queued"}}]}}',
    '{"data": [], "next_offset": true}',
]


@pytest.mark.parametrize("has_msgspec", [True, False])
@pytest.mark.parametrize("body", PAGES, ids=range(len(PAGES)))
def test_states_in_a_page(body: str, monkeypatch: pytest.MonkeyPatch, *, has_msgspec: bool) -> None:
    """Ids and statuses are those of the whole rows, with and without msgspec."""
    assert parser._decode_page is not None
    whole = parse_page(LIST, answer(body.encode()))
    if not has_msgspec:
        monkeypatch.setattr(parser, "_decode_page", None)
    page = parse_states(LIST, answer(body.encode()))
    assert [row for row in page.jobs if ID.fullmatch(row[0])] == whole.jobs
    assert all(type(status) is JobStatus for _, status in page.jobs)
    assert (page.next_offset, page.is_last) == (whole.next_offset, whole.is_last)


def test_states_in_no_page() -> None:
    """What is no page is an error, however its rows would be read."""
    for body in (b"", b"[]", b"{}", b'{"data": {}}', b'{"data": [{"id": "a"}', b'"\xff"'):
        assert isinstance(error_of(parse_states, LIST, answer(body)), errors.DecodeError)
    page = b'{"data": []}'
    assert isinstance(
        error_of(parse_states, LIST, Response(206, (), page, str)), errors.DecodeError
    )
    assert isinstance(
        error_of(parse_states, LIST, Response(503, (), page, str)), errors.ServerError
    )


def test_large_answers() -> None:
    """Of a large answer only the beginning is redacted, and only for an error."""
    lengths: list[int] = []

    def redact(text: str) -> str:
        lengths.append(len(text))
        return text

    fields = {"outputs": ["x" * 1000] * 1000, "error": [5], "created_at": KEY}
    good, bad = (json.dumps({"id": i, "status": "finished"} | fields).encode() for i in ("j", "x"))
    assert len(parse_model(JOB, Response(200, (), good, redact)).outputs) == 1000
    assert lengths == []
    with pytest.raises(errors.DecodeError):
        parse_model(JOB, Response(200, (), bad, redact))
    assert max(lengths) <= 64 * 1024


def test_responses() -> None:
    """Whatever is read from an answer for a person is masked; the body itself is as it came."""
    headers = ((b"X-Echo", b"the key"), (b"x-ECHO", b"\xe9"), (b"Other", b"x"))
    response = Response(200, headers, b"key \xff key", lambda text: text.replace("key", "***"))
    assert response.header("x-echo") == ["the ***", "\xe9"]
    assert response.header("absent") == []
    assert response.text() == "*** \ufffd ***"
    assert response.excerpt() == "*** \ufffd ***"
    assert response.body == b"key \xff key"
    assert "key" not in repr(response)


def test_excerpts_of_long_answers() -> None:
    """A key or a URL's query at the end of an excerpt is masked before anything is cut off."""
    body = b"x" * 289 + b" secret-key https://a.example/?" + b"s" * 100_000
    response = Response(200, (), body, lambda text: text.replace("secret-key", "***"))
    assert response.excerpt() == "x" * 289 + " *** htt" + "..."
