"""One call that watches many jobs: where their ids come from, and what is to be handed out."""

import asyncio
from collections import deque
from collections.abc import AsyncIterable, Iterable, Iterator, Sized
from typing import Protocol, TypeAlias

from sieve_async.errors import ClientClosedError, WaitTimeoutError
from sieve_async.models import JobStatus
from sieve_async.watching.outcome import JobOutcome, refusal
from sieve_async.watching.tasks import Tasks, start
from sieve_async.watching.watch import Pool, Watch

Source: TypeAlias = Iterable[object] | AsyncIterable[object]

# How many ids are taken before the loop may do something else.
_CHUNK = 100
# How many watches are ended before the loop may do something else.
_ENDING_CHUNK = 2000
# How long before the deadline, at the most, the last looks begin.
_LONGEST_LEAD = 5.0


class Watching(Protocol):
    """What a call needs of the watcher."""

    def watch(self, job_id: str, batch: "Batch", pool: Pool) -> Watch:
        """Watch a job for a call."""

    def hasten(self, pool: Pool, watches: Iterable[Watch]) -> None:
        """Look at these once more as soon as can be."""

    def lead(self, pool: Pool, looks: int) -> float:
        """How many seconds so many last looks may take."""

    def leave(self, batch: "Batch", watches: Iterable[Watch]) -> Tasks:
        """Watch these jobs no more for a call; returns the workers that are about to end."""

    def forget(self, batch: "Batch", pool: Pool) -> Tasks:
        """Take note that a call is over; returns what is about to end."""


class Batch:
    """One call.

    It takes ids from their source while there is room, has them watched, and keeps the outcomes
    until they are taken. Each id is watched and handed out once.

    Args:
        watcher: Who watches.
        pool: Those that are watched alike.
        source: Where the ids come from.
        most: How many jobs may be watched or kept at once.
        seconds: After how long it is over; None for no limit.
    """

    def __init__(
        self, watcher: Watching, pool: Pool, source: Source, *, most: int, seconds: float | None
    ) -> None:
        self.loop = asyncio.get_running_loop()
        self.as_askers = (self,)
        self._watcher = watcher
        self._pool = pool
        self._source = source
        self._most = most
        self._started = self._ended_at = self.loop.time()
        # Each id that was taken; those that have ended have no watch any more.
        self._watches: dict[str, Watch | None] = {}
        self._running = self._taken = self._handed_out = 0
        # A watch stands for an outcome that is made when it is taken: there may be 100,000.
        self._kept: deque[JobOutcome | Watch] = deque()
        self._rest: Iterator[object] | None = None
        self._is_fed = self._is_over = self._is_stopped = self._is_closed = False
        self._failure: BaseException | None = None
        self._has_news = asyncio.Event()
        self._has_room = asyncio.Event()
        self._feeder = start(self._feed())
        self._ender: asyncio.Task[None] | None = None
        self._deadline = None if seconds is None else self._started + seconds
        self._timer: asyncio.TimerHandle | None = None
        if self._deadline is not None and seconds is not None:
            soon = self._deadline - min(_LONGEST_LEAD, seconds / 2)
            self._timer = self.loop.call_at(soon, self._plan_last_looks, self._deadline)

    async def next(self) -> JobOutcome:
        """The next outcome, once there is one.

        Raises:
            StopAsyncIteration: There are no more.
            BaseException: What the source of the ids raised.
        """
        self._handed_out += 1
        if self._handed_out % _CHUNK == 0:
            await asyncio.sleep(0)
        while not (self._kept or self._keep_one_of_rest()):
            if self._is_fed and not self._running:
                if self._failure is None:
                    raise StopAsyncIteration
                failure, self._failure = self._failure, None
                raise failure
            self._has_news.clear()
            await self._has_news.wait()
        kept = self._kept.popleft()
        self._has_room.set()
        return kept if isinstance(kept, JobOutcome) else self._unfinished(kept.job_id, kept)

    def pending(self) -> list[tuple[str, JobStatus | None, float]]:
        """What is watched now: ids, statuses as last seen, and for how many seconds so far."""
        now = self.loop.time()
        return [
            (watch.job_id, watch.last_status(), now - watch.wait.changed_at)
            for watch in self._running_watches()
        ]

    def conclude(self, watch: Watch, outcome: JobOutcome) -> None:
        """Keep the outcome of a watch that has ended."""
        if self._is_stopped:
            return
        self._watches[watch.job_id] = None
        self._running -= 1
        self._keep(outcome)

    def end_all(self, *, is_closed: bool = False) -> Tasks:
        """End what runs: the deadline has come, or the client was closed.

        Returns the tasks that are about to end.
        """
        if self._is_over or self._is_stopped:
            return [] if self._ender is None or self._ender.done() else [self._ender]
        self._is_over, self._is_closed = True, is_closed
        self._ended_at = self.loop.time()
        ending = self._stop_feeding()
        running = self._running_watches()
        ending += self._end(running[:_ENDING_CHUNK])
        if len(running) > _ENDING_CHUNK:
            self._ender = start(self._end_in_chunks(running))
            ending.append(self._ender)
        return ending

    def fail(self, error: BaseException) -> None:
        """Stop watching, and raise this once what has ended is handed out."""
        kept = self._kept.copy()
        self.stop()
        self._kept, self._failure = kept, error

    def stop(self) -> Tasks:
        """Watch no more, and hand out nothing more; returns the tasks that are about to end."""
        if self._is_stopped:
            return []
        self._is_stopped = True
        ending = self._stop_feeding()
        if self._ender is not None and self._ender.cancel():
            ending.append(self._ender)
        watches = self._running_watches()
        self._running = 0
        self._watches.clear()
        self._kept.clear()
        self._has_news.set()
        if len(watches) > _ENDING_CHUNK:
            self._ender = start(self._leave_in_chunks(watches))
            return [*ending, self._ender]
        ending += self._watcher.leave(self, watches)
        return ending + self._watcher.forget(self, self._pool)

    def _plan_last_looks(self, deadline: float) -> None:
        """Have the last looks begin just so early that they can be back in time."""
        lead = self._watcher.lead(self._pool, self._running)
        when = max(self.loop.time(), deadline - lead)
        self._timer = self.loop.call_at(when, self._look_once_more, deadline)

    def _look_once_more(self, deadline: float) -> None:
        self._watcher.hasten(self._pool, self._running_watches())
        self._timer = self.loop.call_at(deadline, self._on_deadline)

    def _on_deadline(self) -> None:
        # One turn later: an answer that has arrived in this turn counts.
        self.loop.call_soon(self.end_all)

    def _end(self, watches: Iterable[Watch]) -> Tasks:
        ended = [watch for watch in watches if self in watch.askers]  # not ended meanwhile
        ending = self._watcher.leave(self, ended)
        for watch in ended:  # one that is watched on for others must not tell of what comes later
            is_settled = not watch.askers
            self._kept.append(watch if is_settled else self._unfinished(watch.job_id, watch))
        self._running -= len(ended)
        self._has_news.set()
        return ending

    async def _end_in_chunks(self, watches: list[Watch]) -> None:
        for first in range(_ENDING_CHUNK, len(watches), _ENDING_CHUNK):
            await asyncio.sleep(0)
            self._end(watches[first : first + _ENDING_CHUNK])

    async def _leave_in_chunks(self, watches: list[Watch]) -> None:
        ending: Tasks = []
        while watches:
            ending += self._watcher.leave(self, watches[-_ENDING_CHUNK:])
            del watches[-_ENDING_CHUNK:]
            await asyncio.sleep(0)
        ending += self._watcher.forget(self, self._pool)
        if ending:
            await asyncio.wait(ending)

    def _running_watches(self) -> list[Watch]:
        watches = self._watches.values()
        return [watch for watch in watches if watch is not None and self in watch.askers]

    def _stop_feeding(self) -> Tasks:
        if self._timer is not None:
            self._timer.cancel()
        if self._is_fed:
            return []
        self._is_fed = True
        self._feeder.cancel()
        return [self._feeder]

    async def _feed(self) -> None:
        try:
            if isinstance(self._source, AsyncIterable):
                async for job_id in self._source:
                    await self._take(job_id)
            else:
                self._rest = iter(self._source)
                for job_id in self._rest:
                    await self._take(job_id)
        except asyncio.CancelledError as error:
            if self._is_fed:
                raise  # it is we who stop it
            self._fail_to_feed(error)
        except BaseException as error:
            self._fail_to_feed(error)  # whatever it is, it is the caller's
            if isinstance(error, (KeyboardInterrupt, SystemExit)):
                raise
        self._is_fed = True
        self._has_news.set()

    def _fail_to_feed(self, error: BaseException) -> None:
        if self._is_fed:  # its clean-up failed, after all was over
            self._failure = error
            return
        self._is_fed = True
        self.fail(error)

    async def _take(self, job_id: object) -> None:
        """Have one more id watched; returns when there is room for the next."""
        if self._is_fed:
            raise asyncio.CancelledError  # the source has swallowed the one that came before
        self._taken += 1
        if not self._is_known(job_id):
            if (refused := refusal(job_id)) is not None:
                self._keep(refused)
            else:
                self._running += 1
                self._watches[str(job_id)] = self._watcher.watch(str(job_id), self, self._pool)
        if self._taken % _CHUNK == 0:
            await asyncio.sleep(0)
        while self._running + len(self._kept) >= self._most:
            self._has_room.clear()
            await self._has_room.wait()

    def _keep_one_of_rest(self) -> bool:
        """Keep an outcome for an id that nobody had the time to take from a source of known size.

        One that might have no end is left alone.
        """
        if not self._is_over or self._is_stopped or not isinstance(self._source, Sized):
            return False
        if self._rest is None:
            self._rest = iter(self._source) if isinstance(self._source, Iterable) else iter(())
        for job_id in self._rest:
            if not self._is_known(job_id):
                self._kept.append(refusal(job_id) or self._unfinished(str(job_id), None))
                return True
        return False

    def _is_known(self, job_id: object) -> bool:
        """Whether an id was taken before; what is no text is never the same as another."""
        if not isinstance(job_id, str):
            return False
        is_known = job_id in self._watches
        self._watches.setdefault(job_id)
        return is_known

    def _unfinished(self, job_id: str, watch: Watch | None) -> JobOutcome:
        """The outcome of a job that was running when all ended."""
        if self._is_closed:
            error = ClientClosedError("the client was closed while waiting")
            return JobOutcome(job_id, None, error)
        elapsed = self._ended_at - self._started
        if watch is not None:
            return watch.timed_out(elapsed)
        return JobOutcome(job_id, None, WaitTimeoutError(job_id, None, 0, elapsed))

    def _keep(self, outcome: JobOutcome) -> None:
        self._kept.append(outcome)
        self._has_news.set()
