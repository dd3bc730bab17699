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


def test_types() -> None:
    """The four documented types are read in the old spelling too; other words are kept."""
    old = {"job_start": "job.start", "job_complete": "job.complete", "new_output": "job.new_output"}
    old |= {"job_complete_no_output": "job.complete.no_output", "job_new_output": "job.new_output"}
    for sent, read in (
        *old.items(),
        *((new, new) for new in old.values()),
        ("job.paused", "job.paused"),
    ):
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
    for output, expected in (
        ({"data": 1}, InputOutput(data=1)),
        ([{"data": 1}, {"data": 2}], (InputOutput(data=1), InputOutput(data=2))),
    ):
        for sent in (output, json.dumps(output)):
            event = parse_webhook(
                {"type": "job.new_output", "body": {"job_id": "j", "output": sent}}
            )
            assert (event.output, event.outputs, event.status) == (expected, (), None)
    for text in ("text", "", "[]", "{}", "7", '{"a": 1}', '[{"data": 1}, 7]', "[" * 9999):
        event = parse_webhook({"type": "job.new_output", "body": {"job_id": "j", "output": text}})
        assert event.output == InputOutput(data=text)


def test_files_as_keys_and_values() -> None:
    """Real events spell a file as a list of Key and Value."""
    data = [{"Key": "url", "Value": "https://host/a.mp4"}, {"Key": "_path", "Value": None}]
    body = {"job_id": "j1", "status": "finished", "outputs": [{"data": data}]}
    event = parse_webhook({"type": "job.complete", "body": body})
    assert [file.url for file in event.files] == ["https://host/a.mp4"]
    output = {"type": "job.new_output", "body": {"job_id": "j1", "output": {"data": data}}}
    assert [file.url for file in parse_webhook(output).files] == ["https://host/a.mp4"]


def test_what_does_not_fit_is_kept() -> None:
    """A value of another kind costs nothing but its field; outputs that are no array are one."""
    none = {"outputs": None, "error": None, "output": None, "status": None}
    code = {"error": {"code": 1}}
    for body, kept in (
        (code, code),
        ({"status": 7}, {"status": 7}),
        (none, {}),
        ({"error": ""}, {}),
    ):
        event = parse_webhook({"type": "job.complete", "body": {"job_id": "j1", **body}})
        assert event.extra == kept
        assert (event.status, event.error, event.outputs) == (None, None, ())
    for outputs in ("text", {"data": 1}, 5):
        event = parse_webhook({"type": "a", "body": {"job_id": "j1", "outputs": outputs}})
        assert len(event.outputs) == 1


BODIES: list[Any] = [[], {}, {"job_id": 7}, {"job_id": "a b"}, {"job_id": "../../v2/push"}]
RUBBISH: list[Any] = [
    *(b"", b"\xff\xfe", "rubbish", "[]", "null", b"[" * 100_000, '{"type": "job.complete"}'),
    *({"type": "job.complete", "body": body} for body in BODIES),
    *({"type": kind, "body": {"job_id": "j1"}} for kind in ("", 7)),
    *({"body": {"job_id": "j1"}}, pickle.dumps({"type": "job.complete"}), None, 7, ["x"]),
]


def test_rubbish() -> None:
    """What is no event, or larger than an answer of the API may be, is an error of one kind."""
    for rubbish in RUBBISH:
        with pytest.raises(InvalidArgumentError, match="body"):
            parse_webhook(rubbish)
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
