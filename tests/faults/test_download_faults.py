"""Storage hosts that misbehave: the file is correct, or the error gives the reason."""

import asyncio
import base64
import hashlib
import random
import socket
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import pytest
import trustme

from helpers.http_helpers import now
from helpers.network import server_context
from helpers.raw_server import Action, RawRequest, RawServer, Script, Step
from helpers.storage_server import Answer, StorageServer, cut_after, reply, serve
from sieve_async import DownloadError, FileExpiredError, RetryPolicy, Timeout
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


async def test_content_changes_between_attempts(storage: StorageServer, tmp_path: Path) -> None:
    """A host with another content gets a request for all of it."""

    def changed(server: StorageServer, request: RawRequest) -> Script:
        server.content, server.etag = CONTENT[::-1], '"v2"'
        return serve(server, request)

    storage.script += [cut_after(HALF), changed]
    assert (await get(storage, tmp_path / "clip.bin")).read_bytes() == CONTENT[::-1]


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


async def test_transient_answers(storage: StorageServer, tmp_path: Path) -> None:
    """A transient failure is retried after the time that the host asks for."""
    storage.script += [reply("503 E", Retry_After="7")]
    assert (await get(storage, tmp_path / "a.bin")).read_bytes() == CONTENT
    assert 7 <= now() < 8
    storage.script += [reply("503 E", Retry_After="100000")]
    with pytest.raises(DownloadError, match="503"):
        await get(storage, tmp_path / "b.bin")


async def test_md5_of_a_resumed_file(storage: StorageServer, tmp_path: Path) -> None:
    """The MD5 is that of both parts together."""
    storage.sent_headers["x-goog-hash"] = hash_header(CONTENT)
    storage.script += [cut_after(HALF)]
    assert (await get(storage, tmp_path / "c.bin")).read_bytes() == CONTENT
    assert [request.first_byte for request in storage.requests] == [None, HALF]


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
        reply("416 No", Content_Range=f"bytes */{SIZE}"),
        reply("204 No Content", Content_Length=None),
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


async def test_target_that_cannot_be_replaced(storage: StorageServer, tmp_path: Path) -> None:
    """It is an error with the words of the system; the part and its record are kept."""
    target = tmp_path / "x"
    with pytest.raises(DownloadError, match="directory"):
        await get(
            storage, target, overwrite=True, on_progress=lambda *_: target.mkdir(exist_ok=True)
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
    names = ["a.mp4?s=1", "b/a.mp4?s=2", ""]
    files = [File(url=f"{storage.url}/{name}") for name in names]
    files += [File(url=f"{storage.url}/c", name="../../A.mp4"), File(storage.url, name="CON")]
    paths = await download_all(files, tmp_path / "out", settings=SETTINGS, concurrency=2)
    assert [path.name for path in paths] == ["a.mp4", "a-2.mp4", "file", "A-3.mp4", "_CON"]
    assert all(path.read_bytes() == CONTENT for path in paths)
    assert most == 2


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
