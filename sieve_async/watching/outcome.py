"""How the wait for one of many jobs ended."""

import attrs

from sieve_async.endpoints import check_job_id
from sieve_async.errors import InvalidArgumentError, SieveError
from sieve_async.messages import shorten
from sieve_async.models import Job
from sieve_async.notebook import ShownOutcome, outcomes_as_html


@attrs.frozen
class JobOutcome(ShownOutcome):
    """How the wait for one of many jobs ended: with the job, or with why there is none.

    Attributes:
        job_id: The id that was asked for; as text, should it not have been one.
        job: The job as it ended, whichever way that is.
        error: Why it could not be waited for until its end: the deadline, a refusal, an outage.
    """

    job_id: str
    job: Job | None = None
    error: SieveError | None = None

    @property
    def ok(self) -> bool:
        """Whether the job finished."""
        return self.job is not None and self.job.succeeded

    def unwrap(self) -> Job:
        """Return the job, if it finished.

        Raises:
            JobFailedError: It ended in error.
            JobCancelledError: It was cancelled.
            SieveError: ``error``, when there is no job.
        """
        if self.job is None:
            raise self.error or SieveError(f"nothing is known of job {self.job_id}")
        return self.job.raise_for_status()


class OutcomeList(list[JobOutcome]):
    """A list of outcomes that a notebook shows as a table."""

    def _repr_html_(self) -> str:
        return outcomes_as_html(self)


def refusal(job_id: object) -> JobOutcome | None:
    """The outcome of what cannot be the id of a job; None for what can."""
    try:
        check_job_id(job_id)
    except InvalidArgumentError as error:
        return JobOutcome(_text_of(job_id), None, error.with_traceback(None))
    return None


def _text_of(job_id: object) -> str:
    if isinstance(job_id, str):
        return job_id
    try:
        return shorten(str(job_id))
    except Exception:  # noqa: BLE001 - it is the caller's own, and must not disturb the others
        return f"<{type(job_id).__name__}>"
