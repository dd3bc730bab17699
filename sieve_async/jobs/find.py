"""Finding the job that an ambiguous push may have started."""

import asyncio
import math
from collections.abc import AsyncIterator, Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

import attrs

from sieve_async.background import loop_time
from sieve_async.converter import unstructure
from sieve_async.errors import AmbiguousPushError, SieveError
from sieve_async.jobs.push import PushLog
from sieve_async.models import Job
from sieve_async.retry import ErrorAction, classify

# The clocks of this machine and of the server may differ by so much.
_MAX_CLOCK_DIFFERENCE = timedelta(seconds=60)
_FIRST_PAUSE, _GROWTH, _MAX_PAUSE = 0.5, 1.5, 5.0  # seconds between two reads of the list
# Jobs that are too old before the search ends, where the newest come first.
_MAX_OLDER = 500


@attrs.frozen
class Search:
    """The search for the job of one ambiguous push.

    Attributes:
        error: The error of the push.
        list_jobs: Lists the function's jobs.
        log: What the client has pushed otherwise.
    """

    error: AmbiguousPushError
    list_jobs: Callable[[], AsyncIterator[Job]]
    log: PushLog

    async def run(self, deadline: float | None) -> list[Job]:
        """Read the list until a job is found, or until the deadline.

        Raises:
            SieveError: The list cannot be read.
        """
        pauses = _pauses()
        is_last = False
        while True:
            exact: list[Job] = []
            wider: list[Job] = []
            failure: SieveError | None = None
            try:
                exact, wider = await self._look()
            except SieveError as error:
                if classify(error) is not ErrorAction.RETRY:
                    raise
                failure = error.with_traceback(None)
            # A job that is listed may be that of an equal push whose answer is still to come.
            if exact and not self.log.is_pushing(self.error.inputs):
                return exact
            left = math.inf if deadline is None else deadline - loop_time()
            if is_last or left <= 0:
                break
            pause = next(pauses)
            is_last = left <= pause
            await asyncio.sleep(min(pause, left))
        if failure is not None:
            raise failure
        return exact or wider

    async def _look(self) -> tuple[list[Job], list[Job]]:
        """The jobs with equal inputs, and those with further inputs, of no other push of ours."""
        wanted = canonical(self.error.inputs)
        exact, wider = [], []
        async for job in _recent(self.list_jobs(), self.error.started_at - _MAX_CLOCK_DIFFERENCE):
            try:
                found = inputs_of(job, wanted)
            except RecursionError:  # nested deeper than a push may be
                continue
            if found == wanted:
                exact.append(job)
            elif wanted and found.items() >= wanted.items():
                wider.append(job)
        return self._unknown(exact), self._unknown(wider)

    def _unknown(self, jobs: list[Job]) -> list[Job]:
        return [job for job in jobs if self.log.pushed_at(job.id) is None]


def _pauses() -> Iterator[float]:
    pause = _FIRST_PAUSE
    while True:
        yield pause
        pause = min(pause * _GROWTH, _MAX_PAUSE)


async def _recent(jobs: AsyncIterator[Job], since: datetime) -> AsyncIterator[Job]:
    """The jobs created since then.

    The order of lists is not documented. Where the newest come first, the rest is not read.
    """
    older, is_descending, last = 0, True, None
    async for job in jobs:
        created = job.created_at
        if created is None or created >= since:
            yield job
        else:
            older += 1
        if created is not None:
            is_descending = is_descending and (last is None or created <= last)
            last = created
        if is_descending and older >= _MAX_OLDER:
            return


def inputs_of(job: Job, wanted: Mapping[str, Any]) -> dict[str, Any]:
    """The inputs of a job, in the form in which equal ones are equal to the wanted ones.

    An input that was an object with a key of an ``InputOutput``, such as ``type``, reads as one: it
    is compared as it was sent as well.
    """
    found = {}
    for name, value in job.inputs.items():
        data, document = canonical(value.data), canonical(unstructure(value))
        plain = document if name in wanted and document == wanted[name] else data
        if plain is not None:
            found[name] = plain
    return found


def canonical(value: Any) -> Any:
    """A JSON value without what answers add: null members, and lists of Key and Value.

    A boolean is not equal to the number that Python takes it for.
    """
    if isinstance(value, bool):
        return ("boolean", value)
    if isinstance(value, Mapping):
        return {key: canonical(each) for key, each in value.items() if each is not None}
    if isinstance(value, (list, tuple)):
        if value and all(isinstance(each, Mapping) and each.keys() == _PAIR for each in value):
            return canonical({str(each["Key"]): each["Value"] for each in value})
        return [canonical(each) for each in value]
    return value


_PAIR = frozenset({"Key", "Value"})
