"""Sensors: wait for jobs or for a build, deferred to the triggerer by default."""

import ast
import asyncio
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseSensorOperator
from airflow.sdk.bases.sensor import PokeReturnValue
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from sieve_async.integrations.airflow.hooks import SieveHook
from sieve_async.integrations.airflow.triggers import (
    SieveJobTrigger,
    SieveVersionTrigger,
)
from sieve_async.integrations.leases import leased_client

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger

    from sieve_async.client import SieveClient

# Airflow's own limit of a deferral lies so many seconds behind ours, which gives better words.
_DEFERRAL_MARGIN = 300.0


class _SieveSensor(BaseSensorOperator):
    """What the sensors share: one poll first, then the deferral, then the result.

    Args:
        sieve_conn_id: The id of the connection.
        deferrable: Wait in the triggerer; False pokes on the worker, also in reschedule mode.
        end_from_trigger: End the task in the triggerer, without a worker. None (the default) does
            so unless the task has outlets or an ``on_success_callback``, which need a worker.
    """

    template_fields: Sequence[str] = ("sieve_conn_id",)
    ui_color = "#e8f0ff"

    def __init__(
        self,
        *,
        sieve_conn_id: str = SieveHook.default_conn_name,
        deferrable: bool = True,
        end_from_trigger: bool | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.sieve_conn_id = sieve_conn_id
        self.deferrable = deferrable
        self.end_from_trigger = end_from_trigger

    def execute(self, context: "Context") -> Any:
        """Poll once, then wait in the triggerer, or on the worker when not deferrable."""
        if not self.deferrable:
            return super().execute(context)
        started_at = time.time()
        statuses, is_over = self._poll_once()
        if is_over:
            return self._result(statuses)
        self.defer(
            trigger=self._trigger(
                started_at + self.timeout, end_from_trigger=self._ends_from_trigger()
            ),
            method_name="execute_complete",
            kwargs=self._resume_arguments(),
            timeout=timedelta(seconds=self.timeout + _DEFERRAL_MARGIN),
        )

    def execute_complete(self, context: "Context", event: Any = None) -> dict[str, str]:
        """Return the statuses from the event of the trigger, or raise for a bad one.

        ``dag.test()`` resumes with a bare word where the trigger ends the task: then this polls
        once by itself.
        """
        statuses = event if isinstance(event, Mapping) else self._poll_once()[0]
        return self._result(dict(statuses))

    def poke(self, context: "Context") -> PokeReturnValue:
        """Poll once; for ``deferrable=False``."""
        statuses, is_over = self._poll_once()
        if not is_over:
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=self._result(statuses))

    @abstractmethod
    def _trigger(self, deadline: float, *, end_from_trigger: bool) -> "BaseTrigger":
        """The trigger that waits until the deadline."""

    @abstractmethod
    async def _statuses(self, client: "SieveClient") -> tuple[dict[str, str], bool]:
        """Poll each target once: the status words, and whether all of them are final."""

    @abstractmethod
    def _failures(self, statuses: Mapping[str, str]) -> dict[str, str]:
        """The statuses that are no success."""

    def _resume_arguments(self) -> dict[str, Any]:
        """What ``execute_complete`` needs to know besides the event."""
        return {}

    def _poll_once(self) -> tuple[dict[str, str], bool]:
        settings = SieveHook(self.sieve_conn_id).get_conn()

        async def poll() -> tuple[dict[str, str], bool]:
            async with leased_client(settings) as client:
                return await self._statuses(client)

        return asyncio.run(poll())

    def _result(self, statuses: dict[str, str]) -> dict[str, str]:
        failures = self._failures(statuses)
        if not failures:
            return statuses
        shown = ", ".join(f"{target}: {status}" for target, status in list(failures.items())[:10])
        more = f" and {len(failures) - 10} more" if len(failures) > 10 else ""
        message = f"{len(failures)} of {len(statuses)} did not succeed: {shown}{more}"
        if self.soft_fail:
            raise AirflowSkipException(message)
        raise AirflowException(message)

    def _ends_from_trigger(self) -> bool:
        if self.end_from_trigger is not None:
            return self.end_from_trigger
        return not (self.outlets or self.on_success_callback)


class SieveJobSensor(_SieveSensor):
    """Waits until all jobs are terminal; fails unless all of them finished.

    The return value maps each job id, in the order given, to its status. A long list is best split
    with :func:`~sieve_async.integrations.airflow.shard` and mapped over:
    ``SieveJobSensor.partial(task_id="wait").expand(job_ids=shard(job_ids, 20))``.

    Args:
        job_ids: One id, or a list of ids, or a template that gives one of them.
        strategy: As for :meth:`~sieve_async.SieveClient.as_completed`.
        cancel_on_kill: Cancel the jobs when a user ends the deferred task.
        **kwargs: The arguments of the sensor: ``sieve_conn_id``, ``deferrable``,
            ``end_from_trigger``, ``timeout``, ``soft_fail``, ``mode``, ``poke_interval`` and all
            others of an operator.
    """

    template_fields: Sequence[str] = ("job_ids", *_SieveSensor.template_fields)

    def __init__(
        self,
        *,
        job_ids: str | Sequence[str],
        strategy: str = "poll",
        cancel_on_kill: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_ids = job_ids
        self.strategy = strategy
        self.cancel_on_kill = cancel_on_kill

    def _trigger(self, deadline: float, *, end_from_trigger: bool) -> "BaseTrigger":
        return SieveJobTrigger(
            job_ids=self._job_ids(),
            sieve_conn_id=self.sieve_conn_id,
            deadline=deadline,
            strategy=self.strategy,
            end_from_trigger=end_from_trigger,
            soft_fail=self.soft_fail,
            cancel_on_kill=self.cancel_on_kill,
        )

    async def _statuses(self, client: "SieveClient") -> tuple[dict[str, str], bool]:
        outcomes = await client.wait_for_jobs(self._job_ids(), timeout=0)
        statuses = {outcome.job_id: str(outcome.status) for outcome in outcomes}
        return statuses, all(outcome.is_final for outcome in outcomes)

    def _failures(self, statuses: Mapping[str, str]) -> dict[str, str]:
        return {job_id: status for job_id, status in statuses.items() if status != "finished"}

    def _job_ids(self) -> list[str]:
        return parse_ids(self.job_ids)


class SieveVersionSensor(_SieveSensor):
    """Waits until the build of a function version is ready; fails when the build failed.

    The return value maps the function to its build status.

    Args:
        function: ``OWNER/NAME`` (the latest version) or ``OWNER/NAME:SLUG``.
        **kwargs: As for :class:`SieveJobSensor`.
    """

    template_fields: Sequence[str] = ("function", *_SieveSensor.template_fields)

    def __init__(self, *, function: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function = function

    def _trigger(self, deadline: float, *, end_from_trigger: bool) -> "BaseTrigger":
        return SieveVersionTrigger(
            function=self.function,
            sieve_conn_id=self.sieve_conn_id,
            deadline=deadline,
            end_from_trigger=end_from_trigger,
            soft_fail=self.soft_fail,
        )

    async def _statuses(self, client: "SieveClient") -> tuple[dict[str, str], bool]:
        version = await client.get_version(self.function)
        status = version.build_status
        return {self.function: str(status)}, status.is_terminal

    def _failures(self, statuses: Mapping[str, str]) -> dict[str, str]:
        return {name: status for name, status in statuses.items() if status != "ready"}


def parse_ids(job_ids: object) -> list[str]:
    """The ids from a list, one id, or the text that a template made of a list.

    Raises:
        ValueError: There are none, or something else stands there.
    """
    if isinstance(job_ids, str) and job_ids.lstrip().startswith(("[", "(")):
        job_ids = ast.literal_eval(job_ids)
    found = [job_ids] if isinstance(job_ids, str) else job_ids
    if not isinstance(found, Sequence) or not found:
        message = f"job_ids must be an id or a list of ids, got {job_ids!r:.80}"
        raise ValueError(message)
    if not all(isinstance(job_id, str) and job_id for job_id in found):
        message = "job_ids must be strings, none of them empty"
        raise ValueError(message)
    return list(dict.fromkeys(found))
