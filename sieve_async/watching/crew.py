"""Who looks: a few workers that take one job after the other from the agenda, at one pace."""

import asyncio
from collections.abc import Callable

from sieve_async.gate import Gate
from sieve_async.polling import Step
from sieve_async.watching.agenda import Agenda
from sieve_async.watching.pace import Pace
from sieve_async.watching.tasks import Tasks, start
from sieve_async.watching.watch import Watch

# While the server's pause holds everybody back, nobody joins the queue; looked at this often
# once it is over.
_HELD_BACK = 0.05
_LONGEST_QUEUEING = 1.0
# A look that takes longer was held by the server, and says nothing of how fast it is.
_LONG = 5.0


class Crew:
    """The workers of one client; a worker that finds nothing due ends.

    Attributes:
        took: Seconds that a look takes, of late.

    Args:
        agenda: What is due when.
        pace: How many looks may begin in a second.
        gate: Whether the server has asked for a pause.
        most: How many looks may go on at once.
        clock: The time of the loop.
        settle: Takes in what a look has shown.
        fail: Takes in what must not be kept from anybody.
    """

    def __init__(
        self,
        agenda: Agenda,
        pace: Pace,
        gate: Gate,
        *,
        most: int,
        clock: Callable[[], float],
        settle: Callable[[Watch, Step], None],
        fail: Callable[[BaseException], None],
    ) -> None:
        self.took = 0.0
        self._agenda = agenda
        self._pace = pace
        self._gate = gate
        self._most = most
        self._clock = clock
        self._settle = settle
        self._fail = fail
        self._workers: dict[asyncio.Task[None], Watch] = {}
        self._looking: dict[Watch, asyncio.Task[None]] = {}
        self._timer: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._free_at = float("-inf")

    def dispatch(self) -> None:
        """Begin with what is due, and be woken for what will be."""
        self._dispatch(self._clock())

    def interrupt(self, watch: Watch) -> Tasks:
        """End the look at a job that is watched no more; returns the worker, if there is one."""
        worker = self._looking.get(watch)
        if worker is None:
            return []
        worker.cancel()
        return [worker]

    def close(self) -> None:
        """Begin nothing more."""
        self._is_closed = True
        if self._timer is not None:
            self._timer.cancel()

    def lead(self, looks: int) -> float:
        """How many seconds so many looks may take, all told."""
        rounds = -(-looks // self._most)
        paced = 0.0 if self._pace.per_second is None else looks / self._pace.per_second
        return max(0.1, 1.5 * self.took * rounds, paced)

    def _dispatch(self, now: float) -> None:
        while len(self._workers) < self._most:
            watch = self._take(now)
            if watch is None:
                self._set_timer()
                return
            worker = start(self._work(watch))
            self._begin(worker, watch)
            worker.add_done_callback(self._end)

    def _take(self, now: float) -> Watch | None:
        """The job whose turn it is; None when none is due yet, or must not be looked at yet."""
        due = self._agenda.next_due()
        if due is None or self._is_closed or max(due, self._pace.next_at) > now:
            return None
        if self._must_wait(now):
            return None
        self._pace.reserve(now)
        self._free_at = now
        return self._agenda.take()

    def _must_wait(self, now: float) -> bool:
        """Whether a look would only queue, and then leave with others in a burst."""
        if self._gate.holds_back():
            return True
        if self._pace.per_second is None or not self._gate.is_full:
            return False
        # But one may queue now and then: others than we could take all slots for ever.
        return now - self._free_at < _LONGEST_QUEUEING

    def _set_timer(self) -> None:
        due = self._agenda.next_due()
        if due is None or self._is_closed:
            return
        when = max(due, self._pace.next_at)
        if self._must_wait(now := self._clock()):
            when = max(when, now + max(_HELD_BACK, self._gate.held()[0]))
        if self._timer is not None:
            if self._timer.when() <= when:
                return
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(when, self._on_timer, when)

    def _on_timer(self, when: float) -> None:
        # The timer decides that it is time, not the clock: a loop may fire a little early.
        self._timer = None
        self._dispatch(max(when, self._clock()))

    async def _work(self, watch: Watch) -> None:
        worker = self._looking[watch]
        next_one: Watch | None = watch
        while next_one is not None:
            await self._look(next_one)
            self._looking.pop(next_one, None)
            next_one = self._take(self._clock())
            if next_one is not None:
                self._begin(worker, next_one)

    async def _look(self, watch: Watch) -> None:
        began = self._clock()
        try:
            step = await watch.look()
        except Exception as error:  # noqa: BLE001 - a mistake of ours: told, and nobody waits on
            self._fail(error)
            return
        self._looking.pop(watch, None)
        took = self._clock() - began
        if took < _LONG:
            self.took += 0.1 * (took - self.took)
        self._agenda.settle(watch)
        if watch.askers:
            self._settle(watch, step)

    def _begin(self, worker: asyncio.Task[None], watch: Watch) -> None:
        self._workers[worker] = watch
        self._looking[watch] = worker

    def _end(self, worker: asyncio.Task[None]) -> None:
        """A worker has ended, be it before its first step."""
        watch = self._workers.pop(worker)
        if self._looking.get(watch) is worker:
            del self._looking[watch]
            self._agenda.settle(watch)
        if worker.cancelled() and watch.askers:
            # Not we have stopped it, but whoever ends the whole program.
            self._fail(asyncio.CancelledError())
        self.dispatch()
