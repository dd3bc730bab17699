"""Who may send when: slots, the queue, and the pauses that a server asks for."""

import asyncio
import itertools

import pytest

from helpers.http_helpers import now
from helpers.raw_server import RawServer, job_json, respond
from sieve_async import (
    ClientClosedError,
    Limits,
    RateLimitError,
    RetryPolicy,
    SieveClient,
    WaitTimeoutError,
)
from sieve_async.gate import Gate
from sieve_async.testing import FakeSieve

THROTTLED = RateLimitError(429, retry_after=10)


def gate(*, slots: int = 1, steady_rate: float | None = None) -> Gate:
    """A gate on the clock of the loop."""
    return Gate(slots=slots, steady_rate=steady_rate, clock=now)


async def pass_through(
    one: Gate, name: int, left: list[tuple[int, float]], seconds: float = 0.0
) -> None:
    """Go in, stay for some time, and leave."""
    ticket = await one.enter()
    assert ticket is not None
    left.append((name, now()))
    await asyncio.sleep(seconds)
    one.leave(ticket)


@pytest.mark.looptime
async def test_first_come_first_served() -> None:
    """Those who queue go in the order in which they came, never more than there are slots."""
    one = gate(slots=3)
    entered: list[tuple[int, float]] = []

    await asyncio.gather(*(pass_through(one, name, entered, 1.0) for name in range(9)))

    assert [name for name, _ in entered] == list(range(9))
    assert [at for _, at in entered] == [0, 0, 0, 1, 1, 1, 2, 2, 2]
    assert one.in_flight == one.queued == 0


@pytest.mark.looptime
async def test_newcomers_do_not_overtake() -> None:
    """A slot that becomes free goes to the queue, also when somebody asks in the same turn."""
    one = gate()
    entered: list[tuple[int, float]] = []
    first = await one.enter()
    waiting = asyncio.create_task(pass_through(one, 1, entered))
    await asyncio.sleep(1)

    assert first is not None
    one.leave(first)
    newcomer = asyncio.create_task(pass_through(one, 2, entered))
    await asyncio.gather(waiting, newcomer)

    assert [name for name, _ in entered] == [1, 2]


@pytest.mark.looptime
async def test_deadline_in_the_queue() -> None:
    """Whoever queues until its deadline goes away without a ticket, and takes no slot along."""
    one = gate()
    ticket = await one.enter()

    late = await one.enter(deadline=now() + 5)

    assert late is None
    assert now() == 5
    assert ticket is not None
    one.leave(ticket)
    assert one.in_flight == 0
    assert await one.enter() is not None


@pytest.mark.looptime
async def test_cancelled_in_the_turn_of_the_slot() -> None:
    """A slot that is granted to somebody who is cancelled in the same turn is not lost."""
    one = gate()
    ticket = await one.enter()
    waiting = asyncio.create_task(one.enter())
    next_one = asyncio.create_task(one.enter())
    await asyncio.sleep(1)

    assert ticket is not None
    one.leave(ticket)
    waiting.cancel()
    await asyncio.gather(waiting, return_exceptions=True)

    assert waiting.cancelled()
    assert await next_one is not None
    assert one.in_flight == 1


@pytest.mark.looptime
async def test_pause_then_one_then_the_others_spread() -> None:
    """After a pause one request goes first; the others follow spread over a quarter of it."""
    one = gate(slots=64)
    entered: list[tuple[int, float]] = []
    one.hold(100, THROTTLED)

    await asyncio.gather(*(pass_through(one, name, entered, 0.5) for name in range(50)))

    times = [at for _, at in entered]
    assert times[0] == 100
    assert times[1] >= 100.5  # the first was back by then
    assert 100 + 15 <= times[-1] <= 100 + 35
    gaps = [later - earlier for earlier, later in itertools.pairwise(times[1:])]
    assert max(gaps) < 1
    assert [name for name, _ in entered] == list(range(50))
    await asyncio.sleep(60)
    assert await one.enter() is not None  # and then there is no pace any more
    started = now()
    await asyncio.gather(*(pass_through(one, name, entered) for name in range(30)))
    assert now() == started


@pytest.mark.looptime
async def test_steady_rate_after_a_pause() -> None:
    """After a short pause many are let go no faster than the steady rate."""
    one = gate(slots=1000, steady_rate=100)
    entered: list[tuple[int, float]] = []
    one.hold(1, THROTTLED)

    await asyncio.gather(*(pass_through(one, name, entered) for name in range(500)))

    assert 4 <= entered[-1][1] - entered[0][1] <= 6.5


@pytest.mark.looptime
async def test_first_one_that_does_not_come_back() -> None:
    """The others do not wait for ever for the one that goes first."""
    one = gate(slots=64)
    entered: list[tuple[int, float]] = []
    one.hold(10, THROTTLED)
    slow = asyncio.create_task(pass_through(one, 0, entered, 1000))
    await asyncio.sleep(0)

    await asyncio.gather(*(pass_through(one, name, entered) for name in range(1, 5)))

    assert 11 <= now() <= 15
    slow.cancel()
    await asyncio.gather(slow, return_exceptions=True)


@pytest.mark.looptime
async def test_first_one_that_is_told_to_wait_again() -> None:
    """When the one that goes first is refused as well, the others go on waiting."""
    one = gate(slots=64)
    entered: list[tuple[int, float]] = []
    one.hold(10, THROTTLED)
    first = asyncio.create_task(one.enter())
    others = [asyncio.create_task(pass_through(one, name, entered)) for name in range(5)]
    ticket = await first
    assert ticket is not None
    assert now() == 10

    one.hold(20, THROTTLED)
    one.leave(ticket)
    await asyncio.gather(*others)

    assert min(at for _, at in entered) == 30


@pytest.mark.looptime
async def test_shorter_pause_does_not_shorten() -> None:
    """The longest of the pauses asked for counts, and none counts for more than an hour."""
    one = gate()
    one.hold(20, THROTTLED)
    one.hold(5, THROTTLED)

    assert one.held() == (20, THROTTLED)
    one.hold(86_400, THROTTLED)
    assert one.held() == (3600, THROTTLED)


@pytest.mark.looptime
async def test_patience() -> None:
    """Who would not wait for so long a pause is sent away at once, also from within the queue."""
    one = gate()
    ticket = await one.enter()
    queueing = asyncio.create_task(one.enter(patience=60))
    patient = asyncio.create_task(one.enter())
    await asyncio.sleep(1)

    one.hold(100, THROTTLED)

    assert await queueing is None
    assert await one.enter(patience=60) is None
    assert now() == 1
    assert not patient.done()
    assert ticket is not None
    one.leave(ticket)
    assert await patient is not None
    assert now() == 101
    one.close()


@pytest.mark.looptime
async def test_the_whole_client_is_held_back() -> None:
    """A 429 with Retry-After to one call holds back all calls and waits of the client."""
    throttled = respond(status=429, headers=[("Retry-After", "30")])
    async with (
        RawServer(throttled, respond(job_json(status="finished"))) as wire,
        wire.client() as client,
    ):
        first = asyncio.create_task(client.get_job("job-1"))
        await asyncio.sleep(1)
        started = now()

        await asyncio.gather(
            first, *(client.get_job("job-1") for _ in range(5)), client.wait_for_job("job-1")
        )

        assert now() - started >= 29
        times = [seen.at for seen in wire.requests]
        assert times[1] - times[0] >= 30
        assert times[2] > times[1]
        assert times[-1] - times[0] <= 40


@pytest.mark.looptime
async def test_calls_are_not_held_for_too_long() -> None:
    """A call made during a pause above ``max_retry_after`` is refused without being sent."""
    throttled = respond(status=429, headers=[("Retry-After", "600")])
    async with (
        RawServer(throttled, respond(job_json(status="finished"))) as wire,
        wire.client() as client,
    ):
        with pytest.raises(RateLimitError) as refused:
            await client.get_job("job-1")
        await asyncio.sleep(100)
        with pytest.raises(RateLimitError) as not_sent:
            await client.get_job("job-2")
        with pytest.raises(WaitTimeoutError):
            await client.wait_for_job("job-1", timeout=100)
        ended = await client.wait_for_job("job-1")

        assert (refused.value.retry_after, refused.value.attempts) == (600, 1)
        assert not_sent.value.retry_after == pytest.approx(500, abs=1)
        assert (not_sent.value.path, not_sent.value.attempts) == ("/v2/jobs/job-2", 0)
        assert ended.succeeded
        assert len(wire.requests) == 2
        assert wire.requests[1].at - wire.requests[0].at >= 600


@pytest.mark.looptime
async def test_budget_of_retries(sieve: FakeSieve) -> None:
    """When the server is down, retries stop before they multiply the load; success refills it."""
    sieve.add_job("job")
    retry = RetryPolicy(max_attempts=3, initial_delay=0)
    limits = Limits(max_connections=4)
    async with SieveClient(sieve.api_key, base_url=sieve.url, retry=retry, limits=limits) as client:
        await sieve.stop()
        await asyncio.gather(*(client.get_job("job") for _ in range(100)), return_exceptions=True)
        down = client.stats
        await sieve.start()
        for _ in range(50):
            await client.get_job("job")

        assert down.retries == 500 // 14
        assert down.requests == 100 + down.retries
        assert down.retry_tokens == 500 % 14
        assert client.stats.retry_tokens == 500 % 14 + 50


@pytest.mark.looptime
async def test_no_timer_after_close() -> None:
    """A gate that was closed during a pause sets no timer again, whoever leaves it."""
    one = gate(slots=2)
    ticket = await one.enter()
    one.hold(100, THROTTLED)
    waiting = asyncio.create_task(one.enter())
    await asyncio.sleep(100)
    one.close()

    with pytest.raises(ClientClosedError):
        await waiting
    assert ticket is not None
    one.leave(ticket)
    one.hold(100, THROTTLED)

    assert one.in_flight == 0
    assert one._timer is None or one._timer.cancelled()
