"""Where the ids of a watch come from: any source, with or without an end, also a broken one."""

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import timedelta
from typing import Any, Self

import pytest

from helpers.asserts import assert_no_more_requests, ids_of, yield_to_loop
from helpers.http_helpers import now
from helpers.leak_checks import KEY
from helpers.raw_server import (
    RawRequest,
    RawServer,
    Script,
    ScriptedServer,
    finished_job,
    job_document,
    respond,
)
from sieve_async import (
    ClientClosedError,
    InvalidArgumentError,
    Job,
    Limits,
    PollPolicy,
    SieveClient,
    WrongEventLoopError,
)
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime

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


async def test_any_source(sieve: FakeSieve, client: SieveClient) -> None:
    """Whatever iterates or iterates asynchronously is a source of ids; a list keeps its order."""
    for job_id in IDS:
        sieve.add_job(job_id)
    for kind, make in SOURCES.items():
        seen = [outcome async for outcome in client.as_completed(make())]
        listed = await client.wait_for_jobs(make())
        assert sorted(ids_of(seen)) == sorted(ids_of(listed)) == IDS
        assert all(outcome.ok for outcome in (*seen, *listed))
        assert kind == "set" or ids_of(listed) == IDS


async def test_no_ids(sieve: FakeSieve, client: SieveClient) -> None:
    """A source without ids has no outcomes, and costs no time and no request."""
    started = now()
    assert [outcome async for outcome in client.as_completed([])] == []
    assert [outcome async for outcome in client.as_completed(afterwards([]))] == []
    assert await client.wait_for_jobs(()) == []
    assert now() == pytest.approx(started + 0.1, abs=0.1)
    assert not sieve.requests


WRONG: list[dict[str, Any]] = [
    *({"timeout": bad} for bad in (-1, float("nan"), True, "5", timedelta(seconds=-1), 10**400)),
    *({"strategy": bad} for bad in ("push", "", None, 5, "POLL", ["poll"])),
    *({"polling": bad} for bad in (0.5, PollPolicy, "poll")),
]


async def test_wrong_arguments(sieve: FakeSieve, client: SieveClient) -> None:
    """What is no source, a single id above all, or another invalid argument is refused at once."""
    sources: list[Any] = ["job", b"job", 5, None, object(), str]
    for ids in sources:
        with pytest.raises(InvalidArgumentError):
            client.as_completed(ids)
        with pytest.raises(InvalidArgumentError):
            await client.wait_for_jobs(ids)
    for wrong in WRONG:
        with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
            client.as_completed(["a"], **wrong)
        with pytest.raises(InvalidArgumentError, match=next(iter(wrong))):
            await client.wait_for_jobs(["a"], **wrong)
    await yield_to_loop(5)
    assert not sieve.requests


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


@pytest.mark.parametrize("timeouts", [(None, None), (600, 900)])
async def test_two_calls_share_their_polls(
    sieve: FakeSieve, client: SieveClient, timeouts: tuple[float | None, float | None]
) -> None:
    """Two calls for the same ids, begun a second apart, poll once for both."""
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
    """A source that repeats its ids for long lets other tasks run."""
    sieve.add_job("a")
    turned = last = longest = taken = 0

    async def ticking() -> None:
        nonlocal turned
        while True:
            turned += 1
            await asyncio.sleep(0)

    def again() -> Iterator[str]:
        nonlocal last, longest, taken
        for _ in range(30_000):
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


@pytest.mark.parametrize("make", [at_once, afterwards])
async def test_source_that_raises(sieve: FakeSieve, make: Callable[..., Any]) -> None:
    """What a source raises ends the iterator, after the outcomes seen before, and the watches.

    However often sources raise, the next watch works as ever.
    """
    sieve.add_job("ended")
    sieve.add_job("running", processing=600)
    mine = SourceError("no more")
    limits = Limits(max_connections=2)
    async with SieveClient(KEY, base_url=sieve.url, limits=limits) as client:
        for ids in ([], ["ended"], ["ended", "running", "not/an/id"], ["running"], ["running"]):
            outcomes = client.as_completed(make(ids, mine))
            seen = []
            with pytest.raises(SourceError) as caught:  # noqa: PT012 - a loop is one statement
                async for outcome in outcomes:
                    seen.append(outcome)  # noqa: PERF401 - they are kept when the source raises
            assert caught.value is mine
            assert len(set(ids_of(seen))) == len(seen)
            assert "running" not in ids_of(seen)
            if make is afterwards:
                assert ids_of(seen) == [job_id for job_id in ids if job_id != "running"]
            with pytest.raises(StopAsyncIteration):
                await anext(outcomes)
            await assert_no_more_requests(client, sieve.requests)
        [outcome] = await client.wait_for_jobs(["ended"])
        assert outcome.ok


async def test_source_that_raises_after_the_deadline(sieve: FakeSieve) -> None:
    """What a source raises when the rest of it is read costs no outcome of the others."""

    class Broken:
        def __len__(self) -> int:
            return 10

        def __iter__(self) -> Iterator[str]:
            for number in range(4):
                yield sieve.add_job(f"{number}", processing=600)
            raise SourceError

    seen = []
    async with few(sieve, 2) as client:
        outcomes = client.as_completed(Broken(), timeout=5)
        with pytest.raises(SourceError):  # noqa: PT012 - a loop is one statement
            async for outcome in outcomes:
                seen.append(outcome)  # noqa: PERF401 - they are kept when the source raises
    assert ids_of(seen) == ["0", "1", "2", "3"]


class Source:
    """An async source of ids without end, whose cleanup takes a second.

    Args:
        job_ids: What it gives at first.
    """

    def __init__(self, *job_ids: str) -> None:
        self.is_closed = False
        self._job_ids = job_ids

    async def ids(self) -> AsyncIterator[str]:
        """The ids; then it waits."""
        try:
            for job_id in self._job_ids:
                yield job_id
            await asyncio.sleep(1e6)
        finally:
            await asyncio.sleep(0.5)
            await asyncio.sleep(0.5)
            self.is_closed = True


@pytest.mark.parametrize("way", ["deadline", "break", "close", "callback", "cancel"])
async def test_slow_cleanup(sieve: FakeSieve, way: str) -> None:
    """The cleanup of a source is never interrupted, and ends before the watch has."""
    source = Source(sieve.add_job(processing=1), sieve.add_job(processing=100))

    def on_update(job: Job) -> None:
        if way == "callback" and job.is_terminal:
            raise ValueError

    async def consume(client: SieveClient) -> None:
        watch = client.as_completed(
            source.ids(), timeout=5 if way == "deadline" else None, on_update=on_update
        )
        async with watch:
            async for _ in watch:
                if way == "break":
                    break
                if way == "close":
                    await client.close()
                    assert source.is_closed

    async with SieveClient(KEY, base_url=sieve.url) as client:
        with contextlib.suppress(ValueError, TimeoutError):
            await asyncio.wait_for(consume(client), 20)
        assert source.is_closed


class SilentSource:
    """An async source that never gives an id, and counts how often it is closed."""

    closed = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        await asyncio.Event().wait()
        raise AssertionError

    async def aclose(self) -> None:
        """Count."""
        self.closed += 1


async def test_source_of_a_watch_that_never_began(sieve: FakeSieve) -> None:
    """Closing a watch before its first step closes its source; so does one that cannot begin."""
    client = SieveClient(KEY, base_url=sieve.url)
    first, second, third = SilentSource(), SilentSource(), SilentSource()
    await client.as_completed(first).aclose()
    await client.close()
    with pytest.raises(ClientClosedError):
        async with client.as_completed(second):
            pass
    with pytest.raises(ClientClosedError):
        await anext(client.as_completed(third))
    assert (first.closed, second.closed, third.closed) == (1, 1, 1)


async def test_nudge_during_on_update(sieve: FakeSieve, client: SieveClient) -> None:
    """A job is not polled while the caller's function has its state; a nudge is kept."""
    job_id = sieve.add_job(queued=1, processing=5)
    running = 0
    seen: list[str] = []

    async def on_update(job: Job) -> None:
        nonlocal running
        running += 1
        seen.append(job.status)
        assert running == 1
        await asyncio.sleep(3)
        running -= 1

    async def nudge() -> None:
        for _ in range(8):
            await asyncio.sleep(0.7)
            assert client.nudge(job_id)

    nudging = asyncio.create_task(nudge())
    outcomes = await client.wait_for_jobs([job_id], on_update=on_update)
    await nudging
    assert outcomes[0].ok
    assert seen == ["queued", "processing", "finished"]


async def test_nudges_of_a_queued_job() -> None:
    """However often a job is nudged while it waits for a slot, it is polled once."""
    running = 0

    def reply(request: RawRequest) -> Script:
        if request.job_id == "slow":
            return [3.0, *finished_job("slow")]
        ended = request.times == 3
        return finished_job("a") if ended else respond(job_document("a", outputs=[{}]))

    async def on_update(_: Job) -> None:
        nonlocal running
        running += 1
        await asyncio.sleep(3)
        assert running == 1
        running -= 1

    limits = Limits(max_connections=1, polls_per_second=None)
    async with ScriptedServer(reply) as server, server.client(limits=limits) as client:
        slow = asyncio.create_task(client.get_job("slow"))
        await asyncio.sleep(0.1)
        waiting = asyncio.create_task(client.wait_for_jobs(["a"], on_update=on_update))
        await asyncio.sleep(0.1)
        assert all(client.nudge("a") for _ in range(5))
        await slow
        [outcome] = await waiting
        assert outcome.ok
        assert server.request_counts["a"] == 4


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
async def test_source_of_a_list_that_was_not_begun(client: SieveClient, turns: int) -> None:
    """The source of ``wait_for_jobs`` is closed, whenever the client is closed."""
    source = SilentSource()
    waiting = asyncio.create_task(client.wait_for_jobs(source))
    await yield_to_loop(turns)
    await client.close()
    await asyncio.gather(waiting, return_exceptions=True)
    assert source.closed == 1


@pytest.mark.parametrize("turns", [0, 1, 2, 3])
async def test_source_of_a_watch_that_was_not_begun(client: SieveClient, turns: int) -> None:
    """The source of ``as_completed`` is, too, without a block."""
    source = SilentSource()
    stepping = asyncio.create_task(anext(client.as_completed(source), None))
    await yield_to_loop(turns)
    await client.close()
    await asyncio.gather(stepping, return_exceptions=True)
    assert source.closed == 1


class StopRun(BaseException):
    """What ends a program, or a test of the caller's."""


async def test_source_that_ends_the_program(sieve: FakeSieve, client: SieveClient) -> None:
    """A BaseException of a source reaches the caller that iterates."""
    sieve.add_job("a", processing=600)

    async def source() -> AsyncIterator[str]:
        yield "a"
        await asyncio.sleep(3)
        raise StopRun

    outcomes = client.as_completed(source())
    async with asyncio.timeout(60):
        with pytest.raises(StopRun):
            await anext(outcomes)
    assert [outcome async for outcome in outcomes] == []
    await assert_no_more_requests(client, sieve.requests)


@pytest.mark.parametrize("gathered", [False, True])
async def test_source_with_an_iterator_of_its_own(
    sieve: FakeSieve, client: SieveClient, *, gathered: bool
) -> None:
    """The source is closed, not only what iterates over it."""
    closed: list[str] = []

    class Rows:
        async def aclose(self) -> None:
            closed.append("rows")

        async def __aiter__(self) -> AsyncIterator[str]:
            yield "a"

    sieve.add_job("a")
    if gathered:
        await client.wait_for_jobs(Rows())
    else:
        assert [each.ok async for each in client.as_completed(Rows())] == [True]

    assert closed == ["rows"]


@pytest.mark.parametrize("ends", ["left", "closed"])
async def test_source_that_is_cancelled_by_its_own_timeout(
    sieve: FakeSieve, client: SieveClient, ends: str
) -> None:
    """A source ends with its watch, also when a timeout of its own fires in the same turn."""
    sieve.add_job("a", processing=600)
    queue = asyncio.Queue[str]()
    queue.put_nowait("a")

    async def source() -> AsyncIterator[str]:
        while True:
            try:
                async with asyncio.timeout(0.5):
                    job_id = await queue.get()
            except TimeoutError:
                continue
            yield job_id

    async with asyncio.timeout(60):
        async with client.as_completed(source()):
            await asyncio.sleep(1.0)
            if ends == "closed":
                await client.close()

    assert now() == 1.0


class CountingSource:
    """A source of ids that counts how often it was closed."""

    def __init__(self) -> None:
        self.closed = 0

    def __aiter__(self) -> AsyncIterator[str]:
        return self

    async def __anext__(self) -> str:
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Count this."""
        self.closed += 1


@pytest.mark.parametrize("fails", [False, True])
async def test_a_source_is_closed_once(client: SieveClient, *, fails: bool) -> None:
    """However often a watch that never began is closed."""
    source = CountingSource()
    watch = client.as_completed(source)
    if fails:
        await client.close()
        with pytest.raises(ClientClosedError):
            await anext(watch)
    await watch.aclose()
    await watch.aclose()
    assert source.closed == 1


@pytest.mark.looptime
async def test_ids_are_kept_when_a_watch_cannot_begin() -> None:
    """A first step on the wrong loop raises; on the right one all jobs are watched."""
    async with RawServer(finished_job("a")) as server, server.client() as client:
        await client.get_job("a")
        watch = client.as_completed(["a"])

        async def step() -> None:
            await anext(watch)

        with pytest.raises(WrongEventLoopError):
            await asyncio.to_thread(asyncio.run, step())
        ended = [outcome.job_id async for outcome in watch]

    assert ended == ["a"]


class _Lock:
    """A source that holds something until it is closed."""

    closed = 0

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> str:
        await asyncio.sleep(3600)
        raise StopAsyncIteration

    async def aclose(self) -> None:
        """Count it."""
        self.closed += 1


@pytest.mark.looptime
async def test_a_source_is_closed_when_its_reader_never_began() -> None:
    """As when an event loop that shuts down cancels all tasks at once."""
    source = _Lock()
    async with RawServer(finished_job("a")) as server, server.client() as client:
        watch = client.as_completed(source)
        async with watch:
            for task in server.foreign_tasks():
                task.cancel()
            await asyncio.sleep(0)
        closed = source.closed
        await watch.aclose()

    assert (closed, source.closed) == (1, 1)


async def _ids() -> AsyncIterator[str]:
    yield "a"


@pytest.mark.looptime
@pytest.mark.parametrize("pause", [None, 0.1])
async def test_collect_takes_all_of_a_watch(pause: float | None) -> None:
    """Of a watch that has begun it would lose what was taken from the source before."""
    async with RawServer(finished_job("a")) as server, server.client() as client:
        sources: list[Any] = [["a"], iter(["a"]), _ids()]
        for source in sources:
            async with client.as_completed(source) as watch:
                if pause is not None:
                    await asyncio.sleep(pause)
                with pytest.raises(InvalidArgumentError, match="begun"):
                    await watch.collect()
                ended = [outcome.job_id async for outcome in watch]
            assert ended == ["a"]
