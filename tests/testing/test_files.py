"""Files that the fake server stores: links, ranges, checksums, expiry."""

import asyncio
import base64
import hashlib
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qs, urlsplit

import aiohttp
import pytest

from sieve_async.testing import FakeSieve

CONTENT = bytes(range(256)) * 4


async def fetch(url: str, **headers: str) -> tuple[int, bytes, dict[str, str]]:
    """Get a file as a client without a key does."""
    async with aiohttp.request(
        "GET", url, headers={n.replace("_", "-"): v for n, v in headers.items()}
    ) as response:
        return response.status, await response.read(), dict(response.headers)


async def test_whole_file(sieve: FakeSieve) -> None:
    """A link needs no key, and its headers describe the content."""
    url = sieve.add_file("a b.mp4", CONTENT, content_type="video/mp4")

    status, body, headers = await fetch(url)

    digest = hashlib.md5(CONTENT, usedforsecurity=False)
    assert (status, body) == (200, CONTENT)
    assert headers["Content-Type"] == "video/mp4"
    assert headers["Content-Length"] == "1024"
    assert headers["Accept-Ranges"] == "bytes"
    assert headers["Etag"] == f'"{digest.hexdigest()}"'
    assert headers["x-goog-hash"] == f"md5={base64.b64encode(digest.digest()).decode()}"


async def test_headers_can_be_left_out(sieve: FakeSieve) -> None:
    """A storage may tell neither a tag nor a checksum, or a weak tag."""
    bare = sieve.add_file("bare.txt", "text", etag=None, md5=False)
    weak = sieve.add_file("weak.txt", "text", etag='W/"1"')

    _, body, headers = await fetch(bare)

    assert body == b"text"
    assert headers.keys().isdisjoint({"Etag", "x-goog-hash"})
    assert (await fetch(weak))[2]["Etag"] == 'W/"1"'


@pytest.mark.parametrize(
    ("asked", "status", "part", "content_range"),
    [
        ("bytes=0-", 206, CONTENT, "bytes 0-1023/1024"),
        ("bytes=1000-", 206, CONTENT[1000:], "bytes 1000-1023/1024"),
        ("bytes=10-19", 206, CONTENT[10:20], "bytes 10-19/1024"),
        ("bytes=10-9999", 206, CONTENT[10:], "bytes 10-1023/1024"),
        ("bytes=-24", 206, CONTENT[1000:], "bytes 1000-1023/1024"),
        ("bytes=-9999", 206, CONTENT, "bytes 0-1023/1024"),
        ("bytes=20-10", 200, CONTENT, None),
        ("bytes=-", 200, CONTENT, None),
        ("bytes=0-1,5-6", 200, CONTENT, None),
        ("lines=0-1", 200, CONTENT, None),
    ],
)
async def test_ranges(
    sieve: FakeSieve, asked: str, status: int, part: bytes, content_range: str | None
) -> None:
    """One range is sent alone; what is no single valid range is ignored."""
    url = sieve.add_file("a", CONTENT)

    got, body, headers = await fetch(url, Range=asked)

    assert (got, body, headers.get("Content-Range")) == (status, part, content_range)
    assert int(headers["Content-Length"]) == len(part)


@pytest.mark.parametrize("asked", ["bytes=1024-", "bytes=5000-6000"])
async def test_range_beyond_the_end(sieve: FakeSieve, asked: str) -> None:
    """The error tells the size."""
    url = sieve.add_file("a", CONTENT)

    status, body, headers = await fetch(url, Range=asked)

    assert (status, headers["Content-Range"]) == (416, "bytes */1024")
    assert b"InvalidRange" in body


@pytest.mark.parametrize(
    ("etag", "condition", "status"),
    [('"1"', '"1"', 206), ('"1"', '"2"', 200), ('W/"1"', 'W/"1"', 200), (None, '"1"', 200)],
)
async def test_if_range(sieve: FakeSieve, etag: str | None, condition: str, status: int) -> None:
    """A part is sent only when a strong tag is still the file's own."""
    url = sieve.add_file("a", CONTENT, etag=etag)

    got, body, _ = await fetch(url, Range="bytes=1000-", If_Range=condition)

    assert (got, len(body)) == (status, 24 if status == 206 else 1024)


async def test_replaced_file(sieve: FakeSieve) -> None:
    """The old link leads to the new content, whose tag is another."""
    url = sieve.add_file("a", CONTENT)
    etag = (await fetch(url))[2]["Etag"]

    sieve.add_file("a", b"new" * 1000)
    status, body, _ = await fetch(url, Range="bytes=1000-", If_Range=etag)

    assert (status, body) == (200, b"new" * 1000)


@pytest.mark.looptime
async def test_link_expires(sieve: FakeSieve) -> None:
    """A link tells its end, and is refused from then on; another link to the file is not."""
    old = sieve.add_file("a", CONTENT, expires_in=10)
    new = sieve.add_file("a", CONTENT, expires_in=100)

    query = parse_qs(urlsplit(old).query)
    signed = datetime.strptime(query["X-Goog-Date"][0], "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    expiry = signed + timedelta(seconds=int(query["X-Goog-Expires"][0]))
    before = await fetch(old)
    await asyncio.sleep(12)
    after = await fetch(old)

    assert query["X-Goog-Expires"] == ["172800"]
    assert timedelta(seconds=9) < expiry - datetime.now(UTC) <= timedelta(seconds=11)
    assert (before[0], after[0], (await fetch(new))[0]) == (200, 400, 200)
    assert b"<Code>ExpiredToken</Code>" in after[1]
    assert after[2]["Content-Type"] == "application/xml; charset=UTF-8"


async def test_expiry_as_a_date(sieve: FakeSieve) -> None:
    """A link may have expired before it was made."""
    past = sieve.add_file("a", CONTENT, expires_at=datetime.now(UTC) - timedelta(hours=1))
    future = sieve.add_file("a", CONTENT, expires_at=datetime.now(UTC) + timedelta(hours=1))

    assert [(await fetch(url))[0] for url in (past, future)] == [400, 200]


async def test_forged_links(sieve: FakeSieve) -> None:
    """A link that was never made is refused, and so is a file that is not there."""
    url = sieve.add_file("a", CONTENT, expires_in=60)

    seen = [
        await fetch(each) for each in (url[:-1], url.partition("?")[0], url.replace("/a?", "/b?"))
    ]

    assert [status for status, _, _ in seen] == [403, 403, 404]
    assert [b"AccessDenied" in seen[0][1], b"NoSuchKey" in seen[2][1]] == [True, True]


async def test_head(sieve: FakeSieve) -> None:
    """HEAD tells the length and sends no body."""
    url = sieve.add_file("a", CONTENT)

    async with aiohttp.request("HEAD", url) as response:
        body = await response.read()

    assert (response.status, response.headers["Content-Length"], body) == (200, "1024", b"")


async def test_faults_of_files(sieve: FakeSieve) -> None:
    """Files meet the same faults as documents, but for members of documents."""
    url = sieve.add_file("a", CONTENT)
    sieve.fault(path="/files/*", fields={"status": 1})

    with sieve.fault(path="/files/*", truncate=True):
        short = await fetch(url)
    with sieve.fault(path="/files/*", drop="body"), pytest.raises(aiohttp.ClientPayloadError):
        await fetch(url)
    whole = await fetch(url)

    assert (len(short[1]), whole[1]) == (512, CONTENT)


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


@pytest.mark.parametrize("name", ["", "a/b", "..", "a?b", "a#b"])
async def test_name_must_be_a_file_name(sieve: FakeSieve, name: str) -> None:
    """A name that would not be one part of a path is refused."""
    with pytest.raises(ValueError, match="name must be a file name"):
        sieve.add_file(name, b"")


async def test_expiry_must_be_clear(sieve: FakeSieve) -> None:
    """One expiry at most, and a date with its zone."""
    now = datetime.now(UTC)
    with pytest.raises(ValueError, match="exclude each other"):
        sieve.add_file("a", b"", expires_at=now, expires_in=1)
    with pytest.raises(ValueError, match="aware datetime"):
        sieve.add_file("a", b"", expires_at=now.replace(tzinfo=None))
