"""The parts of a download: names, hosts, what answers mean, and the part file."""

import asyncio
import os
import resource
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from multidict import CIMultiDict

from sieve_async.files import distinct_names, name_of_url, safe_name, without_query
from sieve_async.files.hosts import CheckedResolver, ForbiddenUrlError, HostRules, parse_url
from sieve_async.files.parts import PartFile, run_blocking
from sieve_async.files.ranges import (
    Complete,
    Content,
    Decision,
    Receive,
    Redirect,
    Refused,
    StartOver,
    decide,
    is_expired,
    range_headers,
)

HELD = Content('"v1"', 100, None)


def test_safe_names() -> None:
    """A name from outside becomes one plain, visible, not too long file name on every system."""
    names = {"clip.mp4": "clip.mp4", "../../etc/passwd": "passwd", "..\\..\\boot.ini": "boot.ini"}
    names |= {
        "C:\\clip.mp4": "clip.mp4",
        "a:b.mp4": "a_b.mp4",
        "/": "file",
        "..": "file",
        "": "file",
    }
    names |= {".bashrc": "bashrc", "-rf": "rf", "CON": "_CON", "con.txt": "_con.txt"}
    names |= {"com¹ .log": "_com¹ .log", "lpt9.tar.gz": "_lpt9.tar.gz", "clip.mp4. .": "clip.mp4"}
    names |= {"a\x00b\x1b[31m\nc.mp4": "ab[31mc.mp4", "gpj.\u202eexe": "gpj.exe", "\ud800x": "x"}
    names |= {"\uff45.txt": "\uff45.txt", "cafe\u0301.txt": "caf\u00e9.txt"}
    names |= {"what?*<>|.txt": "what_____.txt"}
    assert {raw: safe_name(raw) for raw in names} == names
    for raw in ("x" * 5000 + ".mp4", "ü" * 400 + ".mp4", "x." + "y" * 400):
        name = safe_name(raw)
        assert len(name.encode()) <= 180
        assert name.endswith(".mp4") == raw.endswith(".mp4")


def test_names_of_urls() -> None:
    """The name is the last part of the path, without the query, unquoted before it is made safe."""
    assert name_of_url("https://host/a/b%20c.mp4?X-Goog-Signature=secret") == "b c.mp4"
    assert name_of_url("https://host/a/..%2F..%2Fetc%2Fpasswd") == "passwd"
    assert name_of_url("https://host") == "file"
    assert name_of_url("https://[broken") == "file"


def test_distinct_names() -> None:
    """Names that some file system takes for the same get numbers, before the suffix."""
    names = ["a.mp4", "A.MP4", "a-2.mp4", "a.mp4", "noext", "noext", ".x"]
    expected = ["a.mp4", "A-2.MP4", "a-2-2.mp4", "a-3.mp4", "noext", "noext-2", ".x"]
    assert distinct_names(names) == expected


def test_without_query() -> None:
    """What is shown of a URL holds no query, no fragment and no password."""
    assert without_query("https://u:p@host:8443/a%20b?X=1#f") == "https://host:8443/a%20b"
    assert without_query("https://[broken?X=1") == "(invalid URL)"


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        (("ftp://host/x", "file:///etc/passwd", "gs://bucket/x", "x"), "only https"),
        (("https://", "https://host:0/x"), "no host"),
        (("https://host:99999/x", "https://host/a b", "https://host/\r\nX: y", ""), "not a URL"),
        (("https://host/" + "x" * 20_000,), "not a URL"),
        (("https://user@host/x",), "user name"),
    ],
    ids=range(5),
)
def test_invalid_urls(texts: tuple[str, ...], reason: str) -> None:
    """Only absolute http and https URLs without a user name can be downloaded."""
    for text in texts:
        with pytest.raises(ForbiddenUrlError, match=reason):
            parse_url(text)


def test_urls_stay_as_they_are() -> None:
    """A signature covers the spelling of a URL: it is not requoted."""
    text = "https://host/a%2Fb%7E/c?X-Goog-Credential=a%2Fb&y=%41+1"
    assert str(parse_url(text)) == text


PRIVATE = """127.0.0.1 [::1] [::ffff:127.0.0.1] [::ffff:10.0.0.1] [64:ff9b::a00:1] [2002:a00:1::]
10.1.2.3 172.16.0.1 192.168.0.1 169.254.169.254 100.64.0.1 0.0.0.0 224.0.0.1 240.0.0.1 [fd00::1]
[fe80::1%25eth0] [::]"""


@pytest.mark.parametrize(
    ("first", "allowed", "forbidden"),
    [
        (
            "https://host/",
            "https://other/ https://8.8.8.8/ https://[2606:4700::1111]/",
            "http://other/ http://127.0.0.1/ https://" + "/ https://".join(PRIVATE.split()),
        ),
        ("http://host/", "", "http://host/"),
        ("https://10.0.0.1/", "", "https://10.0.0.1/"),
        ("http://127.0.0.1:1/", "http://127.0.0.1:2/ http://[::1]:2/", ""),
        ("http://localhost:1/", "http://[::1]:2/ https://host/", "http://host/ https://10.0.0.1/"),
        ("https://localhost:1/", "", "http://localhost:2/"),
    ],
    ids=range(6),
)
def test_which_urls_are_contacted(first: str, allowed: str, forbidden: str) -> None:
    """Public https only; plain http and loopback only where the first URL was that."""
    rules = HostRules.for_first(parse_url(first))
    for url in allowed.split():
        rules.check_url(parse_url(url))
    for url in forbidden.split():
        with pytest.raises(ForbiddenUrlError):
            rules.check_url(parse_url(url))


async def test_resolved_addresses(monkeypatch: pytest.MonkeyPatch) -> None:
    """Names are connected to only at the addresses that the rules allow."""
    addresses = ["8.8.8.8", "10.0.0.1", "127.0.0.1"]

    async def getaddrinfo(*_: object, **__: object) -> list[object]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(*kind, (address, 443)) for address in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    public, local = (
        CheckedResolver(HostRules.for_first(parse_url(url)))
        for url in ("https://host/", "http://localhost/")
    )
    for resolver, allowed in ((public, ["8.8.8.8"]), (local, ["8.8.8.8", "127.0.0.1"])):
        assert [found["host"] for found in await resolver.resolve("name", 443)] == allowed
    addresses.remove("8.8.8.8")
    with pytest.raises(ForbiddenUrlError, match="no public address"):
        await public.resolve("name", 443)
    public.trust_proxy("name")
    assert len(await public.resolve("name", 443)) == 2
    for resolver in (public, local):
        await resolver.close()


def test_what_is_asked() -> None:
    """A range is asked for only with a strong ETag, and only if something is there."""
    assert dict(range_headers(HELD, 7)) == {
        "Accept-Encoding": "identity",
        "Range": "bytes=7-",
        "If-Range": '"v1"',
    }
    assert dict(range_headers(HELD, 0)) == {"Accept-Encoding": "identity"}
    assert dict(range_headers(Content(None, 100), 7)) == {"Accept-Encoding": "identity"}


def answer(status: int, held: Content = HELD, at: int = 40, /, **headers: str) -> Decision:
    """Decide about one answer; underscores in header names become dashes."""
    named = CIMultiDict({name.replace("_", "-"): value for name, value in headers.items()})
    return decide(status, named, held, at)


def test_ranges_that_fit() -> None:
    """A range that begins where it was asked for is received, a shorter one too."""
    for span, length in (("40-99/100", 60), ("40-99/*", 60), ("40-59/100", 20)):
        headers = {"Content_Range": f"bytes {span}", "Content_Length": f"{length}", "ETag": '"v1"'}
        assert answer(206, **headers) == Receive(HELD, 40, 40 + length)


def test_ranges_that_do_not_fit() -> None:
    """A range that is not exactly the rest of the same content is not joined to it."""
    held = Content('"v1"', 100, "ff" * 16)
    fits = {"Content_Range": "bytes 40-99/100"}
    for span in (
        *("bytes 0-99/100", "bytes 41-99/100", "bytes 39-99/100", "bytes 40-100/100"),
        *("bytes 40-39/100", "bytes 40-99/101", "bytes 40-98/99", "items 40-99/100"),
        *("bytes 40-99", "bytes +40-99/100"),
    ):
        assert isinstance(answer(206, held, Content_Range=span), StartOver)
    assert isinstance(answer(206, held), StartOver)
    for other in ({"Content_Length": "59"}, {"ETag": '"v2"'}, {"ETag": 'W/"v1"'}):
        assert isinstance(answer(206, held, **fits, **other), StartOver)
    md5 = "md5=AAAAAAAAAAAAAAAAAAAAAA=="
    assert isinstance(answer(206, held, **fits, x_goog_hash=md5), StartOver)


def test_ranges_of_unknown_length() -> None:
    """Where neither side knows the length, a range cannot be the rest; nor if none was asked."""
    unknown = Content('"v1"')
    assert isinstance(answer(206, unknown, Content_Range="bytes 40-99/*"), StartOver)
    assert answer(206, unknown, Content_Range="bytes 40-99/100") == Receive(HELD, 40, 100)
    not_asked_for = answer(206, HELD, 0, Content_Range="bytes 0-99/100")
    assert not_asked_for == Refused("HTTP 206 Partial Content")


def test_416() -> None:
    """A 416 at the full length of the same content means that all of it is there."""
    short, unknown = Content('"v1"', 40), Content('"v1"')
    at_40 = {"Content_Range": "bytes */40"}
    for held, headers in ((short, at_40), (short, {}), (unknown, at_40)):
        assert isinstance(answer(416, held, **headers), Complete)
    for held, headers in (
        *((unknown, {}), (HELD, {"Content_Range": "bytes */100"}), (HELD, at_40), (HELD, {})),
        *((short, {"Content_Range": "bytes */30"}), (short, at_40 | {"ETag": '"v2"'})),
    ):
        assert isinstance(answer(416, held, **headers), StartOver)


def test_whole_contents() -> None:
    """A 200 is the whole content; only a strong ETag is remembered."""
    none, start = Content(), 0
    md5 = "md5=1B2M2Y8AsgTpgAmY7PhCfg=="
    known = Content('"v2"', 5, "d41d8cd98f00b204e9800998ecf8427e")
    sent = {"ETag": '"v2"', "Content_Length": "5"}
    assert answer(200, none, start, x_goog_hash=md5, **sent) == Receive(known, 0, 5)
    both = f"crc32c=AAAAAA==,{md5}"
    assert answer(200, none, start, x_goog_hash=both, **sent) == Receive(known, 0, 5)
    assert answer(200, none, start, ETag='W/"v2"') == Receive(none, 0, None)
    assert answer(200, none, start, ETag="v2", Content_Length="x") == Receive(none, 0, None)
    unpacked = {"x_goog_hash": md5, "x_goog_stored_content_encoding": "gzip"}
    assert answer(200, none, start, **unpacked) == Receive(none, 0, None)
    assert answer(200, none, start, x_goog_hash="md5=rubbish") == Receive(none, 0, None)


def test_refusals() -> None:
    """Only transient failures are tried again; a redirect needs a location."""
    for status in (204, 304, 400, 403, 404, 416, 501, 505):
        refused = answer(status, HELD, 0)
        assert isinstance(refused, Refused)
        assert not refused.is_transient
    for status in (408, 425, 429, 500, 503, 599):
        refused = answer(status, HELD, 0)
        assert isinstance(refused, Refused)
        assert refused.is_transient
    for status in (301, 302, 303, 307, 308):
        assert answer(status, Location="https://x/") == Redirect("https://x/")
        assert isinstance(answer(status), Refused)


def test_expiry() -> None:
    """The storage hosts' own words say that a URL has expired."""
    assert is_expired(400, b"<Error><Code>ExpiredToken</Code></Error>")
    assert is_expired(403, b"<Code>AccessDenied</Code><Message>Request has expired</Message>")
    assert is_expired(403, b"Signature not valid in the specified time frame: ...")
    assert not is_expired(403, b"<Code>AccessDenied</Code>")
    assert not is_expired(404, b"ExpiredToken")


@pytest.fixture
def target(tmp_path: Path) -> Path:
    """The file that is downloaded."""
    return tmp_path / "clip.mp4"


def leave_part(target: Path, data: bytes = b"abc") -> Path:
    """Write the beginning of a download and stop; return where it is."""
    part = PartFile.open(target, "u")
    part.start(HELD)
    part.append(data)
    part.close()
    return part.path


def record_of(part: Path) -> Path:
    """The file that says which content a part is of."""
    return part.with_name(f"{part.name}.json")


def test_parts_of_other_writers(target: Path) -> None:
    """A part that another download writes is left alone, as is one of another URL or program."""
    foreign = target.with_name("clip.mp4.part")
    foreign.write_bytes(b"foreign")
    first, second = PartFile.open(target, "u"), PartFile.open(target, "u")
    other = PartFile.open(target, "v")
    for part in (first, second, other):
        part.start(HELD)
        part.append(part.path.name.encode())
    assert len({first.path, second.path, other.path, foreign}) == 4
    second.close()
    third = PartFile.open(target, "u")
    assert third.path == second.path  # the first is still locked
    third.close()
    first.finish(target, overwrite=False)
    assert target.read_bytes() == first.path.name.encode()
    assert second.path.read_bytes() == second.path.name.encode()
    assert foreign.read_bytes() == b"foreign"
    first.close()
    other.close()


def test_a_part_with_a_second_name(target: Path) -> None:
    """A part that is also another file, as after a crash while it was renamed, is left alone."""
    left = leave_part(target)
    target.hardlink_to(left)
    assert leave_part(target, b"xyz") != left
    assert target.read_bytes() == b"abc"


def test_writers_in_many_threads(target: Path) -> None:
    wrong: list[bytes] = []

    def write(number: int) -> None:
        for _ in range(25):
            part = PartFile.open(target, "u")
            part.start(HELD)
            for _ in range(4):
                part.append(bytes([number]) * 250)
            part.finish(target, overwrite=True)
            part.close()
            found = target.read_bytes()
            if len(set(found)) != 1 or len(found) != 1000:
                wrong.append(found)

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong
    assert os.listdir(target.parent) == ["clip.mp4"]  # noqa: PTH208


def test_the_target_is_not_overwritten(target: Path) -> None:
    """A target that has appeared meanwhile is kept; the part stays."""
    leave_part(target, b"new")
    part = PartFile.open(target, "u")
    target.write_bytes(b"old")
    with pytest.raises(FileExistsError):
        part.finish(target, overwrite=False)
    assert target.read_bytes() == b"old"
    target.unlink()
    target.mkdir()
    with pytest.raises(IsADirectoryError):
        part.finish(target, overwrite=True)
    assert record_of(part.path).exists()
    target.rmdir()
    part.finish(target, overwrite=True)
    part.close()
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize(
    "record",
    [
        *(None, b"", b"rubbish", b"[]", b"{}", b"\xff" * 10_000),
        b'{"etag": null, "length": 9, "md5": null}',
        b'{"etag": "\\"v1\\"", "length": "9", "md5": null}',
        b'{"etag": "\\"v1\\"", "length": 2, "md5": null}',
    ],
)
def test_records_that_cannot_be_used(target: Path, record: bytes | None) -> None:
    path = record_of(leave_part(target))
    if record is None:
        path.unlink()
    else:
        path.write_bytes(record)
    again = PartFile.open(target, "u")
    assert (again.size, again.content) == (3, Content())
    again.close()


def test_links_and_pipes_are_not_written(target: Path) -> None:
    """A link, a pipe or a directory under the name of a part is left alone."""
    victim = target.with_name("victim")
    victim.write_bytes(b"kept")
    first = leave_part(target)
    record_of(first).unlink()
    first.unlink()
    first.symlink_to(victim)
    os.mkfifo(first.with_name(first.name.replace(".part", "-2.part")))
    first.with_name(first.name.replace(".part", "-3.part")).mkdir()
    assert leave_part(target).name == first.name.replace(".part", "-4.part")
    assert victim.read_bytes() == b"kept"


def test_more_writers_than_names(target: Path) -> None:
    """There is an end to the names of parts; without a directory there is no part."""
    parts = [PartFile.open(target, "u") for _ in range(100)]
    with pytest.raises(OSError, match="too many"):
        PartFile.open(target, "u")
    for part in parts:
        part.close()
    assert not list(target.parent.iterdir())
    with pytest.raises(FileNotFoundError):
        PartFile.open(target.parent / "missing" / "clip.mp4", "u")


def test_long_targets_have_parts(tmp_path: Path) -> None:
    """The longest name that a file can have leaves room for the name of its part."""
    for name in ("x" * 255, "ü" * 127):
        leave_part(tmp_path / name)
        part = PartFile.open(tmp_path / name, "u")
        part.finish(tmp_path / name, overwrite=False)
        part.close()
        assert (tmp_path / name).read_bytes() == b"abc"


async def test_cancelling_waits_for_the_thread() -> None:
    """A cancelled blocking call ends before the cancellation passes, however often it comes."""
    entered, go_on = asyncio.Event(), threading.Event()
    loop, ended = asyncio.get_running_loop(), threading.Event()

    def block() -> None:
        loop.call_soon_threadsafe(entered.set)
        go_on.wait()
        ended.set()

    task = asyncio.create_task(run_blocking(block))
    await entered.wait()
    task.cancel()
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.sleep(0)
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert ended.is_set()


def test_starting_over_leaves_nothing(target: Path) -> None:
    """A part that starts over holds nothing of what it held; one that holds nothing is removed."""
    PartFile.open(target, "u").close()
    assert not list(target.parent.iterdir())
    part = PartFile.open(target, "u")
    part.start(HELD)
    part.append(b"long" * 100)
    part.start(Content('"v2"', 5))
    part.append(b"short")
    part.finish(target, overwrite=False)
    part.close()
    assert target.read_bytes() == b"short"


def test_encoded_bodies() -> None:
    """A body that is encoded although identity was asked for is not taken for the file."""
    assert answer(200, Content_Encoding="gzip") == Refused(
        "the body has content-encoding gzip, not asked for"
    )
    assert answer(200, Transfer_Encoding="gzip, chunked") == Refused(
        "the body has transfer-encoding gzip, chunked, not asked for"
    )
    for headers in ({"Content_Encoding": "identity"}, {"Transfer_Encoding": "Chunked"}):
        assert isinstance(answer(200, Content(), 0, **headers), Receive)


def test_many_equal_names() -> None:
    """Thousands of outputs may have one name."""
    names = distinct_names(["output.mp4", "OUTPUT.mp4"] * 5000)
    assert names[:3] == ["output.mp4", "OUTPUT-2.mp4", "output-3.mp4"]
    assert len({name.lower() for name in names}) == 10_000


def test_full_disk(tmp_path: Path) -> None:
    """Where not even the record can be written, nothing is left behind."""
    part = PartFile.open(tmp_path / "clip.mp4", "u")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4, limits[1]))
    try:
        with pytest.raises(OSError, match="too large"):
            part.start(Content('"v1"', 100, None))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    part.close()
    assert not list(tmp_path.iterdir())


def test_names_of_other_encodings() -> None:
    """Where file names are ASCII, a file of another name can be saved all the same."""
    code = "from sieve_async.files import safe_name; print(safe_name('d\\u00fc 1.mp4'))"
    ascii_only = {"LC_ALL": "C", "PYTHONCOERCECLOCALE": "0", "PYTHONUTF8": "0"}
    program = (sys.executable, "-c", code)
    printed = subprocess.check_output(program, env=os.environ | ascii_only)  # noqa: S603 - ours
    assert printed == b"d_ 1.mp4\n"
