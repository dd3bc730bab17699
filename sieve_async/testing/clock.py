"""Time of the fake server: its clock, timers and timelines; and its thread, if it has one."""

import asyncio
import math
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Future
from contextlib import AbstractAsyncContextManager, contextmanager
from datetime import UTC, datetime, timedelta
from functools import partial, wraps
from itertools import accumulate
from typing import Concatenate, Literal, ParamSpec, Protocol, Self, TypeAlias, TypeVar

import attrs

from sieve_async.testing.answers import check_at_least, check_choice

P = ParamSpec("P")
R = TypeVar("R")
ByClock: TypeAlias = Literal["time", "polls"]
By: TypeAlias = Literal["time", "polls", "manual"]


@attrs.define
class Clock:
    """Seconds since the server first started, times ``speed``.

    It stands at zero until it follows a source, and never runs backwards: a source that jumps back
    (looptime does, between a fixture and its test) is followed from there on. A manual clock
    follows nothing.
    """

    speed: float = 1.0
    is_manual: bool = False
    _source: Callable[[], float] | None = attrs.field(default=None, init=False)
    _origin: float = attrs.field(default=0.0, init=False)
    _carried: float = attrs.field(default=0.0, init=False)
    _latest: float = attrs.field(default=0.0, init=False)
    _reached: float = attrs.field(default=0.0, init=False)
    _wall: datetime = attrs.field(factory=lambda: datetime.now(UTC), init=False)

    def __attrs_post_init__(self) -> None:
        if not 0 < self.speed < float("inf"):
            raise ValueError(f"speed must be a positive number, not {self.speed!r}")

    def follow(self, source: Callable[[], float]) -> None:
        """Continue from the present reading at the pace of ``source``."""
        self._carried = self.now()
        self._source = source
        self._origin = self._latest = source()

    def now(self) -> float:
        """Read the clock."""
        if self._source is None:
            return self._reached
        reading = self._source()
        if reading < self._latest:
            self._carried += (self._latest - self._origin) * self.speed
            self._origin = reading
        self._latest = reading
        return max(self._reached, self._carried + (reading - self._origin) * self.speed)

    def reach(self, moment: float) -> None:
        """Set the clock forward to a moment that has come, whatever rounding says."""
        self._reached = max(self._reached, moment)

    def at(self, moment: float) -> datetime:
        """Return the UTC time of a reading."""
        return self._wall + timedelta(seconds=moment)

    def stamp(self, moment: float | None) -> str | None:
        """Format a reading as the API's answers do: naive UTC with microseconds."""
        if moment is None:
            return None
        return self.at(moment).replace(tzinfo=None).isoformat(timespec="microseconds")


@attrs.frozen(eq=False)
class _Timer:
    moment: float
    callback: Callable[[], object]


@attrs.define
class Timers:
    """Callbacks at moments of the clock: by timers of the loop, or when a manual clock passes them.

    A timer that fires sets the clock, instead of asking it: the clock may read a rounding error
    less, and would do so forever in virtual time.
    """

    clock: Clock
    _pending: dict[_Timer, asyncio.TimerHandle | None] = attrs.field(factory=dict, init=False)

    def call_at(self, moment: float, callback: Callable[[], object]) -> Callable[[], None]:
        """Call back at a moment; the result cancels that, also when it was called already."""
        timer = _Timer(moment, callback)
        handle = None
        if not self.clock.is_manual and moment < float("inf"):
            delay = (moment - self.clock.now()) / self.clock.speed
            handle = asyncio.get_running_loop().call_later(delay, self._expire, timer)
        self._pending[timer] = handle
        return partial(self._cancel, timer)

    async def sleep_until(self, moment: float) -> None:
        """Wait for a moment; for one that has come, not even a turn of the loop."""
        if moment > self.clock.now():
            passed = asyncio.Event()
            cancel = self.call_at(moment, passed.set)
            try:
                await passed.wait()
            finally:
                cancel()

    def advance(self, seconds: float) -> None:
        """Set a manual clock forward, and call back for what it has passed, in order."""
        now = self.clock.now() + seconds
        self.clock.reach(now)
        due = [timer for timer in self._pending if timer.moment <= now]
        for timer in sorted(due, key=lambda each: each.moment):
            if timer in self._pending:  # not canceled by one before it
                self._expire(timer)

    def _expire(self, timer: _Timer) -> None:
        del self._pending[timer]
        self.clock.reach(timer.moment)
        timer.callback()

    def _cancel(self, timer: _Timer) -> None:
        handle = self._pending.pop(timer, None)
        if handle:
            handle.cancel()


@attrs.frozen
class Timeline:
    """Stages one after the other, each with where it starts; a snapshot has those begun so far."""

    statuses: tuple[str, ...]
    starts: tuple[float, ...]

    @classmethod
    def of(cls, spans: Iterable[tuple[str, float]], last: str | None) -> Self:
        """Lay out spans before a last status; without one the last span has no end."""
        statuses, lengths = zip(*spans, (last, math.inf), strict=True)
        # Rounded as positions are, or 0.1 + 0.2 would end after 0.3.
        starts = (0.0, *(round(start, 6) for start in accumulate(lengths[:-1])))
        stages = len(statuses) if last is not None else len(statuses) - 1
        return cls(statuses[:stages], starts[:stages])

    def stage_at(self, position: float) -> int:
        """Find the stage; one that takes no time is passed over."""
        return bisect_right(self.starts, position) - 1

    def all(self, *statuses: str) -> list[float]:
        """Return where each stage with one of these names starts."""
        named = zip(self.statuses, self.starts, strict=True)
        return [start for status, start in named if status in statuses]

    def first(self, *statuses: str) -> float | None:
        """Return where the first of them starts."""
        return next(iter(self.all(*statuses)), None)


@attrs.define
class Progress:
    """How far a timeline has come: by the clock, by the number of polls, or as recorded."""

    timeline: Timeline
    by: By
    added_at: float
    _polls: int = attrs.field(default=0, init=False)
    # By polls: when each stage so far was first shown.
    _shown_at: tuple[float, ...] = attrs.field(default=(), init=False)

    def __attrs_post_init__(self) -> None:
        if self.by == "polls":
            self._show(0, self.added_at)

    def poll(self, now: float) -> None:
        """Count a poll, and move to what this poll is to show."""
        if self.by == "polls":
            self._show(self._polls, now)
            self._polls += 1

    def place(self, now: float) -> tuple[int, float]:
        """Return the present stage and the depth into it."""
        if self.by == "polls":
            position: float = max(0, self._polls - 1)
        else:
            # In whole microseconds, as documents show times: 0.3 - 0.1 must not be before 0.2.
            position = round(now - self.added_at, 6)
        stage = self.timeline.stage_at(position)
        return stage, position - self.timeline.starts[stage]

    def status(self, now: float) -> str:
        """Return the present status."""
        return self.timeline.statuses[self.place(now)[0]]

    def snapshot(self, now: float) -> Timeline:
        """Return the stages begun so far, and the moment each began."""
        end = self.place(now)[0] + 1
        begun = self._shown_at or tuple(self.added_at + each for each in self.timeline.starts[:end])
        return Timeline(self.timeline.statuses[:end], begun)

    def begins(self, stage: int) -> float:
        """Return when the clock will bring a stage: never, unless it goes by time."""
        if self.by != "time" or stage >= len(self.timeline.starts):
            return math.inf
        return self.added_at + self.timeline.starts[stage]

    def record(self, status: str, now: float) -> None:
        """Begin a stage now; from here on, stages begin only by this method."""
        seen = self.snapshot(now)
        starts = tuple(round(begun - self.added_at, 6) for begun in (*seen.starts, now))
        self.timeline = Timeline((*seen.statuses, status), starts)
        self.by, self._shown_at = "manual", ()

    def _show(self, position: int, now: float) -> None:
        new = self.timeline.stage_at(position) + 1 - len(self._shown_at)
        self._shown_at += (now,) * new


def check_spans(by: str, choices: tuple[str, ...], spans: Mapping[str, float]) -> None:
    """Check the lengths of stages."""
    check_choice("by", by, choices)
    check_at_least(0, **spans)
    for name, span in spans.items():
        if by == "polls" and span % 1 != 0:
            raise ValueError(f"{name} counts polls and must be a whole number, not {span!r}")


@attrs.define
class ServerThread:
    """The thread that a server runs in, if it has one of its own; calls are made there."""

    _loop: asyncio.AbstractEventLoop | None = attrs.field(default=None, init=False)
    _thread_id: int = attrs.field(default=0, init=False)

    def call(self, function: Callable[[], R]) -> R:
        """Call a function in the thread, and wait for its result."""
        if self._loop is None or threading.get_ident() == self._thread_id:
            return function()
        return asyncio.run_coroutine_threadsafe(_call(function), self._loop).result()

    @contextmanager
    def running(self, server: AbstractAsyncContextManager[object]) -> Iterator[None]:
        """Run a server in a new thread as long as the block lasts."""
        started: Future[Callable[[], object]] = Future()

        async def serve() -> None:
            stopping = asyncio.Event()
            async with server:
                loop = asyncio.get_running_loop()
                self._loop, self._thread_id = loop, threading.get_ident()
                started.set_result(partial(loop.call_soon_threadsafe, stopping.set))
                await stopping.wait()
                self._loop = None

        def run() -> None:
            try:
                asyncio.run(serve())
            except BaseException as error:  # the port is taken, or the like: the starter gets it
                if started.done():
                    raise
                started.set_exception(error)

        thread = threading.Thread(target=run, name="FakeSieve", daemon=True)
        thread.start()
        stop = started.result()
        try:
            yield
        finally:
            stop()
            thread.join()


class _HasServerThread(Protocol):
    _thread: ServerThread


S = TypeVar("S", bound=_HasServerThread)


def run_in_server_thread(method: Callable[Concatenate[S, P], R]) -> Callable[Concatenate[S, P], R]:
    """Make a method run in the server's thread, whatever thread calls it."""

    @wraps(method)
    def call(self: S, /, *arguments: P.args, **keywords: P.kwargs) -> R:
        return self._thread.call(partial(method, self, *arguments, **keywords))

    return call


async def _call(function: Callable[[], R]) -> R:
    return function()
