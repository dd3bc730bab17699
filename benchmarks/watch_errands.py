"""What programs do with watches of many jobs."""

import asyncio
from collections.abc import AsyncIterator, Iterable
from typing import Literal, TypeAlias

from benchmarks.encoded_lives import Life
from benchmarks.errand import Errand
from sieve_async import InvalidArgumentError, JobOutcome

Strategy: TypeAlias = Literal["poll", "long_poll", "list"]
_STRATEGIES: tuple[Strategy, ...] = ("poll", "long_poll", "list")


async def many(errand: Errand) -> None:
    """Watch jobs until all have ended."""
    lives = errand.jobs()
    strategy = errand.draws.choice(_STRATEGIES)
    outcomes = errand.client.as_completed(lives, strategy=strategy)
    await gather(errand, lives, outcomes, is_whole=True)


async def many_with_deadline(errand: Errand) -> None:
    """Watch jobs for a while: each has its outcome all the same."""
    lives = errand.jobs()
    strategy = errand.draws.choice(_STRATEGIES)
    outcomes = errand.client.as_completed(lives, strategy=strategy, timeout=errand.seconds())
    await gather(errand, lives, outcomes, is_whole=True)


async def many_broken_off(errand: Errand) -> None:
    """Watch jobs and leave in the middle, by the door or through the window."""
    lives = errand.jobs()
    strategy = errand.draws.choice(_STRATEGIES)
    most = errand.draws.randint(0, len(lives))
    if errand.draws.random() < 0.5:
        async with errand.client.as_completed(_slowly(lives), strategy=strategy) as outcomes:
            await gather(errand, lives, outcomes, most=most)
    else:  # dropped without a word
        await gather(errand, lives, errand.client.as_completed(lives, strategy=strategy), most=most)


async def many_cancelled(errand: Errand) -> None:
    """Watch jobs, and be cancelled."""
    lives = errand.jobs()
    outcomes = errand.client.as_completed(lives, strategy=errand.draws.choice(_STRATEGIES))
    wait = asyncio.ensure_future(gather(errand, lives, outcomes, is_whole=True))
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


async def gather(
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
