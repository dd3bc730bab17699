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
    encode,
    error_answer,
)
from sieve_async.testing.files import FileStore
from sieve_async.testing.functions import FunctionStore, Push, parse_push
from sieve_async.testing.jobs import TERMINAL, FakeJob
from sieve_async.testing.store import JobStore, Wake

# The documented default; no maximum is documented, so a page is never longer.
MAX_PAGE = 500
MAX_CONCURRENCY = 100
COST_PER_SECOND = 0.0001
NO_FUNCTION, NO_VERSION = "Function not found.", "Function version not found."


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
                    return attrs.evolve(error_answer(405, "Method Not Allowed"), headers=allowed)
                if not request.key_accepted and endpoint not in PUBLIC:
                    return error_answer(401)
                return endpoint(self, request, *matches.groups())
        return error_answer(404, "Not Found")

    def answer_held(self, held: HeldRequest, wake: Wake) -> Answer:
        """Answer a request that was held until now, without another poll."""
        match wake:
            case Wake.TERMINAL:
                return self._show(held.job, held.offset)
            case Wake.REMOVED:
                return error_answer(404)
            case _:
                return error_answer(408)

    def get_job(self, request: FakeRequest, job_id: str) -> Answer:
        """Answer GET /v2/jobs/{job_id}."""
        found = self._poll(request, job_id)
        return found if isinstance(found, Answer) else self._show(found.job, found.offset)

    def await_job(self, request: FakeRequest, job_id: str) -> Answer | HeldRequest:
        """Answer GET /v2/jobs/{job_id}/await: at once, when the job is terminal or unknown."""
        found = self._poll(request, job_id)
        if isinstance(found, Answer) or not found.job.is_terminal(self.jobs.now()):
            return found
        return self._show(found.job, found.offset)

    def cancel_job(self, _: FakeRequest, job_id: str) -> Answer:
        """Answer DELETE /v2/jobs/{job_id}: a queued job can be canceled too."""
        job, now = self.jobs.jobs.get(job_id), self.jobs.now()
        if job is None:
            return error_answer(404)
        if job.is_terminal(now):
            return error_answer(400, "Job is not processing.")
        job.end("cancelled", now)
        self.jobs.moved(job)
        return Answer(200, encode({"message": "Job cancelled."}))

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
        function = f"{owner_name}/{name}"
        version_id = self.functions.resolve(function, slug)
        if version_id is None:
            return error_answer(404, NO_VERSION)
        return self._page(request, function, version_id=version_id)

    def get_version(self, _: FakeRequest, owner_name: str, name: str, slug: str) -> Answer:
        """Answer GET /v2/functions/{owner_name}/{function_name}/versions/{version_slug}."""
        version_id = self.functions.resolve(f"{owner_name}/{name}", slug)
        if version_id is None:
            return error_answer(404, NO_VERSION)
        return Answer(200, self.functions.poll_version(version_id), version_id=version_id)

    def list_versions(self, request: FakeRequest, owner_name: str, name: str) -> Answer:
        """Answer GET /v2/functions/{owner_name}/{function_name}/versions."""
        function = f"{owner_name}/{name}"
        if not self.functions.knows(function):
            return error_answer(404, NO_FUNCTION)
        return _array(request, self.functions.versions(function))

    def get_function(self, _: FakeRequest, owner_name: str, name: str) -> Answer:
        """Answer GET /v2/functions/{owner_name}/{function_name}."""
        function = f"{owner_name}/{name}"
        if not self.functions.knows(function):
            return error_answer(404, NO_FUNCTION)
        return Answer(200, encode(self.functions.document(function)))

    def list_functions(self, request: FakeRequest) -> Answer:
        """Answer GET /v2/functions."""
        return _array(request, self.functions.documents())

    def push(self, request: FakeRequest) -> Answer:
        """Answer POST /v2/push."""
        body = parse_push(request.body)
        if isinstance(body, Answer):
            return body
        function = body.function or self.functions.function_of(body.slug)
        found = function and self.functions.pushed_to(function, body.slug)
        if not function or not found:
            return error_answer(404, NO_FUNCTION)
        version_id, script = found
        job = self.jobs.add(script.job(function, version_id, body.inputs))
        push = Push(
            job_id=job.script.id,
            function=function,
            version_id=version_id,
            inputs=body.inputs,
            webhooks=body.webhooks,
            env=body.env,
            at=self.jobs.now(),
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
        return Answer(200, encode(answer))

    def job_usage(self, _: FakeRequest, job_id: str) -> Answer:
        """Answer GET /v2/usage/job/{job_id}: a cost in proportion to the time of all runs."""
        job, now = self.jobs.jobs.get(job_id), self.jobs.now()
        if job is None:
            return error_answer(404)
        seen = job.progress.snapshot(now)
        begun = seen.first("processing")
        end = seen.first(*TERMINAL)
        seconds = 0.0 if begun is None else (now if end is None else end) - begun
        owner_name, _slash, name = job.script.function.partition("/")
        answer = {
            "job_id": job_id,
            "function_name": name,
            "function_owner_name": owner_name,
            "function_id": job.script.version_id,
            "cost": round(seconds * COST_PER_SECOND, 6),
        }
        return Answer(200, encode(answer))

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
        return Answer(200, encode(answer))

    def get_file(self, request: FakeRequest, name: str) -> Answer:
        """Answer GET of a link to a file."""
        return self.files.answer(name, request.query, request.headers)

    def _poll(self, request: FakeRequest, job_id: str) -> HeldRequest | Answer:
        if problems := _problems(request.query, offset=0):
            return problems
        job = self.jobs.poll(job_id)
        return HeldRequest(job, int(request.query.get("offset", 0))) if job else error_answer(404)

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
        if problems := _problems(request.query, limit=1, offset=0):
            return problems
        if function is not None and not self.functions.knows(function):
            return error_answer(404, NO_FUNCTION)
        limit, offset = _limits(request)
        page = self.jobs.page(
            function, status=status or None, limit=limit, offset=offset, version_id=version_id
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
    if problems := _problems(request.query, limit=1, offset=0):
        return problems
    limit, offset = _limits(request)
    return Answer(200, encode([*documents][offset : offset + limit]))


def _limits(request: FakeRequest) -> tuple[int, int]:
    limit = min(int(request.query.get("limit", MAX_PAGE)), MAX_PAGE)
    return limit, int(request.query.get("offset", 0))


def _problems(query: Mapping[str, str], **minimums: int) -> Answer | None:
    """Refuse numbers that are invalid or too small."""
    found = [
        problem
        for name, minimum in minimums.items()
        if name in query and (problem := _problem(name, query[name], minimum))
    ]
    return Answer(422, encode({"detail": found})) if found else None


def _problem(name: str, text: str, minimum: int) -> dict[str, object] | None:
    """Describe an invalid number in the words of the framework that the API's answers show."""
    problem: dict[str, object] = {"loc": ["query", name], "input": text}
    try:
        number = int(text)
    except ValueError:
        message = "Input should be a valid integer, unable to parse string as an integer"
        return {"type": "int_parsing", "msg": message} | problem
    if number >= minimum:
        return None
    message = f"Input should be greater than or equal to {minimum}"
    return {"type": "greater_than_equal", "msg": message, "ctx": {"ge": minimum}} | problem
