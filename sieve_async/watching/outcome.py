"""The outcome of an id that cannot be one."""

from sieve_async.config import check_job_id
from sieve_async.errors import InvalidArgumentError
from sieve_async.messages import shorten
from sieve_async.outcomes import JobOutcome, OutcomeList

__all__ = ["JobOutcome", "OutcomeList", "refusal"]


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
