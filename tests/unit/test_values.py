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


WORDS: list[tuple[type[JobStatus | BuildStatus], str, str, str]] = [
    (JobStatus, "queued processing", "finished error cancelled", "started Finished ready \ud800"),
    (BuildStatus, "queued building pushing deploying", "ready error", "finished READY"),
]


@pytest.mark.parametrize(("words", "pending", "terminal", "unknown"), WORDS, ids=["job", "build"])
def test_words(
    words: type[JobStatus | BuildStatus], pending: str, terminal: str, unknown: str
) -> None:
    """Documented words are known, some are terminal; an unknown word is kept and is not terminal.

    Words are strings, and pickle and copy as what they are.
    """
    for word in ("", *f"{pending} {terminal} {unknown}".split()):
        status = words(word)
        assert status.is_known is (word != "" and word not in unknown.split())
        assert status.is_terminal is (word in terminal.split())
        assert (status.value, str(status), f"{status}") == (word, word, word)
        assert {status, words(word), word} == {word}
        assert repr(status).endswith(f"{word!r}>")
        copies = [pickle.loads(pickle.dumps(status, protocol)) for protocol in (0, 2, 5)]
        for other in (*copies, copy.copy(status), copy.deepcopy(status)):
            assert (type(other), other.value) == (words, word)
            assert other is status or not status.is_known
    assert len(words) == len(f"{pending} {terminal}".split())
    bad: list[Any] = [None, 0, True, 1.5, b"queued", []]
    for value in bad:
        with pytest.raises(ValueError, match="is not a valid"):
            words(value)


def pair(key: str, value: Any) -> dict[str, Any]:
    """One entry of an object in the spelling of webhooks."""
    return {"Key": key, "Value": value}


@pytest.mark.parametrize(
    ("data", "urls"),
    [
        ([None, 1, True, "url", {}, [], {"url": None}, {"url": 5, "URL": "x"}, {"url": ""}], []),
        ([{"url": "a", "_path": None}], ["a"]),
        ([[{"url": "a"}, {"b": {"url": "b"}}, [{"url": "c"}]]], ["a", "b", "c"]),
        ([{"url": "a", "x": {"url": "b"}, "y": [{"url": "c"}]}], ["a", "b", "c"]),
        ([{"z": {"url": "a"}, "a": {"url": "b"}}], ["a", "b"]),
        ([[pair("url", "a"), pair("_path", None)]], ["a"]),
        ([pair("url", "a"), pair("_path", None), pair("url", "b")], ["a", "b"]),
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
    """An output that is a tuple holds files as well; no recursion limits the search."""
    part = InputOutput(data={"url": "a"})
    job = Job("j", JobStatus.FINISHED, outputs=((part, InputOutput()), part))
    deep: Any = {"url": "a"}
    for _ in range(10_000):
        deep = [deep]
    assert [file.url for file in job.files] == ["a", "a"]
    assert job_of(deep).files == (File("a", "a"),)


@pytest.mark.parametrize(
    ("found", "name", "extra"),
    [
        ({"url": "https://h/a/b.mp4?x=1"}, "b.mp4", {}),
        ({"url": "https://h/a%20b.mp4"}, "a b.mp4", {}),
        ({"url": "https://h/x%2F..%2Fpasswd"}, "passwd", {}),
        ({"url": "https://h/a%5Cb"}, "b", {}),
        ({"url": "https://h/%2E%2E"}, None, {}),
        ({"url": "https://h"}, None, {}),
        ({"url": "https://[h/a"}, None, {}),
        ({"url": "https://h/a", "name": "n", "size": 5}, "n", {"size": 5}),
        ({"url": "https://h/a", "name": 5}, "a", {"name": 5}),
        ({"url": "https://h/a", "name": ""}, "a", {"name": ""}),
    ],
)
def test_file(found: dict[str, Any], name: str | None, extra: dict[str, Any]) -> None:
    """A file has its own name or the last part of its URL's path, and all that came with it."""
    assert job_of(found).files == (File(found["url"], name, extra=extra),)


SIGNED = datetime(2024, 12, 15, 1, 41, 59, tzinfo=UTC)


def test_when_urls_expire() -> None:
    """A signed URL says when it stops working."""
    queries = {
        "X-Goog-Date=20241215T014159Z&X-Goog-Expires=172800": SIGNED + timedelta(days=2),
        "a=1&x-goog-expires=0&x-goog-date=20241215T014159Z": SIGNED,
        "X-Amz-Date=20241215T014159Z&X-Amz-Expires=60": SIGNED + timedelta(minutes=1),
        "": None,
        "X-Goog-Date=20241215T014159Z": None,
        "X-Goog-Date=20241215T014159Z&X-Goog-Expires=-1": None,
        "X-Goog-Date=20241315T014159Z&X-Goog-Expires=60": None,
        "X-Goog-Date=99991231T235959Z&X-Goog-Expires=999999999": None,
        "X-Goog-Date=20241215T014159Z&X-Amz-Expires=60": None,
    }
    for query, expires_at in queries.items():
        (file,) = job_of({"url": f"https://h/a.mp4?{query}"}).files
        assert file.expires_at == expires_at


def test_files_beside_the_data() -> None:
    """An output that is a file, and has a key of an output as well, is a file all the same."""
    outputs: list[tuple[Any, list[tuple[str, str]]]] = [
        ({"url": "u", "name": "n"}, [("u", "n")]),
        ({"data": {"url": "1"}, "more": [{"url": "2"}]}, [("1", "1"), ("2", "2")]),
        ([{"url": "1", "description": "d"}, {"url": "2"}], [("1", "1"), ("2", "2")]),
        ([pair("url", "1"), pair("name", "n")], [("1", "n")]),
    ]
    for output, found in outputs:
        job = Job.from_dict({"id": "j", "status": "finished", "outputs": [output]})
        assert [(file.url, file.name) for file in job.files] == found
