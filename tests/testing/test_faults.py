"""Faults of the fake server: which requests they affect, and what becomes of the answers."""

import asyncio
import json
from email.utils import parsedate_to_datetime

import aiohttp
import pytest

from helpers.http_helpers import Document, Get, get_raw, now, wait_until_in_flight
from sieve_async.testing import FakeSieve
from sieve_async.testing.answers import DETAILS

# Which requests


async def test_path_and_job(sieve: FakeSieve, get: Get) -> None:
    """A path may have a star; a job is met at its lookups and awaits, and nowhere else."""
    for name in ("a", "b", "c"):
        sieve.add_job(name)
    sieve.add_version("me", "mine", "v")
    job = sieve.fault(job="a", status=500)
    path = sieve.fault(path="/v2/jobs/b", status=501)
    star = sieve.fault(path="/v2/functions/*/versions/*", status=502)
    paths = ["jobs/a", "jobs/a/await", "jobs/b", "jobs/b/await", "jobs/c", "jobs"]
    paths += ["functions/me/mine/versions/v", "functions/sieve/demo/jobs"]
    seen = [(await get(f"/v2/{each}"))["http"] for each in paths]
    assert seen == [500, 500, 501, 200, 200, 200, 502, 200]
    assert (job.hits, path.hits, star.hits) == (2, 1, 1)


async def test_times_and_removal(sieve: FakeSieve, get: Get) -> None:
    """Of two that answer, the second begins when the first is used up; both can be removed."""
    first, second = sieve.fault(status=503, times=2), sieve.fault(status=429)
    seen = [(await get("/"))["http"] for _ in range(3)]
    with sieve.fault(status=501) as third:
        second.remove()
        second.remove()
        seen.append((await get("/"))["http"])
    seen.append((await get("/"))["http"])
    sieve.fault(status=502)
    sieve.clear_faults()
    seen.append((await get("/"))["http"])
    assert seen == [503, 503, 429, 501, 404, 404]
    assert (first.hits, second.hits, third.hits) == (2, 1, 1)
    assert (first.is_used_up, second.is_removed, second.is_used_up) == (True, True, False)


async def test_probability_is_seeded(sieve: FakeSieve, get: Get) -> None:
    """A share of the requests meets it, the same ones for the same seed."""

    async def met(seed: int) -> list[bool]:
        with sieve.fault(status=500, probability=0.3, seed=seed):
            return [(await get("/"))["http"] == 500 for _ in range(50)]

    first, again, other = await met(1), await met(1), await met(2)
    assert first == again != other
    assert 5 < sum(first) < 25


@pytest.mark.looptime
async def test_effects_together(sieve: FakeSieve, session: aiohttp.ClientSession) -> None:
    """What one answers may be late, and have headers, because of others."""
    sieve.add_job("j")
    sieve.fault(delay=3)
    sieve.fault(status=503, times=1)
    sieve.fault(headers={"X-Proxy": "new", "X-Other": "1"})
    sieve.fault(headers={"X-Proxy": "newer"}, retry_after=1)
    seen = []
    for _ in range(2):
        async with session.get("/v2/jobs/j") as response:
            headers = [response.headers[name] for name in ("X-Proxy", "X-Other", "Retry-After")]
            seen.append((response.status, headers, now()))
    assert seen == [(503, ["new", "1", "1"], 3), (200, ["new", "1", "1"], 6)]


# What answers instead


@pytest.mark.parametrize(
    ("status", "detail"),
    [
        (402, DETAILS[402]),
        (422, DETAILS[422]),
        (404, "Job not found."),
        (429, "Too Many Requests"),
        (599, "Unknown"),
    ],
)
async def test_status(sieve: FakeSieve, get: Get, status: int, detail: object) -> None:
    """A status comes with the body that fits it, and the request is not a poll of the job."""
    sieve.add_job("j", queued=1, by="polls")
    with sieve.fault(status=status):
        refused = await get("/v2/jobs/j")
    job = await get("/v2/jobs/j")
    assert refused == {"detail": detail, "http": status}
    assert (job["http"], job["status"]) == (200, "queued")
    assert sieve.requests.by_status == {status: 1, 200: 1}


@pytest.mark.parametrize(
    ("body", "sent"),
    [
        ("<html>", b"<html>"),
        (b"\xff\x00", b"\xff\x00"),
        ("", b""),
        ([{"a": None}], b'[{"a":null}]'),
    ],
)
async def test_body(
    sieve: FakeSieve, session: aiohttp.ClientSession, body: str | bytes | Document, sent: bytes
) -> None:
    """Text and bytes are sent as they are, anything else as JSON; a header is there once."""
    sieve.fault(body=body, status=502, headers={"content-type": "text/html", "X-Request-Id": "r"})
    sieve.fault(body="another")
    async with session.get("/anything") as response:
        received = await response.read()
    assert (response.status, received) == (502, sent)
    assert response.headers.getall("Content-Type") == ["text/html"]
    assert response.headers["X-Request-Id"] == "r"
    assert sieve.requests[0].body_bytes == len(sent)


@pytest.mark.parametrize(("status", "slow_body"), [(204, 0.0), (304, 0.01)])
async def test_answers_without_a_body(
    sieve: FakeSieve, session: aiohttp.ClientSession, status: int, slow_body: float
) -> None:
    """Where HTTP has no body none is sent, and the connection serves the next request."""
    with sieve.fault(status=status, slow_body=slow_body):
        async with session.get("/") as bare:
            assert (bare.status, await bare.read()) == (status, b"")
    with sieve.fault(body="not JSON", fields={"status": 1}):
        async with session.get("/") as whole:
            assert (whole.status, await whole.text()) == (200, "not JSON")
    assert whole.content_type == "application/json"
    assert sieve.connections == 1
    assert sieve.requests[0].body_bytes == 0


async def test_retry_after() -> None:
    """A pause is asked for in whole seconds, or as a time that counts from that of the answer."""
    sieve = FakeSieve(clock="manual")
    sieve.fault(status=429, retry_after=1.2, times=1)
    sieve.fault(status=503, retry_after=3600, as_date=True)
    sieve.advance(86_400)
    async with sieve, aiohttp.ClientSession(sieve.url) as session:
        async with session.get("/v2/jobs/j") as seconds:
            pass
        async with session.get("/v2/jobs/j") as date:
            pass
    sent, until = (parsedate_to_datetime(date.headers[name]) for name in ("Date", "Retry-After"))
    assert (seconds.status, seconds.headers["Retry-After"]) == (429, "2")
    assert (until - sent).total_seconds() == 3600
    assert date.headers["Retry-After"].endswith(" GMT")


# What happens to a good answer


async def test_fields(sieve: FakeSieve, get: Get, session: aiohttp.ClientSession) -> None:
    """Every job and version shown has the members asked for, and errors stay unchanged."""
    sieve.add_job("j")
    sieve.add_version("me", "mine", "v")
    sieve.fault(fields={"status": "napping", "outputs": 7})
    sieve.fault(fields={"outputs": 8, "gpu": [None]})
    job = await get("/v2/jobs/j")
    [row] = (await get("/v2/jobs"))["data"]
    version = await get("/v2/functions/me/mine/versions/v")
    async with session.get("/v2/functions/me/mine/versions") as response:
        [in_array] = await response.json()
    unknown = await get("/v2/jobs/none")
    assert (job["status"], job["outputs"], job["id"]) == ("napping", 7, "j")
    assert row["status"] == "napping"
    assert (version["gpu"], version["id"], in_array["gpu"]) == ([None], "v", [None])
    assert unknown == {"detail": "Job not found.", "http": 404}


async def test_truncated_body(sieve: FakeSieve, session: aiohttp.ClientSession) -> None:
    """Half of the body comes as a complete answer."""
    sieve.add_job("j")
    sieve.fault(truncate=True)
    async with session.get("/v2/jobs/j") as response:
        received = await response.text()
    assert int(response.headers["Content-Length"]) == len(received) > 100
    with pytest.raises(json.JSONDecodeError):
        json.loads(received)


@pytest.mark.looptime
async def test_delay(sieve: FakeSieve, get: Get) -> None:
    """Nothing happens at first; then the answer is as of then. Delays add up."""
    sieve.add_job("j", queued=7)
    sieve.fault(delay=5)
    sieve.fault(delay=2.5)
    job = await get("/v2/jobs/j")
    assert (job["status"], now()) == ("finished", 7.5)
    assert (sieve.requests[0].at, sieve.requests[0].took) == (0, 7.5)


@pytest.mark.looptime
@pytest.mark.parametrize("body", ["x" * 1000, "ab"])
async def test_slow_body(sieve: FakeSieve, session: aiohttp.ClientSession, body: str) -> None:
    """The headers come at once, and the body in pieces over the time asked for."""
    sieve.fault(body=body, slow_body=30)
    async with session.get("/") as response:
        began = now()
        pieces = [piece async for piece in response.content.iter_any()]
    assert (began, now()) == (0, 30)
    assert len(pieces) == min(len(body), 10)
    assert b"".join(pieces) == body.encode()


async def test_dropped_connections(sieve: FakeSieve, caplog: pytest.LogCaptureFixture) -> None:
    """The connection is closed before the headers, amid them, or amid the body."""
    caplog.set_level("WARNING")
    sieve.add_job("j", queued=2, by="polls")
    whole = {}
    for drop in ("before", "headers", "body"):
        with sieve.fault(drop=drop):
            whole[drop] = await get_raw(sieve, "/v2/jobs/j")
    with sieve.fault(status=599, drop="body"):
        odd = await get_raw(sieve, "/")
    head, _, body = whole["body"].partition(b"\r\n\r\n")
    assert whole["before"] == b""
    assert whole["headers"].startswith(b"HTTP/1.1 200 OK\r\nContent-Type: application/json")
    assert b"\r\n\r\n" not in whole["headers"]
    assert f"Content-Length: {2 * len(body)}"[:-1].encode() in head
    assert body.startswith(b'{"id":"j"')
    assert odd.startswith(b"HTTP/1.1 599 \r\n")
    assert [entry.status for entry in sieve.requests] == [0, 0, 0, 0]
    assert sieve.in_flight == 0
    assert caplog.records == []
    assert sieve.job("j").status == "queued"  # the two answers that were begun were polls


async def test_dropped_head(sieve: FakeSieve) -> None:
    """An answer to HEAD has no body that could be cut; its method may be in small letters."""
    url = sieve.add_file("a", b"content")
    fault = sieve.fault(method="head", drop="body")

    async with aiohttp.request("HEAD", url) as response:
        assert (response.status, response.content_length) == (200, 7)
    assert fault.hits == 1


@pytest.mark.looptime
async def test_held_request_can_be_dropped(sieve: FakeSieve) -> None:
    """An await is held first, and its connection closed when it would be answered."""
    sieve.add_job("j", processing=60)
    sieve.fault(job="j", drop="headers")
    received = await get_raw(sieve, "/v2/jobs/j/await")
    assert received.startswith(b"HTTP/1.1 200 OK")
    assert now() == 60


async def test_stopping_ends_slow_answers(sieve: FakeSieve) -> None:
    sieve.fault(path="/late", delay=1e6)
    sieve.fault(path="/slow", slow_body=1e6)
    waiting = [asyncio.ensure_future(get_raw(sieve, path)) for path in ("/late", "/slow")]
    await wait_until_in_flight(sieve, 2)
    async with asyncio.timeout(60):
        await sieve.stop()
    received = await asyncio.gather(*waiting, return_exceptions=True)
    assert sieve.in_flight == 0
    assert not any(isinstance(each, bytes) and each.endswith(b"}") for each in received)
