"""What `soak` does with a client: waits of each kind, checked against the timelines of their jobs.

The names of the functions are the words of the report. An exception that a function does not expect
is counted by its caller.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Any

import attrs

import sieve_async
from benchmarks.job_server import BUILD_STATUSES, JOB_STATUSES, Timeline, milliseconds
from sieve_async import Job, JobOutcome, SieveClient

_STOPPED = (sieve_async.WaitTimeoutError, sieve_async.ClientClosedError)


@attrs.define
class Results:
    """How many waits ended how; each job of a watch is a wait."""

    waits: int = 0
    right: int = 0  # as their job did
    stopped: int = 0  # on purpose: by a deadline, a cancellation, a close
    lost: int = 0  # not at all, though their job did
    duplicated: int = 0  # once more
    wrong: int = 0  # otherwise than their job, or before it
    reasons: Counter[str] = attrs.field(factory=Counter)

    def check(self, timeline: Timeline, *, is_right: bool, reason: str) -> None:
        """Record the end of a wait; one that comes too early is never right."""
        if is_right and milliseconds() >= timeline.completes - 1:
            self.right += 1
        else:
            self.add_wrong(reason)

    def add_wrong(self, reason: str) -> None:
        """Record something that must not happen."""
        self.wrong += 1
        self.reasons[reason] += 1

    def check_job(self, timeline: Timeline, job: Job) -> None:
        """Record a job as a wait returned it: its status, and each of its outputs."""
        made = [timeline.output(timeline.runs - 1, index) for index in range(timeline.outputs)]
        found = job.id, str(job.status), list(job.data)
        is_right = found == (timeline.id, timeline.status, made)
        self.check(timeline, is_right=is_right, reason="another job or another end")

    def check_outcome(self, timeline: Timeline, outcome: JobOutcome) -> None:
        """Record an outcome of a watch."""
        if outcome.job is not None:
            self.check_job(timeline, outcome.job)
        elif isinstance(outcome.error, _STOPPED):
            self.stopped += 1
        else:
            self.add_wrong(f"an outcome with {type(outcome.error).__name__}")


@attrs.frozen
class Context:
    """What each wait needs."""

    client: SieveClient  # others use it at the same time
    rng: random.Random
    results: Results
    longest: int  # the longest timeline, in milliseconds
    open: Callable[[], SieveClient]  # opens another client

    def job(self) -> Timeline:
        """A job that begins now, or did so a while ago."""
        self.results.waits += 1
        rng, longest = self.rng, self.longest
        return Timeline(
            status=rng.choices(JOB_STATUSES, (80, 12, 8))[0],
            created=int(milliseconds()) - rng.choice((0, 0, 0, longest // 2, 5 * longest)),
            queued=rng.choice((0, longest // 8, longest // 4)),
            run=rng.randint(0, longest * 3 // 4),
            runs=rng.choice((1, 1, 1, 1, 2)),
            outputs=rng.choice((0, 1, 1, 5, 20)),
            number=rng.getrandbits(64),
        )

    def build(self) -> Timeline:
        """A build that begins now."""
        self.results.waits += 1
        run = self.rng.randint(0, self.longest // 2)
        status, number = self.rng.choice(BUILD_STATUSES), self.rng.getrandbits(64)
        return Timeline(status, int(milliseconds()), self.longest // 8, run, number=number)

    def jobs(self) -> dict[str, Timeline]:
        """Some jobs."""
        jobs = [self.job() for _ in range(self.rng.randint(1, 40))]
        return {job.id: job for job in jobs}

    def seconds(self) -> float:
        """A time in which some jobs end and others do not."""
        return self.rng.uniform(0, self.longest / 1000)

    def watch(
        self, jobs: Iterable[str] | AsyncIterator[str], timeout: float | None = None
    ) -> AsyncIterator[JobOutcome]:
        """A watch with any strategy."""
        strategy: Any = self.rng.choice(("poll", "long_poll", "list"))
        return self.client.as_completed(jobs, strategy=strategy, timeout=timeout)


async def wait(context: Context) -> None:
    """Wait for a job."""
    job = context.job()
    strategy: Any = context.rng.choice(("poll", "long_poll"))
    context.results.check_job(job, await context.client.wait_for_job(job.id, strategy=strategy))


async def wait_with_callback(context: Context) -> None:
    """No update comes twice, and the last one is terminal."""
    job, updates = context.job(), []

    async def on_update(seen: Job) -> None:
        updates.append((str(seen.status), seen.run_id, len(seen.outputs)))
        await asyncio.sleep(0)

    found = await context.client.wait_for_job(job.id, on_update=on_update)
    if len(set(updates)) == len(updates) and updates[-1][0] == job.status:
        context.results.check_job(job, found)
    else:
        context.results.add_wrong("updates that repeat or lack the end")


async def wait_with_deadline(context: Context) -> None:
    """A terminal answer wins over the deadline."""
    job, timeout = context.job(), context.seconds()
    try:
        found = await context.client.wait_for_job(job.id, timeout=timeout)
    except sieve_async.WaitTimeoutError as error:
        context.results.stopped += 1
        if isinstance(error.last, Job) and error.last.is_terminal:
            context.results.add_wrong("a deadline that wins over a terminal answer")
    else:
        context.results.check_job(job, found)


async def wait_cancelled(context: Context) -> None:
    """A cancellation passes."""
    job = context.job()
    task = asyncio.ensure_future(context.client.wait_for_job(job.id))
    if await _is_cancelled(context, task):
        context.results.stopped += 1
    else:
        context.results.check_job(job, task.result())


async def outputs(context: Context) -> None:
    """Each output comes once, from each run anew."""
    job, seen, status = context.job(), [], "finished"
    try:
        async for output in context.client.stream_outputs(job.id, on_restart="continue"):
            parts = output if isinstance(output, tuple) else (output,)
            seen.extend([str(part.data) for part in parts])
    except (sieve_async.JobFailedError, sieve_async.JobCancelledError) as error:
        status = str(error.job.status)
    last = [job.output(job.runs - 1, index) for index in range(job.outputs)]
    count = len(seen) - len(last)
    first = [job.output(0, index) for index in range(count)] if job.runs > 1 else []
    is_right = (seen[:count], seen[count:], status) == (first, last, job.status)
    context.results.check(job, is_right=is_right, reason="outputs of another job")


async def outputs_stopped(context: Context) -> None:
    """A stream is left early, or ends with a restart."""
    job = context.job()
    context.results.stopped += 1
    try:
        async with context.client.stream_outputs(job.id, timeout=context.seconds()) as stream:
            async for _ in stream:
                if context.rng.random() < 0.2:
                    break
    except sieve_async.JobRestartedError:
        if job.runs == 1:
            context.results.add_wrong("a restart that did not happen")
    except (
        sieve_async.JobFailedError,
        sieve_async.JobCancelledError,
        sieve_async.WaitTimeoutError,
    ):
        pass


async def build(context: Context) -> None:
    """A build by its id, a prefix of it, or as the latest one."""
    timeline = context.build()
    slug = context.rng.choice((timeline.id, timeline.id[:4], "latest"))
    updates: list[sieve_async.FunctionVersion] = []
    version = await context.client.wait_until_ready(
        "soak", timeline.id, slug, on_update=updates.append
    )
    found = version.id, str(version.build_status), updates[-1] == version
    is_right = found == (timeline.id, timeline.status, True)
    context.results.check(timeline, is_right=is_right, reason="another end of a build")


async def watch(context: Context) -> None:
    """Each job has one outcome, with or without a deadline."""
    jobs, timeout = context.jobs(), context.rng.choice((None, context.seconds()))
    await _take(context, jobs, context.watch(jobs, timeout))


async def watch_stopped(context: Context) -> None:
    """A watch is left early, with its block or by dropping it."""
    jobs = context.jobs()
    count = context.rng.randint(0, len(jobs))
    if context.rng.random() < 0.5:
        async with context.client.as_completed(_one_by_one(jobs)) as outcomes:
            await _take(context, jobs, outcomes, count)
    else:
        await _take(context, jobs, context.watch(jobs), count)


async def watch_cancelled(context: Context) -> None:
    """A cancellation passes."""
    jobs = context.jobs()
    task = asyncio.ensure_future(_take(context, jobs, context.watch(jobs)))
    if not await _is_cancelled(context, task):
        task.result()


async def watch_in_order(context: Context) -> None:
    """A list of ids, of which one stands there twice and one is invalid."""
    jobs, results = context.jobs(), context.results
    ids = [*jobs, "no id", next(iter(jobs))]
    outcomes = await context.client.wait_for_jobs(ids)
    if [outcome.job_id for outcome in outcomes] != ids:
        results.add_wrong("outcomes in another order")
    if not isinstance(outcomes[-2].error, sieve_async.InvalidArgumentError):
        results.add_wrong("an outcome for an invalid id")
    for job, outcome in zip(jobs.values(), outcomes, strict=False):
        results.check_outcome(job, outcome)


async def client_closed(context: Context) -> None:
    """Waits end with their client."""
    jobs, job = context.jobs(), context.job()
    async with context.open() as client:
        single = asyncio.ensure_future(client.wait_for_job(job.id))
        many = asyncio.ensure_future(_take(context, jobs, client.as_completed(jobs)))
        await asyncio.wait([single, many], timeout=context.seconds())
    await asyncio.wait([single, many], timeout=10)
    many.result()
    try:
        context.results.check_job(job, single.result())
    except sieve_async.ClientClosedError:
        context.results.stopped += 1
    except asyncio.InvalidStateError:
        context.results.add_wrong("a wait that continues after its client was closed")


WORKLOAD: tuple[Callable[[Context], Awaitable[None]], ...] = (
    *(wait, wait, wait_with_callback, wait_with_deadline, wait_cancelled),
    *(outputs, outputs, outputs_stopped, build),
    *(watch, watch, watch_stopped, watch_cancelled, watch_in_order, client_closed),
)


async def _take(
    context: Context,
    jobs: dict[str, Timeline],
    outcomes: AsyncIterator[JobOutcome],
    count: int | None = None,
) -> None:
    """Take so many outcomes, or all; each must come once."""
    left, results = dict(jobs), context.results
    try:
        while left if count is None else count > 0:
            outcome = await anext(outcomes)
            job = left.pop(outcome.job_id, None)
            if job is None:
                results.duplicated += 1
            else:
                results.check_outcome(job, outcome)
            count = None if count is None else count - 1
        if count is None:
            results.duplicated += len([outcome async for outcome in outcomes])
    except StopAsyncIteration:
        results.lost += len(left)
        left.clear()
    finally:
        results.stopped += len(left)


async def _is_cancelled(context: Context, task: "asyncio.Future[Any]") -> bool:
    """Cancel a task that does not end by itself soon; False if it has ended."""
    done, _ = await asyncio.wait([task], timeout=context.seconds())
    if done:
        return False
    task.cancel()
    await asyncio.wait([task], timeout=10)
    if not task.cancelled():
        context.results.add_wrong("a cancellation that did not pass")
    return True


async def _one_by_one(ids: Iterable[str]) -> AsyncIterator[str]:
    for job_id in ids:
        yield job_id
        await asyncio.sleep(0)
