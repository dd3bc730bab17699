"""The recipe for Temporal in README.md, in the environment of an activity; no server is needed."""

import asyncio
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from temporalio.testing import ActivityEnvironment

from helpers.leak_checks import KEY
from sieve_async import AuthenticationError, SieveClient
from sieve_async.testing import FakeSieve

MARK = "__temporal_activity_definition"  # of an activity
README = Path(__file__).parents[2] / "README.md"

pytestmark = pytest.mark.dask  # they share an environment


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSieve]:
    """A server in a thread of its own, found by the environment."""
    with FakeSieve.in_thread(api_key=KEY) as sieve:
        monkeypatch.setenv("SIEVE_API_KEY", KEY)
        monkeypatch.setenv("SIEVE_API_URL", sieve.url)
        yield sieve


@pytest.fixture
def activity() -> Any:
    """The activity of the recipe."""
    blocks: list[str] = re.findall(r"```python\n(.*?)```", README.read_text("utf-8"), re.DOTALL)
    recipes = [block for block in blocks if "from temporalio import" in block]
    assert recipes
    names: dict[str, Any] = {"SieveClient": SieveClient, "__name__": "recipe"}
    exec(compile(recipes[0], str(README), "exec"), names)  # noqa: S102 - it is our own
    (found,) = (each for each in names.values() if hasattr(each, MARK))
    return found


async def test_outcomes_are_returned(server: FakeSieve, activity: Any) -> None:
    """The activity returns the status of each job, and its heartbeats hold what has ended."""
    job_ids = server.add_jobs(50, queued=0.2, processing=0.5)
    environment = ActivityEnvironment()
    heartbeats: list[dict[str, str]] = []
    environment.on_heartbeat = lambda *details: heartbeats.append(dict(details[0]))

    found = await environment.run(activity, job_ids)

    assert found == {job_id: str(server.job(job_id).final_status) for job_id in job_ids}
    assert heartbeats[-1] == found


async def test_attempt_after_a_lost_worker(server: FakeSieve, activity: Any) -> None:
    """A new attempt asks only for what the one before has not seen."""
    seen, left = server.add_job(), server.add_job(processing=0.3)
    environment = ActivityEnvironment()
    environment.info = replace(environment.info, heartbeat_details=[{seen: "finished"}])

    found = await environment.run(activity, [seen, left])

    assert found == {seen: "finished", left: "finished"}
    assert server.requests_for(seen) == 0


async def test_cancelling_stops_the_polling(server: FakeSieve, activity: Any) -> None:
    """A cancelled activity ends."""
    environment = ActivityEnvironment()
    running = asyncio.ensure_future(environment.run(activity, [server.add_job(status=None)]))
    await asyncio.sleep(0.5)

    assert server.requests
    environment.cancel()

    with pytest.raises(asyncio.CancelledError):
        await running


async def test_refused_key_is_raised(server: FakeSieve, activity: Any) -> None:
    """What says nothing about a job fails the attempt, so that Temporal makes another one."""
    server.revoke_key()

    with pytest.raises(AuthenticationError):
        await ActivityEnvironment().run(activity, [server.add_job()])
