"""Triggers: wait for a shard of jobs, or for a build, in the triggerer.

A trigger holds the ids, an absolute deadline and the id of the connection, never the API key. All
triggers of one triggerer and connection share one client, and so one poll rate.
"""

import asyncio
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.execution_time.xcom import XCom
from airflow.triggers.base import (
    BaseTrigger,
    TaskFailedEvent,
    TaskSkippedEvent,
    TaskSuccessEvent,
    TriggerEvent,
)

from sieve_async.display import error_text
from sieve_async.errors import SieveError
from sieve_async.integrations.airflow.hooks import SieveHook

if TYPE_CHECKING:
    from sieve_async.client import SieveClient

# A task that resumes on a worker is lost when its event comes while its deferral is still being
# recorded (https://github.com/apache/airflow/issues/71580).
RESUME_DELAY = 10.0


class _SieveTrigger(BaseTrigger):
    """What both triggers share: the client, the deadline, and how the task ends.

    Args:
        sieve_conn_id: The id of the connection.
        deadline: Seconds since the epoch at which the wait ends; None for no limit.
        end_from_trigger: End the task here instead of resuming it on a worker.
        soft_fail: With ``end_from_trigger``, mark the task as skipped instead of failed.
        do_xcom_push: With ``end_from_trigger``, store the return value of the task.
        created_at: Seconds since the epoch of the deferral; None for now.
    """

    def __init__(
        self,
        *,
        sieve_conn_id: str = SieveHook.default_conn_name,
        deadline: float | None = None,
        end_from_trigger: bool = False,
        soft_fail: bool = False,
        do_xcom_push: bool = True,
        created_at: float | None = None,
    ) -> None:
        super().__init__()
        self.sieve_conn_id = sieve_conn_id
        self.deadline = deadline
        self.end_from_trigger = end_from_trigger
        self.soft_fail = soft_fail
        self.do_xcom_push = do_xcom_push
        self.created_at = time.time() if created_at is None else created_at

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that make this trigger again."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        common = {
            "sieve_conn_id": self.sieve_conn_id,
            "deadline": self.deadline,
            "end_from_trigger": self.end_from_trigger,
            "soft_fail": self.soft_fail,
            "do_xcom_push": self.do_xcom_push,
            "created_at": self.created_at,
        }
        return path, {**self._arguments(), **common}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield one event: how the task ends, or the status of each target."""
        async with SieveHook(self.sieve_conn_id).client() as client:
            statuses = await self._wait(client)
        if self.end_from_trigger:
            yield await self._end(statuses)
            return
        await asyncio.sleep(self.created_at + RESUME_DELAY - time.time())
        yield TriggerEvent(statuses)

    @abstractmethod
    def _arguments(self) -> dict[str, Any]:
        """The arguments of the subclass, for ``serialize``."""

    @abstractmethod
    async def _wait(self, client: "SieveClient") -> dict[str, str]:
        """Wait until the deadline, and return the status word of each target."""

    @abstractmethod
    def _succeeded(self, statuses: Mapping[str, str]) -> bool:
        """Whether these status words mean success."""

    def _remaining(self) -> float | None:
        return None if self.deadline is None else max(0.0, self.deadline - time.time())

    async def _end(self, statuses: dict[str, str]) -> TriggerEvent:
        if self._succeeded(statuses):
            if self.do_xcom_push:
                await self._push_return_value(statuses)
            return TaskSuccessEvent()
        return TaskSkippedEvent() if self.soft_fail else TaskFailedEvent()

    async def _push_return_value(self, value: dict[str, str]) -> None:
        """Store the return value; the ``xcoms`` of an end event would arrive encoded twice."""
        instance: Any = self.task_instance
        if instance is None:
            return
        await XCom.aset(
            "return_value",
            value,
            dag_id=instance.dag_id,
            task_id=instance.task_id,
            run_id=instance.run_id,
            map_index=-1 if instance.map_index is None else instance.map_index,
        )


class SieveJobTrigger(_SieveTrigger):
    """Waits for a shard of jobs; its event maps each job id, in the order given, to a status word.

    The word is the last status of the job, or the class name of the error that ended its wait.

    Args:
        job_ids: The ids; 500 to 2,000 of them make a good shard.
        strategy: As for :meth:`~sieve_async.SieveClient.as_completed`.
        cancel_on_kill: Cancel the jobs when a user ends the deferred task.
        **kwargs: ``sieve_conn_id``, ``deadline`` (seconds since the epoch), ``end_from_trigger``,
            ``soft_fail``, ``do_xcom_push`` and ``created_at``.
    """

    def __init__(
        self,
        *,
        job_ids: Sequence[str],
        strategy: str = "poll",
        cancel_on_kill: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.job_ids = list(job_ids)
        self.strategy = strategy
        self.cancel_on_kill = cancel_on_kill

    async def on_kill(self) -> None:
        """Cancel the jobs, if the trigger was made to do so."""
        if self.cancel_on_kill:
            async with (
                SieveHook(self.sieve_conn_id).client() as client,
                asyncio.TaskGroup() as group,
            ):
                for job_id in self.job_ids:
                    group.create_task(self._cancel(client, job_id))

    async def _cancel(self, client: "SieveClient", job_id: str) -> None:
        try:
            await client.cancel_job(job_id)
        except SieveError as error:
            self.log.warning("job %s: cancelling failed: %s", job_id, error)

    def _arguments(self) -> dict[str, Any]:
        return {
            "job_ids": self.job_ids,
            "strategy": self.strategy,
            "cancel_on_kill": self.cancel_on_kill,
        }

    async def _wait(self, client: "SieveClient") -> dict[str, str]:
        statuses: dict[str, str] = {}
        strategy: Any = self.strategy
        timeout = self._remaining()
        async with client.as_completed(self.job_ids, timeout=timeout, strategy=strategy) as watch:
            async for outcome in watch:
                statuses[outcome.job_id] = outcome.status
                if not outcome.ok:  # an end event of Airflow cannot hold the reason
                    reason = outcome.error or error_text(outcome.job)
                    self.log.error("job %s: %s %s", outcome.job_id, outcome.status, reason)
        return {job_id: statuses[job_id] for job_id in self.job_ids}

    def _succeeded(self, statuses: Mapping[str, str]) -> bool:
        return all(status == "finished" for status in statuses.values())


class SieveVersionTrigger(_SieveTrigger):
    """Waits for the build of a function version; its event maps the function to a status word.

    Args:
        function: ``OWNER/NAME`` or ``OWNER/NAME:SLUG``.
        **kwargs: As for :class:`SieveJobTrigger`.
    """

    def __init__(self, *, function: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.function = function

    def _arguments(self) -> dict[str, Any]:
        return {"function": self.function}

    async def _wait(self, client: "SieveClient") -> dict[str, str]:
        try:
            version = await client.wait_until_ready(self.function, timeout=self._remaining())
        except SieveError as error:
            self.log.error("version %s: %s", self.function, error)  # noqa: TRY400 - no defect
            return {self.function: type(error).__name__}
        status = str(version.build_status)
        if status != "ready":
            self.log.error("version %s: %s", self.function, status)
        return {self.function: status}

    def _succeeded(self, statuses: Mapping[str, str]) -> bool:
        return statuses[self.function] == "ready"
