"""Status words and files: unknown words are kept, files are found wherever they stand."""

import copy
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from sieve_async import BuildStatus, File, InputOutput, Job, JobStatus


def job_of(*data: Any) -> Job:
    """A job with outputs of these data."""
    return Job("j", JobStatus.FINISHED, outputs=tuple(InputOutput(data=each) for each in data))


@pytest.mark.parametrize(
    ("word", "known_and_terminal"),
    [
        ("queued", (True, False)),
        ("processing", (True, False)),
        ("finished", (True, True)),
        ("error", (True, True)),
        ("cancelled", (True, True)),
        ("started", (False, False)),
        ("Finished", (False, False)),
        ("FINISHED ", (False, False)),
        ("ready", (False, False)),
        ("", (False, False)),
        ("\ud800", (False, False)),
    ],
)
def test_words_of_jobs(word: str, known_and_terminal: tuple[bool, bool]) -> None:
    """The five documented words are known, three end a job, and no other word ends one."""
    status = JobStatus(word)

    assert (status.is_known, status.is_terminal) == known_and_terminal
    assert (status.value, str(status), f"{status}") == (word, word, word)


@pytest.mark.parametrize(
    ("word", "known_and_terminal"),
    [
        ("queued", (True, False)),
        ("building", (True, False)),
        ("pushing", (True, False)),
        ("deploying", (True, False)),
        ("ready", (True, True)),
        ("error", (True, True)),
        ("finished", (False, False)),
        ("READY", (False, False)),
    ],
)
def test_words_of_builds(word: str, known_and_terminal: tuple[bool, bool]) -> None:
    """The six documented words are known, two end a build, and no other word ends one."""
    status = BuildStatus(word)

    assert (status.is_known, status.is_terminal) == known_and_terminal
    assert (status.value, str(status), f"{status}") == (word, word, word)


@pytest.mark.parametrize("words", [JobStatus, BuildStatus])
@pytest.mark.parametrize("word", ["queued", "error", "started", "QUEUED", "name", "", "\ud800"])
def test_words_travel(words: type[JobStatus | BuildStatus], word: str) -> None:
    """A word, known or not, comes out of pickle and copy as it went in: equal, of its class."""
    status = words(word)
    copies = [pickle.loads(pickle.dumps(status, p)) for p in range(pickle.HIGHEST_PROTOCOL + 1)]

    for other in (*copies, copy.copy(status), copy.deepcopy(status)):
        assert other == status
        assert type(other) is words
        assert other.value == word
        assert other is status or not status.is_known


@pytest.mark.parametrize("words", [JobStatus, BuildStatus])
@pytest.mark.parametrize("word", ["queued", "started"])
def test_words_are_strings(words: type[JobStatus | BuildStatus], word: str) -> None:
    """A word equals and hashes as the plain string, whichever instance it is."""
    first, second = words(word), words(word)

    assert first == second == word
    assert hash(first) == hash(second) == hash(word)
    assert {first, second, word} == {word}
    assert repr(first).endswith(f"{word!r}>")


def test_unknown_words_leave_no_trace() -> None:
    """An unknown word does not become a member: what a server says cannot grow the enum."""
    assert not JobStatus("started").is_known
    assert len(JobStatus) == 5


@pytest.mark.parametrize("words", [JobStatus, BuildStatus])
@pytest.mark.parametrize("value", [None, 0, True, 1.5, b"queued", []])
def test_no_word(words: type[JobStatus | BuildStatus], value: Any) -> None:
    """Nothing but a string can be a word."""
    with pytest.raises(ValueError, match="is not a valid"):
        words(value)


def pair(key: str, value: Any) -> dict[str, Any]:
    """One entry of an object in the spelling of webhooks."""
    return {"Key": key, "Value": value}


@pytest.mark.parametrize(
    ("data", "urls"),
    [
        ([], []),
        (
            [None, 1, 1.5, True, "url", {}, [], {"url": None}, {"url": 5, "URL": "x"}, {"url": ""}],
            [],
        ),
        ([{"url": "a", "_path": None}], ["a"]),
        ([[{"url": "a"}, {"b": {"url": "b"}}, [{"url": "c"}]]], ["a", "b", "c"]),
        ([{"url": "a", "x": {"url": "b"}, "y": [{"url": "c"}]}], ["a", "b", "c"]),
        ([{"z": {"url": "a"}, "a": {"url": "b"}}], ["a", "b"]),
        ([[pair("url", "a"), pair("_path", None)]], ["a"]),
        ([pair("url", "a"), pair("_path", None), pair("url", "b")], ["a", "b"]),
        ([[pair("url", "a"), pair("url", "b")]], ["a", "b"]),
        ([pair("url", "a"), {"url": "b"}], ["a", "b"]),
        ([[pair("parts", [[pair("url", "a")], [pair("url", "b")]])]], ["a", "b"]),
        ([{"file": [pair("x", 1), pair("url", "a")]}], ["a"]),
        ([[{"Key": 1, "Value": "a"}, {"Key": "url"}, {"Key": "url", "Value": "a", "x": 1}]], []),
    ],
)
def test_files(data: list[Any], urls: list[str]) -> None:
    """Files are all objects with a URL in the outputs, in order, in both of their spellings."""
    assert [file.url for file in job_of(*data).files] == urls


def test_files_in_nested_outputs() -> None:
    """An output that is a tuple holds files as well."""
    part = InputOutput(data={"url": "a"})
    job = Job("j", JobStatus.FINISHED, outputs=((part, InputOutput()), part))

    assert [file.url for file in job.files] == ["a", "a"]


@pytest.mark.parametrize(
    ("output", "found"),
    [
        ({"url": "u", "name": "n"}, [("u", "n")]),
        ({"url": "https://h/a.mp4", "type": "video"}, [("https://h/a.mp4", "a.mp4")]),
        ({"data": {"url": "1"}, "more": [{"url": "2"}]}, [("1", "1"), ("2", "2")]),
        ([{"url": "1", "description": "d"}, {"url": "2"}], [("1", "1"), ("2", "2")]),
        ([pair("url", "1"), pair("name", "n")], [("1", "n")]),
    ],
)
def test_files_beside_the_data(output: Any, found: list[tuple[str, str]]) -> None:
    """An output that is a file, and has a key of an output as well, is a file all the same."""
    job = Job.from_dict({"id": "j", "status": "finished", "outputs": [output]})

    assert [(file.url, file.name) for file in job.files] == found


def test_files_far_down() -> None:
    """Files are found however deep they lie: no recursion limits the search."""
    data: Any = {"url": "a"}
    for _ in range(10_000):
        data = [data]

    assert job_of(data).files == (File("a", "a"),)


@pytest.mark.parametrize(
    ("found", "file"),
    [
        ({"url": "https://h/a/b.mp4?x=1"}, File("https://h/a/b.mp4?x=1", "b.mp4")),
        ({"url": "https://h/a%20b.mp4"}, File("https://h/a%20b.mp4", "a b.mp4")),
        ({"url": "https://h/x%2F..%2Fpasswd"}, File("https://h/x%2F..%2Fpasswd", "passwd")),
        ({"url": "https://h/a%5Cb"}, File("https://h/a%5Cb", "b")),
        ({"url": "https://h/%2E%2E"}, File("https://h/%2E%2E")),
        ({"url": "https://h/"}, File("https://h/")),
        ({"url": "https://h"}, File("https://h")),
        ({"url": "https://[h/a"}, File("https://[h/a")),
        (
            {"url": "https://h/a", "name": "n", "size": 5},
            File("https://h/a", "n", extra={"size": 5}),
        ),
        ({"url": "https://h/a", "name": 5}, File("https://h/a", "a", extra={"name": 5})),
        ({"url": "https://h/a", "name": ""}, File("https://h/a", "a", extra={"name": ""})),
    ],
)
def test_file(found: dict[str, Any], file: File) -> None:
    """A file has its own name or the last part of its URL's path, and all that came with it."""
    assert job_of(found).files == (file,)


SIGNED = datetime(2024, 12, 15, 1, 41, 59, tzinfo=UTC)


@pytest.mark.parametrize(
    ("query", "expires_at"),
    [
        ("X-Goog-Date=20241215T014159Z&X-Goog-Expires=172800", SIGNED + timedelta(days=2)),
        ("a=1&X-Goog-Expires=60&X-Goog-Date=20241215T014159Z", SIGNED + timedelta(minutes=1)),
        ("x-goog-date=20241215T014159Z&x-goog-expires=0", SIGNED),
        ("X-Amz-Date=20241215T014159Z&X-Amz-Expires=60", SIGNED + timedelta(minutes=1)),
        ("", None),
        ("X-Goog-Date=20241215T014159Z", None),
        ("X-Goog-Expires=172800", None),
        ("X-Goog-Date=20241215T014159Z&X-Goog-Expires=-1", None),
        ("X-Goog-Date=20241215T014159Z&X-Goog-Expires=1e3", None),
        ("X-Goog-Date=20241215&X-Goog-Expires=60", None),
        ("X-Goog-Date=20241315T014159Z&X-Goog-Expires=60", None),
        ("X-Goog-Date=99991231T235959Z&X-Goog-Expires=999999999", None),
        ("X-Goog-Date=20241215T014159Z&X-Amz-Expires=60", None),
    ],
)
def test_when_urls_expire(query: str, expires_at: datetime | None) -> None:
    """A signed URL says when it stops working."""
    (file,) = job_of({"url": f"https://h/a.mp4?{query}"}).files

    assert file.expires_at == expires_at
