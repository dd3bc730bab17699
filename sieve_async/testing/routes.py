"""The endpoints of the fake server and its file storage: from a request to its answer."""

import base64
import hashlib
import re
import uuid
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from functools import partial
from math import ceil
from typing import TypeAlias
from urllib.parse import quote

import attrs

from sieve_async.testing.answers import (
    MAX_KEPT,
    ORGANIZATION_ID,
    Answer,
    Document,
    Refused,
    error,
    ok,
)
from sieve_async.testing.clock import Clock
from sieve_async.testing.functions import FunctionStore, Push, parse_push
from sieve_async.testing.jobs import TERMINAL, FakeJob
from sieve_async.testing.store import JobStore

FILES = "/files/"
# The documented default; no maximum is documented, so a page is never longer.
MAX_PAGE = 500
MAX_CONCURRENCY = 100
COST_PER_SECOND = 0.0001
NO_FUNCTION = "Function not found."
# The default and the minimum of each number.
PAGE = {"limit": (MAX_PAGE, 1), "offset": (0, 0)}
XML = {"Content-Type": "application/xml; charset=UTF-8"}
# How long before its expiry a link says it was signed, as the API's own links do.
LIFETIME = timedelta(hours=48)
MAX_EXPIRES_IN = 1e9  # seconds


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
# By path, then by method.
ROUTES: dict[re.Pattern[str], dict[str, Endpoint]] = {}


def _route(method: str, path: str) -> Callable[[Endpoint], Endpoint]:
    """Register an endpoint; ``*`` is a segment of the path that it takes as an argument."""

    def register(endpoint: Endpoint) -> Endpoint:
        ROUTES.setdefault(re.compile(path.replace("*", "([^/]+)")), {})[method] = endpoint
        return endpoint

    return register


@attrs.define
class FileStore:
    """The files by name, and every link that was made to them."""

    clock: Clock
    requests_with_credentials: int = attrs.field(default=0, init=False)
    # The content of each file, and the headers that describe it.
    _files: dict[str, tuple[bytes, Mapping[str, str]]] = attrs.field(factory=dict, init=False)
    # The expiry of each link, by the file's name and the signature.
    _links: dict[tuple[str, str], datetime | None] = attrs.field(factory=dict, init=False)

    def add(
        self,
        name: str,
        content: bytes,
        headers: Mapping[str, str],
        expires_at: datetime | None,
        expires_in: float | None,
    ) -> str:
        """Add or replace a file, and return the path and query of a link to it."""
        problem = ""
        if not re.fullmatch(r"[^/?#\0]+", name) or name in {".", ".."}:
            problem = f"name must be a file name without a slash, not {name!r}"
        if expires_at is not None and expires_in is not None:
            problem = "expires_at and expires_in exclude each other"
        if expires_at is not None and expires_at.tzinfo is None:
            problem = f"expires_at must be an aware datetime, not {expires_at!r}"
        if not abs(expires_in or 0) <= MAX_EXPIRES_IN:
            problem = f"expires_in must be seconds from now, not {expires_in!r}"
        if problem:
            raise ValueError(problem)
        self._files[name] = content, headers
        path = f"{FILES}{quote(name)}"
        if expires_in is not None:
            expires_at = self.clock.at(self.clock.now() + expires_in)
        if expires_at is None:
            self._links[name, ""] = None
            return path
        # In whole seconds, as links state it.
        expiry = datetime.fromtimestamp(ceil(expires_at.timestamp()), UTC)
        signature = uuid.uuid4().hex
        self._links[name, signature] = expiry
        date = (expiry - LIFETIME).strftime("%Y%m%dT%H%M%SZ")
        seconds = int(LIFETIME.total_seconds())
        return f"{path}?X-Goog-Date={date}&X-Goog-Expires={seconds}&X-Goog-Signature={signature}"

    def answer(self, name: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """Answer a request for a file as the storage does."""
        file = self._files.get(name)
        if file is None:
            return _xml(404, "NoSuchKey", "The specified key does not exist.")
        link = name, query.get("X-Goog-Signature", "")
        if link not in self._links:
            return _xml(403, "AccessDenied", "Access denied.")
        expiry = self._links[link]
        if expiry is not None and self.clock.at(self.clock.now()) >= expiry:
            details = f"Request signature expired at: {expiry.isoformat()}"
            return _xml(400, "ExpiredToken", "The provided token has expired.", details)
        return _in_range(*file, headers)


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
        for pattern, by_method in ROUTES.items():
            if matches := pattern.fullmatch(request.path):
                endpoint = by_method.get(request.method)
                if endpoint is None:
                    allowed = {"Allow": ", ".join(by_method)}
                    return attrs.evolve(error(405, "Method Not Allowed"), headers=allowed)
                if not request.key_accepted and not request.path.startswith(FILES):
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

    @_route("GET", "/v2/jobs/*")
    def _get_job(self, request: FakeRequest, job_id: str) -> Answer:
        polled = self._poll(request, job_id)
        return self._show(polled.job, polled.offset)

    @_route("GET", "/v2/jobs/*/await")
    def _await_job(self, request: FakeRequest, job_id: str) -> Answer | HeldRequest:
        polled = self._poll(request, job_id)
        is_terminal = polled.job.is_terminal(self.jobs.now())
        return self._show(polled.job, polled.offset) if is_terminal else polled

    @_route("DELETE", "/v2/jobs/*")
    def _cancel_job(self, _: FakeRequest, job_id: str) -> Answer:
        """Cancel a job, a queued one too."""
        job, now = self._job(job_id), self.jobs.now()
        if job.is_terminal(now):
            raise Refused(400, "Job is not processing.")
        job.end("cancelled", now)
        self.jobs.moved(job)
        return ok({"message": "Job cancelled."})

    @_route("GET", "/v2/jobs")
    @_route("GET", "/v2/functions/*/*/jobs")
    def _list_jobs(self, request: FakeRequest, *names: str) -> Answer:
        """List jobs newest first; no order is documented."""
        status = request.query.get("status") or None
        return self._page(request, "/".join(names) or None, status=status)

    @_route("POST", "/v2/push")
    def _push(self, request: FakeRequest) -> Answer:
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

    @_route("GET", "/v2/functions/*/*/versions/*")
    def _get_version(self, _: FakeRequest, owner_name: str, name: str, slug: str) -> Answer:
        version_id = self._version(owner_name, name, slug)[1]
        return Answer(200, self.functions.poll_version(version_id), version_id=version_id)

    @_route("GET", "/v2/functions/*/*/versions")
    def _list_versions(self, request: FakeRequest, owner_name: str, name: str) -> Answer:
        return _array(request, self.functions.versions(self._known(f"{owner_name}/{name}")))

    @_route("GET", "/v2/functions/*/*/versions/*/jobs")
    def _list_version_jobs(self, request: FakeRequest, *names: str) -> Answer:
        function, version_id = self._version(*names)
        return self._page(request, function, version_id=version_id)

    @_route("GET", "/v2/functions/*/*")
    def _get_function(self, _: FakeRequest, owner_name: str, name: str) -> Answer:
        return ok(self.functions.document(self._known(f"{owner_name}/{name}")))

    @_route("GET", "/v2/functions")
    def _list_functions(self, request: FakeRequest) -> Answer:
        return _array(request, self.functions.documents())

    @_route("GET", "/v2/usage/job/*")
    def _job_usage(self, _: FakeRequest, job_id: str) -> Answer:
        """Make up a cost in proportion to the time of all runs."""
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

    @_route("GET", "/v2/user/concurrency")
    def _concurrency(self, _: FakeRequest) -> Answer:
        """Count jobs; none is ever limited."""
        queued, processing = self.jobs.count("queued"), self.jobs.count("processing")
        answer = {
            "max_concurrency": MAX_CONCURRENCY,
            "num_current": queued + processing,
            "num_processing": processing,
            "num_queued": queued,
            "num_limited": 0,
        }
        return ok(answer)

    @_route("HEAD", f"{FILES}*")
    @_route("GET", f"{FILES}*")
    def _get_file(self, request: FakeRequest, name: str) -> Answer:
        return self.files.answer(name, request.query, request.headers)

    def _known(self, function: str) -> str:
        if function not in self.functions:
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
        page = self.jobs.page(function, status, version_id, min(limit, MAX_PAGE), offset)
        return Answer(200, page)


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


def headers_of(body: bytes, content_type: str, etag: str | None, *, md5: bool) -> dict[str, str]:
    """The headers that describe a file; the tag ``"md5"`` makes one."""
    digest = hashlib.md5(body, usedforsecurity=False)
    headers = {"Content-Type": content_type, "Accept-Ranges": "bytes"}
    if etag is not None:
        headers["ETag"] = f'"{digest.hexdigest()}"' if etag == "md5" else etag
    if md5:
        headers["x-goog-hash"] = f"md5={base64.b64encode(digest.digest()).decode()}"
    if not all(map(str.isprintable, headers.values())):
        raise ValueError(f"content_type and etag must be text of one line, not {headers!r}")
    return headers


def _in_range(content: bytes, described: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
    """Answer with the one range that was asked for, or with the whole file."""
    size, whole = len(content), Answer(200, content, described)
    matches = re.fullmatch(
        r"bytes=(\d{0,18})-(\d{0,18})", headers.get("Range", "").replace(" ", "")
    )
    tag = headers.get("If-Range")
    # Weak tags never match here, and dates are not supported.
    is_same = tag is None or (tag == described.get("ETag") and not tag.startswith("W/"))
    if not matches or not any(matches.groups()) or not is_same:
        return whole
    first, last = matches.groups()
    if first and last and int(last) < int(first):
        return whole  # not a valid range: it is ignored
    start = int(first) if first else max(0, size - int(last))
    end = min(int(last), size - 1) if first and last else size - 1
    if start >= size:
        refused = _xml(416, "InvalidRange", "The requested range cannot be satisfied.")
        return attrs.evolve(refused, headers={**XML, "Content-Range": f"bytes */{size}"})
    part = {"Content-Range": f"bytes {start}-{end}/{size}"}
    return Answer(206, content[start : end + 1], {**described, **part})


def _xml(status: int, code: str, message: str, details: str = "") -> Answer:
    more = f"<Details>{details}</Details>" if details else ""
    error = f"<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>"
    body = f"<?xml version='1.0' encoding='UTF-8'?>{error}".encode()
    return Answer(status, body, XML)
