"""The embedded server keeps its promises, seen through a plain HTTP client."""

import asyncio
import contextlib
import logging
import math
import resource
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import datetime, timedelta
from typing import Any, TypeAlias

import aiohttp
import pytest

from sieve_async.testing import FakeSieve, Ledger, LedgerEntry

Document: TypeAlias = dict[str, Any]
Get: TypeAlias = Callable[[str], Awaitable[Document]]

JOB_KEYS = (
    "id function_id organization_id function status created_at started_at completed_at inputs "
    "outputs error visibility run_id children restarts"
)
VERSION_KEYS = (
    "id build_status queued_at built_at ready_at compute_type python_packages system_packages "
    "cuda_version gpu split minimum_replicas maximum_replicas inputs outputs current_workers "
    "environment_variables stream_output function_dependencies"
)


@pytest.fixture
async def sieve() -> AsyncIterator[FakeSieve]:
    """Run a server."""
    async with FakeSieve() as running:
        yield running


@pytest.fixture
async def session(sieve: FakeSieve) -> AsyncIterator[aiohttp.ClientSession]:
    """Open a client that knows the key."""
    key = {"X-API-Key": sieve.api_key}
    async with aiohttp.ClientSession(sieve.url, headers=key) as opened:
        yield opened


@pytest.fixture
def get(session: aiohttp.ClientSession) -> Get:
    """Get the document of a path, with its status as ``http``."""

    async def fetch(path: str) -> Document:
        async with session.get(path) as response:
            document: Document = await response.json()
            return document | {"http": response.status}

    return fetch


def data_of(job: Document) -> list[Any]:
    """Unwrap the outputs of a job."""
    return [output["data"] for output in job["outputs"] or []]


def time_between(document: Document, earlier: str, later: str) -> timedelta:
    """Subtract two times of a document."""
    return datetime.fromisoformat(document[later]) - datetime.fromisoformat(document[earlier])


def address_of(sieve: FakeSieve) -> tuple[str, int]:
    """Split the URL for those who speak plain TCP."""
    host, _, port = sieve.url.removeprefix("http://").partition(":")
    return host, int(port)


# Lives of jobs


@pytest.mark.looptime
async def test_job_lives_by_the_clock(sieve: FakeSieve, get: Get) -> None:
    """A job changes at the second it was scripted to, in 0.1 + 0.2 = 0.3 arithmetic."""
    sieve.add_job("j", queued=0.1, processing=0.2, outputs=["done"])

    seen = []
    for _ in range(4):
        seen.append(await get("/v2/jobs/j"))
        await asyncio.sleep(0.1)

    assert [job["status"] for job in seen] == ["queued", "processing", "processing", "finished"]
    assert [job["started_at"] is None for job in seen] == [True, False, False, False]
    assert [job["completed_at"] is None for job in seen] == [True, True, True, False]
    assert [data_of(job) for job in seen] == [[], [], [], ["done"]]
    assert time_between(seen[3], "created_at", "started_at") == timedelta(seconds=0.1)
    assert time_between(seen[3], "started_at", "completed_at") == timedelta(seconds=0.2)
    assert len(seen[3]["created_at"]) == len("2024-12-15T01:41:59.195000")


@pytest.mark.looptime
async def test_life_counts_from_when_it_was_added() -> None:
    """A job added at 0.1 s starts at 0.3 s when it was queued for 0.2 s, and not just after."""
    async with FakeSieve() as sieve, aiohttp.ClientSession(sieve.url) as session:
        await asyncio.sleep(0.1)
        sieve.add_job("j", queued=0.2, processing=1)
        await asyncio.sleep(0.2)
        async with session.get("/v2/jobs/j", headers={"X-API-Key": sieve.api_key}) as response:
            job = await response.json()

    assert sieve.requests[0].at == 0.3
    assert job["status"] == "processing"


@pytest.mark.looptime
async def test_job_lives_by_lookups(sieve: FakeSieve, get: Get) -> None:
    """A job that counts polls does not care for the clock, and never changes once it ended."""
    sieve.add_job("j", queued=2, processing=3, by="polls")

    seen = []
    for _ in range(8):
        seen.append(await get("/v2/jobs/j"))
        await asyncio.sleep(1)

    words = ["queued"] * 2 + ["processing"] * 3 + ["finished"] * 3
    assert [job["status"] for job in seen] == words
    assert seen[5] == seen[7]
    assert time_between(seen[7], "created_at", "started_at") == timedelta(seconds=2)
    assert time_between(seen[7], "started_at", "completed_at") == timedelta(seconds=3)


async def test_job_ends_at_once_by_default(sieve: FakeSieve, get: Get) -> None:
    """A job without a script is finished at the first look, under an id of its own."""
    job_id = sieve.add_job()

    job = await get(f"/v2/jobs/{job_id}")

    assert (job["id"], job["status"], job["error"]) == (job_id, "finished", "")
    assert job["outputs"] is None


@pytest.mark.looptime
async def test_job_without_an_end_stays_processing(sieve: FakeSieve, get: Get) -> None:
    """``ends=None`` goes on for ever, with all streamed outputs there after its span."""
    sieve.add_job("j", queued=1, processing=2, ends=None, outputs=[1, 2], streams=True)

    await asyncio.sleep(1e6)
    job = await get("/v2/jobs/j")

    assert (job["status"], job["completed_at"], data_of(job)) == ("processing", None, [1, 2])


async def test_job_can_wait_for_ever(sieve: FakeSieve, get: Get) -> None:
    """An infinite span is one that never ends."""
    sieve.add_job("j", queued=math.inf)

    assert (await get("/v2/jobs/j"))["status"] == "queued"


async def test_failed_job_tells_why(sieve: FakeSieve, get: Get) -> None:
    """A failure has its text, or a traceback of many lines, and no outputs."""
    sieve.add_job("told", ends="error", error="no disk", outputs=["lost"])
    sieve.add_job("untold", ends="error", by="polls", processing=1)

    told = await get("/v2/jobs/told")
    before = await get("/v2/jobs/untold")
    after = await get("/v2/jobs/untold")

    assert (told["status"], told["error"], told["outputs"]) == ("error", "no disk", None)
    assert before["error"] == ""
    assert after["error"].startswith("Traceback")
    assert after["error"].count("\n") > 3


async def test_cancelled_job_may_never_have_started(sieve: FakeSieve, get: Get) -> None:
    """A job cancelled without processing has no time of starting; one that processed has."""
    sieve.add_job("waiting", ends="cancelled")
    sieve.add_job("working", ends="cancelled", processing=1, by="polls")

    waiting = await get("/v2/jobs/waiting")
    await get("/v2/jobs/working")
    working = await get("/v2/jobs/working")

    assert (waiting["status"], waiting["started_at"]) == ("cancelled", None)
    assert waiting["completed_at"] is not None
    assert working["status"] == "cancelled"
    assert working["started_at"] is not None


@pytest.mark.looptime
async def test_job_restarts(sieve: FakeSieve, get: Get) -> None:
    """Each run has an id of its own, begins without outputs, and is told of when it died."""
    sieve.add_job("j", queued=1, processing=4, restarts=2, outputs=["a", "b"], streams=True)

    seen = []
    for _ in range(8):
        seen.append(await get("/v2/jobs/j"))
        await asyncio.sleep(2)

    assert [job["status"] for job in seen] == ["queued"] + ["processing"] * 6 + ["finished"]
    assert [len(data_of(job)) for job in seen] == [0, 0, 1, 0, 1, 0, 1, 2]
    assert [len(job["restarts"] or []) for job in seen] == [0, 0, 0, 1, 1, 2, 2, 2]
    assert len({job["run_id"] for job in seen}) == 3
    assert all(job["run_id"].startswith("j-") for job in seen)
    died = seen[-1]["restarts"]
    assert [each["run_id"] for each in died] == [seen[1]["run_id"], seen[3]["run_id"]]
    assert [each["type"] for each in died] == ["preemption", "OOM"]
    assert time_between(died[0] | seen[-1], "created_at", "timestamp") == timedelta(seconds=5)
    assert time_between(died[1] | seen[-1], "created_at", "timestamp") == timedelta(seconds=9)


async def test_restarts_by_lookups(sieve: FakeSieve, get: Get) -> None:
    """Runs can be counted in lookups too."""
    sieve.add_job("j", processing=2, restarts=1, by="polls")

    seen = [await get("/v2/jobs/j") for _ in range(5)]

    assert [job["status"] for job in seen] == ["processing"] * 4 + ["finished"]
    assert [len(job["restarts"] or []) for job in seen] == [0, 0, 1, 1, 1]


# Outputs


@pytest.mark.looptime
async def test_streamed_outputs_appear_one_by_one(sieve: FakeSieve, get: Get) -> None:
    """They are spread evenly over the processing, and stay when the job fails."""
    sieve.add_job("j", processing=0.9, outputs=[1, 2, 3], streams=True, ends="error")

    seen = []
    for _ in range(4):
        seen.append(await get("/v2/jobs/j"))
        await asyncio.sleep(0.3)

    assert [data_of(job) for job in seen] == [[], [1], [1, 2], [1, 2, 3]]
    assert seen[-1]["status"] == "error"


async def test_streaming_waits_for_the_start(sieve: FakeSieve, get: Get) -> None:
    """A queued job has no outputs, whatever it will stream."""
    sieve.add_job("j", queued=1, by="polls", outputs=[1], streams=True)

    assert (await get("/v2/jobs/j"))["outputs"] is None


async def test_offset_leaves_out_the_first_outputs(sieve: FakeSieve, get: Get) -> None:
    """Past the last output there is an empty list, not null."""
    sieve.add_job("j", outputs=[1, 2, 3])

    rest = [data_of(await get(f"/v2/jobs/j?offset={offset}")) for offset in (0, 1, 3, 9)]
    beyond = await get("/v2/jobs/j?offset=9")

    assert rest == [[1, 2, 3], [2, 3], [], []]
    assert beyond["outputs"] == []


@pytest.mark.parametrize(
    ("offset", "kind"),
    [
        ("x", "int_parsing"),
        ("", "int_parsing"),
        ("1.5", "int_parsing"),
        ("-1", "greater_than_equal"),
    ],
)
async def test_bad_offset_is_refused(sieve: FakeSieve, get: Get, offset: str, kind: str) -> None:
    """The refusal names the place and shows the value, and the job has not moved."""
    sieve.add_job("j", queued=1, by="polls")

    refusal = await get(f"/v2/jobs/j?offset={offset}")
    job = await get("/v2/jobs/j")

    assert refusal["http"] == 422
    assert [
        (problem["type"], problem["loc"], problem["input"]) for problem in refusal["detail"]
    ] == [(kind, ["query", "offset"], offset)]
    assert refusal["detail"][0]["msg"].startswith("Input should be")
    assert job["status"] == "queued"


WHOLE = {"type": "x", "name": "n", "data": 1, "description": None, "schema": None}


@pytest.mark.parametrize(
    ("given", "kind", "data"),
    [
        ("text", "str", "text"),
        (1.5, "float", 1.5),
        (None, None, None),
        ([], "list", []),
        ([1, {"data": 1}], "list", [1, {"data": 1}]),
        ({"url": "https://x/y"}, "sieve.File", {"url": "https://x/y"}),
        ({"score": 1}, "dict", {"score": 1}),
    ],
)
async def test_output_is_wrapped(
    sieve: FakeSieve, get: Get, given: object, kind: str | None, data: object
) -> None:
    """Any JSON value becomes the data of an InputOutput with every documented key."""
    sieve.add_job("j", outputs=[given])

    [output] = (await get("/v2/jobs/j"))["outputs"]

    empty = dict.fromkeys(("name", "description", "schema", "run_id", "is_optional"))
    assert output == {"type": kind, "data": data} | empty


async def test_whole_outputs_stay_as_they_are(sieve: FakeSieve, get: Get) -> None:
    """A dict with data is an InputOutput already; a sequence of such is a nested output."""
    sieve.add_job("j", outputs=[WHOLE, (WHOLE, WHOLE)])

    job = await get("/v2/jobs/j")

    assert job["outputs"] == [WHOLE, [WHOLE, WHOLE]]


async def test_inputs_are_wrapped_by_name(sieve: FakeSieve, get: Get) -> None:
    """An input knows its name; a whole one stays; what the test does to its dict later is lost."""
    inputs: Document = {"file": {"url": "u"}, "whole": WHOLE}
    sieve.add_job("j", inputs=inputs)
    inputs["file"]["url"] = "changed"

    job = await get("/v2/jobs/j")

    assert job["inputs"]["file"]["name"] == "file"
    assert job["inputs"]["file"]["data"] == {"url": "u"}
    assert job["inputs"]["whole"] == WHOLE


# Documents


async def test_job_document_is_complete(sieve: FakeSieve, get: Get) -> None:
    """Every documented field is there, in the newer shape."""
    sieve.add_job("j", function="me/mine")

    job = await get("/v2/jobs/j")

    assert " ".join(job) == f"{JOB_KEYS} http"
    assert job["function"] == {"name": "mine", "owner_name": "me"}
    assert len(job["function_id"]) == 7


async def test_fields_win(sieve: FakeSieve, get: Get) -> None:
    """A test can put anything into a document, known or not."""
    sieve.add_job("j", fields={"visibility": "private", "new_key": [1]})
    sieve.add_version("me", "mine", "v", gpu=True, new_key=None)

    job = await get("/v2/jobs/j")
    version = await get("/v2/functions/me/mine/versions/v")

    assert (job["visibility"], job["new_key"]) == ("private", [1])
    assert (version["gpu"], version["new_key"]) == (True, None)


# Versions


@pytest.mark.looptime
async def test_build_goes_through_all_states(sieve: FakeSieve, get: Get) -> None:
    """Each state lasts as long as scripted; built comes before pushed, and ready last."""
    sieve.add_version("me", "mine", "v", queued=1, building=1, pushing=1, deploying=1)

    seen = []
    for _ in range(5):
        seen.append(await get("/v2/functions/me/mine/versions/latest"))
        await asyncio.sleep(1)

    states = ["queued", "building", "pushing", "deploying", "ready"]
    assert [version["build_status"] for version in seen] == states
    assert [version["built_at"] is None for version in seen] == [True, True, False, False, False]
    assert [version["ready_at"] is None for version in seen] == [True] * 4 + [False]
    assert time_between(seen[4], "queued_at", "built_at") == timedelta(seconds=2)
    assert time_between(seen[4], "queued_at", "ready_at") == timedelta(seconds=4)
    assert " ".join(seen[4]) == f"{VERSION_KEYS} http"


async def test_failed_build_was_not_built(sieve: FakeSieve, get: Get) -> None:
    """A build that failed while building has no later times; one failed in deploying has."""
    sieve.add_version("me", "mine", "early", building=1, ends="error", by="polls")
    sieve.add_version("me", "mine", "late", deploying=1, ends="error", by="polls")

    path = "/v2/functions/me/mine/versions"
    seen = [await get(f"{path}/{name}") for name in ("early", "early", "late", "late")]

    states = ["building", "error", "deploying", "error"]
    assert [version["build_status"] for version in seen] == states
    assert [version["built_at"] is None for version in seen] == [True, True, False, False]
    assert [version["ready_at"] for version in seen] == [None] * 4


async def test_version_is_found_by_id_prefix_or_latest(sieve: FakeSieve, get: Get) -> None:
    """A prefix must be of one version only; a full id wins over being a prefix; latest moves."""
    path = "/v2/functions/me/mine/versions"
    for version_id in ("abc1", "abc2", "abc"):
        sieve.add_version("me", "mine", version_id)
    sieve.add_version("me", "other", "abd")

    found = [await get(f"{path}/{slug}") for slug in ("latest", "abc", "abc1", "ab", "abd", "x")]
    nobody = await get("/v2/functions/me/none/versions/latest")
    newer = sieve.add_version("me", "mine")
    moved = await get(f"{path}/latest")

    assert [version.get("id") for version in found] == ["abc", "abc", "abc1", None, None, None]
    assert [version["http"] for version in found] == [200, 200, 200, 404, 404, 404]
    assert nobody == {"detail": "Function version not found", "http": 404}
    assert moved["id"] == newer
    assert (await get(f"{path}/{newer[:8]}"))["id"] == newer


# Refusals


async def test_key_is_checked(sieve: FakeSieve) -> None:
    """Without the right key there is no look at anything under /v2, and none after revoking."""
    job_id = sieve.add_job()
    right = {"X-API-Key": sieve.api_key}

    async def status(path: str, headers: dict[str, str]) -> int:
        async with aiohttp.request("GET", sieve.url + path, headers=headers) as response:
            return response.status

    refused = [await status(f"/v2/jobs/{job_id}", key) for key in ({}, {"X-API-Key": "wrong"})]
    outside = await status("/", {})
    accepted = await status(f"/v2/jobs/{job_id}", right)
    sieve.revoke_key()
    revoked = await status(f"/v2/jobs/{job_id}", right)

    assert (refused, outside, accepted, revoked) == ([401, 401], 404, 200, 401)
    assert [entry.key_accepted for entry in sieve.requests] == [False, False, False, True, False]


async def test_unknown_things_are_not_found(sieve: FakeSieve, get: Get) -> None:
    """A job that never was, one that vanished and a path that is none are told apart."""
    sieve.add_job("j")
    sieve.remove_job("j")

    assert await get("/v2/jobs/j") == {"detail": "Job not found", "http": 404}
    assert await get("/v2/jobs/a/b") == {"detail": "Not Found", "http": 404}
    assert await get("/v2/jobs/") == {"detail": "Not Found", "http": 404}
    sieve.add_job("j")
    assert (await get("/v2/jobs/j"))["http"] == 200


async def test_wrong_method_is_refused(sieve: FakeSieve, session: aiohttp.ClientSession) -> None:
    """Only GET looks things up; the refusal says so, and the ledger counts the bytes sent."""
    job_id = sieve.add_job()

    async with session.post(f"/v2/jobs/{job_id}", json={}) as posted:
        refusal = await posted.json()
    async with session.head(f"/v2/jobs/{job_id}") as headed:
        nothing = await headed.read()

    assert (posted.status, headed.status, nothing) == (405, 405, b"")
    assert refusal == {"detail": "Method Not Allowed"}
    assert posted.headers["Allow"] == "GET"
    assert [entry.body_bytes for entry in sieve.requests] == [31, 0]


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        (
            {"ends": "done"},
            "ends must be one of 'finished', 'error', 'cancelled', None, not 'done'",
        ),
        ({"by": "moon"}, "by must be one of 'time', 'polls'"),
        ({"queued": -1}, "queued must be zero or more"),
        ({"processing": math.nan}, "processing must be zero or more"),
        ({"processing": 1.5, "by": "polls"}, "processing counts polls and must be a whole number"),
        ({"restarts": -1}, "restarts must be zero or more"),
        ({"function": "demo"}, "function must be 'owner/name', not 'demo'"),
        ({"function": "a/b/c"}, "function must be 'owner/name'"),
        ({"outputs": [object()]}, "an output cannot be written as JSON"),
        ({"inputs": {"x": math.nan}}, "x cannot be written as JSON"),
        ({"job_id": "taken"}, "there is a job 'taken' already"),
    ],
)
def test_unplayable_job_is_refused(script: Document, complaint: str) -> None:
    """A mistake in a script is told when the job is added."""
    sieve = FakeSieve()
    sieve.add_job("taken")

    with pytest.raises(ValueError, match=complaint):
        sieve.add_job(**script)


@pytest.mark.parametrize(
    ("script", "complaint"),
    [
        ({"ends": "finished"}, "ends must be one of 'ready', 'error', None"),
        ({"pushing": -1}, "pushing must be zero or more"),
        ({"function_name": ""}, "function must be 'owner/name'"),
        ({"version_id": "taken"}, "there is a version 'taken' already"),
    ],
)
def test_unplayable_version_is_refused(script: Document, complaint: str) -> None:
    """A mistake in a script is told when the version is added."""
    sieve = FakeSieve()
    sieve.add_version("me", "mine", "taken")
    arguments: Document = {"function_name": "mine"} | script

    with pytest.raises(ValueError, match=complaint):
        sieve.add_version("me", **arguments)


def test_other_mistakes_are_refused() -> None:
    """A clock must run forwards, and only a job that is there can vanish."""
    with pytest.raises(ValueError, match="speed must be a positive number, not 0"):
        FakeSieve(speed=0)
    with pytest.raises(ValueError, match="there is no job 'j'"):
        FakeSieve().remove_job("j")


# The ledger


async def test_ledger_keeps_every_request(sieve: FakeSieve, session: aiohttp.ClientSession) -> None:
    """An entry says what was asked and how it was answered."""
    job_id = sieve.add_job("a b")

    async with session.get("/v2/jobs/a b", params={"offset": "2"}) as response:
        body = await response.read()

    [entry] = sieve.requests
    asked = (entry.method, entry.path, entry.query, entry.key_accepted)
    assert asked == ("GET", f"/v2/jobs/{job_id}", {"offset": "2"}, True)
    assert (entry.status, entry.body_bytes) == (200, len(body))
    assert 0 <= entry.at < 60
    assert sieve.api_key not in repr(entry)


async def test_requests_are_counted_by_subject(sieve: FakeSieve, get: Get) -> None:
    """Jobs count also while unknown, versions by whatever name, and paths as they are."""
    version_id = sieve.add_version("me", "mine", "v1")
    path = "/v2/functions/me/mine/versions/"

    for asked in ("/v2/jobs/gone", "/v2/jobs/gone", path + "latest", path + "v1", path + "x"):
        await get(asked)

    subjects = ("gone", version_id, path + "latest", path + "x", "never")
    assert [sieve.requests_for(subject) for subject in subjects] == [2, 2, 1, 1, 0]
    assert sieve.requests.by_status == {404: 3, 200: 2}
    assert sieve.requests.total == 5


def test_ledger_forgets_entries_but_not_totals() -> None:
    """Memory is bounded; counts are exact; going through it is safe while it grows."""
    ledger = Ledger(kept=2)
    entries = [
        LedgerEntry("GET", f"/{n}", {}, key_accepted=True, status=200, body_bytes=n, at=n)
        for n in range(3)
    ]

    for entry in entries:
        ledger.enter(entry)
    for _ in ledger:
        ledger.enter(entries[0])

    assert (len(ledger), ledger.total, ledger.body_bytes) == (2, 5, 3)
    assert ledger.by_path == {"/0": 3, "/1": 1, "/2": 1}
    assert (ledger[-1], ledger[:1]) == (entries[0], (entries[0],))
    assert repr(ledger) == "<Ledger of 5 requests>"


async def test_requests_sent_together_are_in_flight_together(sieve: FakeSieve) -> None:
    """The server sees how many requests a client has open at once."""
    streams = [await asyncio.open_connection(*address_of(sieve)) for _ in range(5)]
    await asyncio.sleep(0)

    for _, writer in streams:
        writer.write(b"GET /v2/jobs/j HTTP/1.1\r\nHost: x\r\n\r\n")
    answers = [await reader.readuntil(b"\r\n") for reader, _ in streams]
    for _, writer in streams:
        writer.close()
        await writer.wait_closed()

    assert answers == [b"HTTP/1.1 401 Unauthorized\r\n"] * 5
    assert (sieve.most_in_flight, sieve.in_flight, sieve.connections) == (5, 0, 5)


# Running, stopping, time


@pytest.mark.looptime
async def test_connections_are_kept_for_virtual_days(sieve: FakeSieve) -> None:
    """The server never drops an idle connection by itself."""
    connector = aiohttp.TCPConnector(keepalive_timeout=1e7)
    async with aiohttp.ClientSession(sieve.url, connector=connector) as session:
        for _ in range(3):
            async with session.get("/"):
                await asyncio.sleep(1e6)

    assert sieve.connections == 1


@pytest.mark.looptime
async def test_outage(sieve: FakeSieve, get: Get) -> None:
    """Stopped, it refuses and cuts connections; started again, it is at the same place."""
    url = sieve.url
    sieve.add_job("j", processing=10)
    before = await get("/v2/jobs/j")

    await sieve.stop()
    await sieve.stop()
    with pytest.raises(aiohttp.ClientConnectionError):
        await get("/v2/jobs/j")
    await asyncio.sleep(10)
    await sieve.start()
    await sieve.start()
    after = await get("/v2/jobs/j")

    assert (before["status"], after["status"]) == ("processing", "finished")
    assert sieve.url == url
    assert sieve.requests_for("j") == 2
    assert sieve.connections == 2
    assert sieve.requests[1].at == pytest.approx(sieve.requests[0].at + 10)


async def test_stop_leaves_nothing_behind(sieve: FakeSieve) -> None:
    """Idle connections and answers that nobody reads are cut at once, and no task is left."""
    sieve.add_job("big", outputs=["x" * 10_000_000])
    request = f"GET /v2/jobs/big HTTP/1.1\r\nX-API-Key: {sieve.api_key}\r\nHost: x\r\n\r\n"
    idle, unread = [await asyncio.open_connection(*address_of(sieve)) for _ in range(2)]
    unread[1].write(request.encode())
    await unread[0].readexactly(1)

    async with asyncio.timeout(2):
        await sieve.stop()

    tasks = asyncio.all_tasks()
    for reader, writer in (idle, unread):
        writer.close()
        await asyncio.gather(reader.read(), writer.wait_closed(), return_exceptions=True)
    assert tasks == {asyncio.current_task()}
    assert sieve.in_flight == 0


@pytest.mark.parametrize("turns", range(6))
async def test_stop_catches_arriving_connections(sieve: FakeSieve, turns: int) -> None:
    """A connection that is only just being accepted does not stay open."""
    with socket.create_connection(address_of(sieve)) as arriving:
        arriving.settimeout(0)
        for _ in range(turns):
            await asyncio.sleep(0)

        await sieve.stop()
        await asyncio.sleep(0)

        with contextlib.suppress(ConnectionResetError):
            assert arriving.recv(1) == b""


@pytest.mark.looptime
async def test_server_survives_a_lack_of_descriptors(sieve: FakeSieve, get: Get) -> None:
    """A connection that cannot be accepted waits until it can be."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.create_connection(address_of(sieve)):
        resource.setrlimit(resource.RLIMIT_NOFILE, (1, hard))
        await asyncio.sleep(1)
        accepted = sieve.connections
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        answer = await get("/")

    assert accepted == 0
    assert answer["http"] == 404


@pytest.mark.looptime
async def test_lives_begin_when_the_server_starts() -> None:
    """What is added before the start waits for it; a custom clock may run at any speed."""
    times = iter([100.0, 100.0, 101.0, 103.0, 50.0, 52.0])
    sieve = FakeSieve(clock=lambda: next(times), speed=2)
    sieve.add_job("j", processing=6)
    key = {"X-API-Key": sieve.api_key}

    async with sieve, aiohttp.ClientSession(sieve.url, headers=key) as session:
        statuses = []
        for _ in range(2):
            async with session.get("/v2/jobs/j") as response:
                statuses.append((await response.json())["status"])

    assert statuses == ["processing", "finished"]


def test_server_outlives_a_loop() -> None:
    """A server can be started again on another loop, with its port, jobs and ledger."""
    sieve = FakeSieve()
    sieve.add_job("j")

    async def run() -> tuple[str, int]:
        key = {"X-API-Key": sieve.api_key}
        async with sieve, aiohttp.request("GET", sieve.url + "/v2/jobs/j", headers=key) as answer:
            return sieve.url, answer.status

    first, second = asyncio.run(run()), asyncio.run(run())

    assert first == second == (sieve.url, 200)
    assert sieve.requests_for("j") == 2
    assert sieve.requests[0].at <= sieve.requests[1].at


def test_address_is_known_when_it_can_be() -> None:
    """A free port is chosen at the start only; an IPv6 host is written as URLs want it."""
    assert FakeSieve(port=1).url == "http://127.0.0.1:1"
    assert FakeSieve(host="::1", port=1).url == "http://[::1]:1"
    with pytest.raises(RuntimeError, match="start it first"):
        _ = FakeSieve().url


async def test_repr_shows_the_state_but_not_the_key() -> None:
    """A server can be printed safely."""
    sieve = FakeSieve(port=0, api_key="canary")
    sieve.add_job()

    stopped = repr(sieve)
    async with sieve:
        running = repr(sieve)

    assert stopped == "<FakeSieve at 127.0.0.1:0, stopped, 1 jobs, 0 versions>"
    assert "running" in running
    assert "canary" not in stopped + running


async def test_nothing_is_logged(get: Get, caplog: pytest.LogCaptureFixture) -> None:
    """A test's log belongs to the program under test."""
    caplog.set_level(logging.INFO)

    await get("/v2/jobs/j")

    assert caplog.records == []
