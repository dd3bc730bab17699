"""Faults of the fake server, seen through a plain HTTP client."""

import asyncio
import json
from email.utils import parsedate_to_datetime

import aiohttp
import pytest

from helpers.http_helpers import Document, Get, get_raw, now, wait_until_in_flight
from sieve_async.testing import FakeSieve
from sieve_async.testing.documents import DETAILS

# What answers instead


@pytest.mark.parametrize(
    ("status", "detail"),
    [
        (401, "Unauthorized - valid API Key required."),
        (402, DETAILS[402]),
        (404, "Job not found."),
        (429, "Too Many Requests"),
        (503, "Service Unavailable"),
        (599, "Unknown"),
    ],
)
async def test_status(sieve: FakeSieve, get: Get, status: int, detail: str) -> None:
    """A status comes with the body that fits it, and the job has not been looked at."""
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
        ([1, {"a": None}], b'[1,{"a":null}]'),
        (7, b"7"),
        ({"error_id": "e-1"}, b'{"error_id":"e-1"}'),
    ],
)
async def test_body(
    sieve: FakeSieve, session: aiohttp.ClientSession, body: str | bytes | Document, sent: bytes
) -> None:
    """Text and bytes are sent as they are, anything else as JSON; headers can be set."""
    headers = {"Content-Type": "text/html", "X-Request-Id": "r-1"}
    sieve.fault(body=body, status=502, headers=headers)
    sieve.fault(body="another")

    async with session.get("/anything") as response:
        received = await response.read()

    assert (response.status, received) == (502, sent)
    assert response.headers["Content-Type"] == "text/html"
    assert response.headers["X-Request-Id"] == "r-1"
    assert sieve.requests[0].body_bytes == len(sent)


async def test_body_alone_is_a_good_answer(
    sieve: FakeSieve, session: aiohttp.ClientSession
) -> None:
    """Without a status, the answer pretends that all is well."""
    sieve.fault(body="not JSON", fields={"status": 1})

    async with session.get("/v2/jobs/j") as response:
        received = await response.text()

    assert (response.status, received) == (200, "not JSON")
    assert response.content_type == "application/json"


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


async def test_redirect(sieve: FakeSieve, session: aiohttp.ClientSession) -> None:
    """A redirect is a status and a header."""
    sieve.fault(status=307, headers={"Location": "http://127.0.0.1:1/elsewhere"})

    async with session.get("/v2/jobs/j", allow_redirects=False) as response:
        pass

    assert (response.status, response.headers["Location"]) == (307, "http://127.0.0.1:1/elsewhere")


# What happens to a good answer


async def test_fields(sieve: FakeSieve, get: Get) -> None:
    """Every job and version shown has the members asked for, and errors stay unchanged."""
    sieve.add_job("j")
    sieve.add_version("me", "mine", "v")
    sieve.fault(fields={"status": "napping", "outputs": 7})
    sieve.fault(fields={"outputs": 8, "gpu": [None]})

    job = await get("/v2/jobs/j")
    [row] = (await get("/v2/jobs"))["data"]
    version = await get("/v2/functions/me/mine/versions/v")
    unknown = await get("/v2/jobs/none")

    assert (job["status"], job["outputs"], job["id"], row["status"]) == (
        "napping",
        7,
        "j",
        "napping",
    )
    assert (version["gpu"], version["id"]) == ([None], "v")
    assert unknown == {"detail": "Job not found.", "http": 404}


async def test_fields_of_arrays(sieve: FakeSieve, session: aiohttp.ClientSession) -> None:
    """Each document of a bare array has them too."""
    sieve.add_version("me", "mine", "v")
    sieve.fault(fields={"gpu": [None]})

    async with session.get("/v2/functions/me/mine/versions") as response:
        [version] = await response.json()

    assert (version["gpu"], version["id"]) == ([None], "v")


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


async def test_delay_by_a_manual_clock() -> None:
    """A delay is of the server's seconds."""
    sieve = FakeSieve(clock="manual")
    sieve.fault(delay=5, body="[]")
    async with sieve, aiohttp.ClientSession(sieve.url) as session:
        waiting = asyncio.ensure_future(session.get("/"))
        await wait_until_in_flight(sieve)

        sieve.advance(4)
        sieve.advance(2)
        async with await waiting as response:
            status = response.status

    assert (status, sieve.requests[0].took) == (200, 6)


@pytest.mark.looptime
async def test_drip(sieve: FakeSieve, session: aiohttp.ClientSession) -> None:
    """The headers come at once, and the body in pieces over the time asked for."""
    sieve.add_job("j", outputs=["x" * 1000])
    sieve.fault(slow_body=30)

    async with session.get("/v2/jobs/j") as response:
        began = now()
        pieces = [piece async for piece in response.content.iter_any()]

    assert (began, now()) == (0, 30)
    assert len(pieces) == 10
    assert len(json.loads(b"".join(pieces))["outputs"]) == 1


@pytest.mark.parametrize("body", ["", "ab"])
async def test_short_bodies_drip_too(
    sieve: FakeSieve, session: aiohttp.ClientSession, body: str
) -> None:
    """A body with fewer bytes than pieces is sent as a whole."""
    sieve.fault(body=body, slow_body=0.001)

    async with session.get("/") as response:
        assert await response.text() == body


async def test_dropped_connections(sieve: FakeSieve, caplog: pytest.LogCaptureFixture) -> None:
    """The connection is closed before the headers, amid them, or amid the body."""
    caplog.set_level("WARNING")
    sieve.add_job("j", queued=2, by="polls")

    whole = {}
    for drop in ("before", "headers", "body"):
        with sieve.fault(drop=drop):
            whole[drop] = await get_raw(sieve, "/v2/jobs/j")
    head, _, body = whole["body"].partition(b"\r\n\r\n")

    assert whole["before"] == b""
    assert whole["headers"].startswith(b"HTTP/1.1 200 OK\r\nContent-Type: application/json")
    assert b"\r\n\r\n" not in whole["headers"]
    assert f"Content-Length: {2 * len(body)}"[:-1].encode() in head
    assert body.startswith(b'{"id":"j"')
    assert [entry.status for entry in sieve.requests] == [0, 0, 0]
    assert sieve.in_flight == 0
    assert caplog.records == []
    assert sieve.job("j").status == "queued"  # the two answers that were begun were polls


async def test_drop_of_an_error(sieve: FakeSieve) -> None:
    """An answer of a fault's own, whatever its status, may be cut as well."""
    sieve.fault(status=599, drop="body")

    assert (await get_raw(sieve, "/")).startswith(b"HTTP/1.1 599 \r\n")


@pytest.mark.looptime
async def test_held_request_can_be_dropped(sieve: FakeSieve) -> None:
    """An await is held first, and its connection closed when it would be answered."""
    sieve.add_job("j", processing=60)
    sieve.fault(job="j", drop="headers")

    received = await get_raw(sieve, "/v2/jobs/j/await")

    assert received.startswith(b"HTTP/1.1 200 OK")
    assert now() == 60
