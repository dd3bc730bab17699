"""``download`` and ``download_all`` on a client."""

import asyncio
import base64
import hashlib
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import trustme

from helpers.leak_checks import KEY
from helpers.network import server_context
from helpers.raw_server import Action, RawRequest, RawServer, Script, respond
from helpers.storage_server import Answer, StorageServer, cut_after, reply
from sieve_async import File, InputOutput, Job, JobStatus, SieveClient, Timeout, errors
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime

CONTENT = bytes(range(256)) * 1000


def raw(data: bytes) -> Answer:
    """Answer with these bytes, whatever they are."""

    def answer(_: StorageServer, __: RawRequest) -> Script:
        return [data]

    return answer


@pytest.fixture
async def client(sieve: FakeSieve) -> Any:
    """A client without request timeouts, whose timers virtual time could jump to."""
    quiet = Timeout(connect=None, request=None)
    async with SieveClient(KEY, base_url=sieve.url, timeout=quiet) as one:
        yield one


def job_with(*urls: str) -> Job:
    """A finished job with files at these URLs."""
    outputs = tuple(InputOutput(data={"url": url}) for url in urls)
    return Job("j", JobStatus.FINISHED, outputs=outputs)


async def test_a_file_of_a_job(sieve: FakeSieve, client: SieveClient, tmp_path: Path) -> None:
    """A file is downloaded completely, and its host gets no credentials."""
    url = sieve.add_file("clip.mp4", CONTENT)
    sieve.add_job("j", outputs=[{"url": url}])
    job = await client.get_job("j")
    seen: list[tuple[int, int | None]] = []

    async def on_progress(done: int, total: int | None) -> None:
        seen.append((done, total))

    path = await client.download(job.files[0], tmp_path / "a.mp4", on_progress=on_progress)
    same = await client.download(url, str(tmp_path / "b.mp4"))
    assert path.read_bytes() == same.read_bytes() == CONTENT
    assert (seen[0], seen[-1]) == ((0, len(CONTENT)), (len(CONTENT), len(CONTENT)))
    assert sieve.file_requests_with_credentials == 0
    assert sorted(os.listdir(tmp_path)) == ["a.mp4", "b.mp4"]  # noqa: PTH208


async def test_all_files(sieve: FakeSieve, client: SieveClient, tmp_path: Path) -> None:
    """All files of a job come into one directory, under names of their own."""
    urls = [sieve.add_file(name, name) for name in ("a.txt", "b.txt", "c.txt")]
    sieve.add_job("j", outputs=[{"url": urls[0]}, [{"data": {"url": urls[1]}}], urls[2], [urls]])
    sieve.add_job("none")
    job = await client.get_job("j")
    paths = await client.download_all(job, tmp_path / "out")
    assert [path.read_text() for path in paths] == ["a.txt", "b.txt"]
    assert await client.download_all(await client.get_job("none"), tmp_path / "none") == []


async def test_an_expired_link(sieve: FakeSieve, client: SieveClient, tmp_path: Path) -> None:
    """The job is looked up once for a fresh link, which the API does not promise to give."""
    old = sieve.add_file("clip.mp4", CONTENT, expires_in=1)
    fresh = sieve.add_file("clip.mp4", CONTENT, expires_in=1000)
    sieve.add_job("j", outputs=[{"url": old}, {"url": old}])
    job = await client.get_job("j")
    await asyncio.sleep(2)
    lookups = len(sieve.requests)
    with pytest.raises(errors.FileExpiredError, match="no fresh one"):
        await client.download(job.files[0], tmp_path / "a.mp4")
    with pytest.raises(errors.FileExpiredError, match="job is not known"):
        await client.download(old, tmp_path / "a.mp4")
    sieve.fault(job="j", fields={"outputs": [{"data": {"url": fresh}}]})
    path = await client.download(job.files[0], tmp_path / "a.mp4")
    paths = await client.download_all(job, tmp_path / "all")
    assert {each.read_bytes() for each in (path, *paths)} == {CONTENT}
    assert [r.path for r in sieve.requests[lookups:] if r.path.startswith("/v2")] == [
        "/v2/jobs/j"
    ] * 3


async def test_a_job_that_is_gone(sieve: FakeSieve, client: SieveClient, tmp_path: Path) -> None:
    """An expired file whose job cannot be looked up has expired."""
    old = sieve.add_file("clip.mp4", CONTENT, expires_in=1)
    await asyncio.sleep(2)
    past = File("https://host/x", expires_at=datetime(2020, 1, 1, tzinfo=UTC))
    with pytest.raises(errors.FileExpiredError, match="its job is not known"):
        await client.download(past, tmp_path / "a.mp4")
    with pytest.raises(errors.FileExpiredError, match=r"cannot be looked up: .*404"):
        await client.download(File(old, job_id="gone"), tmp_path / "a.mp4")


async def test_the_key_stays_here(client: SieveClient, tmp_path: Path) -> None:
    """Neither the key nor a header or cookie of the client reaches a storage host."""
    async with StorageServer(CONTENT) as storage:
        storage.script += [
            reply("302 Found", Location="/next", Set_Cookie="session=1"),
            reply("503 Busy", Set_Cookie="session=1"),
            cut_after(1000),
        ]
        url = storage.url.replace("127.0.0.1", "localhost")  # aiohttp keeps no cookies of addresses
        path = await client.download(f"{url}/clip", tmp_path / "clip.mp4")
    assert path.read_bytes() == CONTENT
    assert [request.first_byte for request in storage.requests] == [None, None, None, 1000]
    for request in storage.requests:
        assert KEY.encode() not in request.raw
        assert "sieve" not in request.raw.decode().lower()
        assert request.headers.keys() <= {
            *("host", "accept", "accept-encoding", "user-agent", "range", "if-range", "connection")
        }


SIZE = len(CONTENT)
MD5 = {"x_goog_hash": f"md5={base64.b64encode(hashlib.md5(CONTENT).digest()).decode()}"}  # noqa: S324
# What the host answers in the end, and what the error says then.
FAILURES: dict[str, tuple[list[Answer], str]] = {
    "forbidden": ([reply("403 No", b"<Code>AccessDenied</Code>")], "HTTP 403"),
    "short": ([reply("403 No", b"x", Content_Length=2)], "HTTP 403"),
    "not changed": ([reply("304 Not Modified")], "HTTP 304"),
    "empty": ([cut_after(9), reply("204 No Content", Content_Length=None)], "HTTP 204"),
    "damaged": ([reply("200 OK", CONTENT[1:] + b"x", **MD5)] * 3, "MD5"),
    "length": ([reply("200 OK", b"", Content_Length="x")] * 3, "malformed as HTTP"),
    "expired": ([reply("403 No", b"<Code>ExpiredToken</Code>")], "expired, and its job is not"),
    "redirects": ([reply("302 Found", Location="/again")] * 6, "more than 5 redirects"),
    "private": ([reply("302 Found", Location="http://10.0.0.1/")], "redirected to what must not"),
    "no URL": ([reply("302 Found", Location="http://[/")], "redirected to .*: not a URL"),
    "coding": ([reply("200 OK", b"x", Content_Encoding="gzip")], "content-encoding gzip"),
    "endless": ([reply("200 OK", b"x", Content_Length=None)], "neither how long the file is"),
    "large": ([reply("200 OK", b"x", Content_Length=10**17)], "the disk has .* left"),
    "no HTTP": ([raw(b"no HTTP\r\n\r\n")] * 3, "the answer is malformed as HTTP"),
    "closed": ([raw(b"")] * 6, "the connection broke"),
    "busy": ([reply("503 Busy", Retry_After=3600)], "HTTP 503"),
    "chunk": (
        [raw(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab")] * 3,
        "cut off",
    ),
}


@pytest.mark.parametrize("kind", FAILURES)
async def test_failures(client: SieveClient, tmp_path: Path, kind: str) -> None:
    """What cannot be downloaded is an error that says why, and the target does not appear."""
    script, reason = FAILURES[kind]
    etag = '"v1"' if kind == "empty" else None
    async with StorageServer(CONTENT, etag=etag) as storage:
        storage.script += script
        with pytest.raises(errors.DownloadError, match=reason) as caught:
            await client.download(f"{storage.url}/clip?secret=1", tmp_path / "clip.mp4")
    assert not (tmp_path / "clip.mp4").exists()
    assert len(storage.requests) == len(script)
    assert caught.value.url == f"{storage.url}/clip"


def ranged(span: str | None, start: int = 9, end: int = SIZE, **headers: object) -> list[Answer]:
    """Cut the content off after nine bytes, then answer 206 with this range and these bytes."""
    headers["Content_Range"] = None if span is None else f"bytes {span}"
    return [cut_after(9), reply("206 Partial Content", CONTENT[start:end], **headers)]


def chunked(status: str, body: bytes, end: bytes = b"0\r\n\r\n", **headers: object) -> Answer:
    """Answer with a chunked body."""
    head = {"Content_Length": None, "Transfer_Encoding": "chunked", **headers}
    return reply(status, b"%x\r\n%b\r\n" % (len(body), body) + end, **head)


REST = f"9-{SIZE - 1}/{SIZE}"
RESUMED: dict[str, list[Answer]] = {
    "many cuts": [cut_after(66_000)] * 3,
    "ignores ranges": [cut_after(9), reply("200 OK", CONTENT[9:])],
    "the range begins at 0": ranged(f"0-{SIZE - 1}/{SIZE}", 0),
    "another total": ranged(f"9-{SIZE}/{SIZE + 1}"),
    "no range": ranged(None),
    "less than the range": ranged(REST, 9, SIZE - 1),
    "another ETag": ranged(REST, 0, SIZE - 9, ETag='"v2"'),
    "416 though there is more": [cut_after(9), reply("416 No", Content_Range=f"bytes */{SIZE}")],
    "a longer range": [
        cut_after(9),
        chunked("206 Part", CONTENT[9:] + b"more", Content_Range=f"bytes {REST}"),
    ],
    "a shorter range": [
        cut_after(9),
        chunked("206 Part", CONTENT[9:-1], Content_Range=f"bytes {REST}"),
    ],
    "chunks": [chunked("200 OK", CONTENT)],
    "chunks without an end": [chunked("200 OK", CONTENT, b"")],
    "has it all": [reply("200 OK", CONTENT, **MD5)],
    "wrong MD5": [reply("200 OK", CONTENT[::-1], **MD5)],
    "an MD5 and no length": [reply("200 OK", CONTENT, Content_Length=None, **MD5)],
    "less, without a length": [reply("200 OK", CONTENT[:-1], Content_Length=None, **MD5)],
    "five redirects": [reply("302 Found", Location="/next?x=1")] * 5,
    "too much": [raw(f"HTTP/1.1 200 OK\r\nContent-Length: {SIZE}\r\n\r\n".encode() + CONTENT)],
}


async def test_downloads_that_start_over(client: SieveClient, tmp_path: Path) -> None:
    """A part is continued where the host allows it, else it starts over; MD5 and length decide."""
    for name, script in RESUMED.items():
        foreign = tmp_path / f"{name}.mp4.part"
        foreign.write_bytes(b"foreign")
        async with StorageServer(CONTENT) as storage:
            storage.script += script
            path = await client.download(f"{storage.url}/clip", tmp_path / f"{name}.mp4")
        assert (path.read_bytes(), foreign.read_bytes()) == (CONTENT, b"foreign"), name
        foreign.unlink()
    async with StorageServer(CONTENT) as storage:
        storage.script += [cut_after(9), reply("404 Gone")]
        with pytest.raises(errors.DownloadError, match="404"):
            await client.download(f"{storage.url}/clip", tmp_path / "kept.mp4")
        storage.script.append(reply("416 All", Content_Range=f"bytes */{SIZE}"))
        await client.download(f"{storage.url}/clip", tmp_path / "kept.mp4")
        before = len(storage.requests)
        with pytest.raises(FileExistsError):
            await client.download(f"{storage.url}/clip", tmp_path / "kept.mp4")
        with pytest.raises(FileExistsError):
            await client.download_all(job_with(f"{storage.url}/kept.mp4"), tmp_path)
        assert len(storage.requests) == before
        await client.download(
            f"{storage.url}/clip", tmp_path / "kept.mp4", overwrite=True, resume=False
        )
    assert (tmp_path / "kept.mp4").read_bytes() == CONTENT
    assert not [name for name in os.listdir(tmp_path) if "part" in name]  # noqa: PTH208


async def test_some_of_all_files(sieve: FakeSieve, client: SieveClient, tmp_path: Path) -> None:
    """When some files of a job fail, the others are there, and the error counts them."""
    job_id = sieve.add_job(
        outputs=[{"url": sieve.add_file("a.txt", "a")}, {"url": f"{sieve.url}/no"}]
    )
    with pytest.raises(errors.DownloadError) as caught:
        await client.download_all(await client.get_job(job_id), tmp_path)
    assert caught.value.__notes__ == ["1 of 2 files were downloaded"]
    assert (tmp_path / "a.txt").read_text() == "a"


async def test_cancelled(client: SieveClient, tmp_path: Path) -> None:
    """What has come is kept when the caller cancels, also out of its own function."""

    def on_progress(done: int, _: int | None) -> None:
        if done:
            raise LookupError

    async with StorageServer(CONTENT) as storage:
        with pytest.raises(LookupError):
            await client.download(f"{storage.url}/clip", tmp_path / "a", on_progress=on_progress)
        await client.download(f"{storage.url}/clip", tmp_path / "a")
    assert storage.requests[1].first_byte
    assert (tmp_path / "a").read_bytes() == CONTENT


async def test_invalid_arguments(sieve: FakeSieve, client: SieveClient, tmp_path: Path) -> None:
    """Invalid arguments are refused before a socket; so are places that cannot be written."""
    url, target = "https://host/x", tmp_path / "x"
    job = await client.get_job(sieve.add_job(outputs=[{"url": sieve.add_file("a", "a")}]))
    wrong: list[tuple[Any, Any, str]] = [
        ("ftp://host/x", target, "only https"),
        (5, target, "file must be a File or a URL"),
        (url, tmp_path / ("x" * 300), "name too long"),
        (url, tmp_path, "got the directory"),
        (url, 5, "path must be a path"),
        (url, "", "path must be the path of a file"),
        (url, "a\ud800", "path must be"),
    ]
    for file, path, reason in wrong:
        with pytest.raises(errors.InvalidArgumentError, match=reason):
            await client.download(file, path)
    with pytest.raises(errors.InvalidArgumentError, match="on_progress"):
        await client.download(url, target, on_progress=5)  # type: ignore[arg-type]
    with pytest.raises(errors.InvalidArgumentError):
        await client.download_all("j", tmp_path)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="concurrency"):
        await client.download_all(job, tmp_path, concurrency=0)
    with pytest.raises(errors.DownloadError):
        await client.download(File("ftp://host/x"), target)
    with pytest.raises(errors.DownloadError, match="No such file or directory"):
        await client.download(url, tmp_path / "missing" / "x")


async def test_a_closed_client(client: SieveClient, tmp_path: Path) -> None:
    await client.close()
    with pytest.raises(errors.ClientClosedError):
        await client.download("https://host/x", tmp_path / "x")


async def test_tls(client: SieveClient, tmp_path: Path) -> None:
    """A host without TLS, or with a certificate that is not trusted, is an error that says so."""
    context = server_context(trustme.CA())
    url = ""
    no_tls = RawServer([Action.DONT_READ, b"220 ready\r\n", Action.CLOSE])
    for server, reason in ((no_tls, "TLS: "), (RawServer(tls=context), "is not trusted")):
        async with server:
            url = f"https://localhost:{server.url.rpartition(':')[2]}/x"
            with pytest.raises(errors.DownloadError, match=reason):
                await client.download(url, tmp_path / "x")
    with pytest.raises(errors.DownloadError, match="Connection refused"):
        await client.download(url, tmp_path / "x")


async def test_a_proxy(
    sieve: FakeSieve, client: SieveClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Only a client that trusts the environment downloads through its proxy."""
    async with RawServer(respond(CONTENT)) as proxy:
        for name in ("http_proxy", "HTTP_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        with pytest.raises(errors.DownloadError, match="refused"):
            await client.download("http://localhost:9/clip", tmp_path / "x")
        quiet = Timeout(connect=None, request=None)
        async with SieveClient(KEY, base_url=sieve.url, trust_env=True, timeout=quiet) as other:
            path = await other.download("http://localhost:9/clip", tmp_path / "x")
    assert path.read_bytes() == CONTENT
    assert proxy.requests[0].target == "http://localhost:9/clip"


async def test_an_expired_link_of_two(
    sieve: FakeSieve, client: SieveClient, tmp_path: Path
) -> None:
    """The fresh link is that of the same file, where only the query says which file it is."""

    def outputs(seconds: float) -> list[dict[str, str]]:
        links = [sieve.add_file("get", CONTENT, expires_in=seconds) for _ in range(2)]
        return [{"url": f"{link}&file={number}"} for number, link in enumerate(links)]

    sieve.add_job("j", outputs=outputs(1))
    job = await client.get_job("j")
    await asyncio.sleep(2)
    sieve.fault(job="j", fields={"outputs": [{"data": each} for each in outputs(1000)]})

    await client.download_all(job, tmp_path)

    sent = [entry for entry in sieve.requests if entry.path == "/files/get" and entry.status == 200]
    assert sorted(entry.query["file"] for entry in sent) == ["0", "1"]


async def test_a_naive_expiry(sieve: FakeSieve, client: SieveClient, tmp_path: Path) -> None:
    """A time without a zone is in UTC, as everywhere."""
    url = sieve.add_file("clip.mp4", CONTENT)
    for year, is_over in ((2099, False), (2001, True)):
        file = File(url, expires_at=datetime(year, 1, 1, tzinfo=UTC).replace(tzinfo=None))
        downloading = client.download(file, tmp_path / f"{year}.mp4")
        if is_over:
            with pytest.raises(errors.FileExpiredError):
                await downloading
        else:
            assert (await downloading).read_bytes() == CONTENT
