"""Webhook events are read leniently, and rubbish is refused."""

import copy
import json
import pickle
from typing import Any

import pytest

from sieve_async.errors import InvalidArgumentError
from sieve_async.models import InputOutput, JobStatus
from sieve_async.webhooks import WebhookEvent, parse_webhook

OUTPUTS: list[Any] = [
    {"type": "sieve.File", "data": {"url": "https://host/a.mp4?s=1"}},
    [{"data": 1}, {"data": 2}],
]


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        ("job.start", "job.start"),
        ("job.complete", "job.complete"),
        ("job.complete.no_output", "job.complete.no_output"),
        ("job.new_output", "job.new_output"),
        ("job_start", "job.start"),
        ("job_complete", "job.complete"),
        ("job_complete_no_output", "job.complete.no_output"),
        ("job_new_output", "job.new_output"),
        ("new_output", "job.new_output"),
        ("job.paused", "job.paused"),
    ],
)
def test_types(sent: str, read: str) -> None:
    """The four documented types are read in the old spelling too; other words are kept."""
    assert parse_webhook({"type": sent, "body": {"job_id": "j1"}}).type == read


@pytest.mark.parametrize("encode", [json.dumps, lambda event: json.dumps(event).encode(), dict])
def test_a_complete_event(encode: Any) -> None:
    """Bytes, text and the object itself say the same."""
    event = {
        "type": "job.complete",
        "body": {
            "job_id": "j1",
            "status": "error",
            "error": "boom",
            "outputs": OUTPUTS,
            "attempt": 2,
        },
    }

    read = parse_webhook(encode(event))

    assert (read.job_id, read.status, read.error) == ("j1", JobStatus.ERROR, "boom")
    assert read.outputs == (
        InputOutput(type="sieve.File", data={"url": "https://host/a.mp4?s=1"}),
        (InputOutput(data=1), InputOutput(data=2)),
    )
    assert [(file.url, file.job_id) for file in read.files] == [("https://host/a.mp4?s=1", "j1")]
    assert read.output is None
    assert read.extra == {"attempt": 2}
    assert read.raw == event


def test_a_new_output() -> None:
    """A new output stands alone, and may be several parts."""
    one = parse_webhook({"type": "job.new_output", "body": {"job_id": "j1", "output": {"data": 1}}})
    two = parse_webhook(
        {"type": "job.new_output", "body": {"job_id": "j1", "output": [{"data": 1}, {"data": 2}]}}
    )

    assert (one.output, one.outputs, one.status) == (InputOutput(data=1), (), None)
    assert two.output == (InputOutput(data=1), InputOutput(data=2))


def test_files_as_keys_and_values() -> None:
    """Real events spell a file as a list of Key and Value."""
    data = [{"Key": "url", "Value": "https://host/a.mp4"}, {"Key": "_path", "Value": None}]
    body = {"job_id": "j1", "status": "finished", "outputs": [{"data": data}]}

    event = parse_webhook({"type": "job.complete", "body": body})

    assert [file.url for file in event.files] == ["https://host/a.mp4"]
    output = {"type": "job.new_output", "body": {"job_id": "j1", "output": {"data": data}}}
    assert [file.url for file in parse_webhook(output).files] == ["https://host/a.mp4"]


@pytest.mark.parametrize(
    ("body", "kept"),
    [
        ({"error": {"code": 1}}, {"error": {"code": 1}}),
        ({"status": 7}, {"status": 7}),
        ({"outputs": None, "error": None, "output": None, "status": None}, {}),
        ({"error": ""}, {}),
    ],
)
def test_what_does_not_fit_is_kept(body: dict[str, Any], kept: dict[str, Any]) -> None:
    """A value of another kind costs nothing but its field."""
    event = parse_webhook({"type": "job.complete", "body": {"job_id": "j1", **body}})

    assert event.extra == kept
    assert (event.status, event.error, event.outputs) == (None, None, ())


@pytest.mark.parametrize("outputs", ["text", {"data": 1}, 5])
def test_outputs_that_are_no_array(outputs: Any) -> None:
    """What is no array is one output."""
    body = {"job_id": "j1", "outputs": outputs}

    assert len(parse_webhook({"type": "job.complete", "body": body}).outputs) == 1


@pytest.mark.parametrize(
    "rubbish",
    [
        b"",
        b"\xff\xfe",
        "rubbish",
        "[]",
        "null",
        b"[" * 100_000,
        '{"type": "job.complete"}',
        {"type": "job.complete", "body": []},
        {"type": "job.complete", "body": {}},
        {"type": "job.complete", "body": {"job_id": 7}},
        {"type": "job.complete", "body": {"job_id": "../../v2/push"}},
        {"type": "job.complete", "body": {"job_id": "a b"}},
        {"type": "", "body": {"job_id": "j1"}},
        {"type": 7, "body": {"job_id": "j1"}},
        {"body": {"job_id": "j1"}},
        b"\x80\x04\x95" + pickle.dumps({"type": "job.complete"}),
        None,
        7,
        ["x"],
    ],
)
def test_rubbish(rubbish: Any) -> None:
    """What is no event is an error, and nothing else is raised."""
    with pytest.raises(InvalidArgumentError, match="body"):
        parse_webhook(rubbish)


def test_a_body_that_is_too_large() -> None:
    """A body may be as large as an answer of the API, and no larger."""
    with pytest.raises(InvalidArgumentError, match="at most"):
        parse_webhook(b" " * (16 * 1024 * 1024 + 1))


def test_events_are_values() -> None:
    """An event pickles, copies and hashes, and shares nothing with what it was read from."""
    body: dict[str, Any] = {"job_id": "j1", "x": [1], "outputs": [{"data": {"a": 1}}]}
    event = parse_webhook({"type": "job.complete", "body": body})
    body["x"].append(2)
    body["outputs"][0]["data"]["a"] = 2

    assert pickle.loads(pickle.dumps(event)) == copy.deepcopy(event) == event
    assert isinstance(hash(event), int)
    assert event.extra == {"x": [1]}
    assert event.outputs == (InputOutput(data={"a": 1}),)
    assert isinstance(event, WebhookEvent)
