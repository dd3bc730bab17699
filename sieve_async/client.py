"""The front door: the one place where the parts are joined."""

import asyncio
import importlib
import os
from collections.abc import AsyncIterable, Callable, Coroutine, Iterable
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self

import attrs

from sieve_async import endpoints
from sieve_async.config import (
    Limits,
    Secret,
    Timeout,
    as_timeout,
    check_callable,
    check_choice,
    check_job_id,
    check_job_ids,
    check_setting,
    check_timeout,
    function_name_of,
    read_config,
)
from sieve_async.decode import parse_model, parse_text
from sieve_async.errors import InvalidArgumentError, TransportError
from sieve_async.gate import Gate
from sieve_async.messages import Model, Request
from sieve_async.models import FunctionVersion, Job
from sieve_async.polling import (
    Asking,
    JobFollower,
    LongPolls,
    OutputStream,
    Poller,
    PollPolicy,
    Subject,
    VersionFollower,
    Wait,
)
from sieve_async.retry import Retrier, RetryPolicy
from sieve_async.transport import Transport

if TYPE_CHECKING:
    import aiohttp

    from sieve_async.watching import Batch, JobOutcome, JobWatch, Strategy, Watcher


@attrs.frozen(kw_only=True)
class Stats:
    """What a client has done and is doing.

    Attributes:
        requests: Requests sent, retries included.
        retries: How many of them were retries.
        in_flight: Requests in flight now.
        queued: Requests that wait for a slot now.
        waits: Waits that go on now; of a watch of many jobs, each job counts.
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
        trust_env: Use the proxy that ``HTTPS_PROXY`` and ``NO_PROXY`` (or the settings of the
            system) name; never credentials out of ``~/.netrc``.

    Raises:
        ConfigError: There is no key, or a setting cannot work.
    """

    def __init__(
        self,
        api_key: str | None = None,
        *,
        base_url: str | None = None,
        timeout: Timeout | float | timedelta = Timeout(),
        retry: RetryPolicy = RetryPolicy(),
        polling: PollPolicy = PollPolicy(),
        limits: Limits = Limits(),
        session: "aiohttp.ClientSession | None" = None,
        trust_env: bool = False,
    ) -> None:
        timeout = as_timeout(timeout)
        check_setting("retry", retry, RetryPolicy)
        check_setting("polling", polling, PollPolicy)
        check_setting("limits", limits, Limits)
        secret = None if api_key is None else Secret(api_key)
        del api_key  # a traceback with locals would show it
        config = read_config(secret, base_url, os.environ, _home())
        self._polling = polling
        self._transport = Transport(config, timeout, limits, session, trust_env)
        self._gate = Gate(
            slots=self._transport.slots, steady_rate=limits.polls_per_second, clock=_now
        )
        self._retrier = Retrier(retry, self._gate, self._transport.send, _now)
        self._poller = Poller(self._gate, _now)
        self._asking = Asking(self._retrier, _now, timeout.request)
        self._long_polls = LongPolls(self._transport.slots)
        self._max_watched = limits.max_pending_jobs
        self._polls_per_second = limits.polls_per_second
        self._watcher: Watcher | None = None  # made with the first watch

    def __repr__(self) -> str:
        transport = getattr(self, "_transport", None)
        if transport is None:  # refused while it was made, and shown by a traceback with locals
            return "<SieveClient>"
        return f"<SieveClient {transport.base_url}{' (closed)' if self.closed else ''}>"

    def __reduce__(self) -> NoReturn:
        raise TypeError("a client cannot be copied or pickled")

    async def __aenter__(self) -> Self:
        self._transport.bind_loop()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections; whatever still waits ends with ``ClientClosedError``.

        May be called more than once. Remote jobs and builds go on.
        """
        self._transport.abort()
        self._gate.close()
        watches = () if self._watcher is None else self._watcher.close()
        ending = set(watches) - {asyncio.current_task()}
        if ending:
            await asyncio.wait(ending)
        await self._transport.close()

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
            waits=self._poller.going_on + (self._watcher.going_on if self._watcher else 0),
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
        self,
        owner_or_function: str,
        function_name: str | None = None,
        version_slug: str = endpoints.LATEST,
    ) -> FunctionVersion:
        """Look up one version of a function (*Get Function Version* of the API).

        Args:
            owner_or_function: ``OWNER/NAME`` or ``OWNER/NAME:SLUG``, or the owner alone.
            function_name: The name of the function, if its owner stands alone.
            version_slug: The id of the version, the beginning of an id, or ``latest``.

        Raises:
            InvalidArgumentError: An argument cannot be right; nothing was sent.
            NotFoundError: There is no such version, or the key cannot see it.
            SieveError: Any other failure; what may pass has been tried again before.
        """
        return await self._call(
            endpoints.get_version(owner_or_function, function_name, version_slug)
        )

    async def wait_for_job(
        self,
        job_id: str,
        *,
        timeout: float | timedelta | None = None,  # noqa: ASYNC109 - the deadline is the point
        polling: PollPolicy | None = None,
        strategy: Literal["poll", "long_poll"] = "poll",
        on_update: Callable[[Job], object] | None = None,
        check: bool = False,
    ) -> Job:
        """Poll a job until it has ended, and return it as it ended, whichever way that is.

        Args:
            job_id: The whole id of the job.
            timeout: The longest time for the whole wait, in seconds; None for no limit, since jobs
                may be queued for hours; 0 for exactly one look.
            polling: How often to look; the client's own policy if not given.
            strategy: With ``long_poll`` the server holds the request until the job has ended, for
                ten minutes at a time; where that is not to be had, and when half of the client's
                slots are taken by such requests, the job is polled.
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
                ``PollPolicy.outage_timeout`` seconds. A failed poll by itself ends no wait.
        """
        job_id = check_job_id(job_id)
        seconds, policy = self._check_wait(timeout, polling)
        check_callable("on_update", on_update)
        check_choice("strategy", strategy, ("poll", "long_poll"))
        wait = self._begin(policy, seconds)
        asking = self._asking
        if strategy == "long_poll":
            asking = attrs.evolve(asking, long_polls=self._long_polls)
        follower = JobFollower(asking, wait, job_id)
        job = await self._poller.wait(follower, Subject(job_id), on_update)
        return job.raise_for_status() if check else job

    async def wait_until_ready(
        self,
        owner_or_function: str,
        function_name: str | None = None,
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
            owner_or_function: ``OWNER/NAME`` or ``OWNER/NAME:SLUG``, or the owner alone.
            function_name: The name of the function, if its owner stands alone.
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
        request = endpoints.get_version(owner_or_function, function_name, version_slug)
        name = function_name_of(owner_or_function, function_name, version_slug)
        subject = Subject(function_version=str(name))
        seconds, policy = self._check_wait(timeout, polling)
        check_callable("on_update", on_update)
        follower = VersionFollower(self._asking, self._begin(policy, seconds), request)
        version = await self._poller.wait(follower, subject, on_update)
        return version.raise_for_status() if check else version

    def as_completed(
        self,
        job_ids: Iterable[str] | AsyncIterable[str],
        *,
        timeout: float | timedelta | None = None,
        polling: PollPolicy | None = None,
        strategy: "Strategy" = "poll",
    ) -> "JobWatch":
        """Watch many jobs, and hand out an outcome for each as its end is seen.

        All watches of a client share one schedule and ``Limits.polls_per_second``; no job has a
        task of its own. What goes wrong with one job is its own outcome, and disturbs no other.

        Args:
            job_ids: The ids, from any iterable or async iterable, which may be without end: they
                are taken while fewer than ``Limits.max_pending_jobs`` are watched or wait to be
                handed out. Each distinct id is watched and handed out once, and remembered for it.
            timeout: The longest time for the whole, in seconds, from the first step of the
                iterator; None for no limit, 0 for exactly one look at each. Jobs that still run
                then have an outcome with ``WaitTimeoutError``.
            polling: How often to look; the client's own policy if not given.
            strategy: ``poll`` looks at each job; with ``long_poll`` the server holds requests until
                a job has ended, in up to half of the slots; ``sweep`` reads lists of the running
                jobs, one request for up to 500 of them, and looks only at those that are missing.

        Returns:
            An async iterator that is also an async context manager. Leaving its block, closing it
            and dropping it all stop the watches.

        Raises:
            InvalidArgumentError: An argument cannot be right. (An id that cannot be right is an
                outcome with this error.)
        """
        check_job_ids(job_ids, Iterable, AsyncIterable)
        seconds, policy = self._check_wait(timeout, polling)
        _enter_watching()
        from sieve_async import watching  # noqa: PLC0415 - it is there now

        check_choice("strategy", strategy, watching.STRATEGIES)

        def begin() -> "Batch":
            self._transport.bind_loop()
            if self._watcher is None:
                self._watcher = watching.Watcher(
                    self._asking,
                    self._long_polls,
                    self._gate,
                    most_workers=self._transport.slots,
                    per_second=self._polls_per_second,
                )
            return self._watcher.begin(
                job_ids, most=self._max_watched, policy=policy, strategy=strategy, seconds=seconds
            )

        return watching.JobWatch(begin)

    async def wait_for_jobs(
        self,
        job_ids: Iterable[str],
        *,
        timeout: float | timedelta | None = None,  # noqa: ASYNC109 - the deadline is the point
        polling: PollPolicy | None = None,
        strategy: "Strategy" = "poll",
    ) -> "list[JobOutcome]":
        """Watch many jobs until all have ended, and return their outcomes in the order given.

        The same as :meth:`as_completed`, gathered; an id that is given twice is watched once, and
        stands twice in the list.

        Args:
            job_ids: The ids.
            timeout: The longest time for the whole, in seconds; None for no limit, 0 for exactly
                one look at each.
            polling: How often to look; the client's own policy if not given.
            strategy: As for :meth:`as_completed`.

        Raises:
            InvalidArgumentError: An argument cannot be right.
        """
        check_job_ids(job_ids, Iterable)
        self._check_wait(timeout, polling)
        _enter_watching()
        from sieve_async import watching  # noqa: PLC0415 - it is there now

        check_choice("strategy", strategy, watching.STRATEGIES)
        wanted = list(job_ids)
        refused = [watching.refusal(job_id) for job_id in wanted]
        good = [job_id for job_id, outcome in zip(wanted, refused, strict=True) if outcome is None]
        async with self.as_completed(
            good, timeout=timeout, polling=polling, strategy=strategy
        ) as outcomes:
            found = {outcome.job_id: outcome async for outcome in outcomes}
        return watching.OutcomeList(
            outcome or found[wanted[place]] for place, outcome in enumerate(refused)
        )

    def stream_outputs(
        self,
        job_id: str,
        *,
        offset: int = 0,
        timeout: float | timedelta | None = None,
        polling: PollPolicy | None = None,
        on_restart: Literal["raise", "continue"] = "raise",
    ) -> OutputStream:
        """Hand out the outputs of a job while it runs, each once and in order.

        Ends after the last output of a job that finished. Nothing is asked while the caller is busy
        with an output.

        Args:
            job_id: The whole id of the job.
            offset: How many of the first outputs to leave out.
            timeout: The longest time for the whole, in seconds, from the first step; None for no
                limit, 0 for exactly one look.
            polling: How often to look; the client's own policy if not given.
            on_restart: A job that restarts begins again with its outputs: ``raise`` raises then,
                ``again`` goes on with the first output of the new run.

        Raises:
            InvalidArgumentError: An argument cannot be right; raised by the call itself.
            JobRestartedError: The job restarted; its outputs so far are void.
            JobFailedError: After the last output, the job ended in error.
            JobCancelledError: After the last output, the job was cancelled.
            WaitTimeoutError: The deadline came first.
            SieveError: As for :meth:`wait_for_job`. The jobs in these errors are without the
                outputs that were handed out.
        """
        endpoints.get_job(job_id, offset=offset)
        seconds, policy = self._check_wait(timeout, polling)
        check_choice("on_restart", on_restart, ("raise", "continue"))

        def begin() -> JobFollower:
            return JobFollower(self._asking, self._begin(policy, seconds), job_id, offset)

        return OutputStream(self._poller, begin, goes_on_after_restart=on_restart == "continue")

    async def _document(self, request: Request[Model]) -> str:
        """The document itself, for those who want what the server has said to the letter."""
        self._transport.bind_loop()
        return await self._retrier.call(request, parse_text)

    def _call(self, request: Request[Model]) -> Coroutine[Any, Any, Model]:
        self._transport.bind_loop()
        return self._retrier.call(request, parse_model)

    def _check_wait(
        self, timeout: float | timedelta | None, polling: PollPolicy | None
    ) -> tuple[float | None, PollPolicy]:
        """The seconds and the policy of a wait."""
        seconds = check_timeout(timeout)
        if polling is not None and not isinstance(polling, PollPolicy):
            raise InvalidArgumentError(f"polling must be a PollPolicy, not {polling!r}")
        return seconds, self._polling if polling is None else polling

    def _begin(self, policy: PollPolicy, seconds: float | None) -> Wait:
        self._transport.bind_loop()
        now = _now()
        return Wait(policy, now, None if seconds is None else now + seconds)


def _enter_watching() -> None:
    """Enter the room of watches, with the first of them: it takes a while to import.

    Raises:
        TransportError: Its files cannot be read now: sockets have taken all descriptors.
    """
    try:
        importlib.import_module("sieve_async.watching")
    except OSError as error:
        failure = TransportError(f"the watcher cannot be loaded: {error.strerror}")
    else:
        return
    raise failure


def _now() -> float:
    return asyncio.get_running_loop().time()


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # no home is known, so there is no file of the official client
        return None
