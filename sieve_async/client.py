"""The front door: the one place where the parts are joined."""

import asyncio
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import attrs

from sieve_async import endpoints
from sieve_async.config import Limits, Secret, Timeout, read_config
from sieve_async.decode import read_model
from sieve_async.errors import ConfigError, InvalidArgumentError
from sieve_async.gate import Gate
from sieve_async.messages import Answer, Request
from sieve_async.models import FunctionVersion, Job
from sieve_async.polling import Poller, PollPolicy, Subject, check_timeout
from sieve_async.retry import Retrier, RetryPolicy
from sieve_async.transport import Transport

if TYPE_CHECKING:
    import aiohttp


@attrs.frozen(kw_only=True)
class Stats:
    """What a client has done and is doing.

    Attributes:
        requests: Requests sent, retries included.
        retries: How many of them were retries.
        in_flight: Requests in flight now.
        queued: Requests that wait for a slot now.
        waits: Waits that go on now.
        bytes_received: Bytes of all bodies, after decompression.
        retry_tokens: What is left of the retry budget, 500 at most.
    """

    requests: int
    retries: int
    in_flight: int
    queued: int
    waits: int
    bytes_received: int
    retry_tokens: int


class SieveClient:
    """Looks up jobs and function versions of Sieve, and waits for them.

    Safe to share among all tasks of one event loop; it opens its connections at the first call.
    Use it as an async context manager, or call :meth:`close`.

    Args:
        api_key: The key; else ``SIEVE_API_KEY``, else the file that ``SIEVE_API_KEY_FILE`` names,
            else ``~/.config/.sieve/config``.
        base_url: Where the API is; else ``SIEVE_API_URL``, else the public service. Plain http only
            to this machine itself.
        timeout: How long one request may take. Not the deadline of a wait.
        retry: What is tried again, and when.
        polling: How often waits look.
        limits: How much is done at once.
        session: An aiohttp session to use instead of one of our own, for its proxies, TLS settings
            or traces. It is never closed or changed, and no cookies are kept in it; middlewares
            of its own are not run. Its pool needs room for all clients that share it.

    Raises:
        ConfigError: There is no key, or a setting cannot work.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        timeout: Timeout = Timeout(),
        retry: RetryPolicy = RetryPolicy(),
        polling: PollPolicy = PollPolicy(),
        limits: Limits = Limits(),
        session: "aiohttp.ClientSession | None" = None,
    ) -> None:
        for value, kind in (
            (timeout, Timeout),
            (retry, RetryPolicy),
            (polling, PollPolicy),
            (limits, Limits),
        ):
            if not isinstance(value, kind):
                raise ConfigError(f"{value!r} is not a {kind.__name__}")
        secret = None if api_key is None else Secret(api_key)
        del api_key  # a traceback with locals would show it
        config = read_config(secret, base_url, os.environ, _home())
        self._polling = polling
        self._transport = Transport(config, timeout, limits, session)
        self._gate = Gate(
            slots=self._transport.slots, steady_rate=limits.polls_per_second, clock=_now
        )
        self._retrier = Retrier(retry, self._gate, self._transport.send, _now)
        self._poller = Poller(self._retrier, self._gate, _now, timeout.attempt)

    def __repr__(self) -> str:
        transport = getattr(self, "_transport", None)
        if transport is None:  # refused while it was made, and shown by a traceback with locals
            return "<SieveClient>"
        return f"<SieveClient {transport.base_url}{' (closed)' if self.closed else ''}>"

    async def __aenter__(self) -> Self:
        self._transport.check_home()
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc_value: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; whatever still waits ends with ``ClientClosedError``.

        May be called more than once. Remote jobs and builds go on.
        """
        try:
            await self._transport.close()
        finally:
            if self.closed:
                self._gate.close()

    @property
    def closed(self) -> bool:
        """Whether the client was closed."""
        return self._transport.closed

    @property
    def stats(self) -> Stats:
        """What this client has done so far and is doing now."""
        return Stats(
            requests=self._retrier.counters.requests,
            retries=self._retrier.counters.retries,
            in_flight=self._gate.in_flight,
            queued=self._gate.queued,
            waits=self._poller.going_on,
            bytes_received=self._transport.bytes_received,
            retry_tokens=self._retrier.budget.tokens,
        )

    async def get_job(self, job_id: str, *, offset: int = 0) -> Job:
        """Look up one job (*Get Job* of the API).

        Args:
            job_id: The whole id of the job.
            offset: How many of the first outputs to leave out.

        Raises:
            InvalidArgumentError: An argument cannot be right; nothing was sent.
            NotFoundError: There is no such job, or the key cannot see it.
            SieveError: Any other failure; what may pass has been tried again before.
        """
        return await self._call(endpoints.get_job(job_id, offset=offset))

    async def get_version(
        self, owner_name: str, function_name: str, version_slug: str = endpoints.LATEST
    ) -> FunctionVersion:
        """Look up one version of a function (*Get Function Version* of the API).

        Args:
            owner_name: The owner of the function.
            function_name: Its name.
            version_slug: The id of the version, the beginning of an id, or ``latest``.

        Raises:
            InvalidArgumentError: An argument cannot be right; nothing was sent.
            NotFoundError: There is no such version, or the key cannot see it.
            SieveError: Any other failure; what may pass has been tried again before.
        """
        return await self._call(endpoints.get_version(owner_name, function_name, version_slug))

    async def wait_for_job(
        self,
        job_id: str,
        *,
        timeout: float | timedelta | None = None,  # noqa: ASYNC109 - the deadline is the point
        polling: PollPolicy | None = None,
        on_update: Callable[[Job], object] | None = None,
        check: bool = False,
    ) -> Job:
        """Poll a job until it has ended, and return it as it ended, whichever way that is.

        Args:
            job_id: The whole id of the job.
            timeout: The longest time for the whole wait, in seconds; None for no limit, since jobs
                may be queued for hours; 0 for exactly one look.
            polling: How often to look; the client's own policy if not given.
            on_update: A function or coroutine function that gets the job as it was first seen, and
                then at each change of its status or number of outputs. What it raises ends the
                wait; the deadline does not cut it off.
            check: Raise for a job that did not finish, as :meth:`Job.raise_for_status` does.

        Raises:
            WaitTimeoutError: The deadline came first; it holds the last state seen.
            JobFailedError: With ``check``, the job ended in error.
            JobCancelledError: With ``check``, the job was cancelled.
            NotFoundError: There is no such job; once it was seen, only after two more looks.
            SieveError: The server refuses for good, or nothing valid came for
                ``PollPolicy.max_unreachable`` seconds. A failed poll by itself ends no wait.
        """
        request = endpoints.get_job(job_id)
        job = await self._wait(request, Subject(job_id), timeout, polling, on_update)
        return job.raise_for_status() if check else job

    async def wait_until_ready(
        self,
        owner_name: str,
        function_name: str,
        version_slug: str = endpoints.LATEST,
        *,
        timeout: float | timedelta | None = None,  # noqa: ASYNC109 - the deadline is the point
        polling: PollPolicy | None = None,
        on_update: Callable[[FunctionVersion], object] | None = None,
        check: bool = False,
    ) -> FunctionVersion:
        """Poll a function version until its build is ready or has failed, and return it.

        ``latest`` and prefixes are resolved once: the wait follows the version that it saw first,
        also when somebody deploys another meanwhile.

        Args:
            owner_name: The owner of the function.
            function_name: Its name.
            version_slug: The id of the version, the beginning of an id, or ``latest``.
            timeout: The longest time for the whole wait, in seconds; None for no limit, 0 for
                exactly one look.
            polling: How often to look; the client's own policy if not given.
            on_update: A function or coroutine function that gets the version as it was first seen,
                and then at each change of its state. What it raises ends the wait.
            check: Raise for a failed build, as :meth:`FunctionVersion.raise_for_status` does.

        Raises:
            WaitTimeoutError: The deadline came first; it holds the last state seen.
            BuildFailedError: With ``check``, the build ended in error.
            NotFoundError: There is no such version; once it was seen, only after two more looks.
            SieveError: As for :meth:`wait_for_job`.
        """
        request = endpoints.get_version(owner_name, function_name, version_slug)
        subject = Subject(function_version=f"{owner_name}/{function_name}:{version_slug}")
        version = await self._wait(request, subject, timeout, polling, on_update)
        return version.raise_for_status() if check else version

    async def _call(self, request: Request[Answer]) -> Answer:
        self._transport.check_home()
        return await self._retrier.call(request, read_model)

    async def _wait(
        self,
        request: Request[Answer],
        subject: Subject,
        timeout: float | timedelta | None,  # noqa: ASYNC109 - the deadline is the point
        polling: PollPolicy | None,
        on_update: Callable[[Answer], object] | None,
    ) -> Answer:
        seconds = check_timeout(timeout)
        if polling is not None and not isinstance(polling, PollPolicy):
            raise InvalidArgumentError(f"polling must be a PollPolicy, not {polling!r}")
        if on_update is not None and not callable(on_update):
            raise InvalidArgumentError(f"on_update must be callable, not {on_update!r}")
        self._transport.check_home()
        return await self._poller.wait(
            request,
            subject,
            policy=self._polling if polling is None else polling,
            seconds=seconds,
            on_update=on_update,
        )


def _now() -> float:
    return asyncio.get_running_loop().time()


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # no home is known, so there is no file of the official client
        return None
