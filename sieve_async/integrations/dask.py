"""Dask: wait for jobs on the workers of a cluster.

Most programs do not need it: one process watches 100,000 jobs, so wait in the driver and give each
outcome to a worker, ``dask_client.submit(process, outcome.to_dict())``. This module is for drivers
that cannot reach the API, and for results that are large.

The driver owns the set of ids that are left. A step on a worker takes a portion of outcomes from a
watch that stays on that worker between steps. What the driver has received leaves the set; the
shard of a lost worker starts anew elsewhere, with what is left of it.
"""

import asyncio
import time
import uuid
from collections import deque
from collections.abc import Iterable, Mapping
from contextlib import AsyncExitStack, suppress
from datetime import timedelta
from typing import Any, NoReturn, Self

import attrs
from distributed import Client, Future, get_worker

from sieve_async.config import check_choice, check_job_ids, check_timeout
from sieve_async.errors import ConfigError, WaitTimeoutError
from sieve_async.integrations.leases import ClientSettings, leased_client
from sieve_async.integrations.shards import shard
from sieve_async.outcomes import JobOutcome
from sieve_async.settings import Limits
from sieve_async.watch import STRATEGIES, JobWatch, Strategy
from sieve_async.watch.jobs import plain_id_of

__all__ = ["DaskJobWatch", "as_completed", "shard"]

_PORTION = 500  # outcomes that one step takes at most
_STEP_SECONDS = 0.5
_MAX_READY = 4 * _PORTION  # outcomes that wait in the driver; beyond it no further step is made
_LAPSE_SECONDS = 30.0  # a shard from which no step took for so long is closed by its worker
_DEADLINE_MARGIN = 5.0  # seconds for the last steps; then the driver ends the wait by itself
_CLOSING_SECONDS = 5.0
_MAX_TOMBSTONES = 1000


def as_completed(
    dask_client: Client,
    job_ids: Iterable[object],
    *,
    timeout: float | timedelta | None = None,
    strategy: Strategy = "poll",
    client_options: Mapping[str, Any] | None = None,
    limits: Limits = Limits(),
    shards: int | None = None,
) -> "DaskJobWatch":
    """Watch jobs on the workers, and yield an outcome for each as its end is seen.

    The API key is read on the workers, from their environment or key file; it is never part of a
    task. A shard occupies one thread of its worker.

    Args:
        dask_client: The client of the cluster, asynchronous or not.
        job_ids: The ids; each distinct id has one outcome.
        timeout: Seconds for all jobs together; None for no limit.
        strategy: As for :meth:`~sieve_async.SieveClient.as_completed`.
        client_options: Further arguments of :class:`~sieve_async.SieveClient` on the workers,
            such as ``base_url`` and ``polling``.
        limits: The limits of each worker, except that ``polls_per_second`` is of all together.
        shards: How many shards to make; None for one per worker.

    Returns:
        An async iterator and async context manager; leaving its block stops the polling. The
        first step raises ConfigError when the cluster has no workers, and any step raises what a
        worker raised.

    Raises:
        ConfigError: ``client_options`` holds a key, or something that cannot be sent to workers;
            or the number of shards is invalid.
        InvalidArgumentError: The ids, the timeout or the strategy is invalid.
    """
    options = dict(client_options or {})
    for name in ("api_key", "session", "limits"):
        if name in options:
            raise ConfigError(f"client_options must not hold {name}")
    check_choice("strategy", strategy, STRATEGIES)
    check_job_ids(job_ids)
    shard([], 1 if shards is None else shards)
    settings = _Settings(strategy, limits, tuple(sorted(options.items())))
    return DaskJobWatch(_Driver(dask_client, job_ids, settings, check_timeout(timeout), shards))


@attrs.frozen
class _Settings:
    """What a worker needs to make its client."""

    strategy: Strategy
    limits: Limits
    options: tuple[tuple[str, Any], ...]


@attrs.frozen
class _Start:
    """Begins a shard on a worker."""

    job_ids: tuple[str, ...]
    timeout: float | None
    settings: _Settings


@attrs.frozen
class _Portion:
    """What one step returns.

    Attributes:
        worker: The address of the worker.
        outcomes: What ended since the step before.
        must_start: Whether the worker does not hold the shard (any more).
    """

    worker: str
    outcomes: tuple[JobOutcome, ...] = ()
    must_start: bool = False


class DaskJobWatch:
    """The outcomes of jobs that are watched on Dask workers; made by :func:`as_completed`."""

    def __init__(self, driver: "_Driver") -> None:
        self._driver = driver
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> JobOutcome:
        if self._is_closed:
            raise StopAsyncIteration
        if self._task is None:
            self._task = asyncio.create_task(self._driver.run())
        outcome = await self._driver.next()
        if outcome is not None:
            return outcome
        if not self._is_closed:
            self._is_closed = True
            await self._task  # raises what ended it early
        raise StopAsyncIteration

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    def __reduce__(self) -> NoReturn:
        raise TypeError("a watch cannot be copied or pickled")

    def __del__(self) -> None:
        task = self._task
        if task is not None and not task.done() and not task.get_loop().is_closed():
            task.get_loop().call_soon_threadsafe(task.cancel)

    async def aclose(self) -> None:
        """Stop the polling on all workers; the remote jobs continue."""
        self._is_closed = True
        if self._task is not None:
            self._task.cancel()
            await asyncio.wait([self._task])
            if not self._task.cancelled():
                self._task.exception()  # asyncio logs one that was never asked for


class _Driver:
    """Takes portions of all shards in turn; it does not keep the watch alive that reads it."""

    def __init__(
        self,
        dask_client: Client,
        job_ids: Iterable[object],
        settings: _Settings,
        timeout: float | None,
        shards: int | None,
    ) -> None:
        self._dask_client = dask_client
        self._job_ids = job_ids
        self._settings = settings
        self._timeout = timeout
        self._shards = shards
        self._started = 0.0
        self._ready: deque[JobOutcome] = deque()
        self._is_over = False
        self._news = asyncio.Event()
        self._room = asyncio.Event()

    async def next(self) -> JobOutcome | None:
        """The next outcome; None when there are no more."""
        while not self._ready:
            if self._is_over:
                return None
            self._news.clear()
            await self._news.wait()
        self._room.set()
        return self._ready.popleft()

    async def run(self) -> None:
        """Watch all ids; raises what ended it early."""
        self._started = time.monotonic()
        try:
            await self._run_shards()
        except BaseExceptionGroup as group:
            error = group.exceptions[0]
        else:
            return
        finally:
            self._is_over = True
            self._news.set()
        raise error

    async def _run_shards(self) -> None:
        workers = list(await self._call(self._dask_client.ncores))
        if not workers:
            raise ConfigError("the Dask cluster has no workers")
        parts = shard(self._distinct_ids(), self._shards or len(workers))
        limits = self._settings.limits
        if limits.polls_per_second is not None and parts:
            rate = limits.polls_per_second / min(len(workers), len(parts))
            limits = attrs.evolve(limits, polls_per_second=rate)
            self._settings = attrs.evolve(self._settings, limits=limits)
        shard_ids = [uuid.uuid4().hex for _ in parts]
        try:
            async with asyncio.TaskGroup() as group:
                for index, (shard_id, part) in enumerate(zip(shard_ids, parts, strict=True)):
                    worker = workers[index % len(workers)]
                    group.create_task(self._run_shard(shard_id, dict.fromkeys(part), worker))
        finally:
            await self._close_shards(shard_ids)

    def _distinct_ids(self) -> list[str]:
        """The ids, each once; what cannot be an id has its outcome at once."""
        distinct: dict[str, None] = {}
        for job_id in self._job_ids:
            item = plain_id_of(job_id)
            if isinstance(item, JobOutcome):
                self._put(item)
            else:
                distinct[item] = None
        return list(distinct)

    async def _run_shard(self, shard_id: str, left: dict[str, None], worker: str) -> None:
        """Take portions of one shard until none of its ids is left, or the time is over."""
        remaining = self._remaining()
        timer = asyncio.timeout(None if remaining is None else remaining + _DEADLINE_MARGIN)
        try:
            async with timer:
                start: _Start | None = self._start(left)
                while left:
                    portion = await self._step(shard_id, start, worker)
                    for outcome in portion.outcomes:
                        if outcome.job_id in left:
                            del left[outcome.job_id]
                            self._put(outcome)
                    worker = portion.worker
                    start = self._start(left) if portion.must_start else None
                    await self._wait_for_room()
        except TimeoutError:
            if not timer.expired():  # it is an error of Dask
                raise
            elapsed = time.monotonic() - self._started
            for job_id in left:
                error = WaitTimeoutError(job_id, None, 0, elapsed)
                self._put(JobOutcome(job_id, None, error, 0, elapsed))

    def _start(self, left: Iterable[str]) -> _Start:
        return _Start(tuple(left), self._remaining(), self._settings)

    def _remaining(self) -> float | None:
        if self._timeout is None:
            return None
        return max(0.0, self._started + self._timeout - time.monotonic())

    def _put(self, outcome: JobOutcome) -> None:
        self._ready.append(outcome)
        self._news.set()

    async def _wait_for_room(self) -> None:
        while len(self._ready) > _MAX_READY:
            self._room.clear()
            await self._room.wait()

    async def _step(self, shard_id: str, start: _Start | None, worker: str) -> _Portion:
        future: Future[Any] = self._dask_client.submit(
            _take_portion,
            shard_id,
            start,
            pure=False,
            workers=[worker],
            allow_other_workers=True,  # when the worker is lost
            priority=1,  # before tasks of the caller that wait on the same worker
        )
        try:
            if not self._dask_client.asynchronous:
                await _wait_in_thread(future)
            portion = await self._call(future.result)
        finally:
            future.release()
        assert isinstance(portion, _Portion)  # noqa: S101 - for the type checker
        return portion

    async def _close_shards(self, shard_ids: list[str]) -> None:
        # What cannot be reached within the time is lost, or closes them by itself.
        with suppress(Exception):
            async with asyncio.timeout(_CLOSING_SECONDS):
                await self._call(self._dask_client.run, _close_shards, shard_ids, on_error="ignore")

    async def _call(self, function: Any, *args: Any, **kwargs: Any) -> Any:
        """Call a method of Dask that blocks, unless the client is asynchronous."""
        if self._dask_client.asynchronous:
            return await function(*args, **kwargs)
        return await asyncio.to_thread(function, *args, **kwargs)


async def _wait_in_thread(future: Future[Any]) -> None:
    """Wait for a future of a client that is not asynchronous, without occupying a thread."""
    loop = asyncio.get_running_loop()
    is_done = asyncio.Event()

    def on_done(_: Future[Any]) -> None:
        with suppress(RuntimeError):  # the loop is closed: the wait was given up
            loop.call_soon_threadsafe(is_done.set)

    future.add_done_callback(on_done)
    await is_done.wait()


# ------------------------------------------------------------------------------ on the workers


@attrs.define(eq=False)
class _Held:
    """A shard that a worker holds between steps."""

    stack: AsyncExitStack
    watch: JobWatch
    lapse: asyncio.TimerHandle | None = None


_held: dict[str, _Held] = {}
# Dask does not stop a step that is under way: shards that were closed for good.
_tombstones: dict[str, None] = {}
_closing: set[asyncio.Task[None]] = set()


async def _take_portion(shard_id: str, start: _Start | None) -> _Portion:
    worker: str = get_worker().address
    if start is not None:
        await _close_shard(shard_id)
        _held[shard_id] = await _open_watch(start)
    held = _held.get(shard_id)
    if held is None:
        return _Portion(worker, must_start=True)
    if held.lapse is not None:
        held.lapse.cancel()
    try:
        outcomes = await held.watch.take(_PORTION, within=_STEP_SECONDS)
    except BaseException:
        await _close_shard(shard_id)
        raise
    is_done = held.watch.done
    if is_done or shard_id in _tombstones:
        await _close_shard(shard_id)
    else:
        held.lapse = asyncio.get_running_loop().call_later(_LAPSE_SECONDS, _lapse, shard_id)
    return _Portion(worker, tuple(outcomes), must_start=is_done)


async def _open_watch(start: _Start) -> _Held:
    settings = ClientSettings(limits=start.settings.limits, options=start.settings.options)
    async with AsyncExitStack() as stack:
        client = await stack.enter_async_context(leased_client(settings))
        watch = client.as_completed(
            start.job_ids, timeout=start.timeout, strategy=start.settings.strategy
        )
        await stack.enter_async_context(watch)
        return _Held(stack.pop_all(), watch)


async def _close_shard(shard_id: str) -> None:
    held = _held.pop(shard_id, None)
    if held is not None:
        if held.lapse is not None:
            held.lapse.cancel()
        await held.stack.aclose()


async def _close_shards(shard_ids: Iterable[str]) -> None:
    for shard_id in shard_ids:
        _tombstones[shard_id] = None
        await _close_shard(shard_id)
    while len(_tombstones) > _MAX_TOMBSTONES:
        del _tombstones[next(iter(_tombstones))]


def _lapse(shard_id: str) -> None:
    task = asyncio.get_running_loop().create_task(_close_shard(shard_id))
    _closing.add(task)
    task.add_done_callback(_closing.discard)
