"""What programs do with a client, each kind once, and what the truth has to say about it.

The names of these functions are the words of the report. Whatever an errand ends with that it must
not end with is an exception; the crew that sends it counts them.
"""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from typing import Literal, TypeAlias

import attrs

from benchmarks import encoded_lives
from benchmarks.encoded_lives import Life
from benchmarks.troubled_server import now
from sieve_async import (
    ClientClosedError,
    FunctionVersion,
    InvalidArgumentError,
    Job,
    JobCancelledError,
    JobFailedError,
    JobOutcome,
    JobRestartedError,
    NotFoundError,
    SieveClient,
    SieveError,
    WaitTimeoutError,
)

_UNKNOWN = "nobody-bears-this-id"
Strategy: TypeAlias = Literal["poll", "long_poll", "sweep"]
_STRATEGIES: tuple[Strategy, ...] = ("poll", "long_poll", "sweep")


@attrs.define
class Ledger:
    """What was begun, and what became of it.

    Attributes:
        waits: How many waits were begun; each job of a watch is one.
        ended: How many of them ended with the truth.
        stopped: How many were broken off on purpose: by a deadline, a cancellation, a close.
        lost: How many did not end though their job did; an errand that hangs counts as one.
        duplicated: How many ended once more.
        wrong: How many ended otherwise than the truth, or before it.
        refused: Plain lookups that ended in an error, as some do when so much fails.
        reasons: What went wrong, in a word, and how often.
    """

    waits: int = 0
    ended: int = 0
    stopped: int = 0
    lost: int = 0
    duplicated: int = 0
    wrong: int = 0
    refused: int = 0
    reasons: Counter[str] = attrs.field(factory=Counter)

    def judge(self, life: Life, *, is_true: bool, reason: str) -> None:
        """Note the end of a wait; one that comes before its time is never true."""
        if is_true and now() >= life.ends_at - 1:
            self.ended += 1
        else:
            self.blame(reason)

    def blame(self, reason: str) -> None:
        """Note something that must not be."""
        self.wrong += 1
        self.reasons[reason] += 1

    def judge_job(self, life: Life, job: Job) -> None:
        """Note how a job ended: its status, and each of its outputs."""
        made = [life.output(life.runs - 1, place) for place in range(life.outputs)]
        is_true = (job.id, str(job.status)) == (life.id, life.end) and _texts(job.outputs) == made
        self.judge(life, is_true=is_true, reason="a job that is not as it ended")

    def judge_outcome(self, life: Life, outcome: JobOutcome) -> None:
        """Note an outcome of a watch."""
        if outcome.job is not None:
            self.judge_job(life, outcome.job)
        elif isinstance(outcome.error, WaitTimeoutError | ClientClosedError):
            self.stopped += 1
        else:
            self.blame(f"an outcome with {type(outcome.error).__name__}")


@attrs.frozen
class Errand:
    """What one errand has at hand.

    Attributes:
        client: The client, which others use at the same time.
        draws: What is drawn.
        ledger: Where to write.
        longest: The longest life, in milliseconds.
        open: Makes another client.
    """

    client: SieveClient
    draws: random.Random
    ledger: Ledger
    longest: int
    open: Callable[[], SieveClient]

    def job(self) -> Life:
        """A new job, for whom a wait begins."""
        self.ledger.waits += 1
        return self._life(encoded_lives.job)

    def build(self) -> Life:
        """A new build, for which a wait begins."""
        self.ledger.waits += 1
        return self._life(encoded_lives.build)

    def jobs(self) -> dict[str, Life]:
        """Some new jobs."""
        lives = [self.job() for _ in range(self.draws.randint(1, 40))]
        return {life.id: life for life in lives}

    def seconds(self) -> float:
        """A time in which some jobs end and others do not."""
        return self.draws.uniform(0, self.longest / 1000)

    def _life(self, draw: Callable[..., Life]) -> Life:
        number = self.draws.getrandbits(64)
        return draw(self.draws, now(), longest=self.longest, number=number)


async def one(errand: Errand) -> None:
    """Wait for a job."""
    life = errand.job()
    strategies: tuple[Literal["poll", "long_poll"], ...] = ("poll", "long_poll")
    strategy = errand.draws.choice(strategies)
    errand.ledger.judge_job(life, await errand.client.wait_for_job(life.id, strategy=strategy))


async def one_with_listener(errand: Errand) -> None:
    """Wait for a job and listen; an update is not told twice, nor one after the end."""
    life, heard = errand.job(), []

    async def listen(job: Job) -> None:
        heard.append((str(job.status), job.run_id, len(job.outputs)))
        await asyncio.sleep(0)

    job = await errand.client.wait_for_job(life.id, on_update=listen)
    is_heard = len(set(heard)) == len(heard) and heard[-1][0] == life.end
    if is_heard:
        errand.ledger.judge_job(life, job)
    else:
        errand.ledger.blame("updates that repeat or lack the end")


async def one_with_deadline(errand: Errand) -> None:
    """Wait for a job, but not for long."""
    life, timeout = errand.job(), errand.seconds()
    try:
        job = await errand.client.wait_for_job(life.id, timeout=timeout)
    except WaitTimeoutError as error:
        errand.ledger.stopped += 1
        if error.last is not None and error.last.status.is_terminal:
            errand.ledger.blame("a deadline that wins over the end")
    else:
        errand.ledger.judge_job(life, job)


async def one_cancelled(errand: Errand) -> None:
    """Wait for a job, and be cancelled."""
    life = errand.job()
    wait = asyncio.ensure_future(errand.client.wait_for_job(life.id))
    done, _ = await asyncio.wait([wait], timeout=errand.seconds())
    if done:
        errand.ledger.judge_job(life, wait.result())
        return
    wait.cancel()
    errand.ledger.stopped += 1
    await asyncio.wait([wait], timeout=10)
    if not wait.cancelled():
        errand.ledger.blame("a cancellation that was not passed on")


async def one_checked(errand: Errand) -> None:
    """Wait for a job that raises unless it finished."""
    life = errand.job()
    try:
        end = (await errand.client.wait_for_job(life.id, check=True)).status.value
    except JobFailedError:
        end = "error"
    except JobCancelledError:
        end = "cancelled"
    errand.ledger.judge(life, is_true=end == life.end, reason="a check that says otherwise")


async def unknown(errand: Errand) -> None:
    """Wait for a job that there is not."""
    errand.ledger.waits += 1
    try:
        await errand.client.wait_for_job(_UNKNOWN)
    except NotFoundError:
        errand.ledger.ended += 1
    else:
        errand.ledger.blame("a job that there is not")


async def many(errand: Errand) -> None:
    """Watch jobs until all have ended."""
    lives = errand.jobs()
    strategy = errand.draws.choice(_STRATEGIES)
    outcomes = errand.client.as_completed(lives, strategy=strategy)
    await _gather(errand, lives, outcomes, is_whole=True)


async def many_with_deadline(errand: Errand) -> None:
    """Watch jobs for a while: each has its outcome all the same."""
    lives = errand.jobs()
    strategy = errand.draws.choice(_STRATEGIES)
    outcomes = errand.client.as_completed(lives, strategy=strategy, timeout=errand.seconds())
    await _gather(errand, lives, outcomes, is_whole=True)


async def many_broken_off(errand: Errand) -> None:
    """Watch jobs and leave in the middle, by the door or through the window."""
    lives = errand.jobs()
    strategy = errand.draws.choice(_STRATEGIES)
    most = errand.draws.randint(0, len(lives))
    if errand.draws.random() < 0.5:
        async with errand.client.as_completed(_slowly(lives), strategy=strategy) as outcomes:
            await _gather(errand, lives, outcomes, most=most)
    else:  # dropped without a word
        await _gather(
            errand, lives, errand.client.as_completed(lives, strategy=strategy), most=most
        )


async def many_cancelled(errand: Errand) -> None:
    """Watch jobs, and be cancelled."""
    lives = errand.jobs()
    outcomes = errand.client.as_completed(lives, strategy=errand.draws.choice(_STRATEGIES))
    wait = asyncio.ensure_future(_gather(errand, lives, outcomes, is_whole=True))
    done, _ = await asyncio.wait([wait], timeout=errand.seconds())
    if done:
        wait.result()
        return
    wait.cancel()
    await asyncio.wait([wait], timeout=10)
    if not wait.cancelled():
        errand.ledger.blame("a cancellation that was not passed on")


async def many_in_order(errand: Errand) -> None:
    """Wait for a list with ids that stand there twice and one that is none."""
    lives = errand.jobs()
    ids = [*lives, "no id", next(iter(lives))]
    outcomes = await errand.client.wait_for_jobs(ids)
    if [outcome.job_id for outcome in outcomes] != ids:
        errand.ledger.blame("outcomes in another order")
    if not isinstance(outcomes[-2].error, InvalidArgumentError):
        errand.ledger.blame("an id that is none")
    for life, outcome in zip(lives.values(), outcomes, strict=False):
        errand.ledger.judge_outcome(life, outcome)


async def outputs(errand: Errand) -> None:
    """Stream the outputs of a job until its end, from each run anew."""
    life = errand.job()
    seen: list[str] = []
    end = "finished"
    try:
        async for output in errand.client.stream_outputs(life.id, on_restart="again"):
            seen.extend(_texts([output]))
    except JobFailedError:
        end = "error"
    except JobCancelledError:
        end = "cancelled"
    last = [life.output(life.runs - 1, place) for place in range(life.outputs)]
    before = seen[: len(seen) - len(last)]
    begun = [life.output(0, place) for place in range(len(before))] if life.runs > 1 else []
    is_true = (before, seen[len(before) :], end) == (begun, last, life.end)
    errand.ledger.judge(life, is_true=is_true, reason="outputs that are not those of the job")


async def outputs_broken_off(errand: Errand) -> None:
    """Stream outputs until one has had enough, or the job begins again."""
    life = errand.job()
    errand.ledger.stopped += 1
    most = errand.draws.randint(0, 5)
    try:
        async with errand.client.stream_outputs(life.id, timeout=errand.seconds()) as stream:
            async for _ in stream:
                most -= 1
                if most < 0:
                    break
    except JobRestartedError:
        if life.runs == 1:
            errand.ledger.blame("a restart that never was")
    except (JobFailedError, JobCancelledError, WaitTimeoutError):
        pass


async def build(errand: Errand) -> None:
    """Wait for a build, by its id or as the latest one."""
    life = errand.build()
    slug = errand.draws.choice((life.id, life.id[:4], "latest"))
    heard: list[FunctionVersion] = []
    version = await errand.client.wait_until_ready("soak", life.id, slug, on_update=heard.append)
    is_true = (version.id, str(version.build_status)) == (life.id, life.end)
    is_true = is_true and heard[-1] == version
    errand.ledger.judge(life, is_true=is_true, reason="a build that is not as it ended")


async def lookups(errand: Errand) -> None:
    """Look up what there is and what there is not."""
    life = encoded_lives.job(errand.draws, now(), longest=errand.longest, number=0)
    for call in (
        errand.client.get_job(life.id),
        errand.client.get_version("soak", life.id),
        errand.client.get_job(_UNKNOWN),
    ):
        await _look_up(errand, call)


async def another_client(errand: Errand) -> None:
    """Open a client, begin waits of all kinds, and close it before they end."""
    lives = errand.jobs()
    async with errand.open() as client:
        life = errand.job()
        wait = asyncio.ensure_future(client.wait_for_job(life.id))
        watch = asyncio.ensure_future(
            _gather(errand, lives, client.as_completed(lives), is_whole=True)
        )
        await asyncio.wait([wait, watch], timeout=errand.seconds())
    await asyncio.wait([wait, watch], timeout=10)
    watch.result()
    if wait.done() and wait.exception() is None:
        errand.ledger.judge_job(life, wait.result())
    elif wait.done() and isinstance(wait.exception(), ClientClosedError):
        errand.ledger.stopped += 1
    else:
        errand.ledger.blame("a wait that outlives its client")


ERRANDS: tuple[Callable[[Errand], Awaitable[None]], ...] = (
    *(one, one, one_with_listener, one_with_deadline, one_cancelled, one_checked, unknown),
    *(many, many_with_deadline, many_broken_off, many_cancelled, many_in_order),
    *(outputs, outputs, outputs_broken_off, build, lookups, another_client),
)


async def _gather(
    errand: Errand,
    lives: dict[str, Life],
    outcomes: AsyncIterator[JobOutcome],
    *,
    is_whole: bool = False,
    most: int | None = None,
) -> None:
    """Take outcomes, each of which must come once; all of them, if not told to stop before."""
    left = dict(lives)
    ledger = errand.ledger
    try:
        while left if most is None else most > 0:
            outcome = await anext(outcomes)
            life = left.pop(outcome.job_id, None)
            if life is None:
                ledger.duplicated += 1
            else:
                ledger.judge_outcome(life, outcome)
            most = None if most is None else most - 1
        if is_whole:
            ledger.duplicated += len([outcome async for outcome in outcomes])
    except StopAsyncIteration:
        ledger.lost += len(left)
        left.clear()
    finally:
        ledger.stopped += len(left)


async def _slowly(ids: Iterable[str]) -> AsyncIterator[str]:
    for job_id in ids:
        yield job_id
        await asyncio.sleep(0)


async def _look_up(errand: Errand, call: Awaitable[Job | FunctionVersion]) -> None:
    try:
        await call
    except SieveError:
        errand.ledger.refused += 1


def _texts(found: Iterable[object]) -> list[str]:
    return [str(getattr(output, "data", output)) for output in found]
