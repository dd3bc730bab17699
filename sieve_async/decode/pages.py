"""Lists of jobs: of each row, the little that says how far the job is."""

from collections.abc import Iterator
from typing import Any

import attrs

from sieve_async.decode.answers import glance, misfit, read_document
from sieve_async.messages import Request, Response
from sieve_async.models import Job, JobStatus

_WORDS = {word.value: word for word in JobStatus}
_LARGEST_OFFSET = 2**63 - 1  # beyond, the parsers differ, and no list is as long


@attrs.frozen
class JobPage:
    """One page of a list of jobs.

    Attributes:
        jobs: Id and status of each job whose row can be read.
        next_offset: Where the next page begins; None when this is the last one.
    """

    jobs: list[tuple[str, JobStatus]]
    next_offset: int | None


def parse_page(request: Request[Job], response: Response) -> JobPage:
    """One page of a list; a row that cannot be read is left out, and says nothing of its job.

    Raises:
        SieveError: The answer is an error, or is no page.
    """
    document = glance(response)
    rows, next_offset = document.get("data"), document.get("next_offset")
    if rows.__class__ is not list:
        document = read_document(request, response)
        raise misfit(request, response, document, ("$.data: must be an array",))
    has_more = next_offset.__class__ is int and 0 < next_offset <= _LARGEST_OFFSET
    return JobPage(list(_jobs(rows)), next_offset if has_more else None)


def _jobs(rows: list[Any]) -> Iterator[tuple[str, JobStatus]]:
    for row in rows:
        if row.__class__ is dict:
            job_id, word = row.get("id"), row.get("status")
            if job_id.__class__ is str and word.__class__ is str and word:
                yield job_id, _WORDS.get(word) or JobStatus(word)
