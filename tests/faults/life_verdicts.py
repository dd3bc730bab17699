"""Whether an error is the truth: each has its own reasons, and no other."""

from collections.abc import Sequence

import attrs

from faults.life import Complaint, JobTruth
from faults.life_weather import Weather
from helpers.leak_checks import check_error
from sieve_async import (
    APIError,
    AuthenticationError,
    DecodeError,
    JobCancelledError,
    JobFailedError,
    JobRestartedError,
    NotFoundError,
    RedirectError,
    SieveError,
    WaitTimeoutError,
)
from sieve_async.testing import FakeSieve

# Without any valid answer for so long, a wait gives up.
MAX_UNREACHABLE = 300.0
# How long before the deadline a job must have ended for its end to be seen in any case.
_IN_TIME = 1.0
# How long a look without a deadline of its own may take, all told.
_ONE_LOOK = 31.0
# The same of a watch, which waits for the end of a pause that the server asked for.
_ONE_WATCHED_LOOK = 31.0 + 1.5 * 700.0
# Who joins a watch of the same job may be told what a look shows that was begun before.
_SHARED_LOOK = 60.0
# Between two good answers, at the most.
_LONGEST_PAUSE = 13.0


@attrs.frozen
class Circumstances:
    """What was going on while somebody waited.

    Attributes:
        sieve: Who was asked.
        weather: What was wrong.
        started: When the wait began.
        ended: When it ended.
        timeout: How long it was to take at the most.
        seen: How often it has told of a state; None if it never tells.
        busy: For how long its caller may have been busy with what it was told.
        is_watch: Whether it may have joined a watch that others had begun.
    """

    sieve: FakeSieve
    weather: Weather
    started: float
    ended: float
    timeout: float | None
    seen: int | None = None
    busy: float = 0.0
    is_watch: bool = False

    def answers(self, *paths: str) -> list[int]:
        """The statuses that were answered meanwhile, below these paths."""
        return [
            entry.status
            for entry in self.sieve.requests
            if entry.at >= self.started - _SHARED_LOOK and entry.path.startswith(paths)
        ]

    def was_unreachable(self) -> bool:
        """Whether nothing valid can have come for as long as is put up with."""
        began = 0.0 if self.is_watch else self.started
        return any(
            min(until, self.ended) - max(since - _LONGEST_PAUSE, began) >= MAX_UNREACHABLE - 1e-3
            for since, until in self.weather.bad
        )


def why_not(error: SieveError, about: Circumstances, job: JobTruth | None) -> Complaint:
    """What is wrong with an error as the end of the wait for a job, or for a build."""
    check_error(error)
    path = "/v2/functions/" if job is None else f"/v2/jobs/{job.id}"
    match error:
        case WaitTimeoutError():
            return _why_not_the_deadline(error, about, job)
        case JobFailedError() | JobCancelledError() | JobRestartedError():
            return None if job is None else _why_not_the_job(error, job)
        case DecodeError() if _is_unreadable_end(error, job):
            return None
        case APIError(status=status) if status < 500 and status not in {408, 429}:
            is_right = _is_refused(error, about, path)
        case RedirectError() | APIError(status=501):
            was_told = error.status in about.answers(path)
            is_right = was_told and (not about.seen or about.was_unreachable())
        case _:
            is_right = about.was_unreachable()
    return None if is_right else f"not a reason: {error!r}"


def _is_refused(error: APIError, about: Circumstances, path: str) -> bool:
    """Whether it was refused, and so again when it was asked whether that is so."""
    if isinstance(error, AuthenticationError):
        return about.answers("/v2/").count(401) >= (2 if about.seen else 1)
    needed = 3 if about.seen and isinstance(error, NotFoundError) else 1
    return about.answers(path).count(error.status) >= needed


def _is_unreadable_end(error: DecodeError, job: JobTruth | None) -> bool:
    """Whether it holds the end of the job, or of a build, of which something does not decode."""
    match error.payload:
        case {"id": str(found), "status": str(word)} if job is not None:
            return job.has_ended and (found, word) == (job.id, job.status)
        case {"build_status": "ready" | "error"}:
            return job is None
    return False


def _why_not_the_deadline(
    error: WaitTimeoutError, about: Circumstances, job: JobTruth | None
) -> Complaint:
    if about.timeout is None:
        return "there is no deadline"
    one_look = _ONE_WATCHED_LOOK if about.is_watch else _ONE_LOOK
    late = one_look if about.timeout == 0 else 0.1
    if about.busy:  # it is told when the caller comes back
        late = about.ended - about.started
    if not about.timeout - 1e-3 <= error.elapsed <= about.timeout + late:
        return f"it says that it took {error.elapsed}"
    if job is None or about.busy:  # nobody looks while the caller is busy
        return None
    if error.last is not None and (complaint := job.why_not_a_state(error.last)):
        return f"the last state was none: {complaint}"
    known = max(about.weather.fair_since, job.over_at or 0.0, about.started)
    if job.has_ended and about.timeout and known < about.started + about.timeout - _IN_TIME:
        return f"it has ended in time, at {job.over_at}"
    return None


def _why_not_the_job(
    error: JobFailedError | JobCancelledError | JobRestartedError, job: JobTruth
) -> Complaint:
    match error:
        case JobRestartedError():
            later = [run.id for run in job.runs[1:]]
            return None if error.run_id in later else f"it has restarted as {later}"
        case JobFailedError():
            return None if job.status == "error" else f"it is {job.status}"
        case _:
            return None if job.status == "cancelled" else f"it is {job.status}"


def first(complaints: Sequence[Complaint]) -> Complaint:
    """The first complaint that is one."""
    return next(filter(None, complaints), None)
