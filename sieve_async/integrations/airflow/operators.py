"""Operator: push a job, then wait for it as the sensor does."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException

from sieve_async.errors import AmbiguousPushError
from sieve_async.integrations.airflow.hooks import SieveHook
from sieve_async.integrations.airflow.sensors import SieveJobSensor
from sieve_async.integrations.leases import ClientSettings, leased_client

if TYPE_CHECKING:
    from airflow.sdk import Context

    from sieve_async.client import SieveClient

_STATE_KEY = "sieve_push"


class SievePushOperator(SieveJobSensor):
    """Pushes one job and waits until it finished.

    The push is recorded in the task state store before it is sent and after it was answered, so
    that no retry pays twice: a retry waits for the job of the try before, and pushes again only
    when that job failed or was cancelled. When the answer to a push was lost, the task fails, and
    its retry looks for the job with :meth:`~sieve_async.SieveClient.find_pushed` before it pushes.

    The id of the job is also stored as the XCom ``job_id``.

    Args:
        function: ``OWNER/NAME`` or ``OWNER/NAME:VERSION``.
        inputs: The inputs by name; files are given by URL, ``{"url": "https://..."}``.
        webhooks: Where the API reports events of the job.
        env: Environment variables of the job.
        wait_for_completion: Wait for the job; False ends the task after the push.
        **kwargs: As for :class:`SieveJobSensor`.
    """

    template_fields: Sequence[str] = ("function", "inputs", "env", "sieve_conn_id")

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
        """Push the job unless an earlier try did, then wait for it."""
        store: Any = context["task_state_store"]
        settings = SieveHook(self.sieve_conn_id).get_conn()
        record = store.get(_STATE_KEY)
        job_id = None
        if isinstance(record, dict):
            job_id = asyncio.run(self._find(settings, record))
        if job_id is None:
            record = {"started_at": datetime.now(UTC).isoformat(), "job_id": None}
            store.set(_STATE_KEY, record)
            job_id = self._push(settings)
        store.set(_STATE_KEY, {**record, "job_id": job_id})
        context["ti"].xcom_push(key="job_id", value=job_id)
        self.job_ids = [job_id]
        return super().execute(context) if self.wait_for_completion else job_id

    def execute_complete(  # the id of the job comes back with the event
        self, context: "Context", event: Any = None, job_ids: Sequence[str] = ()
    ) -> dict[str, str]:
        """Return the status from the event of the trigger, or raise for a bad one."""
        self.job_ids = list(job_ids)
        return super().execute_complete(context, event)

    def _resume_arguments(self) -> dict[str, Any]:
        return {"job_ids": self.job_ids}

    def _push(self, settings: ClientSettings) -> str:
        async def push() -> str:
            async with leased_client(settings) as client:
                pushed = await client.push_job(
                    self.function, self.inputs, webhooks=self.webhooks, env=self.env
                )
            return pushed.id

        try:
            return asyncio.run(push())
        except AmbiguousPushError as error:
            message = f"{error}; a retry looks for the job before it pushes again"
        raise AirflowException(message)

    async def _find(self, settings: ClientSettings, record: Mapping[str, Any]) -> str | None:
        """The job that an earlier try pushed, unless it ended without success."""
        async with leased_client(settings) as client:
            job_id = record["job_id"] or await self._find_pushed(client, record["started_at"])
            if job_id is None:
                return None
            job = await client.get_job(job_id)
        self.log.info("job %s of an earlier try: %s", job.id, job.status)
        return None if job.failed or job.cancelled else job.id

    async def _find_pushed(self, client: "SieveClient", started_at: str) -> str | None:
        error = AmbiguousPushError(
            self.function,
            self.inputs or {},
            datetime.fromisoformat(started_at),
            accepted=False,
            reason="the task ended before the push was answered",
        )
        candidates = await client.find_pushed(error)
        return candidates[0].id if candidates else None
