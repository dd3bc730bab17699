"""The Airflow provider on a whole Airflow: PostgreSQL, two triggerers, and one of them killed.

Run it as root on Debian, in an environment with Airflow; it takes about ten minutes on two cores::

    apt-get install postgresql
    python -m pip install ".[airflow]" psycopg2-binary asyncpg
    nice python tests/load/airflow_stack.py

It starts PostgreSQL in a temporary folder, an API server, a scheduler with LocalExecutor, a DAG
processor, two triggerers and a fake Sieve server, all on loopback, and stops them at the end.

1. 20 tasks wait for 500 jobs each, and one more for a job that fails. The triggerer with most of
   them is killed (``kill -9``) while all of them wait. Each job must be in the return value of
   exactly one task, with the status that it ended in, in the order of the ids.
2. Five times, 40 tasks wait for a short job, and resume on a worker. None may fail.
3. The API key must be in no log.

It prints one line for each, and exits with 1 if something is wrong.
"""

import contextlib
import http.client
import json
import os
import random
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sieve_async.testing import FakeSieve

T = TypeVar("T")

SHARDS, SHARD_SIZE = 20, 500
ROUNDS, SHORT_JOBS = 5, 40
KEY = "canary-" + secrets.token_hex(8)

DAGS = f"""
from datetime import UTC, datetime

from airflow.sdk import DAG, task

from sieve_async.integrations.airflow import SieveJobSensor, shard

begin = {{"start_date": datetime(2026, 1, 1, tzinfo=UTC), "schedule": None}}

with DAG("shards", **begin):

    @task
    def make_shards():
        return [*shard([f"job-{{n}}" for n in range({SHARDS * SHARD_SIZE})], {SHARDS}), ["bad"]]

    SieveJobSensor.partial(task_id="wait").expand(job_ids=make_shards())

with DAG("short", **begin):
    for number in range({SHORT_JOBS}):
        SieveJobSensor(
            task_id=f"wait_{{number}}",
            job_ids="{{{{ dag_run.conf['prefix'] }}}}-%d" % number,
            end_from_trigger=False,
        )
"""


def main() -> int:
    """Run everything; the exit code."""
    with ExitStack() as stack:
        folder = Path(tempfile.mkdtemp(prefix="airflow-stack-"))
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        folder.chmod(0o755)
        sieve = stack.enter_context(FakeSieve.in_thread(api_key=KEY))
        airflow = stack.enter_context(running_airflow(folder, sieve.url))
        is_good = check_shards(airflow, sieve)
        is_good &= check_short_jobs(airflow, sieve)
        is_good &= check_logs(folder)
    return 0 if is_good else 1


def check_shards(airflow: "Airflow", sieve: FakeSieve) -> bool:
    """Kill a triggerer while shards wait in two of them; another one is started."""
    timing = random.Random(1)
    job_ids = [f"job-{number}" for number in range(SHARDS * SHARD_SIZE)]
    for job_id in job_ids:
        sieve.add_job(job_id=job_id, processing=timing.uniform(120.0, 240.0))
    sieve.add_job(job_id="bad", processing=180.0, status="error")
    run = airflow.trigger("shards", {})

    def deferred() -> Counter[int] | None:
        waiting = [each for each in airflow.tasks("shards", run) if each["triggerer_job"]]
        by_job = Counter[int](each["triggerer_job"]["id"] for each in waiting)
        return by_job if by_job.total() == SHARDS + 1 else None

    by_job = until(deferred, 600.0)
    job, count = by_job.most_common(1)[0]
    airflow.kill_triggerer(job)
    killed_at = time.monotonic()
    airflow.start_triggerer()
    states = airflow.wait("shards", run)
    seconds = time.monotonic() - killed_at
    returned = [airflow.return_value("shards", run, "wait", index) for index in range(SHARDS)]
    times_seen = Counter(job_id for each in returned for job_id in each)
    lost = sum(times_seen[job_id] == 0 for job_id in job_ids)
    doubled = sum(number > 1 for number in times_seen.values())
    wrong = sum(status != "finished" for each in returned for status in each.values())
    in_order = [job_id for each in returned for job_id in each] == job_ids
    expected = Counter({"success": SHARDS + 1, "failed": 1})
    write(
        f"{SHARDS} shards of {SHARD_SIZE}, {dict(by_job)} by triggerer, the one with {count} killed"
        f" while they waited: {dict(states)} after {seconds:.0f} s, lost {lost}, doubled {doubled},"
        f" wrong {wrong}, in order: {in_order}; {len(sieve.requests)} requests"
    )
    return states == expected and not (lost or doubled or wrong) and in_order and len(by_job) == 2


def check_short_jobs(airflow: "Airflow", sieve: FakeSieve) -> bool:
    """Resume tasks on workers whose jobs end while their deferral is recorded."""
    is_good = True
    for number in range(ROUNDS):
        for each in range(SHORT_JOBS):
            sieve.add_job(job_id=f"short-{number}-{each}", queued=1, processing=1, by="polls")
        began = time.monotonic()
        run = airflow.trigger("short", {"prefix": f"short-{number}"})
        states = airflow.wait("short", run)
        seconds = time.monotonic() - began
        write(f"{SHORT_JOBS} short jobs, round {number + 1}: {dict(states)} in {seconds:.0f} s")
        is_good &= states == Counter({"success": SHORT_JOBS})
    return is_good


def check_logs(folder: Path) -> bool:
    """Search the key in everything that was logged."""
    files = [path for path in folder.rglob("*.log") if path.is_file()]
    with_key = [path for path in files if KEY.encode() in path.read_bytes()]
    write(f"{len(files)} log files, {len(with_key)} of them with the key")
    return bool(files) and not with_key


class Airflow:
    """A running Airflow, by its REST API."""

    def __init__(self, folder: Path, environment: dict[str, str], port: int) -> None:
        self.folder = folder
        self.environment = environment
        self.port = port
        self.processes: list[subprocess.Popen[bytes]] = []
        self.triggerers: dict[int, subprocess.Popen[bytes]] = {}

    def start(self, *arguments: str) -> subprocess.Popen[bytes]:
        """Start one component, in a process group of its own."""
        log = self.folder / f"{arguments[0]}-{len(self.processes)}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(  # noqa: S603 - it is the interpreter itself
                [sys.executable, "-m", "airflow", *arguments],
                env=self.environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def start_triggerer(self) -> None:
        """Start a triggerer, and learn the id of its job."""
        process = self.start("triggerer", "--skip-serve-logs")
        known = set(self.triggerers)

        def new() -> list[int]:
            jobs = self.get("/api/v2/jobs?job_type=TriggererJob&is_alive=true&limit=100")["jobs"]
            return [each["id"] for each in jobs if each["id"] not in known]

        self.triggerers[until(new, 180.0)[0]] = process

    def kill_triggerer(self, job: int) -> None:
        """Kill a triggerer and its children."""
        os.killpg(self.triggerers[job].pid, signal.SIGKILL)

    def stop(self) -> None:
        """Stop all components, and the tasks that they run."""
        for process in self.processes:
            process.terminate()
        deadline = time.monotonic() + 10.0
        for process in self.processes:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.0, deadline - time.monotonic()))
        for environment in Path("/proc").glob("[0-9]*/environ"):
            with contextlib.suppress(OSError):
                if f"AIRFLOW_HOME={self.folder}".encode() in environment.read_bytes():
                    os.kill(int(environment.parent.name), signal.SIGKILL)

    def get(self, path: str, body: object = None) -> Any:
        """Get a document of the REST API, or post one."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        with contextlib.closing(connection):
            connection.request("GET", "/auth/token")
            answer = connection.getresponse().read()
            headers = {
                "Authorization": f"Bearer {json.loads(answer)['access_token']}",
                "Content-Type": "application/json",
            }
            content = None if body is None else json.dumps(body)
            connection.request("POST" if content else "GET", path, content, headers)
            response = connection.getresponse()
            text = response.read()
            if response.status >= 400:
                raise OSError(f"{path}: {response.status} {text[:500]!r}")
            return json.loads(text)

    def trigger(self, dag: str, conf: dict[str, str]) -> str:
        """Start a run of a DAG, as soon as the DAG is known; its id."""
        until(lambda: self.get(f"/api/v2/dags/{dag}"), 180.0)
        body = {"logical_date": None, "conf": conf}
        run: str = self.get(f"/api/v2/dags/{dag}/dagRuns", body)["dag_run_id"]
        return run

    def tasks(self, dag: str, run: str) -> list[dict[str, Any]]:
        """The tasks of a run."""
        path = f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances?limit=100"
        found: list[dict[str, Any]] = self.get(path)["task_instances"]
        return found

    def wait(self, dag: str, run: str) -> Counter[str]:
        """Wait for the end of a run; how many tasks ended in which state."""
        path = f"/api/v2/dags/{dag}/dagRuns/{run}"
        until(lambda: self.get(path)["state"] in {"success", "failed"}, 900.0)
        return Counter(str(each["state"]) for each in self.tasks(dag, run))

    def return_value(self, dag: str, run: str, task: str, index: int) -> dict[str, str]:
        """What a mapped task returned; empty when it returned nothing."""
        path = f"/api/v2/dags/{dag}/dagRuns/{run}/taskInstances/{task}/xcomEntries/return_value"
        with contextlib.suppress(OSError):
            value = self.get(f"{path}?map_index={index}&deserialize=true")["value"]
            return dict(json.loads(value) if isinstance(value, str) else value)
        return {}


@contextmanager
def running_airflow(folder: Path, sieve_url: str) -> Iterator[Airflow]:
    """Run the whole of Airflow."""
    with running_postgres(folder / "postgres") as database_port:
        home, port = folder / "home", free_port()
        (home / "dags").mkdir(parents=True)
        (home / "dags" / "waits.py").write_text(DAGS, "utf-8")
        database = f"postgres@127.0.0.1:{database_port}/postgres"
        connection = {
            "conn_type": "sieve",
            "password": KEY,
            "host": sieve_url,
            "extra": {"polls_per_second": 400},
        }
        settings = {
            "CORE__LOAD_EXAMPLES": "False",
            "CORE__EXECUTOR": "LocalExecutor",
            "CORE__PARALLELISM": "6",
            "CORE__MAX_ACTIVE_TASKS_PER_DAG": "100",
            "CORE__DAGS_ARE_PAUSED_AT_CREATION": "False",
            "CORE__FERNET_KEY": urlsafe_b64encode(secrets.token_bytes(32)).decode(),
            "CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "True",
            "CORE__EXECUTION_API_SERVER_URL": f"http://127.0.0.1:{port}/execution/",
            "API__HOST": "127.0.0.1",
            "API__PORT": str(port),
            "API__WORKERS": "1",
            "API__SECRET_KEY": secrets.token_hex(16),
            "API_AUTH__JWT_SECRET": secrets.token_hex(32),
            "DATABASE__SQL_ALCHEMY_CONN": f"postgresql+psycopg2://{database}",
            "DATABASE__SQL_ALCHEMY_CONN_ASYNC": f"postgresql+asyncpg://{database}",
            "DATABASE__LOAD_DEFAULT_CONNECTIONS": "False",
            "TRIGGERER__CAPACITY": "14",  # so that both get some
            "TRIGGERER__JOB_HEARTBEAT_SEC": "2",
            "TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "30",
        }
        environment = {
            **os.environ,
            **{f"AIRFLOW__{name}": value for name, value in settings.items()},
            "AIRFLOW_HOME": str(home),
            "AIRFLOW_CONN_SIEVE_DEFAULT": json.dumps(connection),
        }
        airflow = Airflow(folder, environment, port)
        try:
            if airflow.start("db", "migrate").wait(300) != 0:
                raise RuntimeError((folder / "db-0.log").read_text("utf-8")[-2000:])
            airflow.start("api-server")
            airflow.start("scheduler", "--skip-serve-logs")
            airflow.start("dag-processor")
            until(lambda: airflow.get("/api/v2/version"), 180.0)
            airflow.start_triggerer()
            airflow.start_triggerer()
            yield airflow
        finally:
            airflow.stop()


@contextmanager
def running_postgres(folder: Path) -> Iterator[int]:
    """Run PostgreSQL on loopback, as the user that Debian made for it; its port."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        sys.exit("PostgreSQL is not installed: apt-get install postgresql")
    port = free_port()
    folder.mkdir(0o700)
    shutil.chown(folder, "postgres", "postgres")
    data, log = folder / "data", folder / "postgres.log"
    options = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories={folder}"

    def run(command: str, *arguments: str) -> None:
        subprocess.run(  # noqa: S603 - they are programs of PostgreSQL
            ["/sbin/runuser", "-u", "postgres", "--", str(found[-1] / command), *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=folder,
        )

    run("initdb", "--auth=trust", "--no-sync", "--encoding=UTF8", f"--pgdata={data}")
    control = (f"--pgdata={data}", f"--log={log}", "--wait")
    run("pg_ctl", *control, f"--options={options} -c fsync=off -c max_connections=200", "start")
    try:
        yield port
    finally:
        run("pg_ctl", *control, "--mode=immediate", "stop")


def until(get: Callable[[], T | None], seconds: float) -> T:
    """Call a function until it returns something true; the server may not be there yet."""
    deadline = time.monotonic() + seconds
    while True:
        with contextlib.suppress(OSError, ValueError):
            if found := get():
                return found
        if time.monotonic() > deadline:
            raise TimeoutError(f"it took more than {seconds} s")
        time.sleep(1.0)  # real time: the processes of Airflow have no other clock


def free_port() -> int:
    """A port that is free now."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


def write(line: str) -> None:
    """Print a line at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def interrupt(*_: object) -> None:
    """End at the first signal, and stop everything undisturbed."""
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    sys.exit(130)


if __name__ == "__main__":
    for each in (signal.SIGINT, signal.SIGTERM):
        signal.signal(each, interrupt)
    sys.exit(main())
