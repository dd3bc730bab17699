"""Waiting for a moment of the server's clock."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import attrs

from sieve_async.testing.clocks import Clock


@attrs.frozen(eq=False)
class Alarm:
    """What is to be done when a moment has come."""

    moment: float
    ring: Callable[[], object]


@attrs.define
class Alarms:
    """Those that are set now: with a timer of the loop each, or until a manual clock passes them.

    A timer that has gone off has decided: the clock is told what time it is then, instead of
    being asked, since it may read a rounding error less and would do so for ever in virtual time.
    """

    clock: Clock
    # In the order of being set; a dict, since thousands may be set and go in any order.
    _without_timer: dict[Alarm, None] = attrs.field(factory=dict, init=False)

    @contextmanager
    def ringing(self, moment: float, ring: Callable[[], object]) -> Iterator[None]:
        """Do something at a moment, unless the block ends before."""
        alarm = Alarm(moment, ring)
        if self.clock.is_manual or moment == float("inf"):
            self._without_timer[alarm] = None
            try:
                yield
            finally:
                del self._without_timer[alarm]
            return
        delay = (moment - self.clock.now()) / self.clock.speed
        timer = asyncio.get_running_loop().call_later(delay, self._go_off, alarm)
        try:
            yield
        finally:
            timer.cancel()

    async def sleep_until(self, moment: float) -> None:
        """Wait for a moment; for one that has come, not even a turn of the loop."""
        if moment > self.clock.now():
            passed = asyncio.Event()
            with self.ringing(moment, passed.set):
                await passed.wait()

    def pass_time(self, seconds: float) -> None:
        """Put a manual clock forward, and ring what it has passed."""
        now = self.clock.now() + seconds
        self.clock.arrive(now)
        for alarm in self._without_timer:
            if alarm.moment <= now:
                alarm.ring()

    def _go_off(self, alarm: Alarm) -> None:
        self.clock.arrive(alarm.moment)
        alarm.ring()
