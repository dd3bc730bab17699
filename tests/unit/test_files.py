"""The parts of a download: names, hosts, what answers mean, and the part file."""

import asyncio
import os
import socket
import threading
from pathlib import Path

import pytest
from multidict import CIMultiDict

from sieve_async.files import distinct_names, name_of_url, safe_name, without_query
from sieve_async.files.hosts import CheckedResolver, ForbiddenUrlError, HostRules, parse_url
from sieve_async.files.parts import PartFile
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
from sieve_async.files.threads import run_blocking

HELD = Content('"v1"', 100, None)


@pytest.mark.parametrize(
    ("raw", "name"),
    [
        ("clip.mp4", "clip.mp4"),
        ("../../etc/passwd", "passwd"),
        ("..\\..\\boot.ini", "boot.ini"),
        ("C:\\clip.mp4", "clip.mp4"),
        ("a:b.mp4", "a_b.mp4"),
        ("/", "file"),
        ("..", "file"),
        ("", "file"),
        (".bashrc", "bashrc"),
        ("-rf", "rf"),
        ("CON", "_CON"),
        ("con.txt", "_con.txt"),
        ("com¹ .log", "_com¹ .log"),
        ("lpt9.tar.gz", "_lpt9.tar.gz"),
        ("clip.mp4. .", "clip.mp4"),
        ("a\x00b\x1b[31m\nc.mp4", "ab[31mc.mp4"),
        ("gpj.\u202eexe", "gpj.exe"),
        ("\ud800x", "x"),
        ("\uff45.txt", "\uff45.txt"),
        ("cafe\u0301.txt", "caf\u00e9.txt"),
        ("what?*<>|.txt", "what_____.txt"),
    ],
)
def test_safe_names(raw: str, name: str) -> None:
    """A name from outside becomes one plain, visible file name on every system."""
    assert safe_name(raw) == name


@pytest.mark.parametrize("raw", ["x" * 5000 + ".mp4", "ü" * 400 + ".mp4", "x." + "y" * 400])
def test_long_names(raw: str) -> None:
    """A long name is cut to what file systems take, its suffix kept."""
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

    assert distinct_names(names) == [
        "a.mp4",
        "A-2.MP4",
        "a-2-2.mp4",
        "a-3.mp4",
        "noext",
        "noext-2",
        ".x",
    ]


def test_without_query() -> None:
    """What is shown of a URL holds no query, no fragment and no password."""
    assert without_query("https://u:p@host:8443/a%20b?X=1#f") == "https://host:8443/a%20b"
    assert without_query("https://[broken?X=1") == "(invalid URL)"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("ftp://host/x", "only https"),
        ("file:///etc/passwd", "only https"),
        ("gs://bucket/x", "only https"),
        ("x", "only https"),
        ("https://", "no host"),
        ("https://host:0/x", "no host"),
        ("https://host:99999/x", "not a URL"),
        ("https://user@host/x", "user name"),
        ("https://host/a b", "not a URL"),
        ("https://host/\r\nX: y", "not a URL"),
        ("https://host/" + "x" * 20_000, "not a URL"),
        ("", "not a URL"),
    ],
)
def test_invalid_urls(text: str, reason: str) -> None:
    """Only absolute http and https URLs without a user name can be downloaded."""
    with pytest.raises(ForbiddenUrlError, match=reason):
        parse_url(text)


def test_urls_stay_as_they_are() -> None:
    """A signature covers the spelling of a URL: it is not requoted."""
    text = "https://host/a%2Fb%7E/c?X-Goog-Credential=a%2Fb&y=%41+1"

    assert str(parse_url(text)) == text


@pytest.mark.parametrize(
    ("first", "then", "is_allowed"),
    [
        ("https://host/", "https://other/", True),
        ("https://host/", "http://other/", False),
        ("https://host/", "http://127.0.0.1/", False),
        ("https://host/", "https://127.0.0.1/", False),
        ("https://host/", "https://[::1]/", False),
        ("https://host/", "https://[::ffff:127.0.0.1]/", False),
        ("https://host/", "https://[::ffff:10.0.0.1]/", False),
        ("https://host/", "https://[64:ff9b::a00:1]/", False),
        ("https://host/", "https://[2002:a00:1::]/", False),
        ("https://host/", "https://10.1.2.3/", False),
        ("https://host/", "https://172.16.0.1/", False),
        ("https://host/", "https://192.168.0.1/", False),
        ("https://host/", "https://169.254.169.254/", False),
        ("https://host/", "https://100.64.0.1/", False),
        ("https://host/", "https://0.0.0.0/", False),
        ("https://host/", "https://224.0.0.1/", False),
        ("https://host/", "https://240.0.0.1/", False),
        ("https://host/", "https://[fd00::1]/", False),
        ("https://host/", "https://[fe80::1%25eth0]/", False),
        ("https://host/", "https://[::]/", False),
        ("https://host/", "https://8.8.8.8/", True),
        ("https://host/", "https://[2606:4700::1111]/", True),
        ("http://host/", "http://host/", False),
        ("https://10.0.0.1/", "https://10.0.0.1/", False),
        ("http://127.0.0.1:1/", "http://127.0.0.1:2/", True),
        ("http://localhost:1/", "http://[::1]:2/", True),
        ("http://localhost:1/", "https://host/", True),
        ("http://localhost:1/", "http://host/", False),
        ("http://localhost:1/", "https://10.0.0.1/", False),
        ("https://localhost:1/", "http://localhost:2/", False),
    ],
)
def test_which_urls_are_contacted(first: str, then: str, is_allowed: bool) -> None:  # noqa: FBT001
    """Public https only; plain http and loopback only where the first URL was that."""
    rules = HostRules.for_first(parse_url(first))

    try:
        rules.check_url(parse_url(then))
    except ForbiddenUrlError:
        assert not is_allowed
    else:
        assert is_allowed


@pytest.mark.parametrize(
    ("host", "addresses", "allowed"),
    [
        ("https://host/", ["8.8.8.8", "10.0.0.1", "127.0.0.1"], ["8.8.8.8"]),
        ("https://host/", ["10.0.0.1"], None),
        ("https://host/", ["127.0.0.1"], None),
        ("http://localhost/", ["127.0.0.1", "10.0.0.1"], ["127.0.0.1"]),
    ],
)
async def test_resolved_addresses(
    monkeypatch: pytest.MonkeyPatch, host: str, addresses: list[str], allowed: list[str] | None
) -> None:
    """Names are connected to only at the addresses that the rules allow."""

    async def getaddrinfo(*_: object, **__: object) -> list[object]:
        kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(*kind, (address, 443)) for address in addresses]

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", getaddrinfo)
    resolver = CheckedResolver(HostRules.for_first(parse_url(host)))

    if allowed is None:
        with pytest.raises(ForbiddenUrlError, match="no public address"):
            await resolver.resolve("name", 443)
    else:
        found = await resolver.resolve("name", 443)
        assert [result["host"] for result in found] == allowed
    resolver.trust_proxy("name")
    assert len(await resolver.resolve("name", 443)) == len(addresses)
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


@pytest.mark.parametrize(
    ("span", "length"),
    [("bytes 40-99/100", "60"), ("bytes 40-99/*", "60"), ("bytes 40-59/100", "20")],
)
def test_ranges_that_fit(span: str, length: str) -> None:
    """A range that begins where it was asked for is received, a shorter one too."""
    decision = answer(206, Content_Range=span, Content_Length=length, ETag='"v1"')

    assert decision == Receive(HELD, 40, 40 + int(length))


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Content_Range": "bytes 0-99/100"},
        {"Content_Range": "bytes 41-99/100"},
        {"Content_Range": "bytes 39-99/100"},
        {"Content_Range": "bytes 40-100/100"},
        {"Content_Range": "bytes 40-39/100"},
        {"Content_Range": "bytes 40-99/101"},
        {"Content_Range": "bytes 40-98/99"},
        {"Content_Range": "items 40-99/100"},
        {"Content_Range": "bytes 40-99"},
        {"Content_Range": "bytes +40-99/100"},
        {"Content_Range": "bytes 40-99/100", "Content_Length": "59"},
        {"Content_Range": "bytes 40-99/100", "ETag": '"v2"'},
        {"Content_Range": "bytes 40-99/100", "ETag": 'W/"v1"'},
        {"Content_Range": "bytes 40-99/100", "x_goog_hash": "md5=AAAAAAAAAAAAAAAAAAAAAA=="},
    ],
)
def test_ranges_that_do_not_fit(headers: dict[str, str]) -> None:
    """A range that is not exactly the rest of the same content is not joined to it."""
    held = Content('"v1"', 100, "ff" * 16)

    assert isinstance(answer(206, held, **headers), StartOver)


def test_ranges_of_unknown_length() -> None:
    """Where neither side knows the length, a range cannot be told to be the rest."""
    unknown = Content('"v1"')

    assert isinstance(answer(206, unknown, Content_Range="bytes 40-99/*"), StartOver)
    assert answer(206, unknown, Content_Range="bytes 40-99/100") == Receive(HELD, 40, 100)


def test_ranges_that_were_not_asked_for() -> None:
    """A 206 to a request for the whole content is an error."""
    assert answer(206, HELD, 0, Content_Range="bytes 0-99/100") == Refused(
        "HTTP 206 Partial Content"
    )


@pytest.mark.parametrize(
    ("held", "headers", "is_complete"),
    [
        (Content('"v1"', 40), {"Content_Range": "bytes */40"}, True),
        (Content('"v1"', 40), {}, True),
        (Content('"v1"'), {"Content_Range": "bytes */40"}, True),
        (Content('"v1"'), {}, False),
        (Content('"v1"', 100), {"Content_Range": "bytes */100"}, False),
        (Content('"v1"', 100), {"Content_Range": "bytes */40"}, False),
        (Content('"v1"', 100), {}, False),
        (Content('"v1"', 40), {"Content_Range": "bytes */30"}, False),
        (Content('"v1"', 40), {"Content_Range": "bytes */40", "ETag": '"v2"'}, False),
    ],
)
def test_416(held: Content, headers: dict[str, str], is_complete: bool) -> None:  # noqa: FBT001
    """A 416 at the full length of the same content means that all of it is there."""
    decision = answer(416, held, **headers)

    assert isinstance(decision, Complete if is_complete else StartOver)


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


@pytest.mark.parametrize(
    ("length", "is_whole"), [("100", True), ("60", False), ("5", False), ("101", False)]
)
def test_whole_contents_for_a_range(length: str, is_whole: bool) -> None:  # noqa: FBT001
    """Some hosts send only the rest with a 200: it is whole if its length is that of the whole."""
    decision = answer(200, Content_Length=length, ETag='"v1"')

    assert isinstance(decision, Receive if is_whole else StartOver)
    assert isinstance(answer(200), StartOver)
    assert isinstance(answer(200, Content('"v1"'), Content_Length=length), StartOver)


def test_encoded_bodies() -> None:
    """A body that is encoded although identity was asked for is not taken for the file."""
    assert answer(200, Content_Encoding="gzip") == Refused(
        "the body has content-encoding gzip, not asked for"
    )
    assert isinstance(answer(200, Content(), 0, Content_Encoding="identity"), Receive)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_redirects(status: int) -> None:
    """A redirect needs a location."""
    assert answer(status, Location="https://x/") == Redirect("https://x/")
    assert isinstance(answer(status), Refused)


@pytest.mark.parametrize(
    ("status", "is_transient"),
    [
        (204, False),
        (304, False),
        (400, False),
        (403, False),
        (404, False),
        (408, True),
        (416, False),
        (425, True),
        (429, True),
        (500, True),
        (501, False),
        (503, True),
        (505, False),
        (599, True),
    ],
)
def test_refusals(status: int, is_transient: bool) -> None:  # noqa: FBT001
    """Only what may pass is tried again."""
    decision = answer(status, HELD, 0)

    assert isinstance(decision, Refused)
    assert decision.is_transient is is_transient


@pytest.mark.parametrize(
    ("status", "body", "expected"),
    [
        (400, b"<Error><Code>ExpiredToken</Code></Error>", True),
        (403, b"<Code>AccessDenied</Code><Message>Request has expired</Message>", True),
        (403, b"Signature not valid in the specified time frame: ...", True),
        (403, b"<Code>AccessDenied</Code>", False),
        (404, b"ExpiredToken", False),
    ],
)
def test_expiry(status: int, body: bytes, expected: bool) -> None:  # noqa: FBT001
    """The storage hosts' own words say that a URL has expired."""
    assert is_expired(status, body) is expected


def test_a_part_is_found_again(tmp_path: Path) -> None:
    """What one writer left is continued by the next, with what is known about it."""
    target = tmp_path / "clip.mp4"
    part = PartFile.open(target, "https://host/clip")
    part.start(HELD)
    part.append(b"abc")
    part.close()

    again = PartFile.open(target, "https://host/clip")
    assert (again.path, again.size, again.content) == (part.path, 3, HELD)
    again.append(b"def")
    again.finish(target, overwrite=False)
    again.close()

    assert target.read_bytes() == b"abcdef"
    assert os.listdir(tmp_path) == ["clip.mp4"]  # noqa: PTH208


def test_parts_of_other_writers(tmp_path: Path) -> None:
    """A part that another download writes is left alone, as is one of another URL or program."""
    target = tmp_path / "clip.mp4"
    foreign = tmp_path / "clip.mp4.part"
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


def test_starting_over_leaves_nothing(tmp_path: Path) -> None:
    """A part that starts over holds nothing of what it held."""
    target = tmp_path / "clip.mp4"
    part = PartFile.open(target, "u")
    part.start(HELD)
    part.append(b"long" * 100)
    part.start(Content('"v2"', 5))
    part.append(b"short")
    part.finish(target, overwrite=False)
    part.close()

    assert target.read_bytes() == b"short"


def test_a_part_with_a_second_name(tmp_path: Path) -> None:
    """A part that is also another file, as after a crash while it was renamed, is left alone."""
    target = tmp_path / "clip.mp4"
    part = PartFile.open(target, "u")
    part.start(HELD)
    part.append(b"abc")
    part.close()
    target.hardlink_to(part.path)

    again = PartFile.open(target, "u")
    again.start(HELD)
    again.append(b"xyz")

    assert again.path != part.path
    assert target.read_bytes() == b"abc"
    again.close()


def test_writers_in_many_threads(tmp_path: Path) -> None:
    """However writers of one file overlap, the file is always that of one of them."""
    target = tmp_path / "clip.mp4"
    wrong: list[bytes] = []

    def write(number: int) -> None:
        content = bytes([number]) * 1000
        for _ in range(100):
            part = PartFile.open(target, "u")
            part.start(HELD)
            for start in range(0, 1000, 250):
                part.append(content[start : start + 250])
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
    assert os.listdir(tmp_path) == ["clip.mp4"]  # noqa: PTH208


def test_the_target_is_not_overwritten(tmp_path: Path) -> None:
    """A target that has appeared meanwhile is kept; the part stays."""
    target = tmp_path / "clip.mp4"
    part = PartFile.open(target, "u")
    part.start(HELD)
    part.append(b"new")
    target.write_bytes(b"old")

    with pytest.raises(FileExistsError):
        part.finish(target, overwrite=False)

    assert target.read_bytes() == b"old"
    part.finish(target, overwrite=True)
    part.close()
    assert target.read_bytes() == b"new"


@pytest.mark.parametrize(
    "record",
    [
        b"",
        b"rubbish",
        b"[]",
        b"{}",
        b'{"etag": null, "length": 9, "md5": null}',
        b'{"etag": "\\"v1\\"", "length": "9", "md5": null}',
        b'{"etag": "\\"v1\\"", "length": 2, "md5": null}',
        b"\xff" * 10_000,
    ],
)
def test_records_that_cannot_be_used(tmp_path: Path, record: bytes) -> None:
    """Without a usable record the part cannot be continued."""
    target = tmp_path / "clip.mp4"
    part = PartFile.open(target, "u")
    part.start(HELD)
    part.append(b"abc")
    part.close()
    part.path.with_name(f"{part.path.name}.json").write_bytes(record)

    again = PartFile.open(target, "u")

    assert again.content == Content()
    again.close()


def test_empty_parts_are_removed(tmp_path: Path) -> None:
    """A part that holds nothing is not left behind."""
    part = PartFile.open(tmp_path / "clip.mp4", "u")
    part.start(HELD)
    part.close()

    assert not list(tmp_path.iterdir())


def test_links_and_pipes_are_not_written(tmp_path: Path) -> None:
    """A link, a pipe or a directory under the name of a part is left alone."""
    target, victim = tmp_path / "clip.mp4", tmp_path / "victim"
    victim.write_bytes(b"kept")
    part = PartFile.open(target, "u")
    first = part.path
    part.close()
    first.symlink_to(victim)
    os.mkfifo(first.with_name(first.name.replace(".part", "-2.part")))
    first.with_name(first.name.replace(".part", "-3.part")).mkdir()

    part = PartFile.open(target, "u")
    part.start(HELD)
    part.append(b"new")

    assert part.path.name == first.name.replace(".part", "-4.part")
    assert victim.read_bytes() == b"kept"
    part.close()


def test_more_writers_than_names(tmp_path: Path) -> None:
    """There is an end to the names of parts."""
    parts = [PartFile.open(tmp_path / "clip.mp4", "u") for _ in range(100)]

    with pytest.raises(OSError, match="too many"):
        PartFile.open(tmp_path / "clip.mp4", "u")
    for part in parts:
        part.close()
    assert not list(tmp_path.iterdir())


def test_a_part_without_its_record(tmp_path: Path) -> None:
    """What is not known is not continued."""
    part = PartFile.open(tmp_path / "clip.mp4", "u")
    part.start(HELD)
    part.append(b"abc")
    part.close()
    part.path.with_name(f"{part.path.name}.json").unlink()

    again = PartFile.open(tmp_path / "clip.mp4", "u")
    assert (again.size, again.content) == (3, Content())
    again.close()


def test_a_directory_that_is_missing(tmp_path: Path) -> None:
    """The part cannot be made where there is no directory."""
    with pytest.raises(FileNotFoundError):
        PartFile.open(tmp_path / "missing" / "clip.mp4", "u")


def test_long_targets_have_parts(tmp_path: Path) -> None:
    """The longest name that a file can have leaves room for the name of its part."""
    for name in ("x" * 255, "ü" * 127):
        part = PartFile.open(tmp_path / name, "u")
        part.start(HELD)
        part.append(b"abc")
        part.finish(tmp_path / name, overwrite=False)
        part.close()
        assert (tmp_path / name).read_bytes() == b"abc"


async def test_cancelling_waits_for_the_thread() -> None:
    """A cancelled blocking call ends before the cancellation passes, however often it comes."""
    entered, go_on = asyncio.Event(), threading.Event()
    loop, ended = asyncio.get_running_loop(), threading.Event()

    def block() -> None:
        loop.call_soon_threadsafe(entered.set)
        go_on.wait(10)
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
