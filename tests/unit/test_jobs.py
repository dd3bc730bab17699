"""What a push sends, how its job is found again, and how lists are read."""

import enum
import io
import json
import math
import pickle
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest

from helpers.http_helpers import now
from sieve_async.decode import JobPage
from sieve_async.errors import (
    AmbiguousPushError,
    DecodeError,
    InvalidArgumentError,
    NotFoundError,
    ResponseTooLargeError,
    ServerError,
)
from sieve_async.jobs import PushedJob, PushLog, Search, check_push, list_jobs
from sieve_async.jobs.lifecycle import JobList
from sieve_async.models import File, Job, JobStatus, Webhook

pytestmark = pytest.mark.looptime


class Word(str, enum.Enum):  # noqa: UP042 - a StrEnum prints as its value
    """A string that prints as something else."""

    A = "a"


class Number(enum.IntEnum):
    """An integer that prints as something else."""

    ONE = 1


def body_of(inputs: Any = None, webhooks: Any = (), env: Any = None) -> dict[str, Any]:
    """The JSON that a push sends."""
    body: dict[str, Any] = json.loads(check_push("me/mine", inputs, webhooks, env).body)
    return body


# What a push sends


def test_plain_pushes() -> None:
    """A push sends the function and the inputs, and the rest only where it was given."""
    assert body_of() == {"function": "me/mine", "inputs": {}}
    assert json.loads(check_push("me/mine:v-1", {"a": 1}, (), {}).body) == {
        "function": "me/mine:v-1",
        "inputs": {"a": 1},
    }


def test_inputs_are_copied_as_they_are() -> None:
    """Every JSON value arrives as it was given, and a later change of it does not."""
    plain = {"text": "häß \U0001f600 \n\0", "large": 2**70, "url": {"url": "https://host/a?b=c"}}
    inputs: dict[str, Any] = plain | {
        "list": [1, 2.5, True, None, {"a": ()}],
        "word": Word.A,
        "number": Number.ONE,
        "mapping": MappingProxyType({"x": 1}),
    }
    arguments = check_push("me/mine", inputs, (), None)
    inputs["list"].append(3)
    listed: list[Any] = [1, 2.5, True, None, {"a": []}]
    expected = plain | {"list": listed, "word": "a", "number": 1, "mapping": {"x": 1}}
    assert json.loads(arguments.body)["inputs"] == arguments.inputs == expected
    assert type(arguments.inputs["word"]) is str


def nested(depth: int, kind: type = list) -> Any:
    """A value so many levels deep."""
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind is list else {"a": value}
    return value


def cyclic() -> Any:
    """A list that contains itself."""
    value: list[Any] = []
    value.append(value)
    return value


def exponential() -> Any:
    """A few lists that stand for billions of values."""
    value: list[Any] = [1] * 10
    for _ in range(40):
        value = [value] * 10
    return value


BAD_INPUTS: list[tuple[Any, str]] = [
    ({"file": Path("a.mp4")}, r"inputs\['file'\] .* Sieve takes URLs.*\"url\""),
    ({"file": io.BytesIO()}, "Sieve takes URLs"),
    ({"a": [{"b": Path("x")}]}, r"inputs\['a'\]\[0\]\['b'\] must"),
    ({"file": b"x"}, "got bytes"),
    ({"file": File(url="https://host/a")}, "file.url"),
    ({"a": math.nan}, r"inputs\['a'\] must be a finite number"),
    ({"a": [math.inf]}, "finite"),
    ({1: 2}, "must have strings as keys"),
    ({"a": {None: 2}}, r"inputs\['a'\] must have strings as keys"),
    ({"a": object()}, "an object of class object"),
    ({"a": {1, 2}}, "an object of class set"),
    ({"a": "\ud800"}, "UTF-8"),
    ({"\ud800": 1}, "UTF-8"),
    ({"a": 10**5000}, "integers of thousands of digits"),
    ({"a": nested(200)}, "levels deep"),
    ({"a": nested(200, dict)}, "levels deep"),
    ({"a": nested(100_000)}, "levels deep"),
    ({"a": cyclic()}, "must not contain itself"),
    ({"a": exponential()}, "at most"),
    ({"a": "x" * (16 * 1024 * 1024)}, "at most"),
    ([], "inputs must be a mapping"),
    ("text", "inputs must be a mapping"),
]


def test_inputs_that_cannot_be_sent() -> None:
    """What is no JSON is refused; the message says where it is and what can be given."""
    for inputs, message in BAD_INPUTS:
        with pytest.raises(InvalidArgumentError, match=message):
            check_push("me/mine", inputs, (), None)
    shared = {"url": "https://host/a"}  # a value may stand in several places
    assert body_of({"a": shared, "b": [shared, shared]})["inputs"]["b"] == [shared, shared]


BAD_WEBHOOKS: list[Any] = [
    *("https://host/hook", b"x", None, 7, {"type": "job.complete", "url": "https://host"}),
    *(["https://host/hook"], [{"type": "job.complete"}], [{"url": "https://host"}], [Webhook()]),
    *([{"type": "", "url": "https://host"}], [{"type": "job.complete", "url": "ftp://host"}]),
]


def test_webhooks() -> None:
    """Webhooks are objects or mappings from any iterable; each needs a type and a URL."""
    hook = {"type": "job.complete", "url": "https://host/hook"}
    webhook = Webhook("job.complete", "https://host/hook")
    assert body_of(webhooks=[hook])["webhooks"] == [hook]
    assert body_of(webhooks=iter([webhook]))["webhooks"] == [hook]
    for webhooks in BAD_WEBHOOKS:
        with pytest.raises(InvalidArgumentError, match="webhooks"):
            check_push("me/mine", {}, webhooks, None)


def test_env_is_never_shown() -> None:
    """The values of environment variables are sent, and stand in no repr and no error."""
    arguments = check_push("me/mine", {}, (), {"TOKEN": "canary"})
    assert json.loads(arguments.body)["env"] == {"TOKEN": "canary"}
    assert "canary" not in repr(arguments)
    for env in ({"TOKEN": ["canary"]}, {7: "canary"}, {"A": "canary\ud800"}, "canary", ["canary"]):
        with pytest.raises(InvalidArgumentError) as raised:
            check_push("me/mine", {}, (), env)
        assert "canary" not in str(raised.value)


def test_pushed_jobs_are_values() -> None:
    """Only the id is required; a pushed job pickles, hashes and prints shortly."""
    pushed = PushedJob("j1", status=JobStatus.QUEUED)
    assert pickle.loads(pickle.dumps(pushed)) == pushed
    assert isinstance(hash(pushed), int)
    assert pushed.to_dict() == {"id": "j1", "status": "queued"}
    assert "model_id" not in repr(pushed)


def test_the_log_forgets_the_oldest() -> None:
    """A client that pushes for ever does not remember for ever."""
    log = PushLog()
    for number in range(100_010):
        log.record(f"j{number}", float(number))
    assert log.pushed_at("j9") is None
    assert log.pushed_at("j10") == 10.0
    assert log.pushed_at("j100009") == 100_009.0


# Finding a job again

NOW = datetime(2026, 1, 1, 12, tzinfo=UTC)
INPUTS = {"file": {"url": "https://host/a"}, "n": 1, "flag": True, "parts": [1, [2]]}


def job(job_id: str, inputs: Mapping[str, Any] = INPUTS, seconds: float | None = 1.0) -> Job:
    """A job created so many seconds after the push."""
    document = {"id": job_id, "status": "queued", "inputs": {**inputs}}
    created = None if seconds is None else (NOW + timedelta(seconds=seconds)).isoformat()
    return Job.from_dict(document | {"created_at": created})


async def found(
    *lists: list[Job] | Exception, log: PushLog | None = None, until: float = 10.0
) -> Any:
    """The ids that a search finds that reads these lists; the last repeats."""
    error = AmbiguousPushError("me/mine", INPUTS, NOW, accepted=False, reason="cut")
    left = list(lists)
    read = 0

    async def listing() -> AsyncIterator[Job]:
        nonlocal read
        listed = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(listed, Exception):
            raise listed
        for each in listed:
            read += 1
            yield each

    search = Search(error, listing, log or PushLog())
    jobs = await search.run(now() + until)
    return [each.id for each in jobs], read


async def test_jobs_with_equal_inputs() -> None:
    ids, _ = await found(
        [
            job("a"),
            job("b", seconds=-30),
            job("c", seconds=None),
            job("old", seconds=-61),
            job("other", {**INPUTS, "n": 2}),
            job("less", {"n": 1}),
            job("boolean", {**INPUTS, "flag": 1}),
        ]
    )
    assert ids == ["a", "b", "c"]


async def test_inputs_as_answers_spell_them() -> None:
    """Answers add null members, and spell files as lists of Key and Value."""
    pairs = [{"Key": "url", "Value": "https://host/a"}, {"Key": "_path", "Value": None}]
    with_null = {**INPUTS, "file": {"url": "https://host/a", "_path": None}, "unset": None}
    assert (await found([job("a", {**INPUTS, "file": pairs})]))[0] == ["a"]
    assert (await found([job("a", with_null)]))[0] == ["a"]
    assert (await found([job("a", {**INPUTS, "n": 1.0})]))[0] == ["a"]


async def test_inputs_nested_deeper_than_a_push() -> None:
    """A job of others does not end the search, however deep its inputs are."""
    deep: list[Any] = []
    for _ in range(5000):
        deep = [deep]
    assert (await found([job("deep", {"n": deep}), job("a")]))[0] == ["a"]


async def test_further_inputs_count_only_if_there_is_no_equal_job() -> None:
    """The server may fill in defaults: such a job is found when the time is over."""
    more = {**INPUTS, "voice": "x"}
    assert (await found([job("more", more), job("a")]))[0] == ["a"]
    assert (await found([job("more", more)]))[0] == ["more"]


async def test_a_job_that_is_listed_late() -> None:
    """The search continues until a job is listed, or the time is over."""
    assert (await found([], [], [job("a")]))[0] == ["a"]
    assert (await found([]))[0] == []
    assert (await found([], [job("a")], until=0.0))[0] == []


async def test_lists_that_cannot_be_read() -> None:
    """A transient failure is tried again until the time is over; any other ends the search."""
    transient, lasting = ServerError(503), NotFoundError(404)
    assert (await found(transient, [job("a")]))[0] == ["a"]
    with pytest.raises(ServerError):
        await found(transient)
    with pytest.raises(NotFoundError):
        await found(lasting)


async def test_how_far_a_list_is_read() -> None:
    """Where the newest come first, the search ends among the old ones; else it reads them all."""
    newest_first = [job("a"), *(job(f"o{n}", seconds=-100.0 - n) for n in range(2000))]
    assert await found(newest_first) == (["a"], 501)
    assert await found(newest_first[::-1]) == (["a"], 2001)


# Lists


def pages(*rows: list[str], size_limit: int = 500) -> tuple[JobList, list[tuple[int, int]]]:
    """A list with these pages, of which each may hold at most so many rows."""
    asked: list[tuple[int, int]] = []
    left = list(rows)

    async def fetch(size: int, offset: int) -> JobPage:
        asked.append((size, offset))
        if size > size_limit:
            raise ResponseTooLargeError("too large")
        page = left.pop(0)
        documents: list[dict[str, Any]] = [{"id": each, "status": "queued"} for each in page]
        more = offset + len(page) if left else None
        return JobPage([(each, JobStatus.QUEUED) for each in page], more, rows=documents)

    return JobList(fetch, None), asked


async def test_pages_that_are_too_large() -> None:
    """The size of pages is halved until they can be read, and stays so."""
    listing, asked = pages(["a"], ["b"], size_limit=100)
    assert [each.id async for each in listing] == ["a", "b"]
    assert [size for size, _ in asked] == [500, 250, 125, 62, 62]
    listing, asked = pages(["a"], size_limit=0)
    with pytest.raises(ResponseTooLargeError):
        await anext(listing)
    assert asked[-1] == (1, 0)


async def test_lists_that_do_not_end() -> None:
    """An offset that does not grow, or a page that repeats, is an error, after what came before."""

    async def same_page(_size: int, offset: int) -> JobPage:
        return JobPage([], offset + 1, rows=[{"id": "j", "status": "queued"}])

    async def fetch(_size: int, offset: int) -> JobPage:
        rows: list[dict[str, Any]] = [{"id": f"j{offset}", "status": "queued"}]
        return JobPage([], offset + (1 if offset < 3 else step), rows=rows)

    for step in (0, -1):  # noqa: B007 - fetch reads it
        listing = JobList(fetch, None)
        assert [(await anext(listing)).id for _ in range(4)] == ["j0", "j1", "j2", "j3"]
        with pytest.raises(DecodeError, match="there is no end"):
            await anext(listing)
    with pytest.raises(DecodeError, match="there is no end"):
        assert [each async for each in JobList(same_page, None)]


def test_invalid_filters() -> None:
    """A limit is a whole number; a filter that the API does not have is refused at once."""
    limits: list[Any] = [-1, True, "7", 1.0]
    for limit in limits:
        with pytest.raises(InvalidArgumentError, match="limit must be"):
            list_jobs(no_call, status=None, function=None, limit=limit)
    functions: list[Any] = ["mine", "a/b/c", 7]
    for function in functions:
        with pytest.raises(InvalidArgumentError, match="function must be"):
            list_jobs(no_call, status=None, function=function, limit=None)
    with pytest.raises(InvalidArgumentError, match="status"):
        list_jobs(no_call, status="", function=None, limit=None)
    with pytest.raises(InvalidArgumentError, match="one version by status"):
        list_jobs(no_call, status="queued", function="me/mine:v-1", limit=None)


async def no_call(*_: object) -> object:
    """A call that must not be made."""
    raise AssertionError


def test_unknown_keys_of_webhooks() -> None:
    """What an answer says of a webhook beside its type and URL is pushed with it."""
    webhook = Webhook("job.start", "https://host/hook", {"secret": "x"})
    sent = body_of(webhooks=[webhook])["webhooks"]
    assert sent == [{"type": "job.start", "url": "https://host/hook", "secret": "x"}]
