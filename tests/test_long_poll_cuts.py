"""Held requests that end in between: by the server, by a proxy, on the way."""

import asyncio
import json

import pytest
from test_long_poll_stage import Asked, Stage, document, most_in_a_second, now
from wire import Do, Script, answer, failure_of

from sieve_async import JobStatus, PollPolicy, RequestTimeoutError, RetryPolicy, TransportError

GATEWAY = answer(b"<html>504 Gateway Time-out</html>", status=504)
HALF = json.dumps(document("job", "finished")).encode()
CUTS: dict[str, Script] = {
    "504": GATEWAY,
    "FIN": [Do.FIN],
    "RST": [Do.RST],
    "half an answer that says finished": answer(HALF, Do.FIN, length=len(HALF) + 1),
    "half an answer, reset": answer(HALF[:30], Do.RST, length=len(HALF)),
    "headers only": [b"HTTP/1.1 200 OK\r\nContent-Length: 90\r\n\r\n", Do.FIN],
    "not HTTP": [b"SSH-2.0-OpenSSH_9.6\r\n", Do.FIN],
}
every_cut = pytest.mark.parametrize("cut", CUTS.values(), ids=CUTS)


def status_of_job(ends_at: float) -> str:
    """How far a job is that ends at some time."""
    return "finished" if now() >= ends_at else "processing"


@pytest.mark.looptime
async def test_silent_server() -> None:
    """A server that says nothing for far longer than ten minutes is cut, and asked again."""

    async def play(asked: Asked) -> Script:
        if asked.is_await:
            return [Do.SILENCE]
        return answer(document("job", status_of_job(1000)))

    async with Stage(play) as stage, stage.client() as client:
        job = await client.wait_for_job("job", strategy="long_poll")

    first, second = stage.asked[:2]
    assert job.is_finished
    assert 600 < second.at - first.at <= 700
    assert now() <= 1400
    assert len(stage.asked) <= 6


@pytest.mark.looptime
@every_cut
async def test_cut_every_minute_for_two_hours(cut: Script) -> None:
    """A proxy that cuts each request after a minute ends no wait, however long that goes on."""

    async def play(asked: Asked) -> Script:
        if not asked.is_await:
            return answer(document("job", status_of_job(7230)))
        left = 7230 - now()
        if left <= 60:
            return [max(0.0, left), *answer(document("job", "finished"))]
        return [60.0, *cut]

    policy = PollPolicy(max_unreachable=300)
    async with Stage(play) as stage, stage.client(polling=policy) as client:
        job = await client.wait_for_job("job", strategy="long_poll")

    assert job.status is JobStatus.FINISHED
    assert [output.data for output in job.outputs] == ["of job"]  # type: ignore[union-attr] # one
    assert 7230 <= now() <= 7231
    assert len(stage.asked) <= 2 * 121 + 2
    assert most_in_a_second(stage.asked) <= 3


@pytest.mark.looptime
@every_cut
async def test_cut_every_minute_for_many(cut: Script) -> None:
    """The same holds for many: each ends once, and the truth is delivered."""
    ends = {f"j{n}": 400.0 + 10 * n for n in range(8)}

    async def play(asked: Asked) -> Script:
        if asked.is_await:
            return [60.0, *cut]
        return answer(document(asked.job_id, status_of_job(ends[asked.job_id])))

    policy = PollPolicy(max_unreachable=200)
    async with Stage(play) as stage, stage.client(polling=policy) as client:
        outcomes = await client.wait_for_jobs(ends, strategy="long_poll")

    assert [outcome.unwrap().id for outcome in outcomes] == list(ends)
    assert now() <= 470 + 61
    assert len(stage.asked) <= len(ends) * 2 * 10


@pytest.mark.looptime
@every_cut
async def test_cut_at_once(cut: Script) -> None:
    """Requests that are cut as they come make no hot loop, and the end is seen all the same."""

    async def play(asked: Asked) -> Script:
        return cut if asked.is_await else answer(document("job", status_of_job(300)))

    async with Stage(play) as stage, stage.client() as client:
        job = await client.wait_for_job("job", strategy="long_poll")

    assert job.is_finished
    assert now() <= 300 + 2 * 12.5 + 1
    assert most_in_a_second(stage.asked) <= 6
    assert len(stage.asked) <= 220  # as polling would need, twice


@pytest.mark.looptime
@pytest.mark.parametrize("status", [408, 500, 502, 504])
async def test_refused_at_once_for_many(status: int) -> None:
    """Nor does an endpoint that fails at once for many jobs: lookups find their ends."""
    ends = {f"j{n}": 60.0 + 10 * n for n in range(20)}

    async def play(asked: Asked) -> Script:
        if asked.is_await:
            return answer({"detail": "no"}, status=status)
        return answer(document(asked.job_id, status_of_job(ends[asked.job_id])))

    async with Stage(play) as stage, stage.client() as client:
        waiting = client.wait_for_jobs(ends, strategy="long_poll", timeout=1000)
        outcomes = await waiting

    assert len(stage.awaits()) <= 20 * 190  # as polls in the whole time
    if status != 408:  # it says that the job runs, and nobody but the endpoint can know better
        assert all(outcome.ok for outcome in outcomes)
        assert now() <= 250 + 2 * 12.5 + 1


@pytest.mark.looptime
async def test_down_for_good() -> None:
    """When held requests and lookups fail alike, ``max_unreachable`` ends the wait."""

    async def play(_: Asked) -> Script:
        return [Do.RST]

    policy = PollPolicy(max_unreachable=600)
    async with Stage(play) as stage, stage.client(polling=policy) as client:
        error = await failure_of(client.wait_for_job("job", strategy="long_poll"))

    assert isinstance(error, TransportError)
    assert 600 <= now() <= 661
    assert most_in_a_second(stage.asked) <= 6


@pytest.mark.looptime
async def test_outage_and_recovery() -> None:
    """After an outage of ten minutes the wait goes on, and is held again."""

    async def play(asked: Asked) -> Script:
        if 100 <= now() < 700:
            return [Do.RST]
        if asked.is_await and now() < 100:
            return [100 - now(), Do.RST]
        if asked.is_await:
            return [max(0.0, 1200 - now()), *answer(document("job", "finished"))]
        return answer(document("job"))

    async with Stage(play) as stage, stage.client() as client:
        job = await client.wait_for_job("job", strategy="long_poll", timeout=2000)

    assert job.is_finished
    assert now() == pytest.approx(1200, abs=0.2)
    assert stage.awaits()[-1].at <= 780
    assert most_in_a_second(stage.asked) <= 6


@pytest.mark.looptime
async def test_deadline_while_cut() -> None:
    """The deadline holds whatever is cut, and the error holds what was seen last."""

    async def play(asked: Asked) -> Script:
        return [7.0, Do.RST] if asked.is_await else answer(document("job"))

    async with Stage(play) as stage, stage.client() as client:
        error = await failure_of(client.wait_for_job("job", strategy="long_poll", timeout=50))

    assert 50 - 0.01 <= now() <= 50.1
    assert getattr(error, "last").status == "processing"  # noqa: B009 - of one class only


@pytest.mark.looptime
async def test_slow_drip() -> None:
    """An answer that comes a byte a minute is cut as one that does not come."""

    async def play(asked: Asked) -> Script:
        if asked.is_await:
            [whole] = answer(document("job", "finished"))
            assert isinstance(whole, bytes)
            return [step for byte in whole[:60] for step in (bytes([byte]), 60.0)]
        return answer(document("job", status_of_job(500)))

    async with Stage(play) as stage, stage.client() as client:
        job = await client.wait_for_job("job", strategy="long_poll")

    assert job.is_finished
    assert now() <= 700
    assert len(stage.asked) <= 4


@pytest.mark.looptime
async def test_closed_idle_connection() -> None:
    """A connection that the server had closed while it was idle is no reason to wait for long."""
    dead: set[int] = set()

    async def play(asked: Asked) -> Script:
        if asked.is_await and not dead:
            dead.add(1)
            return [Do.FIN]  # the first request was answered on this connection
        if asked.is_await:
            return [30.0, *answer(document("job", "finished"))]
        return answer(document("job"))

    slow = PollPolicy(minimum=10, maximum=10, jitter=0)
    async with Stage(play) as stage, stage.client(polling=slow) as client:
        await client.get_job("job")
        await client.wait_for_job("job", strategy="long_poll")

    assert stage.requests[0].connection == stage.requests[1].connection
    assert stage.asked[2].at - stage.asked[1].at <= 0.1


@pytest.mark.looptime
async def test_unheld_lookup_takes_no_ten_minutes() -> None:
    """The look that settles a cut is a plain one: the time of an attempt binds it again."""

    async def play(asked: Asked) -> Script:
        return [Do.FIN] if asked.is_await else [Do.SILENCE]

    policy = PollPolicy(max_unreachable=200)
    once = RetryPolicy(attempts=1)
    async with Stage(play) as stage, stage.client(polling=policy, retry=once) as client:
        error = await failure_of(client.wait_for_job("job", strategy="long_poll"))

    assert isinstance(error, RequestTimeoutError)
    assert now() <= 200 + 60 + 30 + 1
    await asyncio.sleep(0)
