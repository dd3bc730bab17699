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
from airflow.api_fastapi.core_api.services.ui.connections import HookMetaService
from airflow.providers_manager import ProvidersManager
from airflow.sdk import Asset
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowRescheduleException,
    AirflowSkipException,
    TaskDeferred,
)
from airflow.sdk.providers_manager_runtime import ProvidersManagerTaskRuntime
from airflow.triggers.base import TaskFailedEvent, TaskSkippedEvent, TaskSuccessEvent, TriggerEvent

from helpers.leak_checks import KEY
from sieve_async import ConfigError, InvalidArgumentError, Limits
from sieve_async.integrations.airflow import (
    SieveHook,
    SieveJobSensor,
    SieveJobTrigger,
    SievePushOperator,
    SieveVersionSensor,
    SieveVersionTrigger,
    get_provider_info,
)
from sieve_async.integrations.airflow import triggers as triggers_module
from sieve_async.integrations.airflow.sensors import parse_ids
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


class TaskState(dict[str, Any]):
    """The task state store of a task."""

    def set(self, key: str, value: Any) -> None:
        """Keep a value as the store does, as JSON."""
        self[key] = json.loads(json.dumps(value))


class TaskInstance:
    """The parts of a task instance that the operators use."""

    def __init__(self) -> None:
        self.try_number = 1
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        """Keep an XCom."""
        self.xcoms[key] = value

    def get_first_reschedule_date(self, _: Any) -> None:
        """Say that the sensor was not rescheduled yet."""


def make_context() -> Any:
    """The parts of a task's context that the operators use."""
    return {"ti": TaskInstance(), "task_state_store": TaskState()}


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
    server: FakeSieve, status: Any, *, soft_fail: bool, event_class: type[TriggerEvent]
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
    job_ids = [server.add_job() for _ in range(3)]
    sensor = SieveJobSensor(task_id="wait", job_ids=job_ids)
    assert sensor.execute(make_context()) == dict.fromkeys(job_ids, "finished")  # type: ignore[arg-type]


def test_sensor_defers(server: FakeSieve) -> None:
    """Pending jobs defer the task, with Airflow's limit behind ours, and no key anywhere."""
    job_id = server.add_job(status=None)
    sensor = SieveJobSensor(task_id="wait", job_ids=[job_id], timeout=60)
    with pytest.raises(TaskDeferred) as caught:
        sensor.execute(make_context())
    assert caught.value.timeout.total_seconds() == 360
    assert caught.value.trigger.end_from_trigger
    assert made_again(caught.value.trigger).deadline <= time.time() + 60


@pytest.mark.parametrize(
    "arguments", [{"outlets": ["asset"]}, {"on_success_callback": [print]}, {}], ids=str
)
def test_what_needs_a_worker_resumes_there(server: FakeSieve, arguments: dict[str, Any]) -> None:
    """Outlets and success callbacks are run by workers, so the trigger must not end the task."""
    if "outlets" in arguments:
        arguments = {"outlets": [Asset("sieve")]}
    sensor = SieveJobSensor(task_id="wait", job_ids=[server.add_job(status=None)], **arguments)
    with pytest.raises(TaskDeferred) as caught:
        sensor.execute(make_context())
    assert caught.value.trigger.end_from_trigger is not bool(arguments)


def test_failures_are_raised(server: FakeSieve) -> None:
    """A failed job fails the task, and names it; with ``soft_fail`` it is skipped."""
    job_id = server.add_job(status="error")
    with pytest.raises(AirflowException, match=f"{job_id}: error"):
        SieveJobSensor(task_id="a", job_ids=job_id).execute(make_context())
    with pytest.raises(AirflowSkipException):
        SieveJobSensor(task_id="b", job_ids=job_id, soft_fail=True).execute(make_context())


def test_poke_mode(server: FakeSieve) -> None:
    """Not deferrable, the sensor pokes, as reschedule mode needs it."""
    job_id = server.add_job(queued=1, processing=2, by="polls")
    sensor = SieveJobSensor(task_id="wait", job_ids=[job_id], deferrable=False, poke_interval=0.01)
    assert not sensor.poke(make_context())
    assert sensor.execute(make_context()) == {job_id: "finished"}  # type: ignore[arg-type]


@pytest.mark.parametrize("given", ["['a', 'b']", ' ["a", "b"]', ["a", "b", "a"], ("a", "b")])
def test_ids_of_templates(given: Any) -> None:
    """A template gives text; an id that comes twice is watched once."""
    assert parse_ids(given) == ["a", "b"]


@pytest.mark.parametrize("given", ["", "[a", "a b", ["a", ""], ["a", 1], None, 7, {"a": "b"}])
def test_what_cannot_be_ids(given: Any) -> None:
    """Something else is refused before anything is sent."""
    with pytest.raises(InvalidArgumentError, match="job_ids must be"):
        parse_ids(given)


def test_no_ids(server: FakeSieve) -> None:
    """Nothing to wait for is no failure."""
    assert SieveJobSensor(task_id="wait", job_ids=[]).execute(make_context()) == {}
    assert not server.requests


@pytest.mark.parametrize("arguments", [{"deferrable": True}, {"deferrable": False}], ids=str)
def test_refused_key(server: FakeSieve, arguments: dict[str, Any]) -> None:
    """A key that is refused ends the wait, also where it would poke."""
    job_id = server.add_job(status=None)
    server.revoke_key()
    sensor = SieveJobSensor(task_id="wait", job_ids=job_id, **arguments)
    with pytest.raises(AirflowException, match="AuthenticationError"):
        sensor.execute(make_context())


def test_never_fail(server: FakeSieve) -> None:
    """With ``never_fail``, the task is skipped wherever it ends."""
    arguments: dict[str, Any] = {"task_id": "wait", "never_fail": True}
    with pytest.raises(AirflowSkipException):
        SieveJobSensor(job_ids=server.add_job(status="error"), **arguments).execute(make_context())
    with pytest.raises(TaskDeferred) as caught:
        SieveJobSensor(job_ids=server.add_job(status=None), **arguments).execute(make_context())
    assert caught.value.trigger.soft_fail


def test_event_comes_ten_seconds_after_the_deferral(
    server: FakeSieve, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A task that resumes on a worker gets its event only when its deferral is recorded."""
    monkeypatch.setattr(triggers_module, "RESUME_DELAY", 1.5)
    began = time.time()
    (event,) = events_of(SieveJobTrigger(job_ids=[server.add_job()]))
    assert type(event) is TriggerEvent
    assert time.time() >= began + 1.5


def test_kill_cancels_the_jobs(server: FakeSieve) -> None:
    """Jobs are cancelled by a user who ends the task only if that was asked for."""
    job_ids = [server.add_job(status=None), "missing", server.add_job(status=None)]
    asyncio.run(SieveJobTrigger(job_ids=job_ids).on_kill())
    assert not server.requests
    asyncio.run(SieveJobTrigger(job_ids=job_ids, cancel_on_kill=True).on_kill())
    ended = SieveJobTrigger(job_ids=job_ids, created_at=0.0)
    assert [*events_of(ended)[0].payload.values()] == ["cancelled", "NotFoundError", "cancelled"]


def test_execute_complete(server: FakeSieve) -> None:
    """The event of the trigger is the result; a bare word of ``dag.test()`` is none."""
    job_id = server.add_job()
    sensor = SieveJobSensor(task_id="wait", job_ids=[job_id])
    assert sensor.execute_complete(make_context(), {"other": "finished"}) == {"other": "finished"}
    assert not server.requests
    assert sensor.execute_complete(make_context(), "success") == {job_id: "finished"}
    with pytest.raises(AirflowException, match="1 of 2 did not succeed: b: error"):
        sensor.execute_complete(make_context(), {"a": "finished", "b": "error"})


def test_connection_form() -> None:
    """The form of a connection names the key, and has the two rates."""
    form = next(
        each for each in HookMetaService.hook_meta_data() if each.connection_type == "sieve"
    )
    assert form.standard_fields is not None
    assert form.standard_fields.password is not None
    assert form.standard_fields.password.title == "API key"
    assert form.extra_fields is not None
    assert {*form.extra_fields} == {"polls_per_second", "max_connections"}


@pytest.mark.parametrize(
    ("connection", "base_url"),
    [
        ({"host": "https://example.com"}, "https://example.com"),
        ({"host": "example.com", "port": 8443}, "https://example.com:8443"),
        ({"host": "127.0.0.1", "schema": "http", "port": 80}, "http://127.0.0.1:80"),
        ({}, "https://mango.sievedata.com"),
    ],
)
def test_connection_settings(
    monkeypatch: pytest.MonkeyPatch, connection: dict[str, Any], base_url: str
) -> None:
    """The base URL and the rates come from the connection; the key is shown nowhere."""
    extra = {"polls_per_second": 5, "max_connections": 3}
    document = {"conn_type": "sieve", "password": KEY, "extra": extra, **connection}
    monkeypatch.setenv("AIRFLOW_CONN_SIEVE_DEFAULT", json.dumps(document))
    settings = SieveHook().read_settings()
    assert settings.limits == Limits(polls_per_second=5, max_connections=3)
    assert repr(SieveHook().get_conn()) == f"<SieveClient {base_url}>"
    assert KEY not in repr(settings)


def test_connection_without_key(monkeypatch: pytest.MonkeyPatch) -> None:
    """A connection has a key of its own, whatever the environment says."""
    monkeypatch.setenv("SIEVE_API_KEY", KEY)
    monkeypatch.setenv("AIRFLOW_CONN_SIEVE_DEFAULT", json.dumps({"conn_type": "sieve"}))
    with pytest.raises(ConfigError, match="'sieve_default' must have the API key as password"):
        SieveHook().read_settings()


def test_version_sensor(server: FakeSieve) -> None:
    """A version that is ready needs no wait."""
    server.add_version("me", "mine")
    sensor = SieveVersionSensor(task_id="build", function="me/mine")
    assert sensor.execute(make_context()) == {"me/mine": "ready"}  # type: ignore[arg-type]


def test_push_is_not_repeated_by_a_retry(server: FakeSieve) -> None:
    """A retry waits for the job of the try before."""
    server.script_function("me/mine", processing=600)
    operator = SievePushOperator(task_id="push", function="me/mine", inputs={"text": "hi"})
    context = make_context()
    with pytest.raises(TaskDeferred):
        operator.execute(context)
    context["ti"].try_number = 2
    with pytest.raises(TaskDeferred) as caught:
        operator.execute(context)
    assert len(server.pushes) == 1
    assert caught.value.trigger.job_ids == [context["ti"].xcoms["job_id"]]


def test_ambiguous_push_is_found_by_the_retry(server: FakeSieve) -> None:
    """When the answer was lost, the retry finds the job instead of pushing again."""
    server.script_function("me/mine", processing=600)
    operator = SievePushOperator(task_id="push", function="me/mine", inputs={"text": "hi"})
    context = make_context()
    server.fault(path="/v2/push", drop="after", times=1)
    with pytest.raises(AirflowException, match="may have started"):
        operator.execute(context)
    context["ti"].try_number = 2
    with pytest.raises(TaskDeferred):
        operator.execute(context)
    assert len(server.pushes) == 1


def test_failed_job_is_pushed_again_by_a_retry(server: FakeSieve) -> None:
    server.script_function("me/mine", status="error")
    operator = SievePushOperator(task_id="push", function="me/mine")
    context = make_context()
    for context["ti"].try_number in (1, 2):
        with pytest.raises(AirflowException, match="did not succeed"):
            operator.execute(context)
    assert len(server.pushes) == 2


def test_failed_job_is_not_pushed_again_by_a_reschedule(server: FakeSieve) -> None:
    """Reschedule mode executes one try several times; only a retry may push again."""
    server.script_function("me/mine", queued=1, processing=2, by="polls", status="error")
    operator = SievePushOperator(
        task_id="push", function="me/mine", deferrable=False, mode="reschedule"
    )
    context = make_context()
    endings = []
    for _ in range(5):
        with pytest.raises(AirflowException) as caught:
            operator.execute(context)
        endings.append(caught.type)
    assert endings[0] is AirflowRescheduleException
    assert endings[-2:] == [AirflowException, AirflowException]
    assert len(server.pushes) == 1


def test_job_that_a_replica_does_not_know_yet(server: FakeSieve) -> None:
    """A 404 soon after the push is no reason to fail."""
    server.script_function("me/mine", processing=600)
    fault = server.fault(path="/v2/jobs/*", status=404, times=1)
    operator = SievePushOperator(task_id="push", function="me/mine")
    with pytest.raises(TaskDeferred):
        operator.execute(make_context())
    assert fault.hits == 1


def test_push_without_waiting(server: FakeSieve) -> None:
    """The operator may leave the waiting to a sensor."""
    server.script_function("me/mine", processing=600)
    operator = SievePushOperator(task_id="push", function="me/mine", wait_for_completion=False)
    context = make_context()
    assert operator.execute(context) == context["ti"].xcoms["job_id"]


DAG_FILE = """
from datetime import UTC, datetime

from airflow.sdk import DAG

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
    airflow("db", "migrate")
    waited, pushed = airflow("dags", "test", "sieve_waits"), airflow("dags", "test", "sieve_push")
    assert "state=success" in waited
    assert "state=success" in pushed
    assert len(server.pushes) == 1
    assert all(server.requests_for(job_id) >= 3 for job_id in job_ids)


def airflow(*arguments: str) -> str:
    """Run a command of Airflow, and return what it prints, which never shows the key."""
    done = subprocess.run(  # noqa: S603 - it is the interpreter itself
        [sys.executable, "-m", "airflow", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-6000:]
    assert KEY not in done.stdout
    return done.stdout
