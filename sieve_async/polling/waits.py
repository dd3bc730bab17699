"""Single waits: poll, report, sleep, until `PollState` says how it ended."""

import asyncio
import inspect
import logging
from collections.abc import Callable
from typing import Any

from sieve_async.background import loop_time
from sieve_async.limiter import RequestLimiter
from sieve_async.messages import Model, shorten
from sieve_async.observer import FinishedWait, WaitObserver
from sieve_async.polling.poller import JobPoller, Poller
from sieve_async.polling.state import Decision, Done, Failed, PollAt

logger = logging.getLogger("sieve_async")


class SingleWaits:
    """The single waits and output streams of one client.

    Args:
        limiter: Where they sleep, so that closing the client wakes them.
    """

    def __init__(self, limiter: RequestLimiter) -> None:
        self.limiter = limiter
        self.active: set[SingleWait] = set()
        self.observer: WaitObserver | None = None

    async def run(
        self, poller: Poller[Model], on_update: Callable[[Model], object] | None
    ) -> Model:
        """Poll until the end and return the terminal state.

        Raises:
            WaitTimeoutError: The deadline came first.
            SieveError: The wait failed.
        """
        wait = SingleWait(self, poller)
        failure: BaseException | None = None
        try:
            while True:
                decision = await wait.poll()
                if on_update is not None and poller.state.has_changed:
                    await notify(on_update, poller.result())
                    decision = poller.state.recheck_deadline(decision, loop_time())
                if not await wait.advance(decision):
                    return poller.result()
        except BaseException as error:
            failure = error
            raise
        finally:
            wait.end()
            if self.observer is not None:
                self._report(self.observer, poller, failure)

    def _report(
        self, observer: WaitObserver, poller: Poller[Any], failure: BaseException | None
    ) -> None:
        state = poller.state
        finished = FinishedWait(
            target=poller.target,
            last=poller.last(),
            error=failure,
            polls=state.polls,
            elapsed=loop_time() - state.started,
        )
        observer.on_wait(finished)

    def nudge(self, job_id: str) -> bool:
        """Poll a job now; whether anything here waits for it."""
        waits = [wait for wait in self.active if wait.poller.target == job_id]
        for wait in waits:
            wait.nudge()
        return bool(waits)


class SingleWait:
    """One wait, from its first poll to its end."""

    def __init__(self, waits: SingleWaits, poller: Poller[Any]) -> None:
        self.poller = poller
        self._waits = waits
        self._sleeper: asyncio.Future[bool] | None = None
        self._is_nudged = False
        self._warned: set[str | None] = set()  # statuses with a warning
        waits.active.add(self)

    def end(self) -> None:
        """Count it no longer."""
        self._waits.active.discard(self)

    async def poll(self) -> Decision:
        """Poll once; the answer says how to continue."""
        self._is_nudged = False
        observer = self._waits.observer
        if observer is None:
            return await self.poller.poll()
        with observer.polling():
            return await self.poller.poll()

    async def advance(self, decision: Decision) -> bool:
        """Sleep until the next poll; False when there is none, since the wait is done.

        Raises:
            WaitTimeoutError: The deadline has come.
            SieveError: The wait failed.
        """
        match decision:
            case Done():
                return False
            case Failed(error):
                raise error
            case PollAt(at):
                self._log()
                await self._sleep_until(at)
                return True
        await self._waits.limiter.sleep_until(decision.at)
        raise self.poller.timeout_error(loop_time() - self.poller.state.started)

    def nudge(self) -> None:
        """Poll now, and with short intervals from now on."""
        self.poller.state.restart_interval(loop_time())
        self._is_nudged = True
        if self._sleeper is not None and not self._sleeper.done():
            self._sleeper.set_result(True)
        elif isinstance(self.poller, JobPoller):
            self.poller.give_up_hold()

    def _log(self) -> None:
        """Log a failed poll or an unknown word, as a warning once for each status."""
        target, state = self.poller.target, self.poller.state
        subject = f"{'version' if '/' in target else 'job'} {target}"
        has_warned = state.status in self._warned
        if state.failures and state.last_error is not None:
            level = logging.DEBUG if has_warned else logging.WARNING
            reason = shorten(str(state.last_error))
            logger.log(level, "%s: poll failed, retrying: %s", subject, reason)
        elif state.status is None or state.status.is_known or has_warned:
            return
        else:
            logger.warning("%s: unknown status %a, polling on", subject, shorten(state.status))
        self._warned.add(state.status)

    async def _sleep_until(self, when: float) -> None:
        if self._is_nudged:
            when = loop_time()
        self._sleeper = asyncio.get_running_loop().create_future()
        try:
            await self._waits.limiter.sleep_until(when, self._sleeper)
        finally:
            self._sleeper = None


async def notify(on_update: Callable[[Model], object], model: Model) -> None:
    """Call a caller's function or coroutine function with a new state."""
    result = on_update(model)
    if inspect.isawaitable(result):
        await result
