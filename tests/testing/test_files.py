"""Files that the fake server stores: links, ranges, checksums, expiry."""

import asyncio
import base64
import hashlib
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from helpers.http_helpers import Get
from sieve_async.testing import FakeSieve

CONTENT = bytes(range(256)) * 4


async def fetch(url: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """Get a file as a client without a key does."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    async with aiohttp.request("GET", url, headers=named) as response:
        return response.status, await response.read(), dict(response.headers)


async def test_whole_file(sieve: FakeSieve) -> None:
    """A link needs no key, and its headers describe the content, unless they are left out."""
    url = sieve.add_file("a b.mp4", CONTENT, content_type="video/mp4")
    bare = sieve.add_file("bare.txt", "text", etag=None, md5=False)
    sieve.fault(path="/files/*", fields={"status": 1})  # which only documents have
    status, body, headers = await fetch(url)
    _, text, fewer = await fetch(bare)
    async with aiohttp.request("HEAD", url) as response:
        nothing = await response.read()
    digest = hashlib.md5(CONTENT, usedforsecurity=False)
    expected = {
        "Content-Type": "video/mp4",
        "Content-Length": "1024",
        "Accept-Ranges": "bytes",
        "Etag": f'"{digest.hexdigest()}"',
        "x-goog-hash": f"md5={base64.b64encode(digest.digest()).decode()}",
    }
    assert (status, body) == (200, CONTENT)
    assert headers.items() >= expected.items()
    assert text == b"text"
    assert fewer.keys().isdisjoint({"Etag", "x-goog-hash"})
    assert (response.status, response.headers["Content-Length"], nothing) == (200, "1024", b"")


@pytest.mark.parametrize(
    ("asked", "status", "part", "content_range"),
    [
        ("bytes=1000-", 206, CONTENT[1000:], "bytes 1000-1023/1024"),
        ("bytes=10-19", 206, CONTENT[10:20], "bytes 10-19/1024"),
        ("bytes=10-9999", 206, CONTENT[10:], "bytes 10-1023/1024"),
        ("bytes=-24", 206, CONTENT[1000:], "bytes 1000-1023/1024"),
        ("bytes=-9999", 206, CONTENT, "bytes 0-1023/1024"),
        ("bytes=20-10", 200, CONTENT, None),
        ("bytes=-", 200, CONTENT, None),
        ("bytes=0-1,5-6", 200, CONTENT, None),
        ("bytes=1024-", 416, None, "bytes */1024"),
        (f"bytes={'9' * 5000}-", 200, CONTENT, None),
    ],
)
async def test_ranges(
    sieve: FakeSieve, asked: str, status: int, part: bytes | None, content_range: str | None
) -> None:
    """One range is sent alone; what is no single valid range is ignored."""
    url = sieve.add_file("a", CONTENT)
    got, body, headers = await fetch(url, Range=asked)
    assert (got, headers.get("Content-Range")) == (status, content_range)
    assert body == part if part else b"InvalidRange" in body
    assert int(headers["Content-Length"]) == len(body)


@pytest.mark.parametrize(
    ("etag", "condition", "status"),
    [('"1"', '"1"', 206), ('"1"', '"2"', 200), ('W/"1"', 'W/"1"', 200), (None, '"1"', 200)],
)
async def test_if_range(sieve: FakeSieve, etag: str | None, condition: str, status: int) -> None:
    """A part is sent only when a strong tag is still the file's own."""
    sieve.add_file("a", b"before")
    url = sieve.add_file("a", CONTENT, etag=etag)
    got, body, _ = await fetch(url, Range="bytes=1000-", If_Range=condition)
    assert (got, len(body)) == (status, 24 if status == 206 else 1024)


@pytest.mark.looptime
async def test_link_expires(sieve: FakeSieve, get: Get) -> None:
    """A link states its end, and is refused from then on; another link to the file is not."""
    old = sieve.add_file("a", CONTENT, expires_in=10)
    job = await get(f"/v2/jobs/{sieve.add_job()}")
    new = sieve.add_file("a", CONTENT, expires_at=datetime.now(UTC) + timedelta(hours=1))
    past = sieve.add_file("a", CONTENT, expires_at=datetime.now(UTC) - timedelta(hours=1))
    query = parse_qs(urlsplit(old).query)
    signed = datetime.strptime(query["X-Goog-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    expiry = signed + timedelta(seconds=int(query["X-Goog-Expires"][0]))
    before = [(await fetch(url))[0] for url in (old, new, past)]
    await asyncio.sleep(12)
    _, body, headers = await fetch(old)
    assert query["X-Goog-Expires"] == ["172800"]
    made_at = datetime.fromisoformat(job["created_at"]).replace(tzinfo=UTC)  # the server's clock
    assert timedelta(seconds=10) <= expiry - made_at <= timedelta(seconds=11)
    assert (before, [(await fetch(url))[0] for url in (old, new)]) == ([200, 200, 400], [400, 200])
    assert b"<Code>ExpiredToken</Code>" in body
    assert headers["Content-Type"] == "application/xml; charset=UTF-8"


async def test_forged_links(sieve: FakeSieve) -> None:
    """A link that was never made is refused, and so is a file that is not there."""
    url = sieve.add_file("a", CONTENT, expires_in=60)
    seen = [
        await fetch(each) for each in (url[:-1], url.partition("?")[0], url.replace("/a?", "/b?"))
    ]
    assert [status for status, _, _ in seen] == [403, 403, 404]
    assert (b"AccessDenied" in seen[0][1], b"NoSuchKey" in seen[2][1]) == (True, True)


async def test_credentials_that_arrive_are_counted(sieve: FakeSieve) -> None:
    """Storage should see no key, wherever it stands, and no cookie."""
    url = sieve.add_file("a", CONTENT)
    await fetch(url)
    before = sieve.file_requests_with_credentials
    await fetch(url, X_API_Key=sieve.api_key)
    await fetch(url, Authorization="Bearer x")
    await fetch(url, Cookie="a=b")
    await fetch(url, Referer=f"https://x.test/?key={sieve.api_key}")
    await fetch(f"{url}?key={sieve.api_key}")
    assert (before, sieve.file_requests_with_credentials) == (0, 5)
