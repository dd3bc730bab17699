"""The endpoints of the fake server: from a request to its answer, without HTTP objects."""

import re
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import partial
from typing import TypeAlias

import attrs

from sieve_async.testing.documents import (
    MAX_KEPT,
    ORGANIZATION_ID,
    Answer,
    Document,
    Refused,
    error,
    ok,
)
from sieve_async.testing.files import FileStore
from sieve_async.testing.functions import FunctionStore, Push, parse_push
from sieve_async.testing.jobs import TERMINAL, FakeJob
from sieve_async.testing.store import JobStore

# The documented default; no maximum is documented, so a page is never longer.
MAX_PAGE = 500
MAX_CONCURRENCY = 100
COST_PER_SECOND = 0.0001
NO_FUNCTION = "Function not found."
# The default and the minimum of each number.
PAGE = {"limit": (MAX_PAGE, 1), "offset": (0, 0)}


@attrs.frozen
class FakeRequest:
    """What of a request decides its answer."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    key_accepted: bool
    body: bytes = attrs.field(default=b"", repr=False)


@attrs.frozen
class HeldRequest:
    """No answer yet: the request waits for the end of a job."""

    job: FakeJob
    offset: int


Endpoint: TypeAlias = Callable[..., Answer | HeldRequest]


@attrs.define
class Endpoints:
    """All endpoints, over what the server knows."""

    jobs: JobStore
    functions: FunctionStore
    files: FileStore
    on_push: Callable[[FakeJob, Push], None]
    pushes: deque[Push] = attrs.field(factory=partial(deque, maxlen=MAX_KEPT), init=False)

    def answer(self, request: FakeRequest) -> Answer | HeldRequest:
        """Answer one request; a lookup moves a job or a build that goes by polls."""
        for pattern, by_method in ROUTES:
            if matches := pattern.fullmatch(request.path):
                endpoint = by_method.get(request.method)
                if endpoint is None:
                    allowed = {"Allow": ", ".join(by_method)}
                    return attrs.evolve(error(405, "Method Not Allowed"), headers=allowed)
                if not request.key_accepted and endpoint not in PUBLIC:
                    return error(401)
                try:
                    return endpoint(self, request, *matches.groups())
                except Refused as refused:
                    return refused.answer
        return error(404, "Not Found")

    def answer_held(self, held: HeldRequest, *, is_too_late: bool) -> Answer:
        """Answer a request that was held until now, without another poll."""
        if held.job.is_removed or is_too_late:
            return error(404 if held.job.is_removed else 408)
        return self._show(held.job, held.offset)

    def get_job(self, request: FakeRequest, job_id: str) -> Answer:
        """Answer GET /v2/jobs/{job_id}."""
        polled = self._poll(request, job_id)
        return self._show(polled.job, polled.offset)

    def await_job(self, request: FakeRequest, job_id: str) -> Answer | HeldRequest:
        """Answer GET /v2/jobs/{job_id}/await: at once, when the job is terminal or unknown."""
        polled = self._poll(request, job_id)
        is_terminal = polled.job.is_terminal(self.jobs.now())
        return self._show(polled.job, polled.offset) if is_terminal else polled

    def cancel_job(self, _: FakeRequest, job_id: str) -> Answer:
        """Answer DELETE /v2/jobs/{job_id}: a queued job can be canceled too."""
        job, now = self._job(job_id), self.jobs.now()
        if job.is_terminal(now):
            raise Refused(400, "Job is not processing.")
        job.end("cancelled", now)
        self.jobs.moved(job)
        return ok({"message": "Job cancelled."})

    def list_jobs(self, request: FakeRequest) -> Answer:
        """Answer GET /v2/jobs, newest first; no order is documented."""
        return self._page(request, None, status=request.query.get("status"))

    def list_function_jobs(self, request: FakeRequest, owner_name: str, name: str) -> Answer:
        """Answer GET /v2/functions/{owner_name}/{function_name}/jobs."""
        return self._page(request, f"{owner_name}/{name}", status=request.query.get("status"))

    def list_version_jobs(
        self, request: FakeRequest, owner_name: str, name: str, slug: str
    ) -> Answer:
        """Answer GET /v2/functions/{owner_name}/{function_name}/versions/{version_slug}/jobs."""
        function, version_id = self._version(owner_name, name, slug)
        return self._page(request, function, version_id=version_id)

    def get_version(self, _: FakeRequest, owner_name: str, name: str, slug: str) -> Answer:
        """Answer GET /v2/functions/{owner_name}/{function_name}/versions/{version_slug}."""
        version_id = self._version(owner_name, name, slug)[1]
        return Answer(200, self.functions.poll_version(version_id), version_id=version_id)

    def list_versions(self, request: FakeRequest, owner_name: str, name: str) -> Answer:
        """Answer GET /v2/functions/{owner_name}/{function_name}/versions."""
        function = self._known(f"{owner_name}/{name}")
        return _array(request, self.functions.versions(function))

    def get_function(self, _: FakeRequest, owner_name: str, name: str) -> Answer:
        """Answer GET /v2/functions/{owner_name}/{function_name}."""
        return ok(self.functions.document(self._known(f"{owner_name}/{name}")))

    def list_functions(self, request: FakeRequest) -> Answer:
        """Answer GET /v2/functions."""
        return _array(request, self.functions.documents())

    def push(self, request: FakeRequest) -> Answer:
        """Answer POST /v2/push."""
        function, slug, members = parse_push(request.body)
        function = function or self.functions.function_of(slug)
        found = function and self.functions.pushed_to(function, slug)
        if not function or not found:
            raise Refused(404, NO_FUNCTION)
        version_id, script = found
        job = self.jobs.add(script.job(function, version_id, members["inputs"]))
        push = Push(
            job_id=job.script.id,
            function=function,
            version_id=version_id,
            at=self.jobs.now(),
            **members,
        )
        self.pushes.append(push)
        self.on_push(job, push)
        answer = {
            "id": job.script.id,
            "run_id": job.script.run_ids[0],
            "stream_output": job.script.streams,
            "status": "queued",
            "organization_id": ORGANIZATION_ID,
            "model_id": version_id,
            "workflow_id": None,
        }
        return ok(answer)

    def job_usage(self, _: FakeRequest, job_id: str) -> Answer:
        """Answer GET /v2/usage/job/{job_id}: a cost in proportion to the time of all runs."""
        job, now = self._job(job_id), self.jobs.now()
        seen = job.progress.snapshot(now)
        begun, end = seen.first("processing"), seen.first(*TERMINAL)
        seconds = 0.0 if begun is None else (now if end is None else end) - begun
        owner_name, _slash, name = job.script.function.partition("/")
        answer = {
            "job_id": job_id,
            "function_name": name,
            "function_owner_name": owner_name,
            "function_id": job.script.version_id,
            "cost": round(seconds * COST_PER_SECOND, 6),
        }
        return ok(answer)

    def concurrency(self, _: FakeRequest) -> Answer:
        """Answer GET /v2/user/concurrency; no job is ever limited."""
        queued, processing = self.jobs.count("queued"), self.jobs.count("processing")
        answer = {
            "max_concurrency": MAX_CONCURRENCY,
            "num_current": queued + processing,
            "num_processing": processing,
            "num_queued": queued,
            "num_limited": 0,
        }
        return ok(answer)

    def get_file(self, request: FakeRequest, name: str) -> Answer:
        """Answer GET of a link to a file."""
        return self.files.answer(name, request.query, request.headers)

    def _known(self, function: str) -> str:
        if not self.functions.knows(function):
            raise Refused(404, NO_FUNCTION)
        return function

    def _version(self, owner_name: str, name: str, slug: str) -> tuple[str, str]:
        function = f"{owner_name}/{name}"
        version_id = self.functions.resolve(function, slug)
        if version_id is None:
            raise Refused(404, "Function version not found.")
        return function, version_id

    def _job(self, job_id: str) -> FakeJob:
        if job := self.jobs.jobs.get(job_id):
            return job
        raise Refused(404)

    def _poll(self, request: FakeRequest, job_id: str) -> HeldRequest:
        [offset] = _numbers(request.query, offset=(0, 0))
        self.jobs.poll(job_id)
        return HeldRequest(self._job(job_id), offset)

    def _show(self, job: FakeJob, offset: int) -> Answer:
        now = self.jobs.now()
        body = job.body(now, self.jobs.timers.clock.stamp, offset=offset)
        is_terminal = job.status_at(now) in TERMINAL
        return Answer(200, body, terminal_job_id=job.script.id if is_terminal else None)

    def _page(
        self,
        request: FakeRequest,
        function: str | None,
        *,
        status: str | None = None,
        version_id: str | None = None,
    ) -> Answer:
        limit, offset = _numbers(request.query, **PAGE)
        if function is not None:
            self._known(function)
        page = self.jobs.page(
            function,
            status=status or None,
            limit=min(limit, MAX_PAGE),
            offset=offset,
            version_id=version_id,
        )
        return Answer(200, page)


def _route(path: str, **by_method: Endpoint) -> tuple[re.Pattern[str], dict[str, Endpoint]]:
    if "GET" in by_method and path.startswith("/files"):
        by_method["HEAD"] = by_method["GET"]
    return re.compile(path.replace("*", "([^/]+)")), by_method


# Lookups first, as there are the most of them.
ROUTES = (
    _route("/v2/jobs/*", GET=Endpoints.get_job, DELETE=Endpoints.cancel_job),
    _route("/v2/jobs/*/await", GET=Endpoints.await_job),
    _route("/v2/jobs", GET=Endpoints.list_jobs),
    _route("/v2/push", POST=Endpoints.push),
    _route("/v2/functions/*/*/versions/*", GET=Endpoints.get_version),
    _route("/v2/functions/*/*/versions", GET=Endpoints.list_versions),
    _route("/v2/functions/*/*/versions/*/jobs", GET=Endpoints.list_version_jobs),
    _route("/v2/functions/*/*/jobs", GET=Endpoints.list_function_jobs),
    _route("/v2/functions/*/*", GET=Endpoints.get_function),
    _route("/v2/functions", GET=Endpoints.list_functions),
    _route("/v2/usage/job/*", GET=Endpoints.job_usage),
    _route("/v2/user/concurrency", GET=Endpoints.concurrency),
    _route("/files/*", GET=Endpoints.get_file),
)
PUBLIC = frozenset({Endpoints.get_file})


def _array(request: FakeRequest, documents: Iterator[Document]) -> Answer:
    """Answer with a page of a bare array."""
    limit, offset = _numbers(request.query, **PAGE)
    return ok([*documents][offset : offset + min(limit, MAX_PAGE)])


def _numbers(query: Mapping[str, str], **expected: tuple[int, int]) -> list[int]:
    """Read numbers by name, each with its default and minimum.

    Those that are invalid are refused in the words of the framework that the API's answers show.
    """
    numbers: list[int] = []
    problems: list[Document] = []
    for name, (default, minimum) in expected.items():
        text = query.get(name, str(default))
        problem: Document = {"loc": ["query", name], "input": text}
        try:
            number = int(text)
        except ValueError:
            message = "Input should be a valid integer, unable to parse string as an integer"
            problems.append({"type": "int_parsing", "msg": message} | problem)
            continue
        numbers.append(number)
        if number < minimum:
            message = f"Input should be greater than or equal to {minimum}"
            context = {"type": "greater_than_equal", "msg": message, "ctx": {"ge": minimum}}
            problems.append(context | problem)
    if problems:
        raise Refused(422, problems)
    return numbers
