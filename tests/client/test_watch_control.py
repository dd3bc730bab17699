"""Watches from outside: counts, pending, take, done, callbacks and nudges."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from helpers.asserts import ids_of
from helpers.http_helpers import now
from sieve_async import InvalidArgumentError, Job, JobStatus, Limits, SieveClient, WaitTimeoutError
from sieve_async.testing import FakeSieve


@pytest.mark.looptime
async def test_counts_and_pending(sieve: FakeSieve, client: SieveClient) -> None:
    """Each job is counted once: by its status while pending, then by that of its outcome."""
    ends = ["a", "b", "c"]
    sieve.add_job("a", queued=20, processing=20)
    sieve.add_job("b", queued=20, processing=20, status="error")
    sieve.add_job("c", queued=20, processing=20, status="cancelled")
    watch = client.as_completed([*ends, "missing", "no id"])

    async with watch:
        await asyncio.sleep(10)
        assert watch.counts() == {"queued": 3, "NotFoundError": 1, "InvalidArgumentError": 1}
        pending = watch.pending()
        assert {job.job_id: job.status for job in pending} == dict.fromkeys(ends, JobStatus.QUEUED)
        assert all(9 <= job.elapsed <= 10 for job in pending)
        await asyncio.sleep(20)
        assert watch.counts()["processing"] == 3
        await asyncio.sleep(20)
        assert not watch.pending()
        counts = watch.counts()
        assert len([outcome async for outcome in watch]) == 5
        assert watch.done
        assert (
            watch.counts()
            == counts
            == {
                "finished": 1,
                "error": 1,
                "cancelled": 1,
                "NotFoundError": 1,
                "InvalidArgumentError": 1,
            }
        )


@pytest.mark.looptime
async def test_counts_at_the_deadline(sieve: FakeSieve, client: SieveClient) -> None:
    """What the deadline ends is counted by its error once it is handed out."""
    ids = [sieve.add_job(processing=3600) for _ in range(7)]
    async with client.as_completed([*ids, sieve.add_job(processing=5)], timeout=20) as watch:
        outcomes = [outcome async for outcome in watch]
        assert watch.counts() == {"finished": 1, "WaitTimeoutError": 7}
    assert len(outcomes) == 8


@pytest.mark.looptime
async def test_take(sieve: FakeSieve, client: SieveClient) -> None:
    """A portion holds what comes in time, at most so many, and nothing is lost between portions."""
    ids = [sieve.add_job(f"j{n}", processing=10 * n) for n in range(6)]
    watch = client.as_completed(ids)

    assert ids_of(await watch.take(within=5)) == ["j0"]
    assert now() == 5
    assert await watch.take(within=0) == []
    assert ids_of(await watch.take(max_items=1, within=100)) == ["j1"]
    assert now() <= 12
    taking = asyncio.ensure_future(watch.take(max_items=9, within=100))
    await asyncio.sleep(20)
    taking.cancel()
    await asyncio.gather(taking, return_exceptions=True)
    rest = await watch.take(within=None)
    assert ids_of(rest) == ["j2", "j3", "j4", "j5"]
    assert now() <= 56
    assert watch.done
    assert await watch.take() == []
    await watch.aclose()
    assert await watch.take() == []


@pytest.mark.looptime
@pytest.mark.parametrize("count", [0, -1, 1.5, True, None])
async def test_invalid_portions(client: SieveClient, count: object) -> None:
    """A portion needs room for one outcome."""
    with pytest.raises(InvalidArgumentError, match="max_items"):
        await client.as_completed([]).take(count)  # type: ignore[arg-type]
    with pytest.raises(InvalidArgumentError, match="within"):
        await client.as_completed([]).take(within=-1)


@pytest.mark.looptime
async def test_take_raises_what_the_source_raises(sieve: FakeSieve, client: SieveClient) -> None:
    """The outcomes so far come first, then the error of the source, once."""
    sieve.add_job("a")

    async def source() -> AsyncIterator[str]:
        yield "a"
        await asyncio.sleep(5)
        raise LookupError

    watch = client.as_completed(source())
    assert ids_of(await watch.take(within=20)) == ["a"]
    with pytest.raises(LookupError):
        await watch.take()
    assert await watch.take() == []


@pytest.mark.looptime
@pytest.mark.parametrize("kind", ["plain", "async"])
async def test_updates(sieve: FakeSieve, client: SieveClient, kind: str) -> None:
    """The callback gets the first state and each change, the terminal one before the outcome."""
    sieve.add_job("a", queued=10, processing=10, outputs=["x", "y"], streams=True)
    seen: list[tuple[JobStatus, int]] = []

    def plain(job: Job) -> None:
        seen.append((job.status, len(job.outputs)))

    async def waiting(job: Job) -> None:
        await asyncio.sleep(1)
        plain(job)

    callback = plain if kind == "plain" else waiting
    outcomes = await client.wait_for_jobs(["a", "a"], on_update=callback)

    assert [outcome.ok for outcome in outcomes] == [True, True]
    assert seen[0] == (JobStatus.QUEUED, 0)
    assert seen[-1] == (JobStatus.FINISHED, 2)
    assert len(seen) == len(set(seen)) >= 4


@pytest.mark.looptime
async def test_update_that_raises_ends_its_watch(sieve: FakeSieve, client: SieveClient) -> None:
    """What a callback raises ends its own watch unchanged, and no other."""
    ids = [sieve.add_job(f"j{n}", processing=10 + n) for n in range(5)]

    def callback(job: Job) -> None:
        if job.status.is_terminal:
            raise LookupError(job.id)

    other = asyncio.ensure_future(client.wait_for_jobs(ids))
    with pytest.raises(LookupError, match="j0"):
        await client.wait_for_jobs(ids, on_update=callback)
    assert all(outcome.ok for outcome in await other)


@pytest.mark.looptime
async def test_slow_update_holds_up_no_other(sieve: FakeSieve) -> None:
    """A callback that waits holds no slot, and only its own job."""
    ids = [sieve.add_job(f"j{n}", processing=10) for n in range(10)]

    async def callback(job: Job) -> None:
        if job.id == "j0":
            await asyncio.sleep(1000)

    async with SieveClient(
        sieve.api_key, base_url=sieve.url, limits=Limits(max_connections=1)
    ) as client:
        times = {
            outcome.job_id: now() async for outcome in client.as_completed(ids, on_update=callback)
        }
    assert max(at for job_id, at in times.items() if job_id != "j0") <= 12
    assert times["j0"] >= 1000


@pytest.mark.looptime
async def test_terminal_answer_during_a_callback(sieve: FakeSieve, client: SieveClient) -> None:
    """An answer that has arrived wins over the deadline, whatever a callback does meanwhile."""
    sieve.add_job("a", processing=5)

    async def callback(job: Job) -> None:
        if job.status.is_terminal:
            await asyncio.sleep(60)

    [outcome] = await client.wait_for_jobs(["a"], on_update=callback, timeout=10)

    assert outcome.ok


async def read_outputs(client: SieveClient) -> list[object]:
    """The outputs of a job."""
    return [output async for output in client.stream_outputs("a")]


WAYS: dict[str, Callable[[SieveClient], Awaitable[object]]] = {
    "watch": lambda client: client.wait_for_jobs(["a"]),
    "list": lambda client: client.wait_for_jobs(["a"], strategy="list"),
    "long_poll": lambda client: client.wait_for_jobs(["a"], strategy="long_poll"),
    "wait": lambda client: client.wait_for_job("a"),
    "hold": lambda client: client.wait_for_job("a", strategy="long_poll"),
    "stream": read_outputs,
}


@pytest.mark.looptime
@pytest.mark.parametrize("how", WAYS)
async def test_nudge(sieve: FakeSieve, client: SieveClient, how: str) -> None:
    """A nudge makes the next poll due now, and the next ones follow soon."""
    sieve.add_job("a", by="manual")
    waiting = asyncio.ensure_future(WAYS[how](client))
    await asyncio.sleep(1000)
    before = sieve.requests_for("a")

    assert client.nudge("a")
    await asyncio.sleep(0.1)
    held = how in {"hold", "long_poll"}  # the next long poll follows the plain one
    assert sieve.requests_for("a") == before + 1 + held
    sieve.job("a").finish()
    await asyncio.sleep(1)
    assert waiting.done()
    assert not client.nudge("a")
    assert not client.nudge("nothing-waits-for-it")


async def test_nudge_of_no_id(client: SieveClient) -> None:
    """A nudge checks its id."""
    with pytest.raises(InvalidArgumentError):
        client.nudge("a/b")


@pytest.mark.looptime
async def test_outcomes_tell_their_cost(sieve: FakeSieve, client: SieveClient) -> None:
    """Outcomes hold the number of polls and the seconds since the watch took the id."""
    sieve.add_job("a", processing=30)

    async def late() -> AsyncIterator[str]:
        await asyncio.sleep(10)
        yield "a"

    [outcome] = await client.wait_for_jobs(late())
    assert outcome.polls == sieve.requests_for("a")
    assert 20 <= outcome.elapsed <= 22
    assert outcome.is_final

    [outcome] = await client.wait_for_jobs([sieve.add_job(processing=99)], timeout=10)
    assert isinstance(outcome.error, WaitTimeoutError)
    assert (outcome.status, outcome.is_final) == ("WaitTimeoutError", False)
    assert outcome.elapsed == pytest.approx(10, abs=0.1)
    assert outcome.error.last is not None
