"""Checks whether an error is a correct end of a call: each class has its own reasons."""

from collections.abc import Sequence

import attrs

from helpers.leak_checks import check_error
from sieve_async import Job, errors
from sieve_async.testing import FakeSieve
from stateful.fault_plan import FaultPlan
from stateful.model import JobModel, Problem

# Seconds without a valid response after which a wait gives up.
OUTAGE_TIMEOUT = 300.0
# Statuses that end a wait after confirmation.
_REJECTIONS = {400, 401, 402, 403, 404, 406, 409, 410, 422}
# A job that became terminal so many seconds before the deadline must have been seen.
_BEFORE_DEADLINE, _BEFORE_DEADLINE_OF_WATCH = 1.0, 6.0
# The longest single poll without a deadline of its own.
_ONE_POLL = 31.0
# The same in a watch, which waits for the end of a pause.
_ONE_POLL_OF_WATCH = 31.0 + 1.5 * 700.0
# A watch may be answered by a poll of an earlier watch of the same job.
_SHARED_POLL = 60.0
# The longest time between two valid responses of a healthy server. The list strategy polls a job
# that is listed as running less often.
_POLL_GAP, _POLL_GAP_OF_WATCH = 13.0, 150.0


@attrs.frozen
class CallContext:
    """What happened during one call."""

    sieve: FakeSieve
    plan: FaultPlan
    started: float
    ended: float
    timeout: float | None
    updates: int | None = None  # reported states; None if the call reports none
    busy: float = 0.0
    is_watch: bool = False  # it may share polls with earlier watches

    def statuses(self, *paths: str) -> list[int]:
        """The statuses of the responses to these paths during the call."""
        return [
            entry.status
            for entry in self.sieve.requests
            if entry.at >= self.started - _SHARED_POLL and entry.path.startswith(paths)
        ]

    def was_outage(self) -> bool:
        """Whether there can have been no valid response for the outage timeout."""
        began = 0.0 if self.is_watch else self.started
        gap = max(_POLL_GAP_OF_WATCH, 0.15 * self.ended) if self.is_watch else _POLL_GAP
        return any(
            min(until, self.ended) - max(since - gap, began) >= OUTAGE_TIMEOUT - 1e-3
            for since, until in self.plan.unhealthy
        )


def problem_with_error(
    error: errors.SieveError, call: CallContext, job: JobModel | None
) -> Problem:
    """Why an error can not be the end of the wait for a job, or for a build if there is no job."""
    check_error(error)
    path = "/v2/functions/" if job is None else f"/v2/jobs/{job.id}"
    match error:
        case errors.WaitTimeoutError():
            return _problem_with_timeout(error, call, job)
        case errors.JobFailedError() | errors.JobCancelledError() | errors.JobRestartedError():
            return None if job is None else _problem_with_job_error(error, job)
        case errors.APIError(status=status) if status in _REJECTIONS:
            is_right = _is_rejected(error, call, path)
        case errors.RedirectError() | errors.APIError(status=501):
            is_right = error.status in call.statuses(path)
        case _:
            is_right = call.was_outage()
    return None if is_right else f"no reason for {error!r}"


def _is_rejected(error: errors.APIError, call: CallContext, path: str) -> bool:
    """Whether the error was received, and confirmed twice after a good response."""
    statuses = call.statuses(path)
    rejections = [status for status in statuses if status in _REJECTIONS]
    return error.status in statuses and len(rejections) >= (3 if call.updates else 1)


def _problem_with_timeout(
    error: errors.WaitTimeoutError, call: CallContext, job: JobModel | None
) -> Problem:
    if call.timeout is None:
        return "there is no deadline"
    one_poll = _ONE_POLL_OF_WATCH if call.is_watch else _ONE_POLL
    late = one_poll if call.timeout == 0 else 0.1
    if call.busy:  # the error is raised when the caller comes back
        late = call.ended - call.started
    if not call.timeout - 1e-3 <= error.elapsed <= call.timeout + late:
        return f"elapsed is {error.elapsed}"
    if job is None or call.busy:  # there are no polls while the caller is busy
        return None
    if isinstance(error.last, Job) and (problem := job.problem_with_state(error.last)):
        return f"wrong last state: {problem}"
    before = _BEFORE_DEADLINE_OF_WATCH if call.is_watch else _BEFORE_DEADLINE
    known = max(call.plan.healthy_since, job.over_at or 0.0, call.started)
    if job.is_terminal and call.timeout and known < call.started + call.timeout - before:
        return f"the job was terminal in time, at {job.over_at}"
    return None


def _problem_with_job_error(
    error: errors.JobFailedError | errors.JobCancelledError | errors.JobRestartedError,
    job: JobModel,
) -> Problem:
    match error:
        case errors.JobRestartedError():
            later = [run.id for run in job.runs[1:]]
            return None if error.run_id in later else f"it has restarted as {later}"
        case errors.JobFailedError():
            return None if job.status == "error" else f"it is {job.status}"
        case _:
            return None if job.status == "cancelled" else f"it is {job.status}"


def first(problems: Sequence[Problem]) -> Problem:
    """The first problem, if there is one."""
    return next(filter(None, problems), None)
