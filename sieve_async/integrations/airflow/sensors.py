"""Sensors: wait for jobs or for a build, deferred to the triggerer by default."""

import ast
import asyncio
import time
from abc import abstractmethod
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import BaseSensorOperator
from airflow.sdk.bases.sensor import PokeReturnValue
from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from sieve_async.config import check_choice, check_job_id
from sieve_async.errors import (
    AuthenticationError,
    InvalidArgumentError,
    OutOfCreditsError,
    WaitTimeoutError,
)
from sieve_async.integrations.airflow.hooks import SieveHook
from sieve_async.integrations.airflow.triggers import SieveJobTrigger, SieveVersionTrigger
from sieve_async.watch import STRATEGIES

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.triggers.base import BaseTrigger

    from sieve_async.client import SieveClient

Result = TypeVar("Result")

# Airflow's own limit of a deferral lies so many seconds behind ours, which says what is pending.
_DEFERRAL_MARGIN = 300.0
_MAX_SHOWN = 10  # failures in the message of an exception


class _SieveSensor(BaseSensorOperator):
    """What the sensors share: one poll first, then the deferral, then the result.

    Args:
        sieve_conn_id: The id of the connection.
        deferrable: Wait in the triggerer; False pokes on the worker, also in reschedule mode.
        end_from_trigger: End the task in the triggerer, without a worker. None (the default) does
            so unless the task has outlets or a callback for its end, which need a worker.
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
        deadline = time.time() + self.timeout
        statuses, is_over = self._poll_once()
        if is_over:
            return self._result(statuses)
        trigger = self._trigger(
            sieve_conn_id=self.sieve_conn_id,
            deadline=deadline,
            end_from_trigger=self._ends_from_trigger(),
            soft_fail=self._is_skipped_on_failure,
            do_xcom_push=self.do_xcom_push,
        )
        return self.defer(
            trigger=trigger,
            method_name="execute_complete",
            kwargs=self._resume_arguments(),
            timeout=timedelta(seconds=self.timeout + _DEFERRAL_MARGIN),
        )

    def execute_complete(self, context: "Context", event: Any = None) -> dict[str, str]:  # noqa: ARG002
        """Return the statuses from the event of the trigger, or raise for a bad one.

        ``dag.test()`` resumes with a bare word where the trigger ends the task: then this polls
        once by itself.
        """
        statuses = event if isinstance(event, Mapping) else self._poll_once()[0]
        return self._result(dict(statuses))

    def poke(self, context: "Context") -> PokeReturnValue:  # noqa: ARG002 - as Airflow calls it
        """Poll once; for ``deferrable=False``."""
        statuses, is_over = self._poll_once()
        if not is_over:
            return PokeReturnValue(is_done=False)
        return PokeReturnValue(is_done=True, xcom_value=self._result(statuses))

    @abstractmethod
    def _trigger(self, **arguments: Any) -> "BaseTrigger":
        """The trigger that waits, with these arguments and those of the subclass."""

    @abstractmethod
    async def _statuses(self, client: "SieveClient") -> tuple[dict[str, str], bool]:
        """Poll each target once: the status words, and whether waiting longer is of no use."""

    @abstractmethod
    def _failures(self, statuses: Mapping[str, str]) -> dict[str, str]:
        """The statuses that are no success."""

    def _resume_arguments(self) -> dict[str, Any]:
        """What ``execute_complete`` needs besides the event."""
        return {}

    def _poll_once(self) -> tuple[dict[str, str], bool]:
        return self._run(self._statuses)

    def _run(self, call: "Callable[[SieveClient], Coroutine[Any, Any, Result]]") -> Result:
        """Make one call with a client of its own."""
        settings = SieveHook(self.sieve_conn_id).read_settings()

        async def run() -> Result:
            async with settings.make_client() as client:
                return await call(client)

        return asyncio.run(run())

    def _result(self, statuses: dict[str, str]) -> dict[str, str]:
        failures = self._failures(statuses)
        if not failures:
            return statuses
        shown = [f"{target}: {status}" for target, status in failures.items()][:_MAX_SHOWN]
        if len(failures) > _MAX_SHOWN:
            shown.append(f"and {len(failures) - _MAX_SHOWN} more")
        message = f"{len(failures)} of {len(statuses)} did not succeed: {', '.join(shown)}"
        if self._is_skipped_on_failure:
            raise AirflowSkipException(message)
        raise AirflowException(message)

    @property
    def _is_skipped_on_failure(self) -> bool:
        return bool(self.soft_fail or self.never_fail)

    def _ends_from_trigger(self) -> bool:
        if self.end_from_trigger is not None:
            return self.end_from_trigger
        # Airflow runs neither of them for a task that a trigger ends.
        return not (self.outlets or self.on_success_callback or self.on_skipped_callback)


class SieveJobSensor(_SieveSensor):
    """Waits until all jobs are terminal; fails unless all of them finished.

    The return value maps each job id, in the order given, to its status. A long list is best split
    with :func:`~sieve_async.integrations.airflow.shard` and mapped over:
    ``SieveJobSensor.partial(task_id="wait").expand(job_ids=shard(job_ids, 20))``.

    Args:
        job_ids: One id, or a list of ids, or a template that gives one of them.
        strategy: As for :meth:`~sieve_async.SieveClient.as_completed`.
        cancel_on_kill: Cancel the jobs when a user ends the deferred task.
        **kwargs: ``sieve_conn_id``; ``deferrable`` (True; False pokes on a worker, as
            ``mode="reschedule"`` needs it); ``end_from_trigger`` (end the task in the triggerer; by
            default unless it has outlets or a callback for its end, which need a worker); and the
            arguments of every sensor.
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
        check_choice("strategy", strategy, STRATEGIES)
        self.job_ids = job_ids
        self.strategy = strategy
        self.cancel_on_kill = cancel_on_kill

    def _trigger(self, **arguments: Any) -> "BaseTrigger":
        return SieveJobTrigger(
            job_ids=parse_ids(self.job_ids),
            strategy=self.strategy,
            cancel_on_kill=self.cancel_on_kill,
            **arguments,
        )

    async def _statuses(self, client: "SieveClient") -> tuple[dict[str, str], bool]:
        outcomes = await client.wait_for_jobs(parse_ids(self.job_ids), timeout=0)
        statuses = {outcome.job_id: outcome.status for outcome in outcomes}
        errors = [outcome.error for outcome in outcomes]
        if any(isinstance(error, AuthenticationError | OutOfCreditsError) for error in errors):
            return statuses, True
        return statuses, all(outcome.is_final for outcome in outcomes)

    def _failures(self, statuses: Mapping[str, str]) -> dict[str, str]:
        return {job_id: status for job_id, status in statuses.items() if status != "finished"}


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

    def _trigger(self, **arguments: Any) -> "BaseTrigger":
        return SieveVersionTrigger(function=self.function, **arguments)

    async def _statuses(self, client: "SieveClient") -> tuple[dict[str, str], bool]:
        try:
            version = await client.wait_until_ready(self.function, timeout=0)
        except WaitTimeoutError as error:
            return {self.function: type(error).__name__}, False
        return {self.function: str(version.build_status)}, True

    def _failures(self, statuses: Mapping[str, str]) -> dict[str, str]:
        return {name: status for name, status in statuses.items() if status != "ready"}


def parse_ids(job_ids: object) -> list[str]:
    """The distinct ids from a list, one id, or the text that a template made of a list.

    Raises:
        InvalidArgumentError: It is none of them, or holds something that cannot be an id.
    """
    found = job_ids
    if isinstance(job_ids, str):
        found = [job_ids]
        if job_ids.lstrip().startswith(("[", "(")):
            with suppress(SyntaxError, ValueError):
                found = ast.literal_eval(job_ids.strip())
    if not isinstance(found, Sequence):
        raise InvalidArgumentError(f"job_ids must be an id or a list of ids, got {job_ids!r:.80}")
    return list(dict.fromkeys(check_job_id(job_id, "job_ids") for job_id in found))
