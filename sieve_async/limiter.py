"""Client-wide request limiter: concurrency slots, the poll rate and Retry-After pauses."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from operator import attrgetter

import attrs

from sieve_async.background import Alarm, Background, loop_time
from sieve_async.errors import APIError, ClientClosedError
from sieve_async.messages import shorten

logger = logging.getLogger("sieve_async")

# A longer Retry-After is taken for a mistake.
MAX_PAUSE = 3600.0
# Requests a second that leave after a pause when no poll rate is set.
_RATE_AFTER_PAUSE = 100.0
# Intervals are longer than the rate asks for, and a late turn moves those behind it, except for
# this many seconds: the timer's own delay costs no rate, and no second holds more than the rate.
_MARGIN = 1.02
_MAX_LAG = 0.015


@attrs.define(eq=False)
class _Waiter:
    """A request in the queue.

    Attributes:
        result: True for a slot, False when none came in time.
        on_turn: Called instead with the slot; returns whether it uses it.
        latest: No pause that ends later is waited for; None for no limit.
        order: Its place in the order of arrival.
        is_paced: Whether it needs a turn in the rate besides a slot.
    """

    result: "asyncio.Future[bool] | None" = None
    on_turn: Callable[[], bool] | None = None
    latest: float | None = None
    order: int = 0
    is_paced: bool = False

    @property
    def is_done(self) -> bool:
        return self.result is not None and self.result.done()


class RequestLimiter:
    """Hands out slots; one for each client.

    Slots go first come, first served; when all are taken, plain calls and polls take turns. All
    polls share one rate, evenly spaced; a poll whose turn has not come lets plain calls pass.

    Attributes:
        in_flight: How many slots are taken.
        pause_reason: The answer that asked for the last pause.
        on_pause: Called when a pause has begun, or has become longer.

    Args:
        slots: How many requests may be in flight at once.
        polls_per_second: The rate of all polls together; None for no limit.
        background: Runs the timers.
    """

    def __init__(
        self,
        *,
        slots: int,
        polls_per_second: float | None,
        background: Background,
    ) -> None:
        self.in_flight = 0
        self.pause_reason: APIError | None = None
        self.on_pause: Callable[[], object] = lambda: None
        self._slots = slots
        self._has_rate = polls_per_second is not None
        self._interval = _MARGIN / (polls_per_second or _RATE_AFTER_PAUSE)
        self._alarm = Alarm(background, self._dispatch)
        self._calls: deque[_Waiter] = deque()
        self._polls: deque[_Waiter] = deque()  # and the plain calls that were queued in a pause
        self._arrivals = 0
        self._was_poll = False
        self._next_turn_at = self._pause_ends = float("-inf")
        self._sleepers: set[asyncio.Future[bool]] = set()
        self._closed = self._is_dispatching = False

    @property
    def queued(self) -> int:
        """How many requests wait for a slot or their turn."""
        return sum(not waiter.is_done for queue in (self._calls, self._polls) for waiter in queue)

    def pause_remaining(self) -> float:
        """Seconds until the pause that the server asked for is over."""
        return max(0.0, self._pause_ends - loop_time())

    def acquire_nowait(self, *, poll: bool) -> bool:
        """Take a slot if one is to be had at once.

        Raises:
            ClientClosedError: The limiter was closed.
        """
        if self._closed:
            raise ClientClosedError
        now = loop_time()
        if self.in_flight >= self._slots or now < self._pause_ends:
            return False
        if self._polls if poll else self._calls:
            return False
        if poll and self._has_rate:
            if now < self._next_turn_at:
                return False
            self._take_turn(now)
        self.in_flight += 1
        return True

    async def acquire(
        self, *, poll: bool, deadline: float | None = None, max_pause: float | None = None
    ) -> bool:
        """Take a slot, waiting for it if need be.

        Args:
            poll: Whether the request is a poll, and so needs a turn in the rate.
            deadline: The time of the loop until which to wait; None for no limit.
            max_pause: How long to wait because of a pause, in seconds; None for no limit.

        Returns:
            Whether there is a slot; False when the deadline came or the pause is too long.

        Raises:
            ClientClosedError: The limiter was closed before or meanwhile.
        """
        if self.acquire_nowait(poll=poll):
            return True
        now = loop_time()
        latest = None if max_pause is None else now + max_pause
        if latest is not None and self._pause_ends > latest:
            return False
        loop = asyncio.get_running_loop()
        result: asyncio.Future[bool] = loop.create_future()
        waiter = self._enqueue(_Waiter(result, latest=latest), poll=poll)
        timers = []
        if deadline is not None:
            timers.append(loop.call_at(deadline, _refuse, result))
        if latest is not None and not poll:  # a poll may have to wait for its turn in any case
            timers.append(loop.call_at(latest, self._refuse_paced, waiter))
        self._dispatch()
        is_used = False
        try:
            await result
            if self._closed:
                raise ClientClosedError
            is_used = _is_granted(result)
        finally:
            for timer in timers:
                timer.cancel()
            if not is_used and _is_granted(result):
                self.release()  # for instance, it came in the same turn as a cancellation
        return is_used

    def queue_turn(self, on_turn: Callable[[], bool]) -> None:
        """Queue for a poll; the callback gets the slot, and returns whether it uses it."""
        self._enqueue(_Waiter(on_turn=on_turn), poll=True)
        self._dispatch()

    def reserve_turn(self) -> float:
        """Take the next turn in the rate for a poll that has a slot; returns when it is."""
        now = loop_time()
        if not self._has_rate:
            return now
        turn = max(now, self._next_turn_at)
        self._take_turn(turn)
        return turn

    def drop_turns(self) -> None:
        """Call back none of those that queue for a turn."""
        self._polls = deque(waiter for waiter in self._polls if waiter.on_turn is None)

    def release(self) -> None:
        """Give a slot back."""
        self.in_flight -= 1
        if self._calls or self._polls:
            self._dispatch()

    def pause(self, seconds: float, reason: APIError) -> None:
        """Send nothing for so long, because the server asked for it.

        What is queued by its end leaves evenly, in order of arrival.
        """
        now = loop_time()
        ends = now + min(seconds, MAX_PAUSE)
        if ends <= self._pause_ends:
            return
        logger.info("client pauses for %.1f s: %s", ends - now, shorten(str(reason)))
        self._pause_ends, self.pause_reason = ends, reason
        self._next_turn_at = max(self._next_turn_at, ends)
        self._polls = deque(sorted((*self._calls, *self._polls), key=attrgetter("order")))
        self._calls.clear()
        for waiter in self._polls:
            waiter.is_paced = True
            if waiter.latest is not None and ends > waiter.latest and waiter.result is not None:
                _refuse(waiter.result)
        self._alarm.set(ends)
        self.on_pause()

    async def sleep_until(self, when: float, sleeper: "asyncio.Future[bool] | None" = None) -> None:
        """Sleep without a slot, until the time of the loop or until the sleeper is settled.

        Raises:
            ClientClosedError: The limiter was closed before or meanwhile.
        """
        if self._closed:
            raise ClientClosedError
        loop = asyncio.get_running_loop()
        sleeper = sleeper or loop.create_future()
        timer = loop.call_at(when, _wake, sleeper)
        self._sleepers.add(sleeper)
        try:
            await sleeper
        finally:
            timer.cancel()
            self._sleepers.discard(sleeper)
        if self._closed:
            raise ClientClosedError

    def close(self) -> None:
        """Wake all that wait here; they raise ``ClientClosedError``."""
        self._closed = True
        self._alarm.turn_off()
        for future in self._waiting():
            _refuse(future)
        self._calls.clear()
        self._polls.clear()

    def fail(self, error: BaseException) -> None:
        """Raise an exception in all callers that wait here."""
        for future in self._waiting():
            if not future.done():
                future.set_exception(error)

    def _waiting(self) -> "list[asyncio.Future[bool]]":
        queued = (waiter.result for queue in (self._calls, self._polls) for waiter in queue)
        return [*self._sleepers, *(future for future in queued if future is not None)]

    def _enqueue(self, waiter: _Waiter, *, poll: bool) -> _Waiter:
        self._arrivals += 1
        waiter.order = self._arrivals
        is_paused = loop_time() < self._pause_ends
        waiter.is_paced = is_paused or (poll and self._has_rate)
        (self._polls if poll or is_paused else self._calls).append(waiter)
        return waiter

    def _refuse_paced(self, waiter: _Waiter) -> None:
        if waiter.is_paced and waiter.result is not None:
            _refuse(waiter.result)

    def _take_turn(self, now: float) -> None:
        lag = min(_MAX_LAG, self._interval / 2)
        self._next_turn_at = max(self._next_turn_at, now - lag) + self._interval

    def _dispatch(self, now: float | None = None) -> None:
        if self._closed or self._is_dispatching:  # a callback has queued anew: the loop sees it
            return
        self._is_dispatching = True
        try:
            self._hand_out(loop_time() if now is None else now)
        finally:
            self._is_dispatching = False

    def _hand_out(self, now: float) -> None:
        if now < self._pause_ends:
            self._alarm.set(self._pause_ends)
            return
        while self.in_flight < self._slots:
            call, poll = _first(self._calls), _first(self._polls)
            if poll is not None and poll.is_paced and now < self._next_turn_at:
                self._alarm.set(self._next_turn_at)
                poll = None
            self._was_poll = poll is not None and (call is None or not self._was_poll)
            if self._was_poll:
                self._grant(self._polls.popleft(), now)
            elif call is not None:
                self._grant(self._calls.popleft(), now)
            else:
                return

    def _grant(self, waiter: _Waiter, now: float) -> None:
        turn_before = self._next_turn_at
        if waiter.is_paced:
            self._take_turn(now)
        self.in_flight += 1
        if waiter.result is not None:
            _wake(waiter.result)
        elif waiter.on_turn is not None:
            is_used = False
            try:
                is_used = waiter.on_turn()
            finally:
                if not is_used:
                    self.in_flight -= 1
                    self._next_turn_at = turn_before


def _first(queue: deque[_Waiter]) -> _Waiter | None:
    """The first that still waits; those that were cancelled or timed out are dropped."""
    while queue and queue[0].is_done:
        queue.popleft()
    return queue[0] if queue else None


def _is_granted(future: "asyncio.Future[bool]") -> bool:
    is_answered = future.done() and not future.cancelled() and future.exception() is None
    return is_answered and future.result()


def _wake(future: "asyncio.Future[bool]") -> None:
    if not (future.done() or future.get_loop().is_closed()):
        future.set_result(True)


def _refuse(future: "asyncio.Future[bool]") -> None:
    if not (future.done() or future.get_loop().is_closed()):
        future.set_result(False)
