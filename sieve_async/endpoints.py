"""The documented endpoints: arguments in, a checked request out.

Ids go into a path, so their grammar is narrow: nothing that a server, a proxy or a URL library
could read as anything but one segment, and nothing that would need quoting.
"""

import re

import attrs

from sieve_async.errors import InvalidArgumentError
from sieve_async.messages import ID, Model, Request
from sieve_async.models import FunctionVersion, Job, JobStatus

LATEST = "latest"
# How long the server holds a request that awaits a job, in seconds.
LONGEST_AWAIT = 600.0
# As many jobs as one page may hold.
LARGEST_PAGE = 500

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._~-]{0,127}")
_LARGEST_OFFSET = 2**63 - 1


def check_job_id(job_id: object) -> None:
    """Refuse what cannot be the id of a job.

    Raises:
        InvalidArgumentError: It cannot; the message says what an id is.
    """
    _check(ID, "job_id", job_id)


def get_job(job_id: str, *, offset: int = 0) -> Request[Job]:
    """``GET /v2/jobs/{job_id}``: one job, without its first ``offset`` outputs."""
    check_job_id(job_id)
    if isinstance(offset, bool) or not isinstance(offset, int):
        raise InvalidArgumentError(f"offset must be a whole number, not {type(offset).__name__}")
    if not 0 <= offset <= _LARGEST_OFFSET:
        raise InvalidArgumentError("offset must be from 0 to 2**63 - 1")
    query = f"offset={offset}" if offset else ""
    return Request("GET", f"/v2/jobs/{job_id}", Job, query, expected_id=job_id)


def await_job(job_id: str, *, offset: int = 0) -> Request[Job]:
    """``GET /v2/jobs/{job_id}/await``: the same, once the job has ended or ten minutes are over."""
    request = get_job(job_id, offset=offset)
    return attrs.evolve(request, path=f"{request.path}/await", hold_time=LONGEST_AWAIT)


def list_jobs(*, status: JobStatus, limit: int, offset: int) -> Request[Job]:
    """``GET /v2/jobs``: one page of the jobs of the key's organisation that have this status."""
    return Request("GET", "/v2/jobs", Job, f"limit={limit}&offset={offset}&status={status}")


def get_version(
    owner_name: str, function_name: str, version_slug: str = LATEST
) -> Request[FunctionVersion]:
    """``GET /v2/functions/{owner}/{name}/versions/{slug}``: by id, prefix of an id, or latest."""
    _check(_NAME, "owner_name", owner_name)
    _check(_NAME, "function_name", function_name)
    _check(ID, "version_slug", version_slug)
    return Request(
        "GET",
        f"/v2/functions/{owner_name}/{function_name}/versions/{version_slug}",
        FunctionVersion,
        expected_id=None if version_slug == LATEST else version_slug,
        expected_id_is_prefix=True,
    )


def pinned(request: Request[Model], expected_id: str) -> Request[Model]:
    """The request for just what was answered: ``latest`` and prefixes may come to mean another."""
    if not request.expected_id_is_prefix:
        return request
    path = f"{request.path.rpartition('/')[0]}/{expected_id}"
    return attrs.evolve(request, path=path, expected_id=expected_id, expected_id_is_prefix=False)


def _check(grammar: re.Pattern[str], name: str, value: object) -> None:
    if not isinstance(value, str):
        raise InvalidArgumentError(f"{name} must be a string, not {type(value).__name__}")
    if not grammar.fullmatch(value):
        shown = value if len(value) <= 60 else f"{value[:60]}..."
        raise InvalidArgumentError(
            f"{name} must be 1 to 128 letters, digits and . _ ~ -, beginning with a letter or a "
            f"digit (a name also with _); {shown!a} is not"
        )
