"""Triggers: wait for a shard of jobs, or for a build, in the triggerer.

A trigger holds the ids, an absolute deadline and the id of the connection, never the API key. All
triggers of one triggerer and connection share one client, and so one poll rate.
"""

import asyncio
import time
from abc import abstractmethod
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

from airflow.sdk.bases.xcom import BaseXCom
from airflow.triggers.base import (
    BaseTrigger,
    TaskFailedEvent,
    TaskSkippedEvent,
    TaskSuccessEvent,
    TriggerEvent,
)

from sieve_async.client import SieveClient
from sieve_async.errors import NotFoundError, SieveError
from sieve_async.integrations.airflow.hooks import SieveHook

# A task that resumes on a worker is lost when its event comes while its deferral is still being
# recorded (https://github.com/apache/airflow/issues/71580).
RESUME_DELAY = 10.0


class _SieveTrigger(BaseTrigger):
    """What both triggers share: the client, the deadline, and how the task ends."""

    def __init__(
        self,
        *,
        sieve_conn_id: str,
        deadline: float | None,
        end_from_trigger: bool,
        soft_fail: bool,
        created_at: float | None,
    ) -> None:
        super().__init__()
        self.sieve_conn_id = sieve_conn_id
        self.deadline = deadline
        self.end_from_trigger = end_from_trigger
        self.soft_fail = soft_fail
        self.created_at = time.time() if created_at is None else created_at

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return the class path and the arguments that make this trigger again."""
        path = f"{type(self).__module__}.{type(self).__qualname__}"
        common = {
            "sieve_conn_id": self.sieve_conn_id,
            "deadline": self.deadline,
            "end_from_trigger": self.end_from_trigger,
            "soft_fail": self.soft_fail,
            "created_at": self.created_at,
        }
        return path, {**self._arguments(), **common}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield one event: how the task ends, or the status of each target."""
        async with SieveHook(self.sieve_conn_id).client() as client:
            left = None if self.deadline is None else max(0.0, self.deadline - time.time())
            statuses = await self._wait(client, left)
        if self.end_from_trigger:
            yield await self._end(statuses)
            return
        await asyncio.sleep(self.created_at + RESUME_DELAY - time.time())
        yield TriggerEvent(statuses)

    @abstractmethod
    def _arguments(self) -> dict[str, Any]:
        """The arguments of the subclass, for ``serialize``."""

    @abstractmethod
    async def _wait(self, client: SieveClient, timeout: float | None) -> dict[str, str]:
        """Wait until the deadline, and return the status word of each target."""

    @abstractmethod
    def _succeeded(self, statuses: Mapping[str, str]) -> bool:
        """Whether these status words mean success."""

    async def _end(self, statuses: dict[str, str]) -> TriggerEvent:
        if self._succeeded(statuses):
            await self._push_return_value(statuses)
            return TaskSuccessEvent()
        return TaskSkippedEvent() if self.soft_fail else TaskFailedEvent()

    async def _push_return_value(self, value: dict[str, str]) -> None:
        """Store the return value; the ``xcoms`` of an end event arrive encoded twice."""
        instance = self.task_instance
        if instance is None:
            return
        await BaseXCom.aset(
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
        sieve_conn_id: The id of the connection.
        deadline: Seconds since the epoch at which the wait ends; None for no limit.
        strategy: As for :meth:`~sieve_async.SieveClient.as_completed`.
        end_from_trigger: End the task here instead of resuming it on a worker.
        soft_fail: Mark the task as skipped when a job did not finish.
        cancel_on_kill: Cancel the jobs when a user ends the deferred task.
        created_at: Seconds since the epoch of the deferral; None for now.
    """

    def __init__(  # noqa: PLR0913 - the arguments of a trigger are flat, for its serialized form
        self,
        *,
        job_ids: Sequence[str],
        sieve_conn_id: str = SieveHook.default_conn_name,
        deadline: float | None = None,
        strategy: str = "poll",
        end_from_trigger: bool = False,
        soft_fail: bool = False,
        cancel_on_kill: bool = False,
        created_at: float | None = None,
    ) -> None:
        super().__init__(
            sieve_conn_id=sieve_conn_id,
            deadline=deadline,
            end_from_trigger=end_from_trigger,
            soft_fail=soft_fail,
            created_at=created_at,
        )
        self.job_ids = list(job_ids)
        self.strategy = strategy
        self.cancel_on_kill = cancel_on_kill

    async def on_kill(self) -> None:
        """Cancel the jobs, if the trigger was made to do so."""
        if not self.cancel_on_kill:
            return
        async with SieveHook(self.sieve_conn_id).client() as client:
            for job_id in self.job_ids:
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

    async def _wait(self, client: SieveClient, timeout: float | None) -> dict[str, str]:
        statuses: dict[str, str] = {}
        strategy: Any = self.strategy
        async with client.as_completed(self.job_ids, timeout=timeout, strategy=strategy) as watch:
            async for outcome in watch:
                statuses[outcome.job_id] = str(outcome.status)
                if not outcome.ok:  # an end event of Airflow has no room for the reason
                    reason = outcome.error or (outcome.job and outcome.job.error) or ""
                    self.log.error("job %s: %s %s", outcome.job_id, outcome.status, reason)
        return {job_id: statuses[job_id] for job_id in self.job_ids}

    def _succeeded(self, statuses: Mapping[str, str]) -> bool:
        return all(status == "finished" for status in statuses.values())


class SieveVersionTrigger(_SieveTrigger):
    """Waits for the build of a function version; its event maps the function to a status word.

    Args:
        function: ``OWNER/NAME`` or ``OWNER/NAME:SLUG``.
        sieve_conn_id: The id of the connection.
        deadline: Seconds since the epoch at which the wait ends; None for no limit.
        end_from_trigger: End the task here instead of resuming it on a worker.
        soft_fail: Mark the task as skipped when the build failed.
        created_at: Seconds since the epoch of the deferral; None for now.
    """

    def __init__(
        self,
        *,
        function: str,
        sieve_conn_id: str = SieveHook.default_conn_name,
        deadline: float | None = None,
        end_from_trigger: bool = False,
        soft_fail: bool = False,
        created_at: float | None = None,
    ) -> None:
        super().__init__(
            sieve_conn_id=sieve_conn_id,
            deadline=deadline,
            end_from_trigger=end_from_trigger,
            soft_fail=soft_fail,
            created_at=created_at,
        )
        self.function = function

    def _arguments(self) -> dict[str, Any]:
        return {"function": self.function}

    async def _wait(self, client: SieveClient, timeout: float | None) -> dict[str, str]:
        status = await build_status(client, self.function, timeout)
        if status != "ready":
            self.log.error("version %s: %s", self.function, status)
        return {self.function: status}

    def _succeeded(self, statuses: Mapping[str, str]) -> bool:
        return statuses[self.function] == "ready"


async def build_status(client: SieveClient, function: str, timeout: float | None) -> str:
    """Wait for a build, and return its status word or the class name of the error."""
    try:
        version = await client.wait_until_ready(function, timeout=timeout)
    except NotFoundError:
        raise
    except SieveError as error:
        return type(error).__name__
    return str(version.build_status)
