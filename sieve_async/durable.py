"""Durable watch: a watch of many jobs that continues after its process was killed.

`WatchState` is the asynchronous side of a state file: one thread does all its work. `DurableWatch`
adds storing and acknowledging to a `JobWatch`: an outcome is on disk before it is handed out, and
what ends while a commit runs shares the next commit.
"""

import asyncio
import logging
import os
import weakref
from collections import Counter, deque
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, NoReturn, ParamSpec, Self, TypeVar

from sieve_async.config import check_job_id, check_job_ids
from sieve_async.errors import (
    InvalidArgumentError,
    StateBusyError,
    StateFileError,
    WrongEventLoopError,
)
from sieve_async.outcomes import JobOutcome
from sieve_async.state_file import StateCounts, StateFile, StoredOutcome
from sieve_async.watch import JobWatch, PendingJob

_LOG = logging.getLogger("sieve_async")
_P = ParamSpec("_P")
_T = TypeVar("_T")

# Outcomes that are stored in one commit, at most.
_PORTION = 500
# What ends within so many seconds shares a commit: one takes 0.5 ms of CPU, and waits for the disk.
_COMMIT_DELAY = 0.02
# Acknowledgements of so many seconds share a commit: so much work at most is repeated after a kill.
_ACKNOWLEDGE_WITHIN = 0.05


class Transaction:
    """Statements that are committed together with the acknowledgement of an outcome."""

    def __init__(self) -> None:
        self.statements: list[tuple[str, Any]] = []

    def execute(self, sql: str, parameters: Sequence[Any] | dict[str, Any] = ()) -> None:
        """Add one SQL statement on the state file; it runs when the block is left."""
        if not isinstance(sql, str):
            raise InvalidArgumentError(f"sql must be a string, got {sql!r}")
        self.statements.append((sql, parameters))


class WatchState:
    """The jobs of a batch and how they ended, in a file that survives the process.

    Open it with ``async with WatchState.open(path)``. Only outcomes that are final are stored, each
    before it is handed out. The file holds results of jobs, so it is made with mode 0600.
    """

    def __init__(self, path: str | os.PathLike[str], *, read_only: bool = False) -> None:
        self._file = StateFile(_check_path(path), read_only=read_only)
        self._thread: ThreadPoolExecutor | None = None
        self._owner: tuple[asyncio.AbstractEventLoop, int] | None = None
        self._watch: Callable[[], object | None] = _no_watch

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, read_only: bool = False) -> Self:
        """Open or create a state file; to be used as ``async with WatchState.open(...)``.

        Args:
            path: The file. A second file beside it, with ``.lock`` appended, holds the lock. Not
                for network file systems, whose locks cannot be relied on.
            read_only: Only show what is known: takes no lock, so that the file may be in use.

        Raises:
            StateBusyError: Another process has the file open.
            StateFileError: The file is damaged, of a later version, or no state file; or it cannot
                be opened. Raised by entering the block.
            InvalidArgumentError: ``path`` cannot be a path.
        """
        return cls(path, read_only=read_only)

    async def __aenter__(self) -> Self:
        if self._thread is not None:
            raise InvalidArgumentError("the state file is open already")
        self._owner = (asyncio.get_running_loop(), os.getpid())
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="sieve-state")
        try:
            await self._run(self._file.open)
        except BaseException:
            await self._close()
            raise
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._close()

    def __repr__(self) -> str:
        return f"<WatchState {self.path}{'' if self._thread else ' (closed)'}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a state file cannot be copied or pickled")

    @property
    def path(self) -> Path:
        """The file, with links resolved."""
        return self._file.path

    async def add(self, job_ids: Iterable[str] | AsyncIterable[str]) -> int:
        """Add ids, and return how many were new; they are on disk on return.

        Ids that are known are ignored, whether pending or ended. Ids that are added while the file
        is being watched are watched by the next ``resume()``.

        Raises:
            InvalidArgumentError: One of the ids is invalid; none was added.
            StateFileError: The file could not be written; none was added.
        """
        check_job_ids(job_ids, Iterable, AsyncIterable)
        if isinstance(job_ids, AsyncIterable):
            checked = [check_job_id(job_id) async for job_id in job_ids]
        else:
            checked = [check_job_id(job_id) for job_id in job_ids]
        return await self._run(self._file.add, checked)

    async def counts(self) -> StateCounts:
        """Count the jobs that are pending, ended but not acknowledged, and acknowledged."""
        return await self._run(self._file.counts)

    async def pending(self) -> list[str]:
        """The ids without a final outcome, in the order in which they were added."""
        return await self._run(self._file.pending)

    async def outcomes(self) -> AsyncIterator[JobOutcome]:
        """All outcomes that are stored, in the order of ending; ``age`` is in seconds."""
        number = 0
        while portion := await self._run(self._file.outcomes, number):
            for _, outcome in portion:
                yield outcome
            number = portion[-1][0]

    async def begin(self, watch: object, base_url: str) -> tuple[list[str], int]:
        """Reserve the state for one watch, on the server that it belongs to; as `StateFile.begin`.

        Raises:
            StateBusyError: Another watch of this program uses it.
            StateFileError: The jobs belong to another server.
        """
        current = self._watch()
        if current is not None and current is not watch:
            raise StateBusyError(str(self.path), "another watch of this program uses it")
        self._watch = weakref.ref(watch)
        try:
            return await self._run(self._file.begin, base_url)
        except BaseException:
            self.end(watch)
            raise

    def end(self, watch: object) -> None:
        """Release the state for another watch."""
        if self._watch() is watch:
            self._watch = _no_watch

    async def unacknowledged(self, after: int, last: int) -> list[StoredOutcome]:
        """The next outcomes that were not acknowledged, with numbers in ``after < n <= last``."""
        return await self._run(self._file.unacknowledged, after, last)

    async def commit(self, outcomes: list[JobOutcome], acknowledged: list[str]) -> None:
        """Store outcomes and acknowledgements, both or none; repeating it changes nothing."""
        await self._run(self._file.commit, outcomes, acknowledged)

    async def acknowledge(self, job_id: str, transaction: Transaction) -> None:
        """Acknowledge one outcome together with the caller's own statements."""
        await self._run(self._file.acknowledge, job_id, transaction.statements)

    async def _run(self, function: Callable[_P, _T], *args: _P.args, **kwargs: _P.kwargs) -> _T:
        if self._thread is None:
            raise StateFileError(str(self.path), "it is not open: use `async with`")
        if self._owner != (asyncio.get_running_loop(), os.getpid()):
            raise WrongEventLoopError("the state file was opened by another event loop or process")
        return await asyncio.wrap_future(self._thread.submit(function, *args, **kwargs))

    async def _close(self) -> None:
        thread, self._thread = self._thread, None
        if thread is not None and self._owner is not None and self._owner[1] == os.getpid():
            closing = thread.submit(self._file.close)
            thread.shutdown(wait=False)
            await asyncio.shield(asyncio.wrap_future(closing))  # also if this call is cancelled


class DurableWatch:
    """The outcomes of a state file: first those not acknowledged yet, then of pending jobs.

    An async iterator and async context manager, made by ``SieveClient.resume()``. Taking the next
    outcome acknowledges the one that the same task took before; so does reaching the end. Leaving
    the loop in another way does not: ``resume()`` hands that outcome out again.

    What is not final (see ``JobOutcome.is_final``) is handed out, but not stored: the job stays
    pending. A ``StateFileError`` loses nothing: the next step tries again to store the outcomes.
    """

    def __init__(
        self, state: WatchState, base_url: str, watch_jobs: Callable[[list[str]], JobWatch]
    ) -> None:
        if not isinstance(state, WatchState):
            raise InvalidArgumentError(f"state must be a WatchState, got {state!r}")
        self._state = state
        self._base_url = base_url
        self._watch_jobs = watch_jobs
        self._watch: JobWatch | None = None
        self._is_closed = False
        self._step = asyncio.Lock()
        self._stored = self._last_stored = 0  # numbers of outcomes of earlier processes
        self._unsaved: list[JobOutcome] = []
        self._ready: deque[JobOutcome] = deque()
        self._redelivered: Counter[str] = Counter()
        # Handed out and not acknowledged, with the task that took it; None: only a block of
        # `acknowledging` may acknowledge it.
        self._taken: dict[str, asyncio.Task[Any] | None] = {}
        self._acknowledged: list[str] = []  # to be written
        self._committed_at = 0.0
        self._limit: asyncio.Timeout | None = None  # of a task that waits for the next outcome
        self._failure: Exception | None = None  # of the watch, once what came before is handed out

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> JobOutcome:
        if not self._is_closed:
            self._acknowledge_taken()
        if self._acknowledged and self._limit is not None and self._limit.when() is None:
            self._limit.reschedule(self._now() + _ACKNOWLEDGE_WITHIN)  # it writes them
        async with self._step:
            if self._is_closed:
                raise StopAsyncIteration
            watch = await self._begin()
            self._acknowledge_taken()
            if self._acknowledged and self._now() - self._committed_at >= _ACKNOWLEDGE_WITHIN:
                await self._commit()
            while not self._ready:
                await self._fill(watch)
            outcome = self._ready.popleft()
            if outcome.is_final:
                self._taken[outcome.job_id] = asyncio.current_task()
            return outcome

    async def __aenter__(self) -> Self:
        async with self._step:
            await self._begin()
        return self

    async def __aexit__(self, kind: type[BaseException] | None, *_: object) -> None:
        try:
            try:
                if kind is None and self._failure is not None:
                    raise self._failure
                if self._watch is not None:
                    await self._watch.__aexit__(kind)  # it raises what ended it
            finally:
                await self.aclose()
        except StateFileError as error:
            if kind is None:
                raise
            _LOG.warning(
                "state file %s: acknowledgements not written: %s", error.path, error.reason
            )

    def __repr__(self) -> str:
        return f"<DurableWatch of {self._state.path}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a watch cannot be copied or pickled")

    def counts(self) -> Mapping[str, int]:
        """How many jobs have which status, as ``JobWatch.counts()``."""
        watched = {} if self._watch is None else self._watch.counts()
        return Counter(watched) + self._redelivered

    def pending(self) -> list[PendingJob]:
        """The jobs that are watched now, as ``JobWatch.pending()``."""
        return [] if self._watch is None else self._watch.pending()

    @asynccontextmanager
    async def acknowledging(self, outcome: JobOutcome) -> AsyncIterator[Transaction]:
        """Acknowledge an outcome and commit the caller's own statements in one transaction.

        The statements run on the state file itself when the block ends, each of them exactly once
        over all processes. When the block or a statement raises, nothing is written and the outcome
        is handed out again by the next ``resume()``.

        Raises:
            InvalidArgumentError: The outcome is not final, or was acknowledged before.
            StateFileError: The file could not be written.
            sqlite3.Error: What is wrong with a statement.
        """
        if not outcome.is_final:
            reason = f"the outcome of job {outcome.job_id} is not final: {outcome.status}"
            raise InvalidArgumentError(f"{reason}; check outcome.is_final first")
        if outcome.job_id not in self._taken:
            raise InvalidArgumentError(
                f"the outcome of job {outcome.job_id} was acknowledged before, or is not of this "
                "watch (taking the next outcome acknowledges the one before)"
            )
        self._taken[outcome.job_id] = None
        transaction = Transaction()
        yield transaction
        await self._state.acknowledge(outcome.job_id, transaction)
        self._taken.pop(outcome.job_id, None)

    async def aclose(self) -> None:
        """Stop watching, and write what is not on disk yet. May be called more than once."""
        self._is_closed = True
        try:
            if self._watch is not None:
                await self._watch.aclose()
            async with self._step:
                await self._commit()
        finally:
            self._state.end(self)

    async def _begin(self) -> JobWatch:
        if self._watch is None:
            pending, self._last_stored = await self._state.begin(self, self._base_url)
            watch = self._watch_jobs(pending)
            try:
                await watch.__aenter__()
            except BaseException:
                self._state.end(self)
                raise
            self._watch = watch
        return self._watch

    def _acknowledge_taken(self) -> None:
        """Acknowledge what this task took before, and what a task took that has ended well."""
        current = asyncio.current_task()
        for job_id, task in list(self._taken.items()):
            if task is not None and (task is current or _has_succeeded(task)):
                self._acknowledged.append(job_id)
                del self._taken[job_id]

    async def _fill(self, watch: JobWatch) -> None:
        """Make outcomes ready that are on disk, or only write the acknowledgements.

        Raises:
            StopAsyncIteration: There are no more.
        """
        if self._stored < self._last_stored:
            portion = await self._state.unacknowledged(self._stored, self._last_stored)
            self._stored = portion[-1][0] if portion else self._last_stored
            self._ready.extend(outcome for _, outcome in portion)
            self._redelivered.update(outcome.status for _, outcome in portion)
            return
        if not self._unsaved:
            await self._wait(watch)
        await self._commit()

    async def _wait(self, watch: JobWatch) -> None:
        """Wait for an outcome, while nothing is to be written, and take what ends with it."""
        if (failure := self._failure) is not None:
            self._failure = None
            raise failure
        limit = asyncio.timeout(_ACKNOWLEDGE_WITHIN if self._acknowledged else None)
        try:
            async with limit:
                self._limit = limit
                try:
                    self._unsaved.append(await anext(watch))
                finally:
                    self._limit = None
        except TimeoutError:
            if not limit.expired():
                raise
            return
        except StopAsyncIteration:
            await self._commit()
            self._state.end(self)
            raise
        try:
            self._unsaved += await watch.take(_PORTION, within=_COMMIT_DELAY)
        except Exception as error:  # noqa: BLE001 - it is raised with the next step
            self._failure = error

    async def _commit(self) -> None:
        acknowledged = self._acknowledged.copy()
        final = [outcome for outcome in self._unsaved if outcome.is_final]
        if acknowledged or final:
            await self._state.commit(final, acknowledged)
        del self._acknowledged[: len(acknowledged)]
        self._ready.extend(self._unsaved)
        self._unsaved.clear()
        self._committed_at = self._now()

    @staticmethod
    def _now() -> float:
        return asyncio.get_running_loop().time()


def _check_path(path: object) -> Path:
    try:
        return Path(path).resolve()  # type: ignore[arg-type]  # checked here
    except (TypeError, ValueError, OSError, RuntimeError) as error:  # no path, NUL, loop of links
        reason = f"path must be the path of a file, got {path!r}: {error}"
    raise InvalidArgumentError(reason)


def _has_succeeded(task: asyncio.Task[Any]) -> bool:
    return task.done() and not task.cancelled() and task.exception() is None


def _no_watch() -> None:
    return None
