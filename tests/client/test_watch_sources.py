"""Where the ids of many jobs come from: any source, with or without an end, also a broken one."""

import asyncio
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from helpers.asserts import assert_no_more_requests, ids_of, yield_to_loop
from helpers.http_helpers import now
from helpers.leak_checks import KEY
from sieve_async import InvalidArgumentError, Limits, PollPolicy, SieveClient
from sieve_async.testing import FakeSieve

IDS = ["a", "b", "c"]


def few(sieve: FakeSieve, max_pending_jobs: int) -> SieveClient:
    """A client that watches only so many at once."""
    limits = Limits(max_pending_jobs=max_pending_jobs, polls_per_second=None)
    return SieveClient(KEY, base_url=sieve.url, limits=limits)


async def afterwards(ids: list[str], error: BaseException | None = None) -> AsyncIterator[str]:
    """The ids one by one, each after a moment, and then the error."""
    for job_id in ids:
        await asyncio.sleep(0.1)
        yield job_id
    await asyncio.sleep(0.1)
    if error is not None:
        raise error


def at_once(ids: list[str], error: BaseException) -> Iterator[str]:
    """The ids, and then the error."""
    yield from ids
    raise error


class Plain:
    """An iterable that has no length and is no generator."""

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def __iter__(self) -> Iterator[str]:
        return iter(IDS)


SOURCES: dict[str, Callable[[], Any]] = {
    "list": lambda: IDS,
    "tuple": lambda: tuple(IDS),
    "set": lambda: set(IDS),
    "dict": lambda: dict.fromkeys(IDS),
    "keys": lambda: dict.fromkeys(IDS).keys(),
    "iterator": lambda: iter(IDS),
    "generator": lambda: (job_id for job_id in IDS),
    "map": lambda: map(str, IDS),
    "iterable": Plain,
    "async generator": lambda: afterwards(IDS),
}


@pytest.mark.looptime
@pytest.mark.parametrize("kind", SOURCES)
async def test_any_source(sieve: FakeSieve, client: SieveClient, kind: str) -> None:
    """Whatever iterates or iterates asynchronously is a source of ids."""
    for job_id in IDS:
        sieve.add_job(job_id, processing=5)

    seen = [outcome async for outcome in client.as_completed(SOURCES[kind]())]

    assert sorted(ids_of(seen)) == IDS
    assert all(outcome.ok for outcome in seen)


@pytest.mark.parametrize("kind", [kind for kind in SOURCES if not kind.startswith("async")])
async def test_any_source_in_order(sieve: FakeSieve, client: SieveClient, kind: str) -> None:
    """``wait_for_jobs`` takes any iterable, and answers in its order."""
    for job_id in IDS:
        sieve.add_job(job_id)

    listed = await client.wait_for_jobs(SOURCES[kind]())

    assert sorted(ids_of(listed)) == IDS
    if kind != "set":
        assert ids_of(listed) == IDS


@pytest.mark.looptime
async def test_no_ids(sieve: FakeSieve, client: SieveClient) -> None:
    """A source without ids has no outcomes, and costs no time and no request."""
    started = now()

    assert [outcome async for outcome in client.as_completed([])] == []
    assert [outcome async for outcome in client.as_completed(afterwards([]))] == []
    assert await client.wait_for_jobs(()) == []

    assert now() == pytest.approx(started + 0.1)
    assert not sieve.requests


@pytest.mark.parametrize(
    "ids",
    ["job", b"job", 5, None, object(), str],
    ids=["text", "bytes", "number", "none", "object", "class"],
)
async def test_no_source(sieve: FakeSieve, client: SieveClient, ids: Any) -> None:
    """What is no source of ids, a single id above all, is refused by the call itself."""
    with pytest.raises(InvalidArgumentError):
        client.as_completed(ids)
    with pytest.raises(InvalidArgumentError):
        await client.wait_for_jobs(ids)

    assert not sieve.requests


WRONG: list[dict[str, Any]] = [
    *({"timeout": bad} for bad in (-1, float("nan"), True, "5", timedelta(seconds=-1), 10**400)),
    *({"strategy": bad} for bad in ("push", "", None, 5, "POLL", ["poll"])),
    *({"polling": bad} for bad in (0.5, PollPolicy, "poll")),
]


@pytest.mark.parametrize("wrong", WRONG, ids=lambda wrong: str(wrong)[:40])
async def test_wrong_arguments(
    sieve: FakeSieve, client: SieveClient, wrong: dict[str, Any]
) -> None:
    """Arguments that cannot be right are refused by the call itself, before anything is sent."""
    with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
        client.as_completed(["a"], **wrong)
    with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
        await client.wait_for_jobs(["a"], **wrong)

    await yield_to_loop(5)
    assert not sieve.requests


@pytest.mark.looptime
async def test_equal_ids(sieve: FakeSieve, client: SieveClient) -> None:
    """Equal ids are watched once: one outcome by their end, one for each place in the list."""
    sieve.add_job("a", processing=30)
    sieve.add_job("b")
    policy = PollPolicy(min_interval=10, growth=0, jitter=0)

    seen = [outcome async for outcome in client.as_completed(["a", "b", "a", "a"], polling=policy)]
    listed = await client.wait_for_jobs(["a", "b", "a", "x/", "x/"], polling=policy)

    assert ids_of(seen) == ["b", "a"]
    assert ids_of(listed) == ["a", "b", "a", "x/", "x/"]
    assert [outcome.ok for outcome in listed] == [True, True, True, False, False]
    assert sieve.requests_for("a") == 4 + 1
    assert sieve.requests_for("b") == 2


@pytest.mark.looptime
@pytest.mark.parametrize("timeouts", [(None, None), (600, 600), (600, None), (600, 900)])
async def test_two_calls_share_their_looks(
    sieve: FakeSieve, client: SieveClient, timeouts: tuple[float | None, float | None]
) -> None:
    """Two calls for the same ids, begun a second apart, look once for both."""
    for job_id in IDS:
        sieve.add_job(job_id, processing=100.5)
    policy = PollPolicy(min_interval=10, growth=0, jitter=0)

    async def later() -> list[str]:
        await asyncio.sleep(1)
        return ids_of(await client.wait_for_jobs(IDS, polling=policy, timeout=timeouts[1]))

    first, second = await asyncio.gather(
        client.wait_for_jobs(IDS, polling=policy, timeout=timeouts[0]), later()
    )

    assert ids_of(first) == second == IDS
    assert [sieve.requests_for(job_id) for job_id in IDS] == [12, 12, 12]


@pytest.mark.looptime
@pytest.mark.parametrize("is_async", [False, True])
async def test_unbounded_source(sieve: FakeSieve, is_async: bool) -> None:  # noqa: FBT001
    """Of a source without end, ids are taken only as outcomes make room; untaken ones count."""
    taken: list[str] = []

    def endless() -> Iterator[str]:
        for _ in itertools.count():
            taken.append(sieve.add_job(processing=5))
            yield taken[-1]

    async def endless_later() -> AsyncIterator[str]:
        for job_id in endless():
            await asyncio.sleep(0)
            yield job_id

    async with few(sieve, 10) as client:
        source = endless_later() if is_async else endless()
        async with client.as_completed(source) as outcomes:
            await asyncio.sleep(60)
            assert (len(taken), client.stats.waits) == (10, 0)

            for number in range(1, 31):
                outcome = await anext(outcomes)
                assert outcome.ok
                await yield_to_loop(10)
                assert len(taken) == 10 + number
        await assert_no_more_requests(client, sieve.requests)


async def test_ids_that_come_again_let_the_loop_turn(sieve: FakeSieve, client: SieveClient) -> None:
    """A source that repeats its ids for long keeps nobody else from running."""
    sieve.add_job("a")
    turned = last = longest = taken = 0

    async def ticking() -> None:
        nonlocal turned
        while True:
            turned += 1
            await asyncio.sleep(0)

    def again() -> Iterator[str]:
        nonlocal last, longest, taken
        for _ in range(100_000):
            taken, last = (0, turned) if turned != last else (taken + 1, last)
            longest = max(longest, taken)
            yield "a"

    ticker = asyncio.create_task(ticking())
    seen = [outcome async for outcome in client.as_completed(again())]
    ticker.cancel()

    assert ids_of(seen) == ["a"]
    assert longest <= 10_000


class SourceError(Exception):
    """The error of a source."""


BROKEN: dict[str, Callable[[list[str], SourceError], Any]] = {
    "at once": at_once,
    "later": afterwards,
}


@pytest.mark.looptime
@pytest.mark.parametrize("kind", BROKEN)
@pytest.mark.parametrize("ids", [[], ["ended"], ["ended", "running", "not/an/id"]], ids=len)
async def test_source_that_raises(
    sieve: FakeSieve, client: SieveClient, kind: str, ids: list[str]
) -> None:
    """What a source raises ends the iterator, after the outcomes seen before, and the watches."""
    sieve.add_job("ended")
    sieve.add_job("running", processing=600)
    mine = SourceError("no more")
    outcomes = client.as_completed(BROKEN[kind](ids, mine))
    seen = []

    with pytest.raises(SourceError) as caught:  # noqa: PT012 - a loop is one statement
        async for outcome in outcomes:
            seen.append(outcome)  # noqa: PERF401 - the error would take a comprehension along

    assert caught.value is mine
    assert len({outcome.job_id for outcome in seen}) == len(seen)
    assert "running" not in ids_of(seen)
    if kind == "later":
        assert ids_of(seen) == [job_id for job_id in ids if job_id != "running"]
    with pytest.raises(StopAsyncIteration):
        await anext(outcomes)
    await assert_no_more_requests(client, sieve.requests)


@pytest.mark.parametrize("kind", BROKEN)
async def test_broken_sources_cost_no_slot(sieve: FakeSieve, kind: str) -> None:
    """However often sources raise, the next watch and the next lookup work as ever."""
    sieve.add_job("a")
    limits = Limits(max_connections=2, polls_per_second=None)
    async with SieveClient(KEY, base_url=sieve.url, limits=limits) as client:
        for _ in range(5):
            with pytest.raises(SourceError):
                async for _outcome in client.as_completed(BROKEN[kind](["a"], SourceError())):
                    pass

        async with asyncio.timeout(5):
            [outcome] = await client.wait_for_jobs(["a"])
        assert outcome.ok
