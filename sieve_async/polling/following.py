"""Following one job or version: what to ask next, what was seen, which outputs are held.

One look is one request (and its retries). What an answer means for the wait is the state machine's;
what it means for the outputs, and for how to ask next, is decided here.
"""

from abc import ABC, abstractmethod
from enum import Enum, auto
from typing import Generic

import attrs

from sieve_async import endpoints
from sieve_async.decode import PolledState
from sieve_async.errors import (
    ConnectError,
    DecodeError,
    NotFoundError,
    ResponseError,
    SieveError,
)
from sieve_async.messages import Model, Request
from sieve_async.models import FunctionVersion, Job, Output
from sieve_async.polling.asking import Asking
from sieve_async.polling.long_polls import (
    LongPolls,
    means_cut_off,
    means_missing,
    means_unended,
)
from sieve_async.polling.machine import Step, Wait

# As many as fit into the smallest objects, and far too many to meet the same one twice.
_RUNS = 2**60
# A connection that the server had closed fails so soon; later, the server was at work.
_AT_ONCE = 1.0


@attrs.define(eq=False, weakref_slot=False)
class Follower(ABC, Generic[Model]):
    """What one wait asks, and what it has seen.

    Attributes:
        asking: How it asks.
        wait: The state of the wait.
        seen: The last good answer.
    """

    asking: Asking
    wait: Wait
    seen: PolledState[Model] | None = attrs.field(default=None, init=False)

    @abstractmethod
    async def look(self) -> Step:
        """Ask once, and say how to go on."""

    def model(self) -> Model | None:
        """What was seen last, whole; None when nothing was.

        Raises:
            DecodeError: It does not decode.
        """
        return None if self.seen is None else self.seen.model()

    def whole(self) -> Model:
        """What was seen last, after a terminal answer.

        Raises:
            DecodeError: It does not decode.
        """
        model = self.model()
        assert model is not None  # noqa: S101 - the answer was seen
        return model

    def last(self) -> tuple[Model | None, DecodeError | None]:
        """The same, or why there is none: a state that does not decode must not end a wait."""
        try:
            return self.model(), None
        except DecodeError as error:
            return None, error.with_traceback(None)

    def _failed(self, error: SieveError, asked_at: float) -> Step:
        now = self.asking.clock()
        return self.wait.failed(error.with_traceback(None), asked_at=asked_at, now=now)


@attrs.define(eq=False)
class VersionFollower(Follower[FunctionVersion]):
    """Follows one version; ``latest`` and prefixes mean what they meant at the first look."""

    request: Request[FunctionVersion]

    async def look(self) -> Step:
        """Ask once, and say how to go on."""
        asked_at = self.asking.clock()
        try:
            seen = await self.asking.poll(self.request, self.wait)
        except SieveError as error:
            return self._failed(error, asked_at)
        if self.seen is None:
            self.request = endpoints.pinned(self.request, seen.id)
        self.seen = seen
        now = self.asking.clock()
        return self.wait.answered(seen.status, seen.output_count, asked_at=asked_at, now=now)


class Doubt(Enum):
    """What a look has left open, for the next one to settle."""

    IS_CUT_OFF = auto()  # whether the job has ended meanwhile, and is there at all
    IS_MISSING = auto()  # whether it is the job that was not found, or the endpoint
    IS_DROPPED = auto()  # nothing but that a connection was kept for too long; for any look


@attrs.define(eq=False, weakref_slot=False)
class JobFollower(Follower[Job]):
    """Follows one job; no output is fetched twice.

    Attributes:
        job_id: The job.
        offset: How many outputs of the present run were fetched.
        held: Those of them that nobody took yet.
        run: The present run; a number in the place of its id, for there may be 100,000 waits.
        earlier_runs: Those before it: what is said of them is out of date.
        restarts: How often the job had begun again when the present run was last seen.
        restarted_as: The id of the present run, if it is not the first one that was seen.
    """

    job_id: str
    offset: int = 0
    held: tuple[Output, ...] = attrs.field(default=(), init=False)
    run: int | None = attrs.field(default=None, init=False)
    earlier_runs: frozenset[int] = attrs.field(default=frozenset(), init=False)
    restarts: int = attrs.field(default=0, init=False)
    restarted_as: str | None = attrs.field(default=None, init=False)
    _doubt: Doubt | None = attrs.field(default=None, init=False)

    async def look(self) -> Step:
        """Ask once, and say how to go on."""
        long_polls = self.asking.long_polls
        if long_polls is None or self._is_plain() or not long_polls.take():
            return await self._look_once()
        try:
            return await self._look_long(long_polls)
        finally:
            long_polls.give_back()

    def _is_plain(self) -> bool:
        """Whether the next look must be back soon."""
        is_in_doubt = self._doubt in {Doubt.IS_CUT_OFF, Doubt.IS_MISSING}
        return is_in_doubt or self.wait.refusals > 0 or self.wait.is_one_look

    def model(self) -> Job | None:
        """What was seen last, with all outputs that are held; None when nothing was.

        Raises:
            DecodeError: It does not decode.
        """
        job = super().model()
        if job is None or job.outputs == self.held:
            return job
        return attrs.evolve(job, outputs=self.held)

    def take_held(self) -> tuple[Output, ...]:
        """The outputs that are held, to hold them no longer."""
        taken, self.held = self.held, ()
        return taken

    async def _look_once(self) -> Step:
        asked_at = self.asking.clock()
        try:
            request = endpoints.get_job(self.job_id, offset=self.offset)
            seen = await self.asking.poll(request, self.wait)
        except SieveError as error:
            if self._was_dropped(error, asked_at):
                return self.wait.dropped(error, self.asking.clock())
            return self._failed(error, asked_at)
        if self._doubt is Doubt.IS_MISSING and self.asking.long_polls is not None:
            self.asking.long_polls.note_missing()
        # A held request that was cut off goes on at once.
        paused_since = self.wait.started if self._doubt is Doubt.IS_CUT_OFF else None
        self._doubt = None
        return self._answered(seen, asked_at, paused_since)

    async def _look_long(self, long_polls: LongPolls) -> Step:
        asked_at = self.asking.clock()
        try:
            request = endpoints.await_job(self.job_id, offset=self.offset)
            seen = await self.asking.poll(request, self.wait)
        except SieveError as error:
            return self._unanswered(error.with_traceback(None), asked_at, long_polls)
        self._doubt = None
        long_polls.note_worked()
        return self._answered(seen, asked_at, asked_at)

    def _unanswered(self, error: SieveError, asked_at: float, long_polls: LongPolls) -> Step:
        now = self.asking.clock()
        if self._was_dropped(error, asked_at):
            return self.wait.dropped(error, now)
        if means_unended(error):
            long_polls.note_worked()
            if now - asked_at < _AT_ONCE:  # nobody has held it
                self._doubt = Doubt.IS_CUT_OFF
            return self.wait.unended(asked_at=asked_at, now=now)
        if means_missing(error):
            long_polls.note_missing()
            self._doubt = Doubt.IS_CUT_OFF
            return self.wait.unsettled(now)
        if isinstance(error, NotFoundError):
            self._doubt = Doubt.IS_MISSING
            return self.wait.unsettled(now)
        self._doubt = Doubt.IS_CUT_OFF
        if means_cut_off(error):
            return self.wait.cut_off(error, asked_at=asked_at, now=now)
        return self.wait.failed(error, asked_at=asked_at, now=now)

    def _was_dropped(self, error: SieveError, asked_at: float) -> bool:
        """Whether a connection failed that had been kept for too long; once may be by chance."""
        is_dropped = (
            isinstance(error, ConnectError)
            and error.reused_connection
            and self._doubt is not Doubt.IS_DROPPED
            and self.asking.clock() - asked_at < _AT_ONCE
        )
        if is_dropped:
            self._doubt = Doubt.IS_DROPPED
        return is_dropped

    def _answered(
        self, seen: PolledState[Job], asked_at: float, paused_since: float | None
    ) -> Step:
        now = self.asking.clock()
        asked_from = self.offset
        if self._is_of_earlier_run(seen):
            error = ResponseError(
                "the answer is of an earlier run of the job",
                seen.request.method,
                seen.request.path,
                seen.response.status,
            )
            return self.wait.failed(error, asked_at=asked_at, now=now)
        if self.offset < asked_from:  # it began again: what was left out is not what we have
            return self.wait.unsettled(now)
        if self._hold(seen) or seen.status.is_terminal or self.seen is None:
            self.seen = seen
        return self.wait.answered(
            seen.status, self.offset, asked_at=asked_at, now=now, paused_since=paused_since
        )

    def _is_of_earlier_run(self, seen: PolledState[Job]) -> bool:
        """Note the run that an answer speaks of; a new one begins again with its outputs."""
        run = self.run if seen.run_id is None else hash(seen.run_id) % _RUNS
        if run == self.run:
            self.restarts = max(self.restarts, seen.restarts)
            return False
        if self.run is not None:
            if self._is_older(run, seen.restarts):
                return True
            self.earlier_runs |= {self.run}
            self.restarted_as = seen.run_id
            self.offset, self.held = 0, ()
        self.run, self.restarts = run, seen.restarts
        return False

    def _is_older(self, run: int | None, restarts: int) -> bool:
        """Whether another run than the present one came before it: replicas lag."""
        if restarts != self.restarts:
            return restarts < self.restarts
        return run in self.earlier_runs

    def _hold(self, seen: PolledState[Job]) -> bool:
        """Keep the outputs of an answer; those that do not decode are asked for again."""
        if not seen.output_count:
            return True
        try:
            outputs = seen.model().outputs
        except DecodeError as error:
            self.wait.last_error = error.with_traceback(None)
            return False
        self.held += outputs
        self.offset += len(outputs)
        return True
