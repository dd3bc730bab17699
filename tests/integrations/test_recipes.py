"""The recipes for engines in README.md, run by the engines themselves; none needs a service."""

import asyncio
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import ray
from celery.contrib.testing.worker import start_worker
from prefect.testing.utilities import prefect_test_harness
from taskiq import InMemoryBroker, SimpleRetryMiddleware
from temporalio.testing import ActivityEnvironment

from helpers.leak_checks import KEY
from sieve_async import AuthenticationError
from sieve_async.testing import FakeSieve

README = (Path(__file__).parents[2] / "README.md").read_text("utf-8")
BLOCKS: list[str] = re.findall(r"```python\n(.*?)```", README, re.DOTALL)
PRELUDE = """
import asyncio
from typing import Any

from sieve_async import Limits, SieveClient
"""
# The engines warn about their own code.
pytestmark = [pytest.mark.recipes, pytest.mark.filterwarnings("ignore")]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSieve]:
    """A server in a thread of its own, found by the environment."""
    with FakeSieve.in_thread(api_key=KEY) as sieve:
        monkeypatch.setenv("SIEVE_API_KEY", KEY)
        monkeypatch.setenv("SIEVE_API_URL", sieve.url)
        yield sieve


def source(engine: str) -> str:
    """The recipe of one engine as a module: the shared block and its own."""
    (shared,) = (block for block in BLOCKS if "def watch_part" in block)
    begin = re.compile(rf"^(?:from|import) {engine}\b", re.MULTILINE)
    (own,) = filter(begin.search, BLOCKS)
    return PRELUDE + shared + own


def recipe(engine: str) -> dict[str, Any]:
    """The names that a recipe defines."""
    names: dict[str, Any] = {"__name__": "__main__"}
    exec(compile(source(engine), "README.md", "exec"), names)  # noqa: S102 - it is our own
    return names


def add_jobs(server: FakeSieve) -> list[str]:
    """Jobs for ten parts, one of which fails."""
    return [*server.add_jobs(24, processing=0.3), server.add_job(status="error")]


def check(server: FakeSieve, job_ids: list[str], parts: list[list[dict[str, Any]]]) -> None:
    """Each job has one outcome, in the order of the ids."""
    found = [(outcome["job_id"], outcome["status"]) for part in parts for outcome in part]
    assert len(parts) == 10
    assert found == [(job_id, str(server.job(job_id).final_status)) for job_id in job_ids]


def test_prefect(server: FakeSieve) -> None:
    """A flow of ten tasks."""
    job_ids = add_jobs(server)
    with prefect_test_harness():
        check(server, job_ids, recipe("prefect")["watch_batch"](job_ids))


def test_ray(server: FakeSieve) -> None:
    """Ten tasks on a cluster of one node."""
    job_ids = add_jobs(server)
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False)
    try:
        check(server, job_ids, recipe("ray")["watch_batch"](job_ids))
    finally:
        ray.shutdown()


def test_celery(server: FakeSieve) -> None:
    """Ten tasks on one worker."""
    job_ids = add_jobs(server)
    names = recipe("celery")
    names["app"].conf.update(broker_url="memory://", result_backend="cache+memory://")
    with start_worker(names["app"], perform_ping_check=False):
        check(server, job_ids, names["watch_batch"](job_ids))


async def test_taskiq(server: FakeSieve) -> None:
    """Ten tasks of an in-memory broker, made as the sentence below the recipes says."""
    job_ids = add_jobs(server)
    names = recipe("celery")
    call = "broker.task(watch_part, retry_on_error=True, max_retries=3)"
    assert call in README
    names["broker"] = InMemoryBroker().with_middlewares(SimpleRetryMiddleware())
    task = eval(call, names)  # noqa: S307 - it is our own
    sent = [await task.kiq(part, 10) for part in names["shard"](job_ids, 10)]
    results = [await one.wait_result(timeout=60) for one in sent]
    check(server, job_ids, [result.return_value for result in results])


def test_types(tmp_path: Path) -> None:
    for engine in ("temporalio", "prefect", "ray", "celery"):
        (tmp_path / f"{engine}_recipe.py").write_text(source(engine), "utf-8")
    options = ["--strict", "--ignore-missing-imports", "--allow-untyped-decorators"]
    command = [sys.executable, "-m", "mypy", *options, "."]
    ran = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)  # noqa: S603
    assert ran.returncode == 0, ran.stdout


@pytest.fixture
def activity() -> Any:
    """The activity of the recipe for Temporal."""
    return recipe("temporalio")["watch_jobs"]


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
