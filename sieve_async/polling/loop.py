"""The thin loop that drives a wait: it asks, sleeps and tells, and decides nothing."""

import inspect
import logging
from collections.abc import Callable
from typing import Any

import attrs

from sieve_async.errors import WaitTimeoutError
from sieve_async.gate import Gate
from sieve_async.messages import Model, shorten
from sieve_async.polling.following import Follower
from sieve_async.polling.machine import AskAgain, Ended, GaveUp, Step, TimedOut, Wait

logger = logging.getLogger("sieve_async")


@attrs.frozen
class Subject:
    """What a wait is for: a job, or a version as ``owner/name:slug``."""

    job_id: str | None = None
    function_version: str | None = None

    def __str__(self) -> str:
        if self.job_id is None:
            return f"version {self.function_version}"
        return f"job {self.job_id}"


class Poller:
    """Runs the single waits of one client.

    Attributes:
        going_on: How many waits go on now.
        clock: The time of the loop.

    Args:
        gate: Where to sleep, so that closing the client wakes the sleepers.
        clock: The time of the loop.
    """

    def __init__(self, gate: Gate, clock: Callable[[], float]) -> None:
        self.going_on = 0
        self._gate = gate
        self.clock = clock

    async def wait(
        self,
        follower: Follower[Model],
        subject: Subject,
        on_update: Callable[[Model], object] | None,
    ) -> Model:
        """Poll until the end and return how it ended.

        Raises:
            WaitTimeoutError: The deadline came first.
            SieveError: Going on is no use, or the terminal answer does not decode.
        """
        self.going_on += 1
        try:
            while True:
                step = await follower.look()
                if follower.wait.is_news:
                    await _show(follower, on_update)
                    step = follower.wait.reconsidered(step, self.clock())
                if not await self.goes_on(follower, step, subject):
                    return follower.whole()
        finally:
            self.going_on -= 1

    async def goes_on(self, follower: Follower[Model], step: Step, subject: Subject) -> bool:
        """Wait for the next look; False when there is none to come, for the wait has ended."""
        match step:
            case Ended():
                return False
            case GaveUp(error):
                raise error
            case AskAgain(at):
                warn(follower.wait, subject)
                await self._gate.sleep_until(at)
                return True
            case TimedOut(at):
                await self._gate.sleep_until(at)
        elapsed = self.clock() - follower.wait.started
        raise timed_out(follower, subject, elapsed)


def timed_out(follower: Follower[Any], subject: Subject, elapsed: float) -> WaitTimeoutError:
    """What to raise when the deadline came first: all that is known."""
    model, problem = follower.last()
    wait = follower.wait
    target = subject.job_id or subject.function_version or ""
    return WaitTimeoutError(target, model, wait.polls, elapsed, wait.last_error or problem)


async def _show(follower: Follower[Model], on_update: Callable[[Model], object] | None) -> None:
    """Tell the caller of a new state, if it wants to know; one that cannot be told stays new."""
    if on_update is None:
        return
    model, problem = follower.last()
    if model is None or problem is not None:
        follower.wait.forget()
        return
    told = on_update(model)
    if inspect.isawaitable(told):
        await told


def warn(wait: Wait, subject: Subject) -> None:
    """At most one line for each state of a wait: thousands of them may share one outage."""
    if wait.has_warned:
        return
    if wait.failures and wait.last_error is not None:
        wait.has_warned = True
        logger.warning("%s: a poll failed, going on: %s", subject, shorten(str(wait.last_error)))
    elif wait.status is not None and not wait.status.is_known:
        wait.has_warned = True
        logger.warning("%s: unknown status %a, going on", subject, shorten(wait.status))
