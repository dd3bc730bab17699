"""What programs do with a client, each kind once, and what the truth has to say about it.

The names of these functions are the words of the report. Whatever an errand ends with that it must
not end with is an exception; the crew that sends it counts them.
"""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Literal

from benchmarks import encoded_lives
from benchmarks.errand import Errand
from benchmarks.ledger import texts
from benchmarks.troubled_server import now
from benchmarks.watch_errands import (
    gather,
    many,
    many_broken_off,
    many_cancelled,
    many_in_order,
    many_with_deadline,
)
from sieve_async import (
    ClientClosedError,
    FunctionVersion,
    Job,
    JobCancelledError,
    JobFailedError,
    JobRestartedError,
    NotFoundError,
    SieveError,
    WaitTimeoutError,
)

_UNKNOWN = "nobody-bears-this-id"


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


async def outputs(errand: Errand) -> None:
    """Stream the outputs of a job until its end, from each run anew."""
    life = errand.job()
    seen: list[str] = []
    end = "finished"
    try:
        async for output in errand.client.stream_outputs(life.id, on_restart="continue"):
            seen.extend(texts([output]))
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
            gather(errand, lives, client.as_completed(lives), is_whole=True)
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


async def _look_up(errand: Errand, call: Awaitable[Job | FunctionVersion]) -> None:
    try:
        await call
    except SieveError:
        errand.ledger.refused += 1
