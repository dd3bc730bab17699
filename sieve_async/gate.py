"""Who may send now: slots, and what a ``Retry-After`` holds back.

At most so many requests are in flight; the others queue, first come first served. When the server
asks for a pause, the whole client pauses. Then one request goes first, and the others follow spread
out: let go together, they would be the next overload.
"""

import asyncio
import random
from collections import deque
from collections.abc import Callable

import attrs

from sieve_async.errors import APIError, ClientClosedError

# A pause that the server asks for is honoured up to here; a longer one is taken for a mistake.
LONGEST_HOLD = 3600.0
# How long the others wait for the answer to the request that goes first after a pause.
_HEAD_START = 1.0
_SPREAD = 0.25  # of the pause, at the least
_NO_INTERVAL = 0.001

Ticket = int


@attrs.define(eq=False)
class _Waiter:
    """Someone in the queue, with the longest pause that is worth waiting for."""

    answer: "asyncio.Future[Ticket | None]"
    patience: float | None

    def settle(self, ticket: Ticket | None) -> None:
        _settle(self.answer, ticket)


class Gate:
    """Hands out slots; one for each client.

    Args:
        slots: How many requests may be in flight at once.
        steady_rate: Requests per second at which those held back are let go; None for no limit.
        clock: The time of the loop, in seconds.
    """

    def __init__(
        self, *, slots: int, steady_rate: float | None, clock: Callable[[], float]
    ) -> None:
        self.in_flight = 0
        self._slots = slots
        self._steady_rate = steady_rate
        self._clock = clock
        self._queue: deque[_Waiter] = deque()
        self._sleepers: set[asyncio.Future[Ticket | None]] = set()
        self._last_ticket: Ticket = 0
        self._closed = False
        # While the server's pause and what follows it last:
        self._recovering = False
        self._pause = 0.0
        self._pause_ends = 0.0
        self._reason: APIError | None = None
        self._probe: Ticket | None = None
        self._probe_is_due = False
        self._interval = 0.0
        self._spread_ends = 0.0
        self._next_at = 0.0
        self._timer: asyncio.TimerHandle | None = None

    @property
    def queued(self) -> int:
        """How many requests wait for a slot."""
        return sum(not waiter.answer.done() for waiter in self._queue)

    @property
    def is_full(self) -> bool:
        """Whether who comes now would wait for a slot."""
        return self.in_flight >= self._slots or bool(self._queue)

    @property
    def admitted(self) -> int:
        """How many were let in so far."""
        return self._last_ticket

    @property
    def next_place(self) -> int:
        """When so many were let in, who comes now is among them."""
        return self._last_ticket + len(self._queue) + 1

    def held(self) -> tuple[float, APIError | None]:
        """Seconds that the server's pause still lasts, and the answer that asked for it."""
        return max(0.0, self._pause_ends - self._clock()), self._reason

    def holds_back(self) -> bool:
        """Whether who comes now would wait behind others for the end of the server's pause."""
        if not self._recovering:
            return False
        if self._queue or self._clock() < self._pause_ends:
            return True
        return self._probe is not None and self._clock() < self._next_at

    def enter_at_once(self) -> Ticket | None:
        """Take a slot if one is free; None when it must be waited for.

        Raises:
            ClientClosedError: The gate was closed before.
        """
        if self._closed:
            raise ClientClosedError
        if self.in_flight < self._slots and not self._queue and not self._recovering:
            return self._admit()
        return None

    async def enter(
        self, *, deadline: float | None = None, patience: float | None = None
    ) -> Ticket | None:
        """Take a slot, waiting for it if need be.

        Args:
            deadline: The time of the loop until which to wait; None for no limit.
            patience: The longest pause of the server to wait for, in seconds; None for no limit.

        Returns:
            A ticket to ``leave`` with; None when the deadline came or the pause was too long.

        Raises:
            ClientClosedError: The gate was closed before or while waiting.
        """
        ticket = self.enter_at_once()
        if ticket is not None:
            return ticket
        if patience is not None and self.held()[0] > patience:
            return None
        return await self._wait(deadline, patience)

    async def _wait(self, deadline: float | None, patience: float | None) -> Ticket | None:
        loop = asyncio.get_running_loop()
        waiter = _Waiter(loop.create_future(), patience)
        timer = None if deadline is None else loop.call_at(deadline, waiter.settle, None)
        self._queue.append(waiter)
        self._dispatch()
        try:
            ticket = await waiter.answer
        except asyncio.CancelledError:
            if not waiter.answer.cancelled() and (granted := waiter.answer.result()) is not None:
                self.leave(granted)  # the slot came in the same turn as the cancellation
            raise
        finally:
            if timer is not None:
                timer.cancel()
        if self._closed:
            if ticket is not None:
                self.leave(ticket)
            raise ClientClosedError
        return ticket

    def leave(self, ticket: Ticket) -> None:
        """Give a slot back."""
        self.in_flight -= 1
        if ticket == self._probe:
            self._probe = None
            if not self._probe_is_due:  # it was not told to wait once more
                self._spread()
        if self._queue:
            self._dispatch()

    def hold(self, seconds: float, reason: APIError) -> None:
        """Let nobody send for so long, because the server asked for it."""
        now = self._clock()
        pause = min(seconds, LONGEST_HOLD)
        if now + pause <= self._pause_ends:
            return
        self._recovering = self._probe_is_due = True
        self._pause, self._pause_ends, self._reason = pause, now + pause, reason
        self._next_at = self._pause_ends
        self._interval = 0.0
        for waiter in self._queue:
            if waiter.patience is not None and pause > waiter.patience:
                waiter.settle(None)
        self._wake_at_next()

    async def sleep_until(self, when: float) -> None:
        """Sleep without a slot.

        Raises:
            ClientClosedError: The gate was closed before or meanwhile.
        """
        if self._closed:
            raise ClientClosedError
        loop = asyncio.get_running_loop()
        sleeper: asyncio.Future[Ticket | None] = loop.create_future()
        timer = loop.call_at(when, _settle, sleeper, None)
        self._sleepers.add(sleeper)
        try:
            await sleeper
        finally:
            timer.cancel()
            self._sleepers.discard(sleeper)
        if self._closed:
            raise ClientClosedError

    def close(self) -> None:
        """Send everybody away who waits for a slot or sleeps."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for waiter in self._queue:
            waiter.settle(None)
        for sleeper in self._sleepers:
            _settle(sleeper, None)
        self._queue.clear()

    def _admit(self) -> Ticket:
        self.in_flight += 1
        self._last_ticket += 1
        return self._last_ticket

    def _dispatch(self) -> None:
        while self._queue and self.in_flight < self._slots:
            if self._queue[0].answer.done():  # cancelled, or its deadline came
                self._queue.popleft()
            elif self._recovering and self._clock() < self._next_at:
                self._wake_at_next()
                return
            else:
                ticket = self._admit()
                self._queue.popleft().settle(ticket)
                if self._recovering:
                    self._pace(ticket)

    def _pace(self, ticket: Ticket) -> None:
        """Say when the next request may follow the one that was just let go."""
        now = self._clock()
        if self._probe_is_due:
            self._probe_is_due = False
            self._probe = ticket
            self._next_at = now + _HEAD_START
        elif self._interval == 0.0:  # the probe has not come back within its head start
            self._spread()
        elif now >= self._spread_ends and self._has_caught_up():
            self._recovering = False
        else:
            self._go_on_spreading(now)

    def _has_caught_up(self) -> bool:
        """Whether it is the slots that who waits now waits for."""
        return self.queued <= self._slots or self._interval < _NO_INTERVAL

    def _go_on_spreading(self, now: float) -> None:
        """Let the next one go after a while: half of it if more have come than were let go."""
        if now >= self._spread_ends:
            self._interval /= 2
            self._spread_ends = now + self._interval * self.queued
        self._next_at = now + self._interval * random.uniform(0.5, 1.5)

    def _spread(self) -> None:
        waiting = max(1, self.queued)
        window = self._pause * _SPREAD
        if self._steady_rate is not None:
            window = max(window, waiting / self._steady_rate)
        now = self._clock()
        self._interval = window / waiting
        self._spread_ends = now + window
        self._next_at = now + self._interval * random.uniform(0, 1)
        self._wake_at_next()

    def _wake_at_next(self) -> None:
        if self._closed:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._timer = asyncio.get_running_loop().call_at(self._next_at, self._on_timer)

    def _on_timer(self) -> None:
        # The timer decides that it is time, not the clock: a loop may fire a little early, and to
        # set the timer again for the rest would be a loop of its own.
        self._next_at = min(self._next_at, self._clock())
        self._dispatch()


def _settle(future: "asyncio.Future[Ticket | None]", ticket: Ticket | None) -> None:
    if not (future.done() or future.get_loop().is_closed()):
        future.set_result(ticket)
