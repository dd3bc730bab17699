"""Storage hosts that misbehave: the file is right, or the error says why."""

import asyncio
import base64
import hashlib
import random
import socket
import tracemalloc
from datetime import UTC, datetime, timedelta
from pathlib import Path

import attrs
import pytest
import trustme

from helpers.storage_server import (
    Answer,
    StorageRequest,
    StorageServer,
    cut_after,
    reply,
    serve,
    storage_server,
)
from helpers.tls import server_context
from sieve_async import DownloadError, FileExpiredError, InvalidArgumentError, RetryPolicy, Timeout
from sieve_async.files import DownloadSettings, download, download_all
from sieve_async.models import File

pytestmark = pytest.mark.looptime

CONTENT = bytes(range(256)) * 4096  # 1 MiB
HALF = len(CONTENT) // 2
# Without request timeouts there are no timers that virtual time could jump to.
SETTINGS = DownloadSettings(timeout=Timeout(connect=None, request=None))


def listed(directory: Path) -> list[str]:
    """The names of what is in a directory."""
    return sorted(path.name for path in directory.iterdir())


def ranged(span: str, start: int, end: int, **headers: object) -> Answer:
    """Answer 206 with this Content-Range and these bytes of the content."""

    async def answer(
        server: StorageServer, _request: StorageRequest, writer: asyncio.StreamWriter
    ) -> None:
        body = server.content[start:end]
        length = {"Content_Length": len(body), "Content_Range": span, **headers}
        writer.write(server.head("206 Partial Content", **length) + body)

    return answer


def chunked(start: int, end: int, more: bytes) -> Answer:
    """Answer 206 for the rest, with a chunked body of these bytes and more."""

    async def answer(
        server: StorageServer, _request: StorageRequest, writer: asyncio.StreamWriter
    ) -> None:
        body = server.content[start:end] + more
        head = server.head(
            "206 Partial Content",
            Transfer_Encoding="chunked",
            Content_Range=f"bytes {start}-{SIZE - 1}/{SIZE}",
        )
        writer.write(head + b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body))

    return answer


SIZE = len(CONTENT)
WRONG_RESUMES: dict[str, Answer] = {
    "the range begins at 0": ranged(f"bytes 0-{SIZE - 1}/{SIZE}", 0, SIZE),
    "the range is labelled 0": ranged(f"bytes 0-{SIZE - 1}/{SIZE}", HALF, SIZE),
    "the range begins a byte late": ranged(f"bytes {HALF + 1}-{SIZE - 1}/{SIZE}", HALF + 1, SIZE),
    "the range begins a byte early": ranged(f"bytes {HALF - 1}-{SIZE - 1}/{SIZE}", HALF - 1, SIZE),
    "another total": ranged(f"bytes {HALF}-{SIZE}/{SIZE + 1}", HALF, SIZE),
    "no Content-Range": ranged("", HALF, SIZE, Content_Range=None),
    "a Content-Range of rubbish": ranged("bytes what", HALF, SIZE),
    "fewer bytes than the range": ranged(f"bytes {HALF}-{SIZE - 1}/{SIZE}", HALF, SIZE - 1),
    "another ETag": ranged(f"bytes {HALF}-{SIZE - 1}/{SIZE}", 0, SIZE - HALF, ETag='"v2"'),
    "a weak ETag": ranged(f"bytes {HALF}-{SIZE - 1}/{SIZE}", 0, SIZE - HALF, ETag='W/"v1"'),
    "an encoded range": ranged(
        f"bytes {HALF}-{SIZE - 1}/{SIZE}", HALF, SIZE, Content_Encoding="gzip"
    ),
    "416 though there is more": reply("416 No", Content_Range=f"bytes */{SIZE}"),
    "416 without a length": reply("416 No"),
    "a 200 that starts over": serve,
    "a 200 with only the rest": reply("200 OK", CONTENT[HALF:]),
    "a 204": reply("204 No Content", Content_Length=None),
    "a chunked range that is longer": chunked(HALF, SIZE, b"more"),
    "a chunked range that is shorter": chunked(HALF, SIZE - 1, b""),
}


@pytest.mark.parametrize("name", WRONG_RESUMES)
async def test_wrong_resumes(name: str, tmp_path: Path) -> None:
    """However the rest is answered wrongly, the file is right or the error says why."""
    foreign = tmp_path / "clip.bin.part"
    foreign.write_bytes(b"foreign")
    async with storage_server(CONTENT) as storage:
        storage.script += [cut_after(HALF), WRONG_RESUMES[name]]
        target = tmp_path / "clip.bin"
        if name in {"an encoded range", "a 204"}:
            with pytest.raises(DownloadError, match=r"content-encoding|204"):
                await download(f"{storage.url}/clip", target, settings=SETTINGS)
            assert not target.exists()
        else:
            await download(f"{storage.url}/clip", target, settings=SETTINGS)
            assert target.read_bytes() == CONTENT
            assert listed(tmp_path) == ["clip.bin", "clip.bin.part"]

    assert foreign.read_bytes() == b"foreign"
    assert storage.requests[1].headers["range"] == f"bytes={HALF}-"
    assert storage.requests[1].headers["if-range"] == '"v1"'


async def test_the_content_changes_between_two_attempts(tmp_path: Path) -> None:
    """A host that sends another content under If-Range has it all sent again."""
    async with storage_server(CONTENT) as storage:

        async def changed(
            server: StorageServer, request: StorageRequest, writer: asyncio.StreamWriter
        ) -> None:
            server.content, server.etag = CONTENT[::-1], '"v2"'
            await serve(server, request, writer)

        storage.script += [cut_after(HALF), changed]
        path = await download(f"{storage.url}/clip", tmp_path / "clip.bin", settings=SETTINGS)

    assert path.read_bytes() == CONTENT[::-1]


@pytest.mark.parametrize("etag", [None, 'W/"v1"', "v1"])
async def test_without_a_strong_etag_nothing_is_resumed(etag: str | None, tmp_path: Path) -> None:
    """Two answers are joined only if a strong ETag says that they are of one content."""
    async with storage_server(CONTENT, etag) as storage:
        storage.script += [cut_after(HALF)]
        path = await download(f"{storage.url}/clip", tmp_path / "clip.bin", settings=SETTINGS)

    assert path.read_bytes() == CONTENT
    assert "range" not in storage.requests[1].headers


async def test_a_host_that_always_cuts(tmp_path: Path) -> None:
    """A host that brings a part each time is followed to the end, one that brings none is not."""
    async with storage_server(CONTENT) as storage:
        storage.script += [cut_after(100_000)] * 10
        path = await download(f"{storage.url}/clip", tmp_path / "clip.bin", settings=SETTINGS)
        assert path.read_bytes() == CONTENT
        assert len(storage.requests) == 11

        storage.requests.clear()
        storage.script += [cut_after(10)] * 20
        with pytest.raises(DownloadError, match="cut off"):
            await download(f"{storage.url}/two", tmp_path / "two.bin", settings=SETTINGS)
        assert len(storage.requests) == 3
    assert not (tmp_path / "two.bin").exists()


async def test_a_host_that_lies_about_each_range(tmp_path: Path) -> None:
    """Starting over again and again has an end too."""
    lie = ranged("bytes 0-1/2", 0, 2)
    async with storage_server(CONTENT) as storage:
        storage.script += [cut_after(HALF), lie] + [cut_after(HALF)] * 20
        with pytest.raises(DownloadError, match="cut off"):
            await download(f"{storage.url}/clip", tmp_path / "clip.bin", settings=SETTINGS)

    assert len(storage.requests) < 8


async def test_a_host_whose_ranges_lie(tmp_path: Path) -> None:
    """A host that has lied about a range is asked for the whole content from then on."""
    lie = ranged("bytes 0-1/2", 0, 2)

    async def whole_or_lie(
        server: StorageServer, request: StorageRequest, writer: asyncio.StreamWriter
    ) -> None:
        await (serve if request.first_byte is None else lie)(server, request, writer)

    patient = attrs.evolve(SETTINGS, retry=RetryPolicy(max_attempts=4))
    async with storage_server(CONTENT) as storage:
        storage.script += [cut_after(HALF), lie, cut_after(HALF), whole_or_lie]
        path = await download(f"{storage.url}/clip", tmp_path / "clip.bin", settings=patient)

    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("status", ["500 E", "503 E", "429 E", "408 E", "502 E"])
async def test_transient_answers(status: str, tmp_path: Path) -> None:
    """What may pass is tried again, after the time that the host asks for."""
    loop = asyncio.get_running_loop()
    async with storage_server(CONTENT) as storage:
        storage.script += [reply(status, Retry_After="7")]
        started = loop.time()
        path = await download(f"{storage.url}/clip", tmp_path / "clip.bin", settings=SETTINGS)
        assert 7 <= loop.time() - started < 8
        storage.script += [reply(status, Retry_After="100000")]
        with pytest.raises(DownloadError) as raised:
            await download(f"{storage.url}/b", tmp_path / "b.bin", settings=SETTINGS)

    assert path.read_bytes() == CONTENT
    assert raised.value.status == int(status[:3])


@pytest.mark.parametrize("status", ["400 E", "401 E", "403 E", "404 E", "410 E", "501 E", "304 E"])
async def test_lasting_answers(status: str, tmp_path: Path) -> None:
    """What will not pass is an error at once, and leaves nothing behind."""
    async with storage_server(CONTENT) as storage:
        storage.script += [reply(status, b"" if status == "304 E" else b"secret=1")]
        with pytest.raises(DownloadError) as raised:
            await download(f"{storage.url}/clip?s=1", tmp_path / "clip.bin", settings=SETTINGS)

    assert type(raised.value) is DownloadError
    assert raised.value.status == int(status[:3])
    assert raised.value.url == f"{storage.url}/clip"
    assert len(storage.requests) == 1
    assert not listed(tmp_path)


async def test_md5(tmp_path: Path) -> None:
    """Content that is not what its MD5 says is fetched again, and never becomes the file."""
    digest = base64.b64encode(hashlib.md5(CONTENT, usedforsecurity=False).digest()).decode()
    damaged = b"x" + CONTENT[1:]
    async with storage_server(CONTENT) as storage:
        storage.headers["x-goog-hash"] = f"crc32c=AAAAAA==,md5={digest}"
        storage.script += [reply("200 OK", damaged)]
        path = await download(f"{storage.url}/clip", tmp_path / "clip.bin", settings=SETTINGS)
        assert path.read_bytes() == CONTENT
        storage.script += [reply("200 OK", damaged)] * 3
        with pytest.raises(DownloadError, match="MD5"):
            await download(f"{storage.url}/clip", tmp_path / "b.bin", settings=SETTINGS)
        storage.script += [cut_after(HALF)]
        path = await download(f"{storage.url}/clip", tmp_path / "c.bin", settings=SETTINGS)

    assert path.read_bytes() == CONTENT
    assert listed(tmp_path) == ["c.bin", "clip.bin"]


async def test_a_body_without_an_end(tmp_path: Path) -> None:
    """A body that ends with its connection may be cut anywhere: it counts only with an MD5."""
    digest = base64.b64encode(hashlib.md5(CONTENT, usedforsecurity=False).digest()).decode()
    endless = reply("200 OK", CONTENT, Content_Length=None)
    async with storage_server(CONTENT) as storage:
        storage.script += [endless]
        with pytest.raises(DownloadError, match="neither how long"):
            await download(f"{storage.url}/clip", tmp_path / "clip.bin", settings=SETTINGS)
        storage.headers["x-goog-hash"] = f"md5={digest}"
        storage.script += [reply("200 OK", CONTENT[:-1], Content_Length=None), endless]
        path = await download(f"{storage.url}/clip", tmp_path / "clip.bin", settings=SETTINGS)

    assert path.read_bytes() == CONTENT


async def test_chunked_bodies(tmp_path: Path) -> None:
    """A chunked body says itself where it ends; cut, it is continued."""
    chunk = b"%x\r\n%b\r\n" % (SIZE, CONTENT)
    head = {"Content_Length": None, "Transfer_Encoding": "chunked"}
    async with storage_server(CONTENT) as storage:
        storage.script += [
            reply("200 OK", chunk + b"0\r\n\r\n", **head),
            reply("200 OK", chunk, **head),
        ]
        one = await download(f"{storage.url}/clip", tmp_path / "1.bin", settings=SETTINGS)
        two = await download(f"{storage.url}/clip", tmp_path / "2.bin", settings=SETTINGS)

    assert one.read_bytes() == two.read_bytes() == CONTENT
    assert storage.requests[2].headers["range"] == f"bytes={SIZE}-"


async def test_an_empty_file(tmp_path: Path) -> None:
    """A file may be empty."""
    async with storage_server(b"") as storage:
        path = await download(f"{storage.url}/clip", tmp_path / "clip.bin", settings=SETTINGS)

    assert path.read_bytes() == b""
    assert listed(tmp_path) == ["clip.bin"]


async def test_redirects(tmp_path: Path) -> None:
    """Five redirects are followed and the sixth is not, with the same headers each time."""
    async with storage_server(CONTENT) as storage:
        hop = reply("302 Found", Location="/next?signature=secret", Set_Cookie="a=b; Path=/")
        storage.script += [hop] * 5
        path = await download(f"{storage.url}/clip", tmp_path / "clip.bin", settings=SETTINGS)
        assert path.read_bytes() == CONTENT
        assert [request.target for request in storage.requests] == [
            "/clip",
            *["/next?signature=secret"] * 5,
        ]
        assert all("cookie" not in request.headers for request in storage.requests)
        storage.script += [hop] * 6
        with pytest.raises(DownloadError, match="more than 5 redirects"):
            await download(f"{storage.url}/clip", tmp_path / "b.bin", settings=SETTINGS)


@pytest.mark.parametrize(
    "location",
    [
        "http://example.com/x",
        "https://10.0.0.1/x",
        "https://169.254.169.254/latest/meta-data",
        "https://[fd00::1]/x",
        "https://user:password@example.com/x",
        "ftp://example.com/x",
        "file:///etc/passwd",
        "https://[broken",
        "https://host:0/",
    ],
)
async def test_forbidden_redirects(location: str, tmp_path: Path) -> None:
    """A redirect never leads to plain http, a private address, or what is not https."""
    async with storage_server(CONTENT) as storage:
        storage.script += [reply("302 Found", Location=location)]
        with pytest.raises(DownloadError, match="must not be contacted"):
            await download(f"{storage.url}/clip", tmp_path / "clip.bin", settings=SETTINGS)

    assert len(storage.requests) == 1


@pytest.mark.parametrize(
    "url",
    ["http://example.com/x", "https://10.0.0.1/x", "ftp://x/y", "x", "https://u:p@host/x", ""],
)
async def test_urls_that_are_refused(url: str, tmp_path: Path) -> None:
    """A URL that must not be contacted is refused before any socket."""
    with pytest.raises(InvalidArgumentError) as raised:
        await download(f"{url}?secret=1" if url else "", tmp_path / "x", settings=SETTINGS)
    assert "secret" not in str(raised.value)
    with pytest.raises(DownloadError):
        await download(File(url=url), tmp_path / "x", settings=SETTINGS)
    assert not listed(tmp_path)


async def test_names_that_lead_into_a_private_network(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A host name whose addresses are all private is not connected to."""
    loop = asyncio.get_running_loop()
    lookups: list[object] = []

    async def getaddrinfo(host: object, *_: object, **__: object) -> list[object]:
        lookups.append(host)
        return [(2, 1, 6, "", ("127.0.0.1", 443))]

    async with storage_server(CONTENT) as storage:
        monkeypatch.setattr(loop, "getaddrinfo", getaddrinfo)
        with pytest.raises(DownloadError, match=r"sieve\.invalid has no public address"):
            await download("https://sieve.invalid/x", tmp_path / "x", settings=SETTINGS)

    assert lookups == ["sieve.invalid"]
    assert not storage.requests


EXPIRED = reply("403 Forbidden", b"<Message>Request has expired</Message>")


async def test_expired_urls(tmp_path: Path) -> None:
    """An expired URL leads to one fresh one, and then to an error."""
    async with storage_server(CONTENT) as storage:
        old, fresh = (File(url=f"{storage.url}/clip?s={name}") for name in ("old", "fresh"))
        asked: list[File] = []

        async def renew(file: File) -> File | None:
            asked.append(file)
            return fresh

        storage.script += [cut_after(HALF), EXPIRED]
        path = await download(old, tmp_path / "clip.bin", settings=SETTINGS, renew=renew)
        assert path.read_bytes() == CONTENT
        assert asked == [old]
        assert [request.target[-5:] for request in storage.requests] == ["s=old", "s=old", "fresh"]
        assert storage.requests[2].headers["range"] == f"bytes={HALF}-"

        storage.script += [EXPIRED] * 2
        with pytest.raises(FileExpiredError):
            await download(old, tmp_path / "b.bin", settings=SETTINGS, renew=renew)
        assert len(asked) == 2

        storage.script += [EXPIRED]
        with pytest.raises(FileExpiredError, match="its job is not known"):
            await download(old.url, tmp_path / "b.bin", settings=SETTINGS)


@pytest.mark.parametrize("gives", ["nothing", "the same", "another that has expired"])
async def test_urls_whose_time_is_over(gives: str, tmp_path: Path) -> None:
    """A URL whose time is over is not asked; without a fresh one, the file has expired."""
    over = datetime.now(UTC) - timedelta(seconds=1)
    async with storage_server(CONTENT) as storage:
        old = File(url=f"{storage.url}/clip?s=old", expires_at=over)
        other = File(url=f"{storage.url}/clip?s=other", expires_at=over)

        async def renew(_file: File) -> File | None:
            return {"nothing": None, "the same": old}.get(gives, other)

        with pytest.raises(FileExpiredError):
            await download(old, tmp_path / "clip.bin", settings=SETTINGS, renew=renew)

    assert not storage.requests


async def test_a_cancelled_download_is_continued(tmp_path: Path) -> None:
    """What has come is kept when the caller cancels, and the next call goes on from there."""
    hang = asyncio.Event()

    async def stall(
        server: StorageServer, _request: StorageRequest, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(server.head("200 OK", Content_Length=SIZE) + CONTENT[:HALF])
        await hang.wait()

    arrived = asyncio.Event()

    def progress(done: int, total: int | None) -> None:
        assert total == SIZE
        if done == HALF:
            arrived.set()

    async with storage_server(CONTENT) as storage:
        storage.script += [stall]
        target = tmp_path / "clip.bin"
        task = asyncio.create_task(
            download(f"{storage.url}/clip", target, settings=SETTINGS, on_progress=progress)
        )
        await arrived.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not target.exists()
        hang.set()

        seen: list[int] = []
        path = await download(
            f"{storage.url}/clip?signature=other",
            target,
            settings=SETTINGS,
            on_progress=lambda done, _total: seen.append(done),
        )

    assert path.read_bytes() == CONTENT
    assert storage.requests[1].headers["range"] == f"bytes={HALF}-"
    assert (seen[0], seen[-1]) == (HALF, SIZE)
    assert listed(tmp_path) == ["clip.bin"]


async def test_resume_false(tmp_path: Path) -> None:
    """Without resuming, what an earlier call left is not used."""
    async with storage_server(CONTENT) as storage:
        storage.script += [cut_after(HALF), reply("404 No")]
        with pytest.raises(DownloadError):
            await download(f"{storage.url}/clip", tmp_path / "a", settings=SETTINGS)
        assert len(listed(tmp_path)) == 2
        path = await download(
            f"{storage.url}/clip", tmp_path / "a", settings=SETTINGS, resume=False
        )

    assert path.read_bytes() == CONTENT
    assert "range" not in storage.requests[2].headers


async def test_two_downloads_to_one_path(tmp_path: Path) -> None:
    """Downloads side by side write parts of their own; the first becomes the file."""
    async with storage_server(CONTENT) as storage:
        url, target = f"{storage.url}/clip", tmp_path / "clip.bin"
        results = await asyncio.gather(
            *(download(url, target, settings=SETTINGS) for _ in range(3)), return_exceptions=True
        )

    assert sum(result == target for result in results) == 1
    assert sum(isinstance(result, FileExistsError) for result in results) == 2
    assert target.read_bytes() == CONTENT


async def test_proxies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy of the environment is used only if the client trusts the environment."""
    trusting = attrs.evolve(SETTINGS, trust_env=True, retry=RetryPolicy(max_attempts=1))
    async with storage_server(CONTENT) as storage, storage_server(CONTENT[::-1]) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        direct = await download(f"{storage.url}/clip?s=1", tmp_path / "a", settings=SETTINGS)
        proxied = await download(f"{storage.url}/clip?s=1", tmp_path / "b", settings=trusting)
        assert direct.read_bytes() == proxied.read_bytes()[::-1] == CONTENT
        assert [request.target for request in proxy.requests] == [f"{storage.url}/clip?s=1"]
        monkeypatch.setenv("no_proxy", "127.0.0.1")
        await download(f"{storage.url}/clip", tmp_path / "c", settings=trusting)
        assert len(proxy.requests) == 1


def random_answer(dice: random.Random) -> Answer:
    """One of the ways in which a request goes well or wrong."""
    start, size = dice.randrange(SIZE), dice.choice([0, 1, 1000, HALF, SIZE])

    async def another_content(
        server: StorageServer, request: StorageRequest, writer: asyncio.StreamWriter
    ) -> None:
        server.content, server.etag = server.content[::-1], f'"{dice.random()}"'
        digest = hashlib.md5(server.content, usedforsecurity=False).digest()
        server.headers["x-goog-hash"] = f"md5={base64.b64encode(digest).decode()}"
        await serve(server, request, writer)

    return dice.choice(
        [
            serve,
            another_content,
            cut_after(size),
            cut_after(dice.randrange(SIZE)),
            ranged(f"bytes {start}-{SIZE - 1}/{SIZE}", start, SIZE),
            reply("200 OK", CONTENT[start:]),
            reply("200 OK", CONTENT, Content_Length=SIZE + size),
            reply("503 Busy"),
            dice.choice(list(WRONG_RESUMES.values())),
        ]
    )


@pytest.mark.parametrize(
    ("downloads", "seed"), [(100, 1), pytest.param(2000, 2, marks=pytest.mark.campaign)]
)
async def test_random_answers(downloads: int, seed: int, tmp_path: Path) -> None:
    """Whatever hosts answer in whichever order, a file that is there is right."""
    dice = random.Random(seed)
    good = bad = 0
    async with storage_server(CONTENT) as storage:
        for number in range(downloads):
            storage.content, storage.etag = CONTENT, '"v1"'
            digest = hashlib.md5(CONTENT, usedforsecurity=False).digest()
            storage.headers["x-goog-hash"] = f"md5={base64.b64encode(digest).decode()}"
            storage.script = [random_answer(dice) for _ in range(dice.randrange(8))]
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


async def test_memory_stays_flat(tmp_path: Path) -> None:
    """A file is never held in memory."""
    async with storage_server(CONTENT) as storage:

        async def large(
            server: StorageServer, _request: StorageRequest, writer: asyncio.StreamWriter
        ) -> None:
            writer.write(server.head("200 OK", Content_Length=64 * SIZE))
            for _ in range(64):
                writer.write(CONTENT)
                await writer.drain()

        storage.script += [large]
        tracemalloc.start()
        try:
            path = await download(f"{storage.url}/clip", tmp_path / "clip.bin", settings=SETTINGS)
            _, peak = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()

    assert path.stat().st_size == 64 * SIZE
    assert peak < 12 * SIZE


async def test_existing_targets(tmp_path: Path) -> None:
    """What exists is not overwritten unless the caller wants that; nothing is sent before."""
    target = tmp_path / "clip.bin"
    target.write_bytes(b"old")
    async with storage_server(CONTENT) as storage:
        with pytest.raises(FileExistsError):
            await download(f"{storage.url}/clip", target, settings=SETTINGS)
        with pytest.raises(FileExistsError):
            await download_all([File(url=f"{storage.url}/clip.bin")], tmp_path, settings=SETTINGS)
        assert not storage.requests
        assert target.read_bytes() == b"old"
        await download(f"{storage.url}/clip", target, settings=SETTINGS, overwrite=True)

    assert target.read_bytes() == CONTENT


@pytest.mark.parametrize("path", [None, 1, "", b"x", "a\0b", ".", "..", "/"])
async def test_invalid_paths(path: object) -> None:
    """A path that cannot be that of a file is refused before any socket."""
    with pytest.raises(InvalidArgumentError):
        await download("https://host/x", path, settings=SETTINGS)  # type: ignore[arg-type]


async def test_invalid_arguments(tmp_path: Path) -> None:
    """So is everything else that cannot be right."""
    for file in (None, 1, b"https://host/x", {"url": "https://host/x"}):
        with pytest.raises(InvalidArgumentError):
            await download(file, tmp_path / "x", settings=SETTINGS)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError):
        await download("https://host/x", tmp_path / "x", settings=SETTINGS, on_progress=1)  # type: ignore[arg-type]
    for directory in (None, "", b"x", "a\0b"):
        with pytest.raises(InvalidArgumentError):
            await download_all([], directory, settings=SETTINGS)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="concurrency"):
        await download_all([], tmp_path, settings=SETTINGS, concurrency=0)


async def test_directories_that_cannot_be_written(tmp_path: Path) -> None:
    """A target in a directory that is missing is an error before anything is sent."""
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DownloadError, match="No such file"):
        await download("https://host/x", tmp_path / "missing" / "x", settings=SETTINGS)
    with pytest.raises(FileExistsError):
        await download_all([], tmp_path / "file", settings=SETTINGS)
    with pytest.raises(DownloadError, match="Not a directory"):
        await download_all([], tmp_path / "file" / "x", settings=SETTINGS)


ONCE = attrs.evolve(SETTINGS, retry=RetryPolicy(max_attempts=1))


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (reply("rubbish"), "malformed as HTTP"),
        (reply("200 OK", b"", Content_Length="x"), "malformed as HTTP"),
        (reply("200 OK", b"x", Content_Length=2), "cut off"),
        (reply("403 No", b"x", Content_Length=2), "403"),
        (reply("200 OK", b"x\r\n", Transfer_Encoding="chunked", Content_Length=None), "malformed"),
    ],
    ids=["status", "length", "short", "refusal", "chunks"],
)
async def test_words_of_broken_answers(answer: Answer, reason: str, tmp_path: Path) -> None:
    """An error says what happened on the network."""
    async with storage_server(CONTENT) as storage:
        storage.script += [answer]
        with pytest.raises(DownloadError, match=reason):
            await download(f"{storage.url}/x", tmp_path / "x", settings=ONCE)


async def test_a_host_that_is_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So it does where no connection can be opened, and where none is trusted."""
    async with storage_server(CONTENT) as storage:
        pass
    with pytest.raises(DownloadError, match="Connection refused"):
        await download(f"{storage.url}/x", tmp_path / "x", settings=ONCE)
    tls = server_context(trustme.CA())
    server = await asyncio.start_server(lambda *_: None, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    with pytest.raises(DownloadError, match="certificate of the host is not trusted"):
        await download(f"https://127.0.0.1:{port}/x", tmp_path / "x", settings=SETTINGS)
    server.close()
    await server.wait_closed()

    async def getaddrinfo(*_: object, **__: object) -> list[object]:
        raise socket.gaierror(-2, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    with pytest.raises(DownloadError, match="host was not found: Name or service not known"):
        await download("https://sieve.invalid/x", tmp_path / "x", settings=ONCE)
    with pytest.raises(DownloadError, match=r"host name is not valid|not found"):
        await download(f"https://{'x' * 70}.invalid/x", tmp_path / "x", settings=ONCE)


async def test_a_host_that_is_silent(tmp_path: Path) -> None:
    """The longest silence is that of ``Timeout.request``; it does not bound the whole."""
    loop = asyncio.get_running_loop()
    patient = attrs.evolve(ONCE, timeout=Timeout(connect=None, request=5.0))

    async def slow(
        server: StorageServer, _request: StorageRequest, writer: asyncio.StreamWriter
    ) -> None:
        writer.write(server.head("200 OK", Content_Length=4))
        for _ in range(4):
            await asyncio.sleep(4)
            writer.write(b"x")
            await writer.drain()

    silence = asyncio.Event()

    async def silent(
        _server: StorageServer, _request: StorageRequest, _writer: asyncio.StreamWriter
    ) -> None:
        await silence.wait()

    async with storage_server(CONTENT) as storage:
        storage.script += [silent, slow]
        started = loop.time()
        with pytest.raises(DownloadError, match="did not answer in time"):
            await download(f"{storage.url}/x", tmp_path / "x", settings=patient)
        assert loop.time() - started == pytest.approx(5, abs=0.1)
        silence.set()
        path = await download(f"{storage.url}/y", tmp_path / "y", settings=patient)

    assert path.read_bytes() == b"xxxx"


async def test_a_target_that_cannot_be_replaced(tmp_path: Path) -> None:
    """What the system refuses is an error with its words; what has come is kept."""
    target = tmp_path / "x"

    def progress(_done: int, _total: int | None) -> None:
        target.mkdir(exist_ok=True)

    async with storage_server(CONTENT) as storage:
        with pytest.raises(DownloadError, match="directory"):
            await download(
                f"{storage.url}/x", target, settings=SETTINGS, overwrite=True, on_progress=progress
            )

    assert len(listed(tmp_path)) == 3


async def test_a_full_disk(tmp_path: Path) -> None:
    """A file that does not fit is not begun."""
    async with storage_server(CONTENT) as storage:
        huge = reply("200 OK", b"", Content_Length=2**60)
        storage.script += [huge]
        with pytest.raises(DownloadError, match=f"needs {2**60} bytes"):
            await download(f"{storage.url}/clip", tmp_path / "clip.bin", settings=SETTINGS)

    assert not listed(tmp_path)


async def test_what_on_progress_raises(tmp_path: Path) -> None:
    """It ends the download unchanged, an OSError and a timeout too; the part is kept."""

    async def raising(done: int, _total: int | None) -> None:
        if done:
            raise TimeoutError("mine")

    async with storage_server(CONTENT) as storage:
        with pytest.raises(TimeoutError, match="mine"):
            await download(
                f"{storage.url}/clip", tmp_path / "a", settings=SETTINGS, on_progress=raising
            )

    assert len(storage.requests) == 1
    assert len(listed(tmp_path)) == 2


async def test_all_files_of_a_job(tmp_path: Path) -> None:
    """Names are made safe and distinct; at most so many are fetched at once."""
    running = most = 0
    two_run = asyncio.Event()

    async def count(
        server: StorageServer, request: StorageRequest, writer: asyncio.StreamWriter
    ) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        if running == 2:
            two_run.set()
        await two_run.wait()
        await asyncio.sleep(0)
        running -= 1
        await serve(server, request, writer)

    async with storage_server(CONTENT) as storage:
        storage.script += [count] * 6
        files = [
            File(url=f"{storage.url}/a.mp4?s=1"),
            File(url=f"{storage.url}/b/a.mp4?s=2"),
            File(url=f"{storage.url}/c", name="../../A.mp4"),
            File(url=f"{storage.url}/d", name="CON"),
            File(url=f"{storage.url}/"),
            File(url=f"{storage.url}/.hidden"),
        ]
        paths = await download_all(files, tmp_path / "out", settings=SETTINGS, concurrency=2)

    assert [path.name for path in paths] == [
        "a.mp4",
        "a-2.mp4",
        "A-3.mp4",
        "_CON",
        "file",
        "hidden",
    ]
    assert all(path.read_bytes() == CONTENT for path in paths)
    assert most == 2


async def test_one_file_of_many_fails(tmp_path: Path) -> None:
    """The others are downloaded all the same, and the error says how many."""
    async with storage_server(CONTENT) as storage:
        storage.script += [reply("404 No")]
        files = [File(url=f"{storage.url}/{name}") for name in "abc"]
        with pytest.raises(DownloadError) as raised:
            await download_all(files, tmp_path, settings=SETTINGS, concurrency=1)

    assert raised.value.__notes__ == ["2 of 3 files were downloaded"]
    assert listed(tmp_path) == ["b", "c"]


async def test_queries_are_not_shown(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The query of a URL is in no error, no log line, and no exception below an error."""
    answers: list[Answer] = [
        reply("404 No"),
        reply("302 Found", Location="/x?token=secret2"),
        cut_after(10),
        reply("rubbish"),
        reply("302 Found", Location="http://example.com/x?token=secret2"),
    ]
    once = DownloadSettings(timeout=SETTINGS.timeout, retry=RetryPolicy(max_attempts=1))
    async with storage_server(CONTENT) as storage:
        for answer in answers:
            storage.script = [answer, reply("404 No")]
            with pytest.raises(DownloadError) as raised:
                await download(f"{storage.url}/x?token=secret1", tmp_path / "x", settings=once)
            error: BaseException | None = raised.value
            while error is not None:
                assert "secret" not in f"{error} {error!r} {vars(error)}"
                error = error.__cause__ or error.__context__
    with pytest.raises(DownloadError):
        await download(f"{storage.url}/x?token=secret1", tmp_path / "x", settings=once)
    ours = [record.getMessage() for record in caplog.records if record.name == "sieve_async"]
    assert ours
    assert not [line for line in ours if "secret" in line]
