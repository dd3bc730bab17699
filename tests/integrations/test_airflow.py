"""The Airflow provider: its hook, triggers, sensors and operator, with the real Airflow."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.providers_manager import ProvidersManager
from airflow.sdk.exceptions import AirflowException, AirflowSkipException, TaskDeferred
from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime
from airflow.triggers.base import TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from helpers.leak_checks import KEY
from sieve_async.integrations.airflow import (
    SieveHook,
    SieveJobSensor,
    SieveJobTrigger,
    SievePushOperator,
    SieveVersionSensor,
    SieveVersionTrigger,
    get_provider_info,
    shard,
)
from sieve_async.integrations.airflow import triggers as triggers_module
from sieve_async.testing import FakeSieve

pytestmark = [
    pytest.mark.airflow,
    pytest.mark.filterwarnings("default"),  # those of Airflow itself
]


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeSieve]:
    """A server in a thread, and the connection ``sieve_default`` that leads to it."""
    with FakeSieve.in_thread(api_key=KEY) as sieve:
        connection = {"conn_type": "sieve", "password": KEY, "host": sieve.url}
        monkeypatch.setenv("AIRFLOW_CONN_SIEVE_DEFAULT", json.dumps(connection))
        yield sieve


class Context(dict[str, Any]):
    """The parts of a task's context that the operators use."""

    def __init__(self) -> None:
        self.xcoms: dict[str, Any] = {}
        self.state: dict[str, Any] = {}
        super().__init__(ti=self, task_state_store=self)

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def get(self, key: str, default: Any = None) -> Any:  # type: ignore[override] # both stores
        return self.state.get(key, default)

    def set(self, key: str, value: Any) -> None:
        self.state[key] = value


def events_of(trigger: Any) -> list[TriggerEvent]:
    """Run a trigger to its end."""

    async def run() -> list[TriggerEvent]:
        return [event async for event in trigger.run()]

    return asyncio.run(run())


def made_again(trigger: Any) -> Any:
    """The trigger after a round trip through its serialized form, as JSON."""
    path, arguments = trigger.serialize()
    assert KEY not in json.dumps(arguments)
    module, _, name = path.rpartition(".")
    assert module == triggers_module.__name__
    return getattr(triggers_module, name)(**json.loads(json.dumps(arguments)))


def test_provider_is_registered() -> None:
    """Airflow finds the provider by its entry point, and its connection type."""
    hook = ProvidersManagerTaskRuntime().hooks["sieve"]

    assert "sieve-async" in ProvidersManager().providers
    assert hook is not None
    assert (hook.hook_name, hook.connection_testable) == ("Sieve", True)
    assert get_provider_info()["connection-types"][0]["connection-type"] == "sieve"


def test_connection_test(server: FakeSieve) -> None:
    """The test of a connection asks the API with its key."""
    assert SieveHook().test_connection() == (True, "the API accepted the key")

    server.revoke_key()
    works, reason = SieveHook().test_connection()

    assert not works
    assert "401" in reason
    assert KEY not in reason


def test_trigger_returns_statuses_in_order(server: FakeSieve) -> None:
    """The event maps each id, in the order given, to its status word."""
    job_ids = [server.add_job(processing=0.2, status=end) for end in ("finished", "error")]
    job_ids.append("missing")
    trigger = SieveJobTrigger(job_ids=job_ids, created_at=time.time() - 60)

    (event,) = events_of(made_again(trigger))

    assert event.payload == dict(zip(job_ids, ["finished", "error", "NotFoundError"], strict=True))
    assert list(event.payload) == job_ids


@pytest.mark.parametrize(
    ("status", "soft_fail", "event_class"),
    [
        ("finished", False, TaskSuccessEvent),
        ("error", False, TaskFailedEvent),
        ("cancelled", True, TaskSkippedEvent),
    ],
)
def test_end_from_trigger(
    server: FakeSieve, status: Any, soft_fail: bool, event_class: type[TriggerEvent]
) -> None:
    """The trigger ends the task itself, without a worker."""
    job_id = server.add_job(processing=0.1, status=status)
    trigger = SieveJobTrigger(job_ids=[job_id], end_from_trigger=True, soft_fail=soft_fail)

    (event,) = events_of(made_again(trigger))

    assert type(event) is event_class


def test_trigger_deadline(server: FakeSieve) -> None:
    """At the deadline, pending jobs have the class name of the error."""
    job_id = server.add_job(status=None)
    trigger = SieveJobTrigger(
        job_ids=[job_id], deadline=time.time() + 0.5, created_at=time.time() - 60
    )

    (event,) = events_of(trigger)

    assert event.payload == {job_id: "WaitTimeoutError"}


def test_version_trigger(server: FakeSieve) -> None:
    """A build that failed is a failure."""
    server.add_version("me", "mine", building=0.1, status="error")

    (event,) = events_of(
        made_again(SieveVersionTrigger(function="me/mine", created_at=time.time() - 60))
    )

    assert event.payload == {"me/mine": "error"}


def test_sensor_of_ended_jobs_does_not_defer(server: FakeSieve) -> None:
    """Jobs that ended before need no triggerer."""
    job_ids = [server.add_job() for _ in range(3)]
    sensor = SieveJobSensor(task_id="wait", job_ids=job_ids)

    assert sensor.execute(Context()) == dict.fromkeys(job_ids, "finished")  # type: ignore[arg-type]


def test_sensor_defers(server: FakeSieve) -> None:
    """Pending jobs defer the task, with Airflow's limit behind ours, and no key anywhere."""
    job_id = server.add_job(status=None)
    sensor = SieveJobSensor(task_id="wait", job_ids=[job_id], timeout=60)

    with pytest.raises(TaskDeferred) as caught:
        sensor.execute(Context())  # type: ignore[arg-type]

    assert caught.value.timeout.total_seconds() == 360
    assert caught.value.trigger.end_from_trigger
    assert made_again(caught.value.trigger).deadline <= time.time() + 60


@pytest.mark.parametrize(
    "arguments", [{"outlets": ["asset"]}, {"on_success_callback": [print]}, {}], ids=str
)
def test_what_needs_a_worker_resumes_there(server: FakeSieve, arguments: dict[str, Any]) -> None:
    """Outlets and success callbacks are run by workers, so the trigger must not end the task."""
    from airflow.sdk import Asset

    if "outlets" in arguments:
        arguments = {"outlets": [Asset("sieve")]}
    sensor = SieveJobSensor(task_id="wait", job_ids=[server.add_job(status=None)], **arguments)

    with pytest.raises(TaskDeferred) as caught:
        sensor.execute(Context())  # type: ignore[arg-type]

    assert caught.value.trigger.end_from_trigger is not bool(arguments)


def test_failures_are_raised(server: FakeSieve) -> None:
    """A failed job fails the task, and names it; with ``soft_fail`` it is skipped."""
    job_id = server.add_job(status="error")

    with pytest.raises(AirflowException, match=f"{job_id}: error"):
        SieveJobSensor(task_id="a", job_ids=job_id).execute(Context())  # type: ignore[arg-type]
    with pytest.raises(AirflowSkipException):
        SieveJobSensor(task_id="b", job_ids=job_id, soft_fail=True).execute(Context())  # type: ignore[arg-type]


def test_poke_mode(server: FakeSieve) -> None:
    """Not deferrable, the sensor pokes, as reschedule mode needs it."""
    job_id = server.add_job(queued=1, processing=2, by="polls")
    sensor = SieveJobSensor(task_id="wait", job_ids=[job_id], deferrable=False, poke_interval=0.01)

    assert not sensor.poke(Context())  # type: ignore[arg-type]
    assert sensor.execute(Context()) == {job_id: "finished"}  # type: ignore[arg-type]


@pytest.mark.parametrize("given", ["['a', 'b']", '["a", "b"]', ["a", "b", "a"], ("a", "b")])
def test_ids_of_templates(given: Any) -> None:
    """A template gives text; an id that comes twice is watched once."""
    sensor = SieveJobSensor(task_id="wait", job_ids=given)

    assert sensor._job_ids() == ["a", "b"]


def test_version_sensor(server: FakeSieve) -> None:
    """A version that is ready needs no wait."""
    server.add_version("me", "mine")
    sensor = SieveVersionSensor(task_id="build", function="me/mine")

    assert sensor.execute(Context()) == {"me/mine": "ready"}  # type: ignore[arg-type]


def test_push_is_not_repeated_by_a_retry(server: FakeSieve) -> None:
    """A retry waits for the job of the try before."""
    server.script_function("me/mine", processing=600)
    operator = SievePushOperator(task_id="push", function="me/mine", inputs={"text": "hi"})
    context = Context()

    for _ in range(2):
        with pytest.raises(TaskDeferred) as caught:
            operator.execute(context)  # type: ignore[arg-type]

    assert len(server.pushes) == 1
    assert caught.value.trigger.job_ids == [context.xcoms["job_id"]]


def test_ambiguous_push_is_found_by_the_retry(server: FakeSieve) -> None:
    """When the answer was lost, the retry finds the job instead of pushing again."""
    server.script_function("me/mine", processing=600)
    operator = SievePushOperator(task_id="push", function="me/mine", inputs={"text": "hi"})
    context = Context()
    server.fault(path="/v2/push", drop="after", times=1)

    with pytest.raises(AirflowException, match="may have started"):
        operator.execute(context)  # type: ignore[arg-type]
    with pytest.raises(TaskDeferred):
        operator.execute(context)  # type: ignore[arg-type]

    assert len(server.pushes) == 1


def test_failed_job_is_pushed_again(server: FakeSieve) -> None:
    """A retry after a failed job is what retries are for."""
    server.script_function("me/mine", status="error")
    operator = SievePushOperator(task_id="push", function="me/mine")
    context = Context()

    for _ in range(2):
        with pytest.raises(AirflowException, match="did not succeed"):
            operator.execute(context)  # type: ignore[arg-type]
            operator.execute(context)  # type: ignore[arg-type]

    assert len(server.pushes) == 2


def test_shards_are_even() -> None:
    """Shards differ by at most one id."""
    assert shard(list("abcde"), 2) == [["a", "b", "c"], ["d", "e"]]
    assert shard([], 3) == []


DAG_FILE = """

from sieve_async.integrations.airflow import (
    SieveJobSensor, SievePushOperator, SieveVersionSensor, shard,
)

with DAG("sieve_waits", start_date=datetime(2026, 1, 1, tzinfo=UTC), schedule=None):
    SieveJobSensor.partial(task_id="wait").expand(job_ids=shard({job_ids!r}, 2))
    SieveVersionSensor(task_id="build", function="me/mine")

with DAG("sieve_push", start_date=datetime(2026, 1, 1, tzinfo=UTC), schedule=None):
    pushed = SievePushOperator(task_id="push", function="me/mine", inputs={{"text": "hi"}})
    again = SieveJobSensor(
        task_id="again",
        job_ids="{{{{ ti.xcom_pull(task_ids='push', key='job_id') }}}}",
        deferrable=False,
        mode="reschedule",
    )
    pushed >> again
"""


@pytest.mark.timeout(170)
def test_dags(server: FakeSieve) -> None:
    """Whole DAGs run to success in Airflow's own test runner, deferrals included."""
    job_ids = [server.add_job(queued=1, processing=2, by="polls") for _ in range(4)]
    server.add_version("me", "mine", building=2, by="polls")
    server.script_function("me/mine", queued=1, processing=2, by="polls")
    dags = Path(os.environ["AIRFLOW_HOME"], "dags")
    dags.mkdir(exist_ok=True)
    (dags / "sieve_dags.py").write_text(DAG_FILE.format(job_ids=job_ids), "utf-8")

    for arguments in (
        ("db", "migrate"),
        ("dags", "test", "sieve_waits"),
        ("dags", "test", "sieve_push"),
    ):
        done = subprocess.run(
            [sys.executable, "-m", "airflow", *arguments],
            capture_output=True,
            text=True,
            check=False,
        )

        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        assert KEY not in done.stdout + done.stderr

    assert "state=success" in done.stdout
    assert len(server.pushes) == 1
    assert all(server.requests_for(job_id) >= 3 for job_id in job_ids)
    assert server.requests_after_terminal() == 1  # the second sensor of the second DAG
