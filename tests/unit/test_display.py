"""Text and HTML of values: readable, short, escaped."""

import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

from sieve_async import (
    BuildStatus,
    File,
    Function,
    FunctionVersion,
    InputOutput,
    Job,
    JobOutcome,
    JobStatus,
    NotFoundError,
    OutcomeList,
    Restart,
)
from sieve_async.cli.output import job_text, outcome_line
from sieve_async.display import shorten

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
EVIL = "<script>alert(1)</script>\x1b[31m"
FAILED = Job(
    "a",
    JobStatus("error"),
    created_at=NOON,
    started_at=NOON + timedelta(seconds=5),
    completed_at=NOON + timedelta(minutes=10),
    outputs=(InputOutput(data=1),),
    error="Traceback\nValueError: no\n",
)


def html_of(value: Any) -> str:
    """What a notebook shows."""
    return str(value._repr_html_())


def test_texts() -> None:
    """A job or a version is one readable line."""
    assert str(FAILED) == "job a: error, queued 5.0 s, ran 9 min 55 s, 1 output, ValueError: no"
    assert str(Job("b", JobStatus("napping"))) == "job b: napping"
    odd = Job("b", JobStatus("error"), error="x\ry\x1b\n", outputs=(InputOutput(),) * 2)
    assert "\n" not in str(odd)
    assert str(FunctionVersion("v", BuildStatus("building"))) == "version v: building"
    assert str(FunctionVersion("v", BuildStatus("a\x1b[2J\nb"))) == "version v: a [2J b"
    assert str(Job("b", JobStatus("a\x1b[2J\nb"))) == "job b: a [2J b"
    assert str(Job("b", JobStatus("error"), error="\u202ea\u2067")) == "job b: error, a"


def test_error_of_another_shape() -> None:
    """An error that is no text is shown as well."""
    job = Job.from_dict({"id": "a", "status": "error", "error": {"code": "no space"}})
    assert str(job) == "job a: error, {'code': 'no space'}"
    for html in (html_of(job), html_of(OutcomeList([JobOutcome("a", job)]))):
        assert "no space" in html
    assert outcome_line(JobOutcome("a", job)) == "a  error      {'code': 'no space'}"
    assert "no space" in job_text(job)


def test_queries_of_urls() -> None:
    """No query of a URL is shown, however the URL is spelled."""
    for url in ("HTTPS://a.example/b", r"https:\/\/a.example\/b", "http://a.example"):
        assert shorten(f'{{"url":"{url}?X-Goog-Signature=5ec"}}') == f'{{"url":"{url}?..."}}'
    assert shorten("https://a https://b?c https://?d") == "https://a https://b?... https://?..."
    assert len(shorten("http://" * 200_000)) == 300  # in one pass, not one for each URL


def test_html() -> None:
    """A job or version is a small table, with the end of a long error below."""
    html = html_of(FAILED)
    assert html.startswith("<table><tr><td>job</td><td>a</td></tr>")
    assert "<td>2026-01-01 12:00:00+00:00</td>" in html
    assert "<pre>Traceback\nValueError: no\n</pre>" in html
    html = html_of(FunctionVersion("v", BuildStatus("ready"), ready_at=NOON))
    assert "<td>build_status</td>" in html
    assert '<td style="color: #2a8f5a">ready</td>' in html
    assert "12:00:00" in html
    html = html_of(Job("a", JobStatus("error"), error="x" * 9999 + "the end"))
    assert "the end" in html
    assert len(html) < 2000


def test_html_is_escaped() -> None:
    """Text of the server is shown as text."""
    for value in (
        Job(EVIL, JobStatus(EVIL), error=EVIL),
        FunctionVersion(EVIL, BuildStatus(EVIL)),
        JobOutcome(EVIL, Job(EVIL, JobStatus("error"), error=EVIL)),
        JobOutcome(EVIL, None, NotFoundError(404, EVIL)),
    ):
        html = html_of(value)
        assert "&lt;script&gt;" in html
        assert "<script" not in html
        assert "\x1b" not in html


def test_list_of_outcomes() -> None:
    """A list of outcomes is a plain list that a notebook shows as a table of the first 200."""
    done = Job("a", JobStatus("finished"), outputs=(InputOutput(data="x"),))
    outcomes = [JobOutcome("a", done), JobOutcome("gone", None, NotFoundError(404))]
    outcomes += [JobOutcome(str(n), Job(str(n), JobStatus("finished"))) for n in range(298)]
    listed = OutcomeList(outcomes)
    html = html_of(listed)
    assert repr(listed) == repr(outcomes) == repr(pickle.loads(pickle.dumps(listed)))
    assert html.count("<tr>") == 201
    assert "and 100 more" in html
    assert "NotFoundError" in html
    assert "1 output<" in html


def test_reprs() -> None:
    """A repr names the fields that are not at their defaults, and no others, down to a depth."""
    version = FunctionVersion("v", BuildStatus("x"), inputs=(InputOutput("str"),))
    job = Job("a", JobStatus("x"), function=Function(latest_version=version))
    assert repr(Job("a", JobStatus.QUEUED)) == "Job(id='a', status='queued')"
    assert repr(InputOutput()) == "InputOutput()"
    assert repr(Function(tags=("a",))) == "Function(tags=('a',))"
    assert repr(FunctionVersion("v", BuildStatus("x"), maximum_replicas=None)) == (
        "FunctionVersion(id='v', build_status='x', maximum_replicas=None)"
    )
    assert repr(Restart(NOON)) == "Restart(timestamp='2026-01-01T12:00:00+00:00')"
    assert repr(JobOutcome("a", Job("a", JobStatus("x")), polls=2)) == (
        "JobOutcome(job_id='a', job=Job(id='a', status='x'), polls=2)"
    )
    assert "NotFoundError" in repr(JobOutcome("a", None, NotFoundError(404, "no")))
    assert "inputs=(InputOutput(type='str'),)" in repr(version)
    assert "inputs=(InputOutput(...),)" in repr(JobOutcome("a", job))


DEEP: Any = 1
for _ in range(50_000):
    DEEP = [DEEP]


def test_reprs_are_short() -> None:
    """However much a job holds, its repr has at most 2,000 characters, and begins with its id."""
    texts = ["x" * 1000] * 1000
    keys = {f"{n}" * 100: "x" * 1000 for n in range(1000)}
    for data in ("x" * 10**6, texts, keys, DEEP, 10**10_000, [[[texts] * 50] * 50] * 50):
        output = InputOutput(data=data)
        job = Job("the-id", JobStatus.QUEUED, inputs={"a": output}, outputs=((output,) * 9,) * 1000)
        for value in (job, output, JobOutcome("the-id", job), File("u", extra={"a": data})):
            assert len(repr(value)) <= 2000
        assert repr(job).startswith("Job(id='the-id', status='queued'")


def test_reprs_without_signatures() -> None:
    """The query of a signed URL is as good as a password: no repr shows it."""
    url = "https://storage.example/a.mp4?X-Goog-Signature=5ec2e7"
    job = Job("a", JobStatus.QUEUED, outputs=(InputOutput(data=[{"url": url}]),))
    assert "https://storage.example/a.mp4?..." in repr(job)
    assert "5ec2e7" not in f"{job!r} {job.files!r} {job.outputs[0]!r}"


def test_shorten() -> None:
    """What is quoted in an error is one line, not long, without the queries of URLs."""
    lines = {"": "", "  a \n\t b\r\n": "a b", "x" * 300: "x" * 300, "x" * 301: "x" * 297 + "..."}
    lines |= {"see https://a.example/b?sig=1&c=2#d now": "see https://a.example/b?... now"}
    lines |= {'{"url": "http://a.example/?k=1"}': '{"url": "http://a.example/?..."}'}
    lines |= {"what? no": "what? no"}
    assert {text: shorten(text) for text in lines} == lines


def test_html_without_queries() -> None:
    """Notebooks are saved and shared: no query of a signed URL stands in their tables."""
    job = Job("a", JobStatus("error"), error="no https://host/a?sig=secret\n\x1b[31min the end")
    for html in (html_of(job), html_of(OutcomeList([JobOutcome("a", job)]))):
        assert "secret" not in html
        assert "\x1b" not in html
    assert "no https://host/a?...\n" in html_of(job)
