"""The documented endpoints: arguments in, a checked request out."""

from urllib.parse import quote

import attrs

from sieve_async.config import (
    LATEST,
    check_job_id,
    check_offset,
    check_status,
    function_name_of,
    parse_function_name,
)
from sieve_async.messages import Model, Request
from sieve_async.models import FunctionVersion, Job, JobStatus

__all__ = [
    "LATEST",
    "MAX_AWAIT",
    "MAX_PAGE",
    "await_job",
    "cancel_job",
    "get_job",
    "get_version",
    "list_jobs",
    "pinned",
    "push",
]

MAX_AWAIT = 600.0  # seconds for which the server holds a request that awaits a job
MAX_PAGE = 500  # jobs of one page: the documented default; no maximum is stated


def get_job(job_id: str, *, offset: int = 0) -> Request[Job]:
    """``GET /v2/jobs/{job_id}``: one job, without its first ``offset`` outputs."""
    job_id, offset = check_job_id(job_id), check_offset(offset)
    query = f"offset={offset}" if offset else ""
    return Request("GET", f"/v2/jobs/{job_id}", Job, query, expected_id=job_id)


def await_job(job_id: str, *, offset: int = 0) -> Request[Job]:
    """``GET /v2/jobs/{job_id}/await``: the same, once the job or ten minutes are over."""
    request = get_job(job_id, offset=offset)
    return attrs.evolve(request, path=f"{request.path}/await", hold_time=MAX_AWAIT)


def list_jobs(
    *,
    status: JobStatus | str | None = None,
    function: str | None = None,
    limit: int = MAX_PAGE,
    offset: int = 0,
) -> Request[Job]:
    """``GET /v2/jobs``, or the jobs of one function or version: one page of a list.

    The API has no filter by status for the jobs of a version.
    """
    query = f"limit={limit}&offset={check_offset(offset)}"
    if status is not None:
        query += f"&status={quote(check_status(status), safe='')}"
    if function is None:
        return Request("GET", "/v2/jobs", Job, query)
    owner_name, function_name, version_slug = parse_function_name(function)
    path = f"/v2/functions/{owner_name}/{function_name}"
    if version_slug is not None:
        path += f"/versions/{version_slug}"
    return Request("GET", f"{path}/jobs", Job, query)


def push(body: bytes) -> Request[Job]:
    """``POST /v2/push``: start a job, on a connection that cannot have been closed meanwhile."""
    return Request("POST", "/v2/push", Job, body=body, fresh_connection=True)


def cancel_job(job_id: str) -> Request[Job]:
    """``DELETE /v2/jobs/{job_id}``: cancel a running job."""
    return Request("DELETE", f"/v2/jobs/{check_job_id(job_id)}", Job)


def get_version(
    owner_or_function: str, function_name: str | None = None, version_slug: str = LATEST
) -> Request[FunctionVersion]:
    """``GET /v2/functions/{owner}/{name}/versions/{slug}``: by id, prefix of an id, or latest."""
    owner_name, name, slug = function_name_of(owner_or_function, function_name, version_slug)
    return Request(
        "GET",
        f"/v2/functions/{owner_name}/{name}/versions/{slug}",
        FunctionVersion,
        expected_id=None if slug == LATEST else slug,
        expected_id_is_prefix=True,
    )


def pinned(request: Request[Model], expected_id: str) -> Request[Model]:
    """The request for just what was answered: ``latest`` and prefixes may come to mean another."""
    if not request.expected_id_is_prefix:
        return request
    path = f"{request.path.rpartition('/')[0]}/{expected_id}"
    return attrs.evolve(request, path=path, expected_id=expected_id, expected_id_is_prefix=False)
