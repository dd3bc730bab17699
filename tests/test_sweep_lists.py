"""Lists that are down, missing, forbidden or too large: jobs are looked at one by one, or later."""

import asyncio
import random

import pytest
from test_long_poll_stage import Asked, Stage, document, most_in_a_second, now, warnings_of
from wire import KEY, Do, Script, answer, check_error

from sieve_async import Limits, PollPolicy, SieveClient
from sieve_async.testing import FakeSieve


def page(rows: object, next_offset: object = -1) -> Script:
    """A page of a list."""
    return answer({"data": rows, "next_offset": next_offset})


class Town:
    """Jobs that are processing until they finish, and good lists of them.

    Args:
        ends: When each job finishes.
    """

    def __init__(self, ends: dict[str, float]) -> None:
        self.ends = ends

    def look(self, asked: Asked) -> Script:
        """Answer a lookup."""
        ends_at = self.ends.get(asked.job_id)
        if ends_at is None:
            return answer({"detail": "Job not found"}, status=404)
        return answer(document(asked.job_id, "finished" if now() >= ends_at else "processing"))

    def show(self, asked: Asked) -> Script:
        """Answer for a page, newest first, without outputs."""
        if asked.query.get("status") != "processing":
            return page([])
        running = [job_id for job_id, ends_at in reversed(self.ends.items()) if now() < ends_at]
        end = asked.offset + asked.limit
        rows = [{"id": each, "status": "processing"} for each in running[asked.offset : end]]
        return page(rows, end if end < len(running) else -1)

    def check(self, outcomes: list[tuple[str, str]]) -> None:
        """Each job was handed out once, with its own output."""
        assert sorted(outcomes) == sorted((job_id, f"of {job_id}") for job_id in self.ends)


async def watched(stage: Stage, town: Town, **settings: object) -> list[tuple[str, str]]:
    """Watch all jobs of a town, and return each id with the output that came."""
    found = []
    async with (
        stage.client(**settings) as client,
        client.as_completed([*town.ends], strategy="sweep") as outcomes,
    ):
        async for outcome in outcomes:
            assert now() >= town.ends[outcome.job_id]
            [output] = outcome.unwrap().outputs
            found.append((outcome.job_id, str(getattr(output, "data", None))))
    return found


@pytest.mark.looptime
@pytest.mark.parametrize("status", [400, 403, 404, 405, 422, 501, 505, 302])
async def test_no_lists(status: int, caplog: pytest.LogCaptureFixture) -> None:
    """Where lists are not to be had, jobs are polled, and one line says so."""
    town = Town({f"j{n}": 20.0 + n for n in range(60)})

    async def play(asked: Asked) -> Script:
        return answer({"detail": "no"}, status=status) if asked.is_list else town.look(asked)

    async with Stage(play) as stage:
        town.check(await watched(stage, town))

    assert len(warnings_of(caplog)) == 1
    assert len(stage.lists()) <= 2
    assert now() <= 79 * 1.07 + 2


@pytest.mark.looptime
@pytest.mark.parametrize(
    "bad",
    [
        answer({"detail": "oops"}, status=500),
        answer(b"<html>Bad Gateway</html>", status=502),
        answer(b"<html>Welcome</html>"),
        answer(b""),
        answer([]),  # type: ignore[arg-type] # that is the point
        answer({"data": None}),
        answer({"data": {"id": "j1"}}),
        answer({"jobs": []}),
        [Do.FIN],
        [Do.RST],
        answer(b'{"data": [{"id": "j1", "status": "fin', Do.FIN, length=100),
    ],
    ids=lambda bad: repr(bad)[:60],
)
async def test_lists_are_down(bad: Script) -> None:
    """Lists that fail for ever while lookups work keep no job waiting for long."""
    town = Town({f"j{n}": 120.0 + n for n in range(60)})

    async def play(asked: Asked) -> Script:
        return bad if asked.is_list else town.look(asked)

    async with Stage(play) as stage:
        town.check(await watched(stage, town, polling=PollPolicy(max_unreachable=100)))

    assert now() <= 179 * 1.07 + 2
    assert len(stage.lists()) <= 20
    assert most_in_a_second(stage.asked) <= 101


@pytest.mark.looptime
@pytest.mark.parametrize("ended", [1, 30, 60])
async def test_lists_are_down_and_jobs_have_ended(ended: int) -> None:
    """Lists that fail for ever keep no job waiting, also when some jobs have ended already."""
    town = Town({f"j{n}": 0.0 if n >= 60 - ended else 300.0 + n for n in range(60)})

    async def play(asked: Asked) -> Script:
        return answer({}, status=500) if asked.is_list else town.look(asked)

    async with Stage(play) as stage:
        town.check(await watched(stage, town))

    assert now() <= 360 + 13


@pytest.mark.looptime
async def test_lists_are_down_and_a_job_is_missing() -> None:
    """Nor when one of the ids does not exist."""
    town = Town({f"j{n}": 100.0 + n for n in range(20)})

    async def play(asked: Asked) -> Script:
        return answer({}, status=500) if asked.is_list else town.look(asked)

    async with Stage(play) as stage, stage.client() as client:
        outcomes = await client.wait_for_jobs([*town.ends, "missing"], strategy="sweep")

    assert [outcome.ok for outcome in outcomes] == [True] * 20 + [False]
    assert now() <= 120 + 13


@pytest.mark.looptime
async def test_one_status_is_down() -> None:
    """Lists of one status that fail are as bad as all of them."""
    town = Town({f"j{n}": 100.0 + n for n in range(40)})

    async def play(asked: Asked) -> Script:
        if asked.query.get("status") == "processing":
            return answer({}, status=500)
        return town.show(asked) if asked.is_list else town.look(asked)

    async with Stage(play) as stage:
        town.check(await watched(stage, town))

    assert now() <= 140 + 13


@pytest.mark.looptime
@pytest.mark.parametrize("share", [0.05, 0.3])
async def test_random_failures(share: float) -> None:
    """Failures at random lose nothing, duplicate nothing and invent nothing."""
    town = Town({f"j{n}": 5.0 + n / 3 for n in range(600)})
    dice = random.Random(5)

    async def play(asked: Asked) -> Script:
        if dice.random() < share:
            half = b'{"id": "j1", "status": "finished", "data": ['
            return dice.choice([answer({}, status=500), [Do.RST], answer(half, Do.FIN, length=99)])
        return town.show(asked) if asked.is_list else town.look(asked)

    async with Stage(play) as stage:
        town.check(await watched(stage, town))

    assert len(stage.asked) <= (3000 if share < 0.1 else 15_000)
    assert now() <= 205 + (60 if share < 0.1 else 600)


@pytest.mark.looptime
async def test_lists_fail_now_and_then() -> None:
    """A list that fails every third time is still worth reading."""
    town = Town({f"j{n}": 30.0 + n for n in range(200)})
    count = 0

    async def play(asked: Asked) -> Script:
        nonlocal count
        if not asked.is_list:
            return town.look(asked)
        count += 1
        return answer({}, status=500) if count % 3 == 0 else town.show(asked)

    async with Stage(play) as stage:
        town.check(await watched(stage, town))

    assert len(stage.looks()) <= 200 * 2
    assert now() <= 230 + 30


@pytest.mark.looptime
async def test_lists_are_down_for_a_while() -> None:
    """Lists that fail for ten seconds of an hour are read again after that."""
    town = Town({f"j{n}": 3600.0 + n / 10 for n in range(100)})

    async def play(asked: Asked) -> Script:
        if asked.is_list and 60 <= now() < 70:
            return answer({}, status=503)
        return town.show(asked) if asked.is_list else town.look(asked)

    async with Stage(play) as stage:
        town.check(await watched(stage, town))

    assert len(stage.looks()) <= 100 * 40  # a tenth of what polling needs


@pytest.mark.looptime
async def test_outage_and_recovery(sieve: FakeSieve) -> None:
    """A total outage delays, and loses nothing; what failed meanwhile is told once a minute."""
    ids = [sieve.add_job(processing=10 + n) for n in range(300)]
    policy = PollPolicy(max_unreachable=900)

    async def break_down() -> None:
        await asyncio.sleep(100)
        await sieve.stop()
        await asyncio.sleep(600)
        await sieve.start()

    async with (
        SieveClient(KEY, base_url=sieve.url, polling=policy) as client,
        asyncio.TaskGroup() as group,
    ):
        group.create_task(break_down())
        outcomes = await client.wait_for_jobs(ids, strategy="sweep")

    assert all(outcome.ok for outcome in outcomes)
    assert now() <= 700 + 75
    assert sieve.requests.total <= 2000


@pytest.mark.looptime
async def test_outage_without_end() -> None:
    """When nothing valid comes for ``max_unreachable``, each job has the error as its outcome."""
    town = Town({f"j{n}": 1e6 for n in range(50)})

    async def play(asked: Asked) -> Script:
        if now() >= 50:
            return answer({"detail": f"{KEY} is your key"}, status=500)
        return town.show(asked) if asked.is_list else town.look(asked)

    policy = PollPolicy(max_unreachable=300)
    async with Stage(play) as stage, stage.client(polling=policy) as client:
        outcomes = await client.wait_for_jobs(town.ends, strategy="sweep")

    for outcome in outcomes:
        assert outcome.error is not None
        check_error(outcome.error)
    assert 340 <= now() <= 50 + 300 + 130
    assert most_in_a_second([asked for asked in stage.asked if asked.at > 60]) <= 10


@pytest.mark.looptime
async def test_page_too_large() -> None:
    """A page over ``Limits.max_body`` is asked for in smaller ones, which suffice."""
    town = Town({f"j{n}": 30.0 + n for n in range(400)})

    async def play(asked: Asked) -> Script:
        return town.show(asked) if asked.is_list else town.look(asked)

    limits = Limits(max_body=4000)
    async with Stage(play) as stage:
        town.check(await watched(stage, town, limits=limits))

    assert {asked.limit for asked in stage.lists()} > {500}
    assert len(stage.looks()) <= 400 * 1.5
    assert now() <= 430 + 13


@pytest.mark.looptime
async def test_retry_after() -> None:
    """A pause that a list asks for is kept by all, and then the sweeps go on."""
    town = Town({f"j{n}": 30.0 + n for n in range(100)})
    paused_at: list[float] = []

    async def play(asked: Asked) -> Script:
        if asked.is_list and now() >= 20 and not paused_at:
            paused_at.append(now())
            return answer({}, status=429, headers=[("Retry-After", "60")])
        return town.show(asked) if asked.is_list else town.look(asked)

    async with Stage(play) as stage:
        town.check(await watched(stage, town))

    [since] = paused_at
    assert not [asked for asked in stage.asked if since + 0.1 < asked.at < since + 60]
    assert now() <= 130 + 30
