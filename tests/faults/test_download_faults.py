"""Storage hosts that misbehave: the file is correct, or the error gives the reason."""

import asyncio
import base64
import hashlib
import random
import socket
import tracemalloc
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import attrs
import pytest
import trustme

from helpers.http_helpers import now
from helpers.raw_server import Action, RawRequest, RawServer, Script, Step
from helpers.storage_server import Answer, StorageServer, cut_after, reply, serve
from helpers.tls import server_context
from sieve_async import DownloadError, FileExpiredError, InvalidArgumentError, RetryPolicy, Timeout
from sieve_async.files import DownloadSettings, download, download_all
from sieve_async.models import File

pytestmark = pytest.mark.looptime

CONTENT = bytes(range(256)) * 1024  # 256 KiB
SIZE = len(CONTENT)
HALF = SIZE // 2
# Without request timeouts there are no timers that virtual time could jump to.
SETTINGS = DownloadSettings(timeout=Timeout(connect=None, request=None))
ONCE = attrs.evolve(SETTINGS, retry=RetryPolicy(max_attempts=1))


@pytest.fixture
async def storage() -> AsyncIterator[StorageServer]:
    """A storage host."""
    async with StorageServer(CONTENT) as server:
        yield server


async def get(storage: StorageServer, target: Path, **how: Any) -> Path:
    """Download the content of the host."""
    how = {"settings": SETTINGS} | how
    return await download(f"{storage.url}/clip?s=1", target, **how)


def listed(directory: Path) -> list[str]:
    """The names of what is in a directory."""
    return sorted(path.name for path in directory.iterdir())


def hash_header(content: bytes) -> str:
    """The header of some hosts with the MD5 of a content."""
    digest = hashlib.md5(content, usedforsecurity=False).digest()
    return f"crc32c=AAAAAA==,md5={base64.b64encode(digest).decode()}"


def ranged(span: str | None, start: int, end: int, **headers: object) -> Answer:
    """Answer 206 with this Content-Range and these bytes of the content."""
    return reply("206 Partial Content", CONTENT[start:end], Content_Range=span, **headers)


def chunked(start: int, end: int, more: bytes) -> Answer:
    """Answer 206 for the rest, with a chunked body of these bytes and more."""
    body = CONTENT[start:end] + more
    span = f"bytes {start}-{SIZE - 1}/{SIZE}"
    headers = {"Content_Length": None, "Transfer_Encoding": "chunked", "Content_Range": span}
    return reply("206 Partial Content", b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body), **headers)


REST = f"bytes {HALF}-{SIZE - 1}/{SIZE}"
WRONG_RESUMES: dict[str, Answer] = {
    "the range begins at 0": ranged(f"bytes 0-{SIZE - 1}/{SIZE}", 0, SIZE),
    "the range begins late": ranged(f"bytes {HALF + 1}-{SIZE - 1}/{SIZE}", HALF + 1, SIZE),
    "another total": ranged(f"bytes {HALF}-{SIZE}/{SIZE + 1}", HALF, SIZE),
    "no Content-Range": ranged(None, HALF, SIZE),
    "fewer bytes than the range": ranged(REST, HALF, SIZE - 1),
    "another ETag": ranged(REST, 0, SIZE - HALF, ETag='"v2"'),
    "an encoded range": ranged(REST, HALF, SIZE, Content_Encoding="gzip"),
    "416 though there is more": reply("416 No", Content_Range=f"bytes */{SIZE}"),
    "a 200 that starts over": serve,
    "a 200 with only the rest": reply("200 OK", CONTENT[HALF:]),
    "a 204": reply("204 No Content", Content_Length=None),
    "a chunked range that is longer": chunked(HALF, SIZE, b"more"),
    "a chunked range that is shorter": chunked(HALF, SIZE - 1, b""),
}


@pytest.mark.parametrize("name", WRONG_RESUMES)
async def test_wrong_resumes(storage: StorageServer, name: str, tmp_path: Path) -> None:
    """However wrong the answer for the rest is, the file is correct or there is an error."""
    foreign, target = tmp_path / "clip.bin.part", tmp_path / "clip.bin"
    foreign.write_bytes(b"foreign")
    storage.script += [cut_after(HALF), WRONG_RESUMES[name]]
    if name in {"an encoded range", "a 204"}:
        with pytest.raises(DownloadError, match=r"content-encoding|204"):
            await get(storage, target)
        assert not target.exists()
    else:
        await get(storage, target)
        assert target.read_bytes() == CONTENT
        assert listed(tmp_path) == ["clip.bin", "clip.bin.part"]

    assert foreign.read_bytes() == b"foreign"
    assert storage.requests[1].header("range") == f"bytes={HALF}-"
    assert storage.requests[1].header("if-range") == '"v1"'


async def test_content_changes_between_attempts(storage: StorageServer, tmp_path: Path) -> None:
    """A host with another content gets a request for all of it."""

    def changed(server: StorageServer, request: RawRequest) -> Script:
        server.content, server.etag = CONTENT[::-1], '"v2"'
        return serve(server, request)

    storage.script += [cut_after(HALF), changed]

    assert (await get(storage, tmp_path / "clip.bin")).read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("etag", [None, 'W/"v1"'])
async def test_no_resume_without_a_strong_etag(
    storage: StorageServer, etag: str | None, tmp_path: Path
) -> None:
    """Two answers are joined only if a strong ETag proves that they are of one content."""
    storage.etag = etag
    storage.script += [cut_after(HALF)]

    assert (await get(storage, tmp_path / "clip.bin")).read_bytes() == CONTENT
    assert storage.requests[1].header("range") is None


async def test_host_that_always_cuts(storage: StorageServer, tmp_path: Path) -> None:
    """The download continues while each attempt brings a part, and ends when none does."""
    storage.content *= 4
    storage.script += [cut_after(100_000)] * 10
    assert (await get(storage, tmp_path / "clip.bin")).read_bytes() == CONTENT * 4
    assert len(storage.requests) == 11

    storage.script += [cut_after(10)] * 20
    with pytest.raises(DownloadError, match="cut off"):
        await get(storage, tmp_path / "two.bin")
    assert len(storage.requests) == 14
    assert not (tmp_path / "two.bin").exists()


async def test_host_with_wrong_ranges(storage: StorageServer, tmp_path: Path) -> None:
    """After a wrong range the whole content is requested; this too has an end."""
    wrong = ranged("bytes 0-1/2", 0, 2)
    storage.script += [cut_after(HALF), wrong] + [cut_after(HALF)] * 20
    with pytest.raises(DownloadError, match="cut off"):
        await get(storage, tmp_path / "a.bin")
    assert len(storage.requests) < 8

    def whole_or_wrong(server: StorageServer, request: RawRequest) -> Script:
        return (serve if request.first_byte is None else wrong)(server, request)

    storage.script = [cut_after(HALF), wrong, cut_after(HALF), whole_or_wrong]
    patient = attrs.evolve(SETTINGS, retry=RetryPolicy(max_attempts=4))
    assert (await get(storage, tmp_path / "b.bin", settings=patient)).read_bytes() == CONTENT


@pytest.mark.parametrize("status", ["503 E", "429 E", "408 E"])
async def test_transient_answers(storage: StorageServer, status: str, tmp_path: Path) -> None:
    """A transient failure is retried after the time that the host asks for."""
    storage.script += [reply(status, Retry_After="7")]
    assert (await get(storage, tmp_path / "a.bin")).read_bytes() == CONTENT
    assert 7 <= now() < 8
    storage.script += [reply(status, Retry_After="100000")]
    with pytest.raises(DownloadError) as raised:
        await get(storage, tmp_path / "b.bin")

    assert raised.value.status == int(status[:3])


@pytest.mark.parametrize("status", ["403 E", "404 E", "501 E", "304 E"])
async def test_lasting_answers(storage: StorageServer, status: str, tmp_path: Path) -> None:
    """A lasting failure is an error at once, and leaves no file."""
    storage.script += [reply(status, b"" if status == "304 E" else b"secret=1")]
    with pytest.raises(DownloadError) as raised:
        await get(storage, tmp_path / "clip.bin")

    assert type(raised.value) is DownloadError
    assert raised.value.status == int(status[:3])
    assert raised.value.url == f"{storage.url}/clip"
    assert len(storage.requests) == 1
    assert not listed(tmp_path)


async def test_md5(storage: StorageServer, tmp_path: Path) -> None:
    """Content that differs from its MD5 is fetched again, and never becomes the file."""
    damaged = reply("200 OK", b"x" + CONTENT[1:])
    storage.sent_headers["x-goog-hash"] = hash_header(CONTENT)
    storage.script += [damaged]
    assert (await get(storage, tmp_path / "clip.bin")).read_bytes() == CONTENT
    storage.script += [damaged] * 3
    with pytest.raises(DownloadError, match="MD5"):
        await get(storage, tmp_path / "b.bin")
    storage.script += [cut_after(HALF)]
    assert (await get(storage, tmp_path / "c.bin")).read_bytes() == CONTENT

    assert listed(tmp_path) == ["c.bin", "clip.bin"]


async def test_bodies_of_unknown_length(storage: StorageServer, tmp_path: Path) -> None:
    """A body that ends with its connection counts only with an MD5; chunks have an end."""
    chunk = b"%x\r\n%b\r\n" % (SIZE, CONTENT)
    head = {"Content_Length": None, "Transfer_Encoding": "chunked"}
    storage.script += [reply("200 OK", chunk + b"0\r\n\r\n", **head)]
    assert (await get(storage, tmp_path / "1.bin")).read_bytes() == CONTENT
    storage.script += [reply("200 OK", chunk, **head)]
    assert (await get(storage, tmp_path / "2.bin")).read_bytes() == CONTENT
    assert storage.requests[2].header("range") == f"bytes={SIZE}-"

    endless = reply("200 OK", CONTENT, Content_Length=None)
    storage.script += [endless]
    with pytest.raises(DownloadError, match="neither how long"):
        await get(storage, tmp_path / "3.bin")
    storage.sent_headers["x-goog-hash"] = hash_header(CONTENT)
    storage.script += [reply("200 OK", CONTENT[:-1], Content_Length=None), endless]
    assert (await get(storage, tmp_path / "3.bin")).read_bytes() == CONTENT

    storage.sent_headers.clear()
    storage.content = b""
    assert (await get(storage, tmp_path / "4.bin")).read_bytes() == b""


async def test_redirects(storage: StorageServer, tmp_path: Path) -> None:
    """Five redirects are followed and the sixth is not, with the same headers each time."""
    hop = reply("302 Found", Location="/next?signature=secret", Set_Cookie="a=b; Path=/")
    storage.script += [hop] * 5
    assert (await get(storage, tmp_path / "clip.bin")).read_bytes() == CONTENT
    targets = [request.target for request in storage.requests]
    assert targets == ["/clip?s=1", *["/next?signature=secret"] * 5]
    assert all(request.header("cookie") is None for request in storage.requests)
    storage.script += [hop] * 6
    with pytest.raises(DownloadError, match="more than 5 redirects"):
        await get(storage, tmp_path / "b.bin")


@pytest.mark.parametrize(
    "location", ["http://example.com/x", "https://169.254.169.254/x", "https://u:p@example.com/x"]
)
async def test_forbidden_redirects(storage: StorageServer, location: str, tmp_path: Path) -> None:
    """A redirect never leads to plain http, a private address, or another scheme."""
    storage.script += [reply("302 Found", Location=location)]
    with pytest.raises(DownloadError, match="must not be contacted"):
        await get(storage, tmp_path / "clip.bin")

    assert len(storage.requests) == 1


@pytest.mark.parametrize("url", ["http://example.com/x", "ftp://x/y", "https://u:p@host/x"])
async def test_forbidden_urls(url: str, tmp_path: Path) -> None:
    """A URL that must not be contacted is rejected before any socket."""
    with pytest.raises(InvalidArgumentError) as raised:
        await download(f"{url}?secret=1", tmp_path / "x", settings=SETTINGS)
    assert "secret" not in str(raised.value)
    with pytest.raises(DownloadError):
        await download(File(url=url), tmp_path / "x", settings=SETTINGS)
    assert not listed(tmp_path)


EXPIRED = reply("403 Forbidden", b"<Message>Request has expired</Message>")


async def test_expired_urls(storage: StorageServer, tmp_path: Path) -> None:
    """An expired URL leads to one fresh one, and then to an error."""
    old, fresh = (File(url=f"{storage.url}/clip?s={name}") for name in ("old", "fresh"))
    renewed: list[File] = []

    async def renew(file: File) -> File | None:
        renewed.append(file)
        return fresh

    storage.script += [cut_after(HALF), EXPIRED]
    path = await download(old, tmp_path / "clip.bin", settings=SETTINGS, renew=renew)
    assert path.read_bytes() == CONTENT
    assert renewed == [old]
    assert [request.target[-5:] for request in storage.requests] == ["s=old", "s=old", "fresh"]
    assert storage.requests[2].header("range") == f"bytes={HALF}-"

    storage.script += [EXPIRED] * 2
    with pytest.raises(FileExpiredError):
        await download(old, tmp_path / "b.bin", settings=SETTINGS, renew=renew)
    assert len(renewed) == 2

    storage.script += [EXPIRED]
    with pytest.raises(FileExpiredError, match="its job is not known"):
        await download(old.url, tmp_path / "b.bin", settings=SETTINGS)


async def test_urls_beyond_their_time(storage: StorageServer, tmp_path: Path) -> None:
    """A URL whose time is over is not requested; without a fresh one, the file has expired."""
    over = datetime.now(UTC) - timedelta(seconds=1)
    old, other = (File(url=f"{storage.url}/{name}", expires_at=over) for name in ("old", "other"))
    for found in (None, old, other):

        async def renew(_: File, found: File | None = found) -> File | None:
            return found

        with pytest.raises(FileExpiredError):
            await download(old, tmp_path / "clip.bin", settings=SETTINGS, renew=renew)

    assert not storage.requests


async def test_cancelled_download_is_continued(storage: StorageServer, tmp_path: Path) -> None:
    """The received part is kept when the caller cancels, and the next call continues it."""
    arrived = asyncio.Event()

    def progress(done: int, total: int | None) -> None:
        assert total == SIZE
        if done == HALF:
            arrived.set()

    storage.script += [
        lambda server, _: [
            server.head("200 OK", Content_Length=SIZE),
            CONTENT[:HALF],
            Action.SILENCE,
        ]
    ]
    target = tmp_path / "clip.bin"
    task = asyncio.create_task(get(storage, target, on_progress=progress))
    await arrived.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert not target.exists()

    seen: list[int] = []
    other = f"{storage.url}/clip?signature=other"
    await download(
        other, target, settings=SETTINGS, on_progress=lambda done, _total: seen.append(done)
    )

    assert target.read_bytes() == CONTENT
    assert storage.requests[1].header("range") == f"bytes={HALF}-"
    assert (seen[0], seen[-1]) == (HALF, SIZE)
    assert listed(tmp_path) == ["clip.bin"]


async def test_resume_false(storage: StorageServer, tmp_path: Path) -> None:
    """Without resuming, the part of an earlier call is not used."""
    storage.script += [cut_after(HALF), reply("404 No")]
    with pytest.raises(DownloadError):
        await get(storage, tmp_path / "a")
    assert len(listed(tmp_path)) == 2

    assert (await get(storage, tmp_path / "a", resume=False)).read_bytes() == CONTENT
    assert storage.requests[2].header("range") is None


async def test_proxies(
    storage: StorageServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The proxy of the environment is used only if the client trusts the environment."""
    trusting = attrs.evolve(ONCE, trust_env=True)
    async with StorageServer(CONTENT[::-1]) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        direct = await get(storage, tmp_path / "a")
        proxied = await get(storage, tmp_path / "b", settings=trusting)
        assert direct.read_bytes() == proxied.read_bytes()[::-1] == CONTENT
        assert [request.target for request in proxy.requests] == [f"{storage.url}/clip?s=1"]
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        await get(storage, tmp_path / "c", settings=trusting)
        assert len(proxy.requests) == 1


def random_answer(randomizer: random.Random) -> Answer:
    """A correct or a wrong answer."""
    start, size = randomizer.randrange(SIZE), randomizer.choice([0, 1, 1000, HALF, SIZE])

    def another_content(server: StorageServer, request: RawRequest) -> Script:
        server.content, server.etag = server.content[::-1], f'"{randomizer.random()}"'
        server.sent_headers["x-goog-hash"] = hash_header(server.content)
        return serve(server, request)

    answers = [
        serve,
        another_content,
        cut_after(size),
        cut_after(randomizer.randrange(SIZE)),
        ranged(f"bytes {start}-{SIZE - 1}/{SIZE}", start, SIZE),
        reply("200 OK", CONTENT[start:]),
        reply("200 OK", CONTENT, Content_Length=SIZE + size),
        reply("503 Busy"),
        randomizer.choice(list(WRONG_RESUMES.values())),
    ]
    return randomizer.choice(answers)


@pytest.mark.parametrize(
    ("downloads", "seed"), [(40, 1), pytest.param(2000, 2, marks=pytest.mark.campaign)]
)
async def test_random_answers(
    storage: StorageServer, downloads: int, seed: int, tmp_path: Path
) -> None:
    """Whatever hosts answer in whichever order, an existing file is correct."""
    randomizer = random.Random(seed)
    good = bad = 0
    for number in range(downloads):
        storage.content, storage.etag = CONTENT, '"v1"'
        storage.sent_headers["x-goog-hash"] = hash_header(CONTENT)
        storage.script = [random_answer(randomizer) for _ in range(randomizer.randrange(8))]
        target = tmp_path / f"{number}.bin"
        for _ in range(3):
            try:
                await download(f"{storage.url}/{number}", target, settings=SETTINGS)
            except DownloadError:
                bad += 1
                assert not target.exists()
            else:
                good += 1
                assert target.read_bytes() in {CONTENT, CONTENT[::-1]}
                target.unlink()
                break

    assert good > bad > 0


async def test_memory_stays_flat(storage: StorageServer, tmp_path: Path) -> None:
    """A file is never held in memory."""
    pieces: list[Step] = [CONTENT] * 128
    storage.script += [
        lambda server, _: [server.head("200 OK", Content_Length=128 * SIZE), *pieces]
    ]
    tracemalloc.start()
    try:
        path = await get(storage, tmp_path / "clip.bin")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()

    assert path.stat().st_size == 128 * SIZE
    assert peak < 12 * 2**20


async def test_existing_targets(storage: StorageServer, tmp_path: Path) -> None:
    """An existing file is overwritten only on request; nothing is sent before."""
    target = tmp_path / "clip.bin"
    target.write_bytes(b"old")
    with pytest.raises(FileExistsError):
        await get(storage, target)
    with pytest.raises(FileExistsError):
        await download_all([File(url=f"{storage.url}/clip.bin")], tmp_path, settings=SETTINGS)
    assert not storage.requests
    assert target.read_bytes() == b"old"
    await get(storage, target, overwrite=True)

    assert target.read_bytes() == CONTENT


async def test_invalid_arguments(tmp_path: Path) -> None:
    """Invalid arguments are rejected before any socket."""
    url: Any = "https://host/x"
    files: list[Any] = [None, b"https://host/x", {"url": "https://host/x"}]
    paths: list[Any] = [None, "", b"x", "a\0b", "a\ud800", "..", "/"]
    calls = [(file, tmp_path / "x") for file in files] + [(url, path) for path in paths]
    for file, path in calls:
        with pytest.raises(InvalidArgumentError):
            await download(file, path, settings=SETTINGS)
    with pytest.raises(InvalidArgumentError):
        await download(url, tmp_path / "x", settings=SETTINGS, on_progress=1)  # type: ignore[arg-type]
    for directory in (None, "", b"x", "a\0b", "a\ud800"):
        with pytest.raises(InvalidArgumentError):
            await download_all([], directory, settings=SETTINGS)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="concurrency"):
        await download_all([], tmp_path, settings=SETTINGS, concurrency=0)


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (reply("garbage"), "malformed as HTTP"),
        (reply("200 OK", b"", Content_Length="x"), "malformed as HTTP"),
        (reply("200 OK", b"x", Content_Length=2), "cut off"),
        (reply("403 No", b"x", Content_Length=2), "403"),
        (reply("200 OK", b"x\r\n", Transfer_Encoding="chunked", Content_Length=None), "malformed"),
        (reply("200 OK", b"", Content_Length=2**60), f"needs {2**60} bytes"),
    ],
    ids=["status", "length", "short", "rejection", "chunks", "full disk"],
)
async def test_reasons(storage: StorageServer, answer: Answer, reason: str, tmp_path: Path) -> None:
    """An error contains the failure of the network or of the disk."""
    storage.script += [answer]
    with pytest.raises(DownloadError, match=reason):
        await get(storage, tmp_path / "x", settings=ONCE)


async def test_unreachable_host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A refused connection, an untrusted certificate and an unknown host have their reasons."""
    async with StorageServer(CONTENT) as storage:
        pass
    with pytest.raises(DownloadError, match="Connection refused"):
        await get(storage, tmp_path / "x", settings=ONCE)
    async with RawServer(tls=server_context(trustme.CA())) as server:
        with pytest.raises(DownloadError, match="certificate of the host is not trusted"):
            await download(f"{server.url}/x", tmp_path / "x", settings=SETTINGS)

    async def getaddrinfo(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    with pytest.raises(DownloadError, match="host was not found: Name or service not known"):
        await download("https://sieve.invalid/x", tmp_path / "x", settings=ONCE)
    with pytest.raises(DownloadError, match=r"host name is not valid|not found"):
        await download(f"https://{'x' * 70}.invalid/x", tmp_path / "x", settings=ONCE)


async def test_silent_host(storage: StorageServer, tmp_path: Path) -> None:
    """``Timeout.request`` limits the silence, and not the whole download."""
    patient = attrs.evolve(ONCE, timeout=Timeout(connect=None, request=5.0))
    slow: list[Step] = [4.0, b"x"] * 4
    storage.script += [
        lambda *_: [Action.SILENCE],
        lambda server, _: [server.head("200 OK", Content_Length=4), *slow],
    ]
    with pytest.raises(DownloadError, match="did not answer in time"):
        await get(storage, tmp_path / "x", settings=patient)
    assert now() == pytest.approx(5, abs=0.1)

    assert (await get(storage, tmp_path / "y", settings=patient)).read_bytes() == b"xxxx"


async def test_failures_of_the_caller(storage: StorageServer, tmp_path: Path) -> None:
    """An exception of ``on_progress`` ends the download unchanged; the part is kept."""
    target = tmp_path / "x"

    async def fail(done: int, _total: int | None) -> None:
        if done:
            raise TimeoutError("mine")

    with pytest.raises(TimeoutError, match="mine"):
        await get(storage, target, on_progress=fail)
    assert (len(storage.requests), len(listed(tmp_path))) == (1, 2)

    # A target that cannot be replaced is an error with the words of the system.
    with pytest.raises(DownloadError, match="directory"):
        await get(
            storage,
            target,
            overwrite=True,
            resume=False,
            on_progress=lambda *_: target.mkdir(exist_ok=True),
        )
    assert len(listed(tmp_path)) == 3


async def test_all_files_of_a_job(storage: StorageServer, tmp_path: Path) -> None:
    """Names are made safe and distinct; the number of concurrent requests is limited."""
    running = most = 0

    def count(change: int) -> None:
        nonlocal running, most
        running += change
        most = max(most, running)

    def counted(server: StorageServer, request: RawRequest) -> Script:
        return [lambda: count(1), 1.0, lambda: count(-1), *serve(server, request)]

    storage.script += [counted] * 6
    names = ["a.mp4?s=1", "b/a.mp4?s=2", "", ".hidden"]
    files = [File(url=f"{storage.url}/{name}") for name in names]
    files += [File(url=f"{storage.url}/c", name="../../A.mp4"), File(storage.url, name="CON")]
    paths = await download_all(files, tmp_path / "out", settings=SETTINGS, concurrency=2)

    assert [path.name for path in paths] == [
        "a.mp4",
        "a-2.mp4",
        "file",
        "hidden",
        "A-3.mp4",
        "_CON",
    ]
    assert all(path.read_bytes() == CONTENT for path in paths)
    assert most == 2


async def test_one_of_many_files_fails(storage: StorageServer, tmp_path: Path) -> None:
    """The others are downloaded, and the error contains their number."""
    storage.script += [reply("404 No")]
    files = [File(url=f"{storage.url}/{name}") for name in "abc"]
    with pytest.raises(DownloadError) as raised:
        await download_all(files, tmp_path, settings=SETTINGS, concurrency=1)

    assert raised.value.__notes__ == ["2 of 3 files were downloaded"]
    assert listed(tmp_path) == ["b", "c"]


async def test_queries_are_not_shown(
    storage: StorageServer, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The query of a URL is in no error, no log line, and no exception below an error."""
    answers: list[Answer] = [
        reply("404 No"),
        reply("302 Found", Location="/x?token=secret2"),
        cut_after(10),
        reply("garbage"),
        reply("302 Found", Location="http://example.com/x?token=secret2"),
    ]
    url = f"{storage.url}/x?token=secret1"
    for answer in answers:
        storage.script = [answer, reply("404 No")]
        with pytest.raises(DownloadError) as raised:
            await download(url, tmp_path / "x", settings=ONCE)
        error: BaseException | None = raised.value
        while error is not None:
            assert "secret" not in f"{error} {error!r} {vars(error)}"
            error = error.__cause__ or error.__context__
    ours = [record.getMessage() for record in caplog.records if record.name == "sieve_async"]
    assert ours
    assert not [line for line in ours if "secret" in line]
