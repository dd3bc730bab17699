"""Operator: push a job, then wait for it as the sensor does."""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING, Any, ClassVar

from airflow.sdk.exceptions import AirflowException

from sieve_async.errors import AmbiguousPushError, NotFoundError
from sieve_async.integrations.airflow.sensors import SieveJobSensor

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sieve_async.client import SieveClient

_STATE_KEY = "sieve_push"
_REPLICA_SECONDS = 10.0  # after a push, a replica may not know the job for so long


class SievePushOperator(SieveJobSensor):
    """Pushes one job and waits until it finished.

    The push is recorded in the task state store before it is sent and after it was answered, so
    that no retry pays twice: a retry waits for the job of an earlier try, and pushes again only
    when that job failed or was cancelled. When the answer to a push was lost, the task fails, and
    its retry looks for the job with :meth:`~sieve_async.SieveClient.find_pushed` before it pushes.
    A task that is cleared is a retry in this sense.

    The id of the job is also stored as the XCom ``job_id``.

    Args:
        function: ``OWNER/NAME`` or ``OWNER/NAME:VERSION``.
        inputs: The inputs by name; files are given by URL, ``{"url": "https://..."}``.
        webhooks: Where the API reports events of the job.
        env: Environment variables of the job.
        wait_for_completion: Wait for the job; False ends the task after the push, with the id of
            the job as its return value.
        **kwargs: As for :class:`SieveJobSensor`.
    """

    template_fields: Sequence[str] = ("function", "inputs", "webhooks", "env", "sieve_conn_id")
    template_fields_renderers: ClassVar[dict[str, str]] = {"inputs": "json", "env": "json"}

    def __init__(
        self,
        *,
        function: str,
        inputs: Mapping[str, Any] | None = None,
        webhooks: Sequence[Mapping[str, str]] = (),
        env: Mapping[str, str] | None = None,
        wait_for_completion: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(job_ids=(), **kwargs)
        self.function = function
        self.inputs = inputs
        self.webhooks = webhooks
        self.env = env
        self.wait_for_completion = wait_for_completion

    def execute(self, context: "Context") -> Any:
        """Push the job unless that was done before, then wait for it."""
        store: Any = context["task_state_store"]
        record = store.get(_STATE_KEY)
        try_number = context["ti"].try_number
        job_id = self._earlier_job(record, try_number) if isinstance(record, dict) else None
        is_new = job_id is None
        if job_id is None:
            record = {"started_at": datetime.now(UTC).isoformat(), "try_number": try_number}
            store.set(_STATE_KEY, record)
            job_id = self._push()
        store.set(_STATE_KEY, {**record, "job_id": job_id, "try_number": try_number})
        context["ti"].xcom_push(key="job_id", value=job_id)
        self.job_ids = [job_id]
        if not self.wait_for_completion:
            return job_id
        if is_new:
            self._run(partial(_poll_until_known, job_id))
        return super().execute(context)

    def execute_complete(  # the id of the job comes back with the event
        self, context: "Context", event: Any = None, job_ids: Sequence[str] = ()
    ) -> dict[str, str]:
        """Return the status from the event of the trigger, or raise for a bad one."""
        self.job_ids = list(job_ids)
        return super().execute_complete(context, event)

    def _resume_arguments(self) -> dict[str, Any]:
        return {"job_ids": self.job_ids}

    def _earlier_job(self, record: Mapping[str, Any], try_number: int) -> str | None:
        """The job that was pushed before, unless it is time to push again."""
        job_id: str | None = record.get("job_id")
        if job_id is not None and record["try_number"] == try_number:
            return job_id  # reschedule mode executes one try several times
        return self._run(partial(self._find, record, job_id))

    async def _find(
        self, record: Mapping[str, Any], job_id: str | None, client: "SieveClient"
    ) -> str | None:
        if job_id is None:
            error = AmbiguousPushError(
                self.function,
                self.inputs or {},
                datetime.fromisoformat(record["started_at"]),
                accepted=False,
                reason="the push of an earlier try was not answered",
            )
            candidates = await client.find_pushed(error)
            if not candidates:
                self.log.info("the push of an earlier try started no job")
                return None
            job = candidates[0]
        else:
            job = await client.get_job(job_id)
        self.log.info("job %s of an earlier try: %s", job.id, job.status)
        return None if job.failed or job.cancelled else job.id

    def _push(self) -> str:
        try:
            return self._run(self._push_with)
        except AmbiguousPushError as error:
            message = f"{error}; a retry looks for the job before it pushes again"
        raise AirflowException(message)

    async def _push_with(self, client: "SieveClient") -> str:
        pushed = await client.push_job(
            self.function, self.inputs, webhooks=self.webhooks, env=self.env
        )
        return pushed.id


async def _poll_until_known(job_id: str, client: "SieveClient") -> None:
    """Let a replica that lags behind the push catch up: a wait would end with its 404."""
    with suppress(TimeoutError):
        async with asyncio.timeout(_REPLICA_SECONDS):
            while True:
                with suppress(NotFoundError):
                    await client.get_job(job_id)
                    return
                await asyncio.sleep(_REPLICA_SECONDS / 20)
