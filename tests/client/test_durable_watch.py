"""The durable watch: what is on disk when, what is handed out again, and exactly-once effects."""

import asyncio
import contextlib
import gc
import pickle
import sqlite3
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from helpers.leak_checks import KEY
from helpers.raw_server import RawRequest, Script, ScriptedServer, finished_job
from sieve_async import (
    ClientClosedError,
    DurableWatch,
    Job,
    JobOutcome,
    JobStatus,
    Limits,
    PollPolicy,
    SieveClient,
    WatchState,
    errors,
)
from sieve_async.durable import Transaction
from sieve_async.testing import FakeSieve

_TABLE = "CREATE TABLE IF NOT EXISTS results (job_id TEXT PRIMARY KEY, status TEXT)"
_INSERT = "INSERT INTO results VALUES (?, ?)"


@pytest.fixture
async def client(sieve: FakeSieve) -> AsyncIterator[SieveClient]:
    """A client that polls fast, in real time: commits take real time too."""
    polling = PollPolicy(min_interval=0.01, max_interval=0.05)
    limits = Limits(polls_per_second=None)
    async with SieveClient(KEY, base_url=sieve.url, polling=polling, limits=limits) as one:
        yield one


@pytest.fixture
async def state(tmp_path: Path) -> AsyncIterator[WatchState]:
    """An open state file without jobs."""
    async with WatchState.open(tmp_path / "batch.sieve") as opened:
        yield opened


async def test_on_disk_first(sieve: FakeSieve, client: SieveClient, state: WatchState) -> None:
    """When an outcome is handed out, another connection reads it from the file."""
    await state.add([sieve.add_job(status=end) for end in ("finished", "error", "cancelled")])
    async with client.resume(state) as watch:
        async for outcome in watch:
            rows = _rows(state, f"SELECT 1 FROM sieve_outcomes WHERE job_id = '{outcome.job_id}'")  # noqa: S608
            assert rows == [(1,)]
            assert outcome.age == 0


async def test_acknowledging(sieve: FakeSieve, client: SieveClient, state: WatchState) -> None:
    """The outcome in hand is not acknowledged until the next step; the last one by the end."""
    await state.add([sieve.add_job() for _ in range(5)])
    async with client.resume(state) as watch:
        taken = [(await anext(watch)).job_id for _ in range(3)]
    assert (await state.counts()).acknowledged == 2
    async with client.resume(state) as watch:
        again = [outcome.job_id async for outcome in watch]
    assert again[0] == taken[2]
    assert sorted([*taken, *again[1:]]) == sorted(set(taken) | set(again))
    assert await state.counts() == (0, 0, 5)
    async with client.resume(state) as watch:
        assert [outcome async for outcome in watch] == []


@pytest.mark.looptime
async def test_slow_caller(client: SieveClient, state: WatchState) -> None:
    """Where a caller takes its time, each step writes what was acknowledged before."""
    ids = [f"old-{number}" for number in range(5)]
    await state.add(ids)
    await state.commit([_outcome(job_id) for job_id in ids], [])
    async with client.resume(state) as watch:
        for number in range(5):
            await anext(watch)
            assert (await state.counts()).acknowledged == number
            await asyncio.sleep(1)


async def test_stored_first(sieve: FakeSieve, client: SieveClient, state: WatchState) -> None:
    """Outcomes of an earlier process come in the order of ending, more than a portion of them."""
    pending = [sieve.add_job() for _ in range(3)]
    ended = [f"old-{number}" for number in range(700)]
    await state.add([*pending, *ended])
    await state.commit([_outcome(job_id) for job_id in ended], ended[100:200])
    _execute(state, "UPDATE sieve_outcomes SET ended_at = ended_at - 7200")
    async with client.resume(state) as watch:
        outcomes = [outcome async for outcome in watch]
    ids = [outcome.job_id for outcome in outcomes]
    assert ids[:600] == [*ended[:100], *ended[200:]]
    assert set(ids[600:]) == set(pending)
    assert all(7200 <= outcome.age < 7300 for outcome in outcomes[:600])
    assert all(outcome.age == 0 for outcome in outcomes[600:])
    assert not [request for request in sieve.requests if "old-" in request.path]


async def test_effects(sieve: FakeSieve, client: SieveClient, state: WatchState) -> None:
    """Statements are committed together with the acknowledgement, at the end of the block."""
    await state.add([sieve.add_job() for _ in range(4)])
    async with client.resume(state) as watch:
        async for outcome in watch:
            before = await state.counts()
            async with watch.acknowledging(outcome) as transaction:
                transaction.execute(_TABLE)
                transaction.execute(_INSERT, (outcome.job_id, outcome.status))
            after = await state.counts()
            assert after.acknowledged == before.acknowledged + 1
            assert len(_rows(state, "SELECT * FROM results")) == after.acknowledged


async def test_failed_block(sieve: FakeSieve, client: SieveClient, state: WatchState) -> None:
    """What raises in the block or in a statement undoes all; resuming hands the outcome out."""
    _execute(state, _TABLE)
    await state.add([job_id := sieve.add_job()])

    async def attempt(statement: str, *, raises: type[Exception] | None = None) -> None:
        async with client.resume(state) as watch:
            outcome = await anext(watch)
            async with watch.acknowledging(outcome) as transaction:
                transaction.execute(_INSERT, (outcome.job_id, outcome.status))
                transaction.execute(statement)
                if raises is not None:
                    raise raises
            # The end of the watch must not acknowledge it either.
            assert [outcome async for outcome in watch] == []

    with pytest.raises(LookupError):
        await attempt("SELECT 1", raises=LookupError)
    with pytest.raises(sqlite3.IntegrityError, match="UNIQUE"):
        await attempt(f"INSERT INTO results VALUES ('{job_id}', '')")  # noqa: S608
    with pytest.raises(sqlite3.OperationalError, match="no such table"):
        await attempt("INSERT INTO missing VALUES (1)")
    for statement in ("COMMIT", " end", "Rollback", "/* a */ COMMIT", "-- b\n COMMIT", "BEGIN"):
        with pytest.raises(
            errors.InvalidArgumentError, match="must not begin or end a transaction"
        ):
            await attempt(statement)
        assert _rows(state, "SELECT * FROM results") == []
    assert await state.counts() == (0, 1, 0)
    await attempt("SELECT 1")
    assert await state.counts() == (0, 0, 1)
    assert len(_rows(state, "SELECT * FROM results")) == 1


async def test_after_failed_block(sieve: FakeSieve, client: SieveClient, state: WatchState) -> None:
    """Taking the next outcome does not acknowledge one whose block was left by an exception."""
    await state.add([sieve.add_job() for _ in range(3)])
    async with client.resume(state) as watch:
        failed = await anext(watch)
        with pytest.raises(LookupError):
            async with watch.acknowledging(failed):
                raise LookupError
        rest = [outcome async for outcome in watch]
        assert len(rest) == 2
        assert await state.counts() == (0, 1, 2)
        async with watch.acknowledging(failed):
            pass
    assert await state.counts() == (0, 0, 3)


async def test_refused(sieve: FakeSieve, client: SieveClient, state: WatchState) -> None:
    await state.add([sieve.add_job(), sieve.add_job(status=None)])
    async with client.resume(state) as watch:
        first = await anext(watch)
        await client.close()
        last = await anext(watch)
        with pytest.raises(errors.InvalidArgumentError, match="was acknowledged before"):
            await _acknowledge(watch, first)
        with pytest.raises(errors.InvalidArgumentError, match="not final: ClientClosedError"):
            await _acknowledge(watch, last)
        with pytest.raises(errors.InvalidArgumentError, match="not of this watch"):
            await _acknowledge(watch, _outcome("another"))
    with pytest.raises(errors.InvalidArgumentError, match="sql must be a string"):
        Transaction().execute(b"SELECT 1")  # type: ignore[arg-type]  # on purpose


async def test_not_final(sieve: FakeSieve, client: SieveClient, state: WatchState) -> None:
    """A deadline, a closed client and a revoked key are handed out, and are not stored."""
    await state.add([sieve.add_job(status=None)])
    async with client.resume(state, timeout=0.05) as watch:
        outcomes = [outcome async for outcome in watch]
    assert [type(outcome.error) for outcome in outcomes] == [errors.WaitTimeoutError]
    async with SieveClient(KEY, base_url=sieve.url) as other, other.resume(state) as watch:
        await other.close()
        outcomes = [outcome async for outcome in watch]
    assert [type(outcome.error) for outcome in outcomes] == [errors.ClientClosedError]
    sieve.revoke_key()
    async with client.resume(state) as watch:
        outcomes = [outcome async for outcome in watch]
    assert [outcome.status for outcome in outcomes] == ["AuthenticationError"]
    assert await state.counts() == (1, 0, 0)


async def test_a_final_error_is_stored(client: SieveClient, state: WatchState) -> None:
    """A job that does not exist has ended: its error is read back from the file."""
    await state.add(["unknown"])
    async with client.resume(state) as watch:
        first = await anext(watch)
    assert await state.counts() == (0, 1, 0)
    async with client.resume(state) as watch:
        again = await anext(watch)
    assert again.status == first.status == "NotFoundError"
    assert str(again.error) == str(first.error)


async def test_another_server(sieve: FakeSieve, client: SieveClient, state: WatchState) -> None:
    """A state file belongs to the server that it was first used with."""
    await state.add([sieve.add_job()])
    async with client.resume(state):
        pass
    async with FakeSieve(api_key=KEY) as other, SieveClient(KEY, base_url=other.url) as stranger:
        with pytest.raises(errors.StateFileError, match="another server") as caught:
            await stranger.resume(state).__aenter__()
        assert sieve.url in str(caught.value)
        assert other.url in str(caught.value)
        assert not other.requests


async def test_other_spellings_of_a_server(tmp_path: Path) -> None:
    """The case of the host and a default port make no other server."""
    for number, (first, second) in enumerate(
        (
            ("https://mango.sievedata.com", "HTTPS://MANGO.sievedata.com:443"),
            ("http://[::1]:80", "http://[::1]"),
            ("https://host:8443/base", "https://HOST:8443/base"),
        )
    ):
        async with WatchState.open(tmp_path / f"{number}.sieve") as state:
            for url in (first, second):
                async with SieveClient(KEY, base_url=url) as one, one.resume(state) as watch:
                    assert watch.pending() == []


async def test_one_watch(sieve: FakeSieve, client: SieveClient, state: WatchState) -> None:
    """A second watch of the same state fails, until the first is closed, dropped or at its end."""
    await state.add([sieve.add_job(), sieve.add_job(status=None)])
    async with client.resume(state):
        with pytest.raises(errors.StateBusyError, match="another watch"):
            await client.resume(state).__aenter__()
    dropped = client.resume(state)
    await anext(dropped)
    del dropped
    gc.collect()
    await asyncio.sleep(0)
    ended = client.resume(state, timeout=0)
    assert len([outcome async for outcome in ended]) == 2
    async with client.resume(state):
        pass
    await ended.aclose()


async def test_several_tasks(sieve: FakeSieve, client: SieveClient, state: WatchState) -> None:
    """A step acknowledges what its own task took before, and never what another one works on."""
    await state.add([sieve.add_job() for _ in range(10)])
    taken = asyncio.get_running_loop().create_future()
    may_fail = asyncio.Event()

    async def work_and_fail() -> None:
        taken.set_result((await anext(watch)).job_id)
        await may_fail.wait()
        raise LookupError

    async with client.resume(state) as watch:
        worker = asyncio.create_task(work_and_fail())
        job_id = await taken
        outcomes = [await anext(watch) for _ in range(8)]
        may_fail.set()
        with pytest.raises(LookupError):
            await worker
        outcomes += [outcome async for outcome in watch]
    assert len(outcomes) == 9
    assert await state.counts() == (0, 1, 9)
    async with client.resume(state) as watch:
        assert [outcome.job_id async for outcome in watch] == [job_id]


async def test_cancelled_step(sieve: FakeSieve, client: SieveClient, state: WatchState) -> None:
    """Steps are cancelled after any number of turns; each outcome is handed out exactly once."""
    ids = [sieve.add_job() for _ in range(30)]
    await state.add(ids)
    taken: list[str] = []
    turns = 0
    async with client.resume(state) as watch:
        while not taken or len(taken) < len(ids):
            step = asyncio.create_task(_step(watch))
            for _ in range(turns % 25):
                await asyncio.sleep(0)
            turns += 1
            if turns % 3:
                step.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                taken.append((await step).job_id)
    assert sorted(taken) == sorted(ids)


async def test_closing(sieve: FakeSieve, client: SieveClient, state: WatchState) -> None:
    """A step that waits for an outcome ends when the watch is closed."""
    await state.add([sieve.add_job(status=None)])
    watch = client.resume(state)
    await watch.__aenter__()
    step = asyncio.create_task(_step(watch))
    await asyncio.sleep(0)
    await watch.aclose()
    with pytest.raises(StopAsyncIteration):
        await step
    with pytest.raises(StopAsyncIteration):
        await anext(watch)
    await watch.aclose()


async def test_full_disk(sieve: FakeSieve, client: SieveClient, state: WatchState) -> None:
    """Storing on a full disk raises the cause; the next step with space loses nothing."""
    rest = [sieve.add_job(by="manual", fields={"visibility": "x" * 20_000}) for _ in range(40)]
    ids = [sieve.add_job(), sieve.add_job(), *rest]
    await state.add(ids)
    async with client.resume(state) as watch:
        kept = []
        for _ in range(2):
            kept.append(await anext(watch))
            with pytest.raises(LookupError):
                await _acknowledge(watch, kept[-1], error=LookupError())
        taken = [outcome.job_id for outcome in kept]
        ((pages,),) = _rows(state, "PRAGMA page_count")
        await _limit_pages(watch, kept[0], int(str(pages)) + 20)
        for job_id in rest:
            sieve.job(job_id).finish()
        for _ in range(2):
            with pytest.raises(errors.StateFileError, match="database or disk is full"):
                await _take_all(watch, taken)
        assert len(taken) < len(ids)
        await _limit_pages(watch, kept[1], 1_000_000)
        await _take_all(watch, taken)
    assert sorted(taken) == sorted(ids)
    assert await state.counts() == (0, 0, len(ids))


async def test_a_cancelled_block_is_not_hidden_by_a_full_disk(
    sieve: FakeSieve, client: SieveClient, state: WatchState, caplog: pytest.LogCaptureFixture
) -> None:
    """When acknowledgements cannot be written on the way out, the first exception passes."""
    await state.add([sieve.add_job() for _ in range(2)])
    watch = client.resume(state)

    async def leave_cancelled() -> None:
        async with watch:
            await anext(watch)
            await anext(watch)
            await state.__aexit__()
            raise asyncio.CancelledError

    with pytest.raises(asyncio.CancelledError):
        await leave_cancelled()
    assert not [record for record in caplog.records if record.levelname == "ERROR"]


async def test_counts(sieve: FakeSieve, client: SieveClient, state: WatchState) -> None:
    """They are those of the watch, with what is handed out again."""
    await state.add([sieve.add_job(), "ended", sieve.add_job(status=None)])
    await state.commit([_outcome("ended")], [])
    watch = client.resume(state)
    assert (watch.counts(), watch.pending()) == ({}, [])
    wrong: list[dict[str, Any]] = [{"strategy": "sweep"}, {"timeout": -1}, {"state": "a.sieve"}]
    for arguments in wrong:
        with pytest.raises(errors.InvalidArgumentError, match=next(iter(arguments))):
            client.resume(**({"state": state} | arguments))
    async with watch:
        outcomes = [await anext(watch), await anext(watch)]
        assert [outcome.ok for outcome in outcomes] == [True, True]
        assert watch.counts()["finished"] == 2
        assert len(watch.pending()) == 1
        assert "batch.sieve" in repr(watch)
        with pytest.raises(TypeError):
            pickle.dumps(watch)


def _outcome(job_id: str) -> JobOutcome:
    return JobOutcome(job_id, Job(id=job_id, status=JobStatus.FINISHED))


async def _step(watch: DurableWatch) -> JobOutcome:
    return await anext(watch)


async def _take_all(watch: DurableWatch, taken: list[str]) -> None:
    async for outcome in watch:
        taken.append(outcome.job_id)  # noqa: PERF401 - also when a step raises


async def _acknowledge(
    watch: DurableWatch, outcome: JobOutcome, *, error: Exception | None = None
) -> None:
    async with watch.acknowledging(outcome):
        if error is not None:
            raise error


async def _limit_pages(watch: DurableWatch, outcome: JobOutcome, pages: int) -> None:
    """Let the file grow no further than that: SQLite reports the error of a full disk."""
    async with watch.acknowledging(outcome) as transaction:
        transaction.execute(f"PRAGMA max_page_count = {pages}")


def _rows(state: WatchState, question: str) -> list[tuple[object, ...]]:
    with contextlib.closing(sqlite3.connect(state.path)) as reader:
        return reader.execute(question).fetchall()


def _execute(state: WatchState, statement: str) -> None:
    with contextlib.closing(sqlite3.connect(state.path, isolation_level=None)) as connection:
        connection.execute(statement)


async def test_a_failure_is_raised_by_the_end_of_the_block(
    sieve: FakeSieve, client: SieveClient, tmp_path: Path
) -> None:
    """What ended the watch is raised by the end of its block, should no step have come to it."""
    sieve.add_job("a", processing=2)

    def on_update(_: Job) -> None:
        raise LookupError

    async with WatchState.open(tmp_path / "state") as state:
        await state.add(["a"])
        with pytest.raises(LookupError):
            async with client.resume(state, on_update=on_update):
                await asyncio.sleep(10)


async def test_acknowledgements_while_another_task_waits(
    sieve: FakeSieve, client: SieveClient, tmp_path: Path
) -> None:
    """What one task has dealt with is on disk soon, also while another waits for an outcome."""
    sieve.add_job("a", processing=2)
    sieve.add_job("b", processing=2000)

    async def work() -> None:
        async for _ in watch:
            await asyncio.sleep(1)

    async with WatchState.open(tmp_path / "state") as state:
        await state.add(["a", "b"])
        async with client.resume(state) as watch:
            workers = [asyncio.create_task(work()) for _ in range(2)]
            await asyncio.sleep(10)
            assert (await state.counts()).acknowledged == 1
            for worker in workers:
                worker.cancel()
            await asyncio.wait(workers)


async def test_a_watch_that_did_not_begin(
    sieve: FakeSieve, client: SieveClient, tmp_path: Path
) -> None:
    """It does not keep the state file, though its exception keeps it alive."""
    sieve.add_job("a")
    closed = SieveClient(KEY, base_url=sieve.url)
    await closed.close()
    async with WatchState.open(tmp_path / "state") as state:
        await state.add(["a"])
        first = closed.resume(state)
        with pytest.raises(ClientClosedError):
            await first.__aenter__()
        async with client.resume(state) as second:
            assert [outcome.job_id async for outcome in second] == ["a"]


async def test_a_failure_comes_after_the_outcomes_before_it(tmp_path: Path) -> None:
    """What ended the watch is raised once the outcomes so far are handed out."""

    def reply(asked: RawRequest) -> Script:
        return [0.01 if asked.job_id == "b" else 0.0, *finished_job(asked.job_id)]

    def on_update(job: Job) -> None:
        if job.id == "b":
            raise LookupError

    found: list[str] = []

    async def take() -> None:
        async with waiting.resume(state, on_update=on_update) as watch:
            async for outcome in watch:
                found.append(outcome.job_id)  # noqa: PERF401 - it is left by an exception

    limits = Limits(polls_per_second=None)
    async with (
        ScriptedServer(reply) as server,
        server.client(limits=limits) as waiting,
        WatchState.open(tmp_path / "state") as state,
    ):
        await state.add(["a", "b"])
        with pytest.raises(LookupError):
            await take()
    assert found == ["a"]
