"""Watches of many jobs: taking outcomes, counts, callbacks, nudges and bad answers."""

import asyncio
import itertools
import logging
import pickle
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest

from helpers.asserts import assert_no_more_requests, ids_of, yield_to_loop
from helpers.http_helpers import now
from helpers.leak_checks import KEY, check_error
from helpers.raw_server import (
    Action,
    RawRequest,
    Script,
    ScriptedServer,
    error_response,
    finished_job,
    job_json,
    job_until,
    respond,
    running_job,
)
from sieve_async import Job, JobStatus, JobWatch, Limits, SieveClient, errors
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime


async def test_order_of_the_ends(sieve: FakeSieve, client: SieveClient) -> None:
    """Outcomes come as the ends are seen, each soon after its end, whatever the order asked."""
    ids = [sieve.add_job(f"{number}", processing=100 - 10 * number) for number in range(10)]
    started = now()
    outcomes = client.as_completed(ids)
    seen = [(outcome.job_id, now() - started) async for outcome in outcomes]
    assert [job_id for job_id, _ in seen] == ids[::-1]
    for job_id, at in seen:
        duration = 100 - 10 * int(job_id)
        assert duration <= at <= duration * 1.0625 + 0.7


async def test_block_begins_the_watch(sieve: FakeSieve, client: SieveClient) -> None:
    """The watch begins with the block; outcomes are kept until somebody takes them."""
    sieve.add_job("a", processing=1)
    sieve.add_job("b", processing=2)
    async with client.as_completed(["b", "a", "none"]) as outcomes:
        assert isinstance(outcomes, JobWatch)
        await asyncio.sleep(10)
        before = now()
        seen = [outcome async for outcome in outcomes]
    assert ids_of(seen) == ["none", "a", "b"]
    assert now() == before


async def test_after_the_end(sieve: FakeSieve, client: SieveClient) -> None:
    """An iterator that has ended, or was closed, stays so: nothing untaken, no request."""
    for job_id in "ab":
        sieve.add_job(job_id)
    outcomes = client.as_completed(["a"])
    closed = client.as_completed(["a"])
    never_used = client.as_completed(["a"])
    assert ids_of([outcome async for outcome in outcomes]) == ["a"]
    await outcomes.aclose()
    await closed.aclose()
    async with client.as_completed(["a", "b"]) as left:
        await anext(left)
        await asyncio.sleep(1)
    for ended in (outcomes, closed, left):
        assert [outcome async for outcome in ended] == []
    del never_used
    assert len(sieve.requests) == 3
    await assert_no_more_requests(client, sieve.requests)


async def test_several_takers(sieve: FakeSieve, client: SieveClient) -> None:
    """Several tasks may take from one iterator: each outcome once; all end with it."""
    ids = [sieve.add_job(f"{number}", processing=number % 17) for number in range(40)]
    outcomes = client.as_completed(ids)

    async def take() -> list[str]:
        seen = []
        async for outcome in outcomes:
            seen.append(outcome.job_id)
            await asyncio.sleep(0.1)
        return seen

    takes = await asyncio.gather(*(take() for _ in range(5)))
    assert sorted(itertools.chain(*takes)) == sorted(ids)
    assert all(takes)
    closed = client.as_completed([sieve.add_job(processing=600)])
    takers = [asyncio.create_task(anext(closed, None)) for _ in range(3)]
    await asyncio.sleep(5)
    await closed.aclose()
    assert await asyncio.gather(*takers) == [None, None, None]


async def test_takers_of_a_broken_source(client: SieveClient) -> None:
    """What the source raises is raised once, and the other takers end."""

    class OwnError(Exception):
        pass

    async def broken() -> AsyncIterator[str]:
        for job_id in await asyncio.sleep(1, ["a"]):
            if job_id == "a":
                raise OwnError
            yield job_id

    outcomes = client.as_completed(broken())
    takers = [asyncio.create_task(anext(outcomes, None)) for _ in range(3)]
    ends = await asyncio.gather(*takers, return_exceptions=True)
    assert sorted(type(end).__name__ for end in ends) == ["NoneType", "NoneType", "OwnError"]


@pytest.mark.parametrize("max_pending_jobs", [100_000, 10])
@pytest.mark.parametrize("pause", [0, 10])
async def test_closing_the_client(sieve: FakeSieve, max_pending_jobs: int, pause: float) -> None:
    """When the client is closed, each job of a list has one outcome, those untaken as well."""
    ids = [sieve.add_job("early"), *(sieve.add_job(f"{n}", processing=600) for n in range(20))]
    limits = Limits(max_pending_jobs=max_pending_jobs)
    client = SieveClient(KEY, base_url=sieve.url, limits=limits)
    async with client.as_completed(ids) as outcomes:
        listed = asyncio.create_task(client.wait_for_jobs([*ids, "early"]))
        await asyncio.sleep(pause)
        before = len(sieve.requests)
        await client.close()
        seen = [outcome async for outcome in outcomes]
        for some, expected in ((seen, ids), (await listed, [*ids, "early"])):
            assert sorted(ids_of(some)) == sorted(expected)
            for outcome in some:
                assert outcome.ok == (outcome.job_id == "early" and pause > 0)
                assert outcome.ok or isinstance(outcome.error, errors.ClientClosedError)
    await assert_no_more_requests(client, sieve.requests)
    assert len(sieve.requests) <= before + 2


async def test_closing_at_every_turn(sieve: FakeSieve) -> None:
    """Whichever turn the client is closed in, each job has one outcome, and no caller waits on."""
    ids = [sieve.add_job(f"{number}", processing=600) for number in range(20)]
    ids.append(sieve.add_job("ended"))
    limits = Limits(max_connections=2, polls_per_second=None)
    for number in range(50):
        client = SieveClient(KEY, base_url=sieve.url, limits=limits)
        async with client.as_completed(ids) as outcomes:
            await yield_to_loop(number)
            await client.close()
            seen = [outcome async for outcome in outcomes]
        assert sorted(ids_of(seen)) == sorted(ids)
        assert {type(o.error) for o in seen} <= {errors.ClientClosedError, type(None)}


PROGRAM = """
import asyncio
from sieve_async import SieveClient
from sieve_async.testing import FakeSieve

async def main(cancels):
    asyncio.get_running_loop().slow_callback_duration = 600  # the machine may be slow
    async with FakeSieve() as sieve:
        client = SieveClient(sieve.api_key, base_url=sieve.url)
        ids = [sieve.add_job(processing=600) for _ in range(100)]
        global left
        left = client.as_completed(ids)
        taking = asyncio.create_task(anext(left))
        while not client.stats.requests:
            await asyncio.sleep(0)
        await client.close()
        if cancels:
            taking.cancel()

asyncio.run(main(False))
asyncio.run(main(True))
"""


@pytest.mark.programs
def test_end_of_the_program() -> None:
    """A program that ends while it watches ends at once and in silence."""
    program = [sys.executable, "-X", "dev", "-c", PROGRAM]
    ran = subprocess.run(program, capture_output=True, text=True, check=False)  # noqa: S603
    assert (ran.returncode, ran.stdout, ran.stderr) == (0, "", "")


async def test_counts_and_pending(sieve: FakeSieve, client: SieveClient) -> None:
    """Each job is counted once: by its status while pending, then by that of its outcome."""
    ends: dict[str, Any] = {"a": "finished", "b": "error", "c": "cancelled"}
    for job_id, status in ends.items():
        sieve.add_job(job_id, queued=20, processing=20, status=status)
    sieve.fault(job=sieve.add_job("silent"), delay=1000)
    failures = {"NotFoundError": 1, "InvalidArgumentError": 1}
    watch = client.as_completed([*ends, "missing", "no id", "silent"], timeout=60)
    async with watch:
        await asyncio.sleep(10)
        assert watch.counts() == {"queued": 3, "unknown": 1} | failures
        pending = {job.job_id: job.status for job in watch.pending()}
        assert pending == dict.fromkeys(ends, JobStatus.QUEUED) | {"silent": None}
        assert all(9 <= job.elapsed <= 10 for job in watch.pending())
        await asyncio.sleep(20)
        assert watch.counts()["processing"] == 3
        await asyncio.sleep(35)
        assert not watch.pending()
        assert len([outcome async for outcome in watch]) == 6
        assert watch.done
        counts = {"finished": 1, "error": 1, "cancelled": 1, "WaitTimeoutError": 1}
        assert watch.counts() == counts | failures


async def test_take(sieve: FakeSieve, client: SieveClient) -> None:
    """A portion holds what comes in time, at most so many, and nothing is lost between portions."""
    ids = [sieve.add_job(f"j{n}", processing=10 * n) for n in range(6)]
    watch = client.as_completed(ids)
    assert ids_of(await watch.take(within=5)) == ["j0"]
    assert now() == pytest.approx(5, abs=0.1)
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


async def test_take_when_the_timer_is_early(sieve: FakeSieve, client: SieveClient) -> None:
    """A portion ends in time also on a loop that fires its timers a little early."""
    async with client.as_completed([sieve.add_job(processing=3600)]) as watch:
        for number in range(40):  # some of these times are not those that the timer is set to
            await asyncio.sleep(11.000002 + number / 1e6 - now() % 1)
            started = now()
            assert await watch.take(within=5) == []
            assert now() - started == pytest.approx(5, abs=0.1)


async def test_invalid_portions(client: SieveClient) -> None:
    """A portion needs room for one outcome; a nudge checks its id; nothing can be pickled."""
    counts: list[Any] = [0, -1, 1.5, True, None]
    for count in counts:
        with pytest.raises(errors.InvalidArgumentError, match="max_items"):
            await client.as_completed([]).take(count)
    with pytest.raises(errors.InvalidArgumentError, match="within"):
        await client.as_completed([]).take(within=-1)
    with pytest.raises(errors.InvalidArgumentError):
        client.nudge("a/b")
    for value in (client, client.as_completed([]), client.stream_outputs("j")):
        with pytest.raises(TypeError, match="cannot be copied or pickled"):
            pickle.dumps(value)
    assert repr(client).startswith("<SieveClient http://127.0.0.1:")


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


async def test_update_that_raises_ends_its_watch(sieve: FakeSieve, client: SieveClient) -> None:
    ids = [sieve.add_job(f"j{n}", processing=10 + n) for n in range(5)]

    def callback(job: Job) -> None:
        if job.status.is_terminal:
            raise LookupError(job.id)

    other = asyncio.ensure_future(client.wait_for_jobs(ids))
    with pytest.raises(LookupError, match="j0"):
        await client.wait_for_jobs(ids, on_update=callback)
    assert all(outcome.ok for outcome in await other)


async def test_update_that_raises_the_end(sieve: FakeSieve, client: SieveClient) -> None:
    """A ``StopAsyncIteration`` from a callback is an error, not the end of the outcomes."""
    ids = [sieve.add_job(processing=10) for _ in range(2)]

    def callback(_: Job) -> None:
        raise StopAsyncIteration

    with pytest.raises(RuntimeError, match="StopAsyncIteration"):
        await client.wait_for_jobs(ids, on_update=callback)


async def test_update_that_raises_while_the_caller_is_busy(
    sieve: FakeSieve, client: SieveClient
) -> None:
    """What ended the watch is raised by the end of its block if no step has come to it."""
    ids = [sieve.add_job(processing=seconds) for seconds in (0, 1000)]
    error = RuntimeError("of the caller")

    def callback(job: Job) -> None:
        if not job.status.is_terminal:
            raise error

    async def leave_busy(*, fails: bool) -> None:
        async with client.as_completed(ids, on_update=callback):
            await asyncio.sleep(60)
            if fails:
                raise ValueError("left")

    with pytest.raises(RuntimeError) as raised:
        await leave_busy(fails=False)
    assert raised.value is error
    with pytest.raises(ValueError, match="left"):
        await leave_busy(fails=True)
    assert client.stats.waits == 0


async def test_slow_update_holds_up_no_other(sieve: FakeSieve) -> None:
    """A callback that waits holds no slot, and only its own job."""
    ids = [sieve.add_job(f"j{n}", processing=10) for n in range(10)]

    async def callback(job: Job) -> None:
        if job.id == "j0":
            await asyncio.sleep(1000)

    limits = Limits(max_connections=1)
    async with SieveClient(sieve.api_key, base_url=sieve.url, limits=limits) as client:
        watch = client.as_completed(ids, on_update=callback)
        times = {outcome.job_id: now() async for outcome in watch}
    assert max(at for job_id, at in times.items() if job_id != "j0") <= 12
    assert times["j0"] >= 1000


async def test_terminal_answer_during_a_callback(sieve: FakeSieve, client: SieveClient) -> None:
    """An answer that has arrived wins over the deadline, whatever a callback does meanwhile."""
    sieve.add_job("a", processing=5)

    async def callback(job: Job) -> None:
        if job.status.is_terminal:
            await asyncio.sleep(60)

    [outcome] = await client.wait_for_jobs(["a"], on_update=callback, timeout=10)
    assert outcome.ok


async def read_outputs(client: SieveClient) -> list[object]:
    return [output async for output in client.stream_outputs("a")]


WAYS: dict[str, Callable[[SieveClient], Awaitable[object]]] = {
    "watch": lambda client: client.wait_for_jobs(["a"]),
    "list": lambda client: client.wait_for_jobs(["a"], strategy="list"),
    "long_poll": lambda client: client.wait_for_jobs(["a"], strategy="long_poll"),
    "wait": lambda client: client.wait_for_job("a"),
    "hold": lambda client: client.wait_for_job("a", strategy="long_poll"),
    "stream": read_outputs,
}


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
    assert isinstance(outcome.error, errors.WaitTimeoutError)
    assert (outcome.status, outcome.is_final) == ("WaitTimeoutError", False)
    assert outcome.elapsed == pytest.approx(10, abs=0.1)
    assert outcome.error.last is not None


BAD: dict[str, tuple[Script, type[errors.SieveError]]] = {
    "not-there": (error_response(404), errors.NotFoundError),
    "another-id": (respond(job_json(id="somebody-else")), errors.WaitTimeoutError),
    "no-json": (respond(b"<html>finished</html>"), errors.WaitTimeoutError),
    "half": (respond(job_json(id="half"), Action.CLOSE, length=9999), errors.WaitTimeoutError),
    "no-status": (respond({"id": "no-status"}), errors.WaitTimeoutError),
    "broken": (error_response(500), errors.WaitTimeoutError),
    "reset": ([Action.RESET], errors.WaitTimeoutError),
    "silent": ([Action.SILENCE], errors.WaitTimeoutError),
}


async def test_bad_jobs() -> None:
    """Whatever the server says of some jobs, each has its error and the others their end."""
    good = [f"good-{number}" for number in range(20)]

    def reply(asked: RawRequest) -> Script:
        if asked.job_id in BAD:
            return BAD[asked.job_id][0]
        return finished_job(asked.job_id) if asked.times else running_job(asked.job_id)

    async with ScriptedServer(reply) as server, server.client() as client:
        outcomes = await client.wait_for_jobs([*good[:10], *BAD, *good[10:]], timeout=60)
    assert [outcome.job_id for outcome in outcomes if outcome.ok] == good
    for bad in outcomes[10 : 10 + len(BAD)]:
        assert (bad.job, bad.ok) == (None, False)
        assert isinstance(bad.error, errors.SieveError)
        assert type(bad.error) is BAD[bad.job_id][1]
        check_error(bad.error)
        assert KEY not in repr(bad)
    assert all(server.request_counts[job_id] == 2 for job_id in good)


async def test_invalid_ids(sieve: FakeSieve, client: SieveClient) -> None:
    """What cannot be an id is an outcome with ``InvalidArgumentError``, and disturbs no other."""
    bad: list[Any] = ["", "a/b", "..", "x" * 200, "\u00e9", "\ud800", None, 5, 10**5000, b"job"]
    bad += [True, ("job",), []]
    ids = [sieve.add_job("before"), *bad, sieve.add_job("after")]
    listed = await client.wait_for_jobs(ids)
    seen = [outcome async for outcome in client.as_completed(ids)]
    assert [outcome.ok for outcome in listed] == [True, *[False] * len(bad), True]
    for outcome in listed[1:-1]:
        assert isinstance(outcome.error, errors.InvalidArgumentError)
        assert isinstance(outcome.job_id, str)
    assert sum(outcome.ok for outcome in seen) == 2
    assert len(sieve.requests) == 4


async def test_unknown_words(
    sieve: FakeSieve, client: SieveClient, caplog: pytest.LogCaptureFixture
) -> None:
    """An unknown status is polled on, with few warnings for hundreds of jobs."""
    ids = [sieve.add_job() for _ in range(30)]
    sieve.fault(times=4 * 30, fields={"status": "baking"})
    outcomes = await client.wait_for_jobs(ids)
    warnings = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert all(outcome.ok for outcome in outcomes)
    assert "baking" in warnings[0].getMessage()
    assert len(warnings) <= 3


@pytest.mark.parametrize("where", ["source", "on_update"])
async def test_a_failure_is_left_to_take(sieve: FakeSieve, client: SieveClient, where: str) -> None:
    """A watch is not done before what ended it was raised."""
    sieve.add_job("a", queued=2, processing=600)

    async def source() -> AsyncIterator[str]:
        yield "a"
        await asyncio.sleep(2 if where == "source" else 3600)
        raise LookupError

    def on_update(job: Job) -> None:
        if where == "on_update" and job.status == "processing":
            raise LookupError

    async def take_all() -> None:
        while not watch.done:
            await watch.take(within=1)
            await asyncio.sleep(2)

    watch = client.as_completed(source(), on_update=on_update)
    with pytest.raises(LookupError):
        await take_all()
    assert watch.done
    await watch.aclose()


async def test_results_are_not_shared(sieve: FakeSieve, client: SieveClient) -> None:
    """What one watch does with a result does not show in that of another."""
    sieve.add_job("a", processing=3, outputs=[{"x": 1}])
    [[one], [other]] = await asyncio.gather(
        client.wait_for_jobs(["a"]), client.wait_for_jobs(["a"])
    )

    one.result().outputs[0].data["x"] = 2  # type: ignore[union-attr]

    assert other.result().outputs[0].data["x"] == 1  # type: ignore[union-attr]


async def test_a_deep_result_in_two_watches() -> None:
    """What is nested deeper than Python can recurse reaches each watch, and ends no other wait."""
    deep = b"[" * 900 + b"]" * 900
    end = b'{"id": "deep", "status": "finished", "outputs": [{"data": %b}]}' % deep

    def reply(asked: RawRequest) -> Script:
        if now() < 2 or asked.job_id == "other":
            return job_until(10, asked.job_id)
        return respond(end)

    async with ScriptedServer(reply) as server, server.client() as client:
        first, second, other = await asyncio.gather(
            client.wait_for_jobs(["deep"]),
            client.wait_for_jobs(["deep"]),
            client.wait_for_job("other"),
        )
    assert first[0].ok
    assert second[0].ok
    assert first[0].result().data[0] is not second[0].result().data[0]
    assert other.succeeded


async def test_elapsed_of_a_job_that_another_watch_waits_for() -> None:
    """It counts from when the watch took the id, not from its own start or the first poll."""
    ends_at = now() + 60

    async def later() -> AsyncIterator[str]:
        await asyncio.sleep(50)
        yield "j1"

    async with (
        ScriptedServer(lambda asked: job_until(ends_at, asked.job_id)) as server,
        server.client() as client,
    ):
        first = asyncio.create_task(client.wait_for_jobs(["j1"]))
        async with client.as_completed(later()) as watch:
            await asyncio.sleep(55)
            assert [job.elapsed for job in watch.pending()] == pytest.approx([5], abs=0.1)
            outcome = await anext(watch)
        assert outcome.elapsed == pytest.approx(now() - (ends_at - 10), abs=0.1)
        assert (await first)[0].elapsed == pytest.approx(now() - (ends_at - 60), abs=0.1)
