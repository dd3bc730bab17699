"""`SieveClient`: wires transport, limiter, retries, decoding, polling and watches together."""

import asyncio
import os
from collections.abc import (
    AsyncIterable,
    AsyncIterator,
    Callable,
    Coroutine,
    Iterable,
    Mapping,
)
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, NoReturn, Self, TypeVar

import attrs

from sieve_async import endpoints
from sieve_async.background import Background, loop_time
from sieve_async.config import (
    Secret,
    check_callable,
    check_choice,
    check_job_id,
    check_job_ids,
    check_kind,
    check_setting,
    check_timeout,
    function_name_of,
    parse_function_name,
    read_config,
)
from sieve_async.decode import parse_model, parse_text
from sieve_async.errors import AmbiguousPushError, InvalidArgumentError
from sieve_async.files import DownloadSettings, Renewal, download, download_all
from sieve_async.jobs import (
    PushedJob,
    Pusher,
    Search,
    cancel_job,
    check_push,
    list_jobs,
    run_job,
)
from sieve_async.limiter import RequestLimiter
from sieve_async.log import configure_logging_from
from sieve_async.messages import Model, Request, Response
from sieve_async.models import File, FunctionVersion, Job, JobStatus, Webhook
from sieve_async.observer import WaitObserver
from sieve_async.outcomes import OutcomeList
from sieve_async.polling import OutputStream
from sieve_async.polling.long_polls import LongPollLimiter
from sieve_async.polling.poller import JobPoller, PollContext, VersionPoller
from sieve_async.polling.state import PollState
from sieve_async.polling.waits import SingleWaits
from sieve_async.retry import Retrier
from sieve_async.settings import Limits, PollPolicy, RetryPolicy, Timeout, as_timeout
from sieve_async.transport import Transport
from sieve_async.watch import (
    STRATEGIES,
    JobWatch,
    Scheduler,
    Strategy,
    Subscriber,
)

if TYPE_CHECKING:
    import aiohttp

    from sieve_async.durable import DurableWatch, WatchState

Result = TypeVar("Result")


@attrs.frozen(kw_only=True)
class Stats:
    """What a client has done and is doing.

    Attributes:
        requests: Requests sent, retries included.
        retries: How many of them were retries.
        polls: Polls made by all waits; the retries of a poll do not count.
        failed_polls: How many of them failed.
        in_flight: Requests in flight now.
        queued: Requests that wait for a slot or their turn in the poll rate now.
        waits: Active waits; of a watch of many jobs, each pending job counts.
        bytes_received: Bytes of all bodies, after decompression.
        retry_tokens: What is left of the retry budget, 500 at most.
    """

    requests: int
    retries: int
    polls: int
    failed_polls: int
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
        timeout: How long one request may take; a number is that of ``Timeout.request``. Not the
            deadline of a wait.
        retry: What is retried, and when.
        polling: How often waits poll.
        limits: How much is done at once.
        session: An aiohttp session to use instead of one of our own, for its proxies, TLS settings
            or traces. It is never closed or changed, and no cookies are kept in it; middlewares
            of its own are not run. Its pool must be large enough for all clients that share it.
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
        check_setting("trust_env", trust_env, bool)
        secret = None if api_key is None else Secret(api_key)
        del api_key  # a traceback with locals would show it
        configure_logging_from(os.environ)
        config = read_config(secret, base_url, os.environ, _home())
        self._polling = polling
        self._limits = limits
        self._transport = Transport(config, timeout, limits, session, trust_env)
        self._background = Background()
        self._limiter = RequestLimiter(
            slots=self._transport.slots,
            polls_per_second=limits.polls_per_second,
            background=self._background,
        )
        self._background.on_failure(self._limiter.fail)
        self._retrier = Retrier(retry, self._limiter, self._transport.send)
        self._pusher = Pusher(self._retrier)
        self._downloads = DownloadSettings(timeout=timeout, retry=retry, trust_env=trust_env)
        pushed_at = self._pusher.log.pushed_at
        self._context = PollContext(self._retrier, pushed_at)
        self._long_polls = LongPollLimiter(self._transport.slots)
        self._waits = SingleWaits(self._limiter)
        self._observer: WaitObserver | None = None
        self._scheduler = Scheduler(
            self._context,
            self._limiter,
            self._long_polls,
            self._background,
            slots=self._transport.slots,
            polls_per_second=limits.polls_per_second,
        )

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

        May be called more than once. Remote jobs and builds continue. The connections are closed
        also when this call is cancelled.
        """
        self._transport.abort()
        self._limiter.close()
        try:
            ending = set(self._scheduler.close()) - {asyncio.current_task()}
            if ending:
                await asyncio.wait(ending)
        finally:
            await self._transport.close()

    @property
    def closed(self) -> bool:
        """Whether the client was closed."""
        return self._transport.closed

    @property
    def base_url(self) -> str:
        """The base URL of the API."""
        return self._transport.base_url

    @property
    def stats(self) -> Stats:
        """What this client has done so far and is doing now."""
        counters = self._retrier.counters
        return Stats(
            requests=counters.requests,
            retries=counters.retries,
            polls=counters.polls,
            failed_polls=counters.failed_polls,
            in_flight=self._limiter.in_flight,
            queued=self._limiter.queued,
            waits=len(self._waits.active) + self._scheduler.pending,
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
            SieveError: Any other failure; transient ones were retried before.
        """
        return await self._call(endpoints.get_job(job_id, offset=offset), parse_model)

    async def get_job_json(self, job_id: str, *, offset: int = 0) -> str:
        """Look up one job, and return the document as the server sent it, the key redacted.

        Args:
            job_id: The whole id of the job.
            offset: How many of the first outputs to leave out.

        Raises:
            SieveError: As for :meth:`get_job`.
        """
        return await self._call(endpoints.get_job(job_id, offset=offset), parse_text)

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
            SieveError: Any other failure; transient ones were retried before.
        """
        request = endpoints.get_version(owner_or_function, function_name, version_slug)
        return await self._call(request, parse_model)

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
        """Poll a job until it is terminal, and return it, whatever its status.

        Args:
            job_id: The whole id of the job.
            timeout: The longest time for the whole wait, in seconds; None for no limit, since jobs
                may be queued for hours; 0 for exactly one poll.
            polling: How often to poll; the client's own policy if not given.
            strategy: With ``long_poll`` the server holds the request until the job is terminal, for
                a minute at a time. Where the server cannot, and when half of the client's slots are
                taken by such requests, the job is polled.
            on_update: A function or coroutine function that gets the first state, and each one with
                another status or number of outputs. What it raises ends the wait; the deadline does
                not interrupt it.
            check: Raise for a job that did not finish, as :meth:`Job.raise_for_status` does.

        Raises:
            WaitTimeoutError: The deadline came first; it holds the last state seen.
            JobFailedError: With ``check``, the job ended in error.
            JobCancelledError: With ``check``, the job was cancelled.
            NotFoundError: There is no such job; once it was seen, two more polls confirm that.
            SieveError: The server rejects the request, or nothing valid came for
                ``PollPolicy.outage_timeout`` seconds. A failed poll by itself ends no wait.
        """
        job_id = check_job_id(job_id)
        seconds, policy = self._check_wait(timeout, polling)
        check_callable("on_update", on_update)
        check_choice("strategy", strategy, ("poll", "long_poll"))
        context = self._context
        if strategy == "long_poll":
            context = attrs.evolve(context, long_polls=self._long_polls)
        poller = JobPoller(context, self._begin(policy, seconds), job_id)
        job = await self._waits.run(poller, on_update)
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

        ``latest`` and prefixes are resolved once: the wait is for the version that the first answer
        named, also when another one is deployed meanwhile.

        Args:
            owner_or_function: ``OWNER/NAME`` or ``OWNER/NAME:SLUG``, or the owner alone.
            function_name: The name of the function, if its owner stands alone.
            version_slug: The id of the version, the beginning of an id, or ``latest``.
            timeout: The longest time for the whole wait, in seconds; None for no limit, 0 for
                exactly one poll.
            polling: How often to poll; the client's own policy if not given.
            on_update: A function or coroutine function that gets the first state, and each one with
                another status. What it raises ends the wait.
            check: Raise for a failed build, as :meth:`FunctionVersion.raise_for_status` does.

        Raises:
            WaitTimeoutError: The deadline came first; it holds the last state seen.
            BuildFailedError: With ``check``, the build ended in error.
            NotFoundError: There is no such version; once it was seen, two more polls confirm that.
            SieveError: As for :meth:`wait_for_job`.
        """
        request = endpoints.get_version(owner_or_function, function_name, version_slug)
        name = function_name_of(owner_or_function, function_name, version_slug)
        seconds, policy = self._check_wait(timeout, polling)
        check_callable("on_update", on_update)
        state = self._begin(policy, seconds)
        version = await self._waits.run(
            VersionPoller(self._context, state, request, str(name)), on_update
        )
        return version.raise_for_status() if check else version

    def as_completed(
        self,
        job_ids: Iterable[str] | AsyncIterable[str],
        *,
        timeout: float | timedelta | None = None,
        polling: PollPolicy | None = None,
        strategy: Strategy = "poll",
        on_update: Callable[[Job], object] | None = None,
    ) -> JobWatch:
        """Watch many jobs, and hand out an outcome for each as its end is seen.

        All waits and watches of a client share ``Limits.polls_per_second``; no job has a task of
        its own. What goes wrong with one job is its own outcome, and disturbs no other.

        Args:
            job_ids: The ids, from any iterable or async iterable, which may be without end: they
                are taken while fewer than ``Limits.max_pending_jobs`` are pending or wait to be
                handed out. Each distinct id is watched and handed out once, and remembered for it.
                An async one is closed (``aclose``) when the watch ends.
            timeout: The longest time for the whole, in seconds, from the first step or the start of
                the block; None for no limit, 0 for exactly one poll of each. Jobs that are not
                terminal then have an outcome with ``WaitTimeoutError``.
            polling: How often to poll; the client's own policy if not given.
            strategy: When to poll. ``poll``: at intervals. ``long_poll``: the server holds requests
                until a job is terminal, in up to half of the slots. ``list``: lists of the running
                jobs, 500 with a request, say which jobs need not be polled and which are missing.
            on_update: As for :meth:`wait_for_job`; what it raises ends the watch. It runs in the
                context of this call.

        Returns:
            An async iterator that is also an async context manager. Leaving its block, closing it
            and dropping it all stop the watch.

        Raises:
            InvalidArgumentError: An argument is invalid. (An invalid id is an outcome with this
                error.)
        """
        check_job_ids(job_ids, Iterable, AsyncIterable)
        seconds, policy = self._check_wait(timeout, polling)
        check_choice("strategy", strategy, STRATEGIES)
        check_callable("on_update", on_update)
        subscriber = Subscriber(seconds, self._limits.max_pending_jobs)
        return JobWatch(
            self._attach,
            job_ids,
            subscriber,
            policy=policy,
            strategy=strategy,
            on_update=on_update,
            observer=self._observer,
        )

    async def wait_for_jobs(
        self,
        job_ids: Iterable[str] | AsyncIterable[str],
        *,
        timeout: float | timedelta | None = None,  # noqa: ASYNC109 - the deadline is the point
        polling: PollPolicy | None = None,
        strategy: Strategy = "poll",
        on_update: Callable[[Job], object] | None = None,
    ) -> OutcomeList:
        """Watch many jobs until all have ended, and return their outcomes in the order given.

        The same as :meth:`as_completed`, gathered; an id that is given twice is watched once, and
        stands twice in the list.

        Args:
            job_ids: The ids.
            timeout: The longest time for the whole, in seconds; None for no limit, 0 for exactly
                one poll of each.
            polling: How often to poll; the client's own policy if not given.
            strategy: As for :meth:`as_completed`.
            on_update: As for :meth:`as_completed`.

        Raises:
            InvalidArgumentError: An argument is invalid.
        """
        watch = self.as_completed(
            job_ids, timeout=timeout, polling=polling, strategy=strategy, on_update=on_update
        )
        return await watch.collect()

    def resume(
        self,
        state: "WatchState",
        *,
        timeout: float | timedelta | None = None,
        polling: PollPolicy | None = None,
        strategy: Strategy = "poll",
        on_update: Callable[[Job], object] | None = None,
    ) -> "DurableWatch":
        """Watch the jobs of a state file, and store each outcome before handing it out.

        First come the outcomes that an earlier watch stored and that were not acknowledged, in the
        order of ending, then those of pending jobs. Taking the next outcome acknowledges the one
        before, as does the end of the watch.

        Args:
            state: The open state file.
            timeout: As for :meth:`as_completed`; jobs that are not terminal then stay pending.
            polling: As for :meth:`as_completed`.
            strategy: As for :meth:`as_completed`.
            on_update: As for :meth:`as_completed`.

        Raises:
            InvalidArgumentError: An argument is invalid.
            StateFileError: The jobs belong to another server, or the file could not be read or
                written. Raised by entering the block and by its steps.
            StateBusyError: Another watch of this program uses the state file. Raised likewise.
        """
        from sieve_async.durable import DurableWatch  # noqa: PLC0415 - SQLite is rarely needed

        watch_jobs = partial(
            self.as_completed,
            timeout=timeout,
            polling=polling,
            strategy=strategy,
            on_update=on_update,
        )
        watch_jobs(())  # checks the arguments
        return DurableWatch(state, self.base_url, watch_jobs)

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

        Ends after the last output of a job that finished. Nothing is sent while the caller is busy
        with an output.

        Args:
            job_id: The whole id of the job.
            offset: How many of the first outputs to leave out.
            timeout: The longest time for the whole, in seconds, from the first step; None for no
                limit, 0 for exactly one poll.
            polling: How often to poll; the client's own policy if not given.
            on_restart: The outputs of a job that restarts start over: ``raise`` raises then,
                ``continue`` continues with the first output of the new run.

        Raises:
            InvalidArgumentError: An argument cannot be right; raised by the call itself.
            JobRestartedError: The job restarted; its outputs so far are void.
            JobFailedError: After the last output, the job ended in error.
            JobCancelledError: After the last output, the job was cancelled.
            WaitTimeoutError: The deadline came first.
            SieveError: As for :meth:`wait_for_job`. The jobs in these errors are without the
                outputs that were handed out.
        """
        endpoints.get_job(job_id, offset=offset)  # checks them
        job_id = check_job_id(job_id)
        seconds, policy = self._check_wait(timeout, polling)
        check_choice("on_restart", on_restart, ("raise", "continue"))

        def begin() -> JobPoller:
            return JobPoller(self._context, self._begin(policy, seconds), job_id, offset)

        return OutputStream(self._waits, begin, raises_on_restart=on_restart == "raise")

    async def push_job(
        self,
        function: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        webhooks: "Iterable[Webhook | Mapping[str, Any]]" = (),
        env: Mapping[str, str] | None = None,
    ) -> PushedJob:
        """Start a job, and return its id and what else the API answers.

        One call is one request, on a new connection. It is sent again only if it surely did not
        arrive: nothing was sent, or the server answered 429. Cancelling the call may leave a job
        behind that has started.

        Args:
            function: ``OWNER/NAME`` or ``OWNER/NAME:VERSION``.
            inputs: JSON values by name. Sieve takes files as ``{"url": "https://..."}``.
            webhooks: ``{"type": "job.complete", "url": "https://..."}`` for each.
            env: Environment variables of the job; no error, log or repr shows their values.

        Raises:
            InvalidArgumentError: An argument is invalid; nothing was sent.
            AmbiguousPushError: The push failed after it may have arrived: a paid job may have
                started. Call :meth:`find_pushed` before you push again.
            OutOfCreditsError: The organisation has no credits left.
            SieveError: Any other failure; no job was started.
        """
        arguments = check_push(function, inputs, webhooks, env)
        self._transport.bind_loop()
        return await self._pusher.push(arguments)

    async def find_pushed(
        self,
        error: AmbiguousPushError,
        *,
        timeout: float | timedelta | None = 30.0,  # noqa: ASYNC109 - the deadline is the point
    ) -> list[Job]:
        """Find the job that a push may have started; nothing is pushed.

        Reads the list of the function's jobs for one with equal inputs, created since the push (or
        in the minute before, for clocks differ), and not returned by another push of this client.
        Jobs that have further inputs count where there is none with equal ones when the time is
        over: the server may fill in defaults.

        Args:
            error: The error of the push.
            timeout: Seconds for which the search is repeated if nothing is found; 0 is once.

        Returns:
            All candidates. An empty list says that the server lists no such job.

        Raises:
            SieveError: The list could not be read.
        """
        check_kind("error", error, AmbiguousPushError)
        seconds = check_timeout(timeout)
        owner_name, name, _ = parse_function_name(error.function)
        self._transport.bind_loop()
        search = Search(
            error, partial(self.list_jobs, function=f"{owner_name}/{name}"), self._pusher.log
        )
        return await search.run(None if seconds is None else loop_time() + seconds)

    async def run(  # noqa: PLR0913  # the arguments of a push and of a wait
        self,
        function: str,
        inputs: Mapping[str, Any] | None = None,
        *,
        webhooks: "Iterable[Webhook | Mapping[str, Any]]" = (),
        env: Mapping[str, str] | None = None,
        timeout: float | timedelta | None = None,  # noqa: ASYNC109 - the deadline is the point
        polling: PollPolicy | None = None,
        strategy: Literal["poll", "long_poll"] = "poll",
        on_pushed: Callable[[PushedJob], object] | None = None,
        on_update: Callable[[Job], object] | None = None,
        check: bool = True,
        cancel_on_timeout: bool = False,
    ) -> Job:
        """Push a job, and wait until it is over.

        Args:
            function: As for :meth:`push_job`, and so are ``inputs``, ``webhooks`` and ``env``.
            inputs: JSON values by name.
            webhooks: What the API is to report where.
            env: Environment variables of the job.
            timeout: The longest time for the whole, in seconds; None for no limit, 0 for a push and
                exactly one poll.
            polling: How often to poll; the client's own policy if not given.
            strategy: As for :meth:`wait_for_job`.
            on_pushed: A function or coroutine function that gets the pushed job before the wait
                begins: keep its id where it survives this program. What it raises ends the call;
                the job continues.
            on_update: As for :meth:`wait_for_job`.
            check: Raise for a job that did not finish, as :meth:`Job.raise_for_status` does.
            cancel_on_timeout: Cancel the job when the deadline comes first. Without it the job
                continues, and so do its costs.

        Raises:
            AmbiguousPushError: As for :meth:`push_job`.
            WaitTimeoutError: The deadline came first; ``target`` is the id of the job.
            JobFailedError: With ``check``, the job ended in error.
            JobCancelledError: With ``check``, the job was cancelled.
            SieveError: As for :meth:`push_job` and :meth:`wait_for_job`.
        """
        arguments = check_push(function, inputs, webhooks, env)
        seconds, policy = self._check_wait(timeout, polling)
        check_choice("strategy", strategy, ("poll", "long_poll"))
        check_callable("on_pushed", on_pushed)
        check_callable("on_update", on_update)
        self._transport.bind_loop()

        async def wait(job_id: str, left: float | None) -> Job:
            return await self.wait_for_job(
                job_id, timeout=left, polling=policy, strategy=strategy, on_update=on_update
            )

        job = await run_job(
            arguments,
            push=self._pusher.push,
            wait=wait,
            cancel=self.cancel_job,
            seconds=seconds,
            on_pushed=on_pushed,
            cancel_on_timeout=cancel_on_timeout,
        )
        return job.raise_for_status() if check else job

    async def cancel_job(self, job_id: str) -> Job:
        """Cancel a job, and return it as it is then.

        A job that is over already is returned as it ended. A cancelled one may be listed as
        running for a moment.

        Raises:
            InvalidArgumentError: ``job_id`` is invalid; nothing was sent.
            JobNotCancellableError: The server refused, and the job is not over.
            NotFoundError: There is no such job, or the key cannot see it.
            SieveError: Any other failure; transient ones were retried before.
        """
        return await cancel_job(self._call, self.get_job, job_id)

    def list_jobs(
        self,
        *,
        status: JobStatus | str | None = None,
        function: str | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[Job]:
        """List the jobs of the organisation, page by page, each id once.

        The API does not document the order. Jobs that move to another page while it is read may be
        left out: a list is no place to see a job end.

        Args:
            status: Only jobs that have this status.
            function: Only jobs of this function, ``OWNER/NAME``, or of one version of it,
                ``OWNER/NAME:VERSION``; the API has no filter by status for the latter.
            limit: How many jobs at the most; None for all.

        Raises:
            InvalidArgumentError: An argument is invalid; raised by the call itself.
            SieveError: A page could not be read; raised by the iterator.
        """
        return list_jobs(self._call, status=status, function=function, limit=limit)

    async def download(
        self,
        file: File | str,
        path: "str | os.PathLike[str]",
        *,
        overwrite: bool = False,
        resume: bool = True,
        on_progress: Callable[[int, int | None], object] | None = None,
    ) -> Path:
        """Download a file of a job; the file at the path is complete, or there is none.

        Sent without the key, cookies or headers of this client, over https only (http to this
        machine), to public addresses only, through at most five redirects. What has come lies in a
        ``.part`` file beside the path until it is complete, also after a failure or a
        cancellation: the next call continues there if the host says by a strong ETag that the file
        is the same. Lengths are checked, and the MD5 where the host gives it.

        Args:
            file: The file, or its URL. When a signed URL has expired, the job of a ``File`` is
                looked up once for a fresh one.
            path: Where the file is to be; its directory must exist.
            overwrite: Replace a file that exists.
            resume: Continue what an earlier call has left.
            on_progress: A function or coroutine function that gets the bytes that are there and
                the length of the file, or None where the host does not say it. What it raises ends
                the download.

        Raises:
            InvalidArgumentError: An argument is invalid; nothing was sent.
            FileExistsError: The path exists; nothing was sent.
            FileExpiredError: The URL has expired, and the API gives no fresh one.
            DownloadError: Any other failure; transient ones were retried before.
        """
        self._transport.bind_loop()
        return await download(
            file,
            path,
            settings=self._downloads,
            renew=self._file_renewal(),
            overwrite=overwrite,
            resume=resume,
            on_progress=on_progress,
        )

    async def download_all(
        self, job: Job, directory: "str | os.PathLike[str]", *, concurrency: int = 4
    ) -> list[Path]:
        """Download all files of a job into a directory, which is made where it is missing.

        The names are those of the files, made safe; equal ones get numbers. When one file fails,
        the others are downloaded all the same, and then its error is raised.

        Args:
            job: The job.
            directory: Where the files are to be.
            concurrency: How many are downloaded at once.

        Returns:
            The paths, in the order of ``job.files``.

        Raises:
            InvalidArgumentError: An argument is invalid; nothing was sent.
            FileExistsError: One of the paths exists, or the directory is a file; nothing was sent.
            DownloadError: As for :meth:`download`.
        """
        check_kind("job", job, Job)
        self._transport.bind_loop()
        return await download_all(
            job.files,
            directory,
            settings=self._downloads,
            renew=self._file_renewal(),
            concurrency=concurrency,
        )

    def observe(self, observer: WaitObserver | None) -> None:
        """Report the ends of waits to an observer, for telemetry; None ends that.

        Raises:
            InvalidArgumentError: The client has an observer already.
        """
        if observer is not None and self._observer is not None:
            raise InvalidArgumentError("the client has an observer already")
        if self._observer is not None:
            self._observer.detach(self._background.context)
        if observer is not None:
            observer.attach(self._background.context)
        self._observer = self._waits.observer = observer

    def nudge(self, job_id: str) -> bool:
        """Poll a job now, for instance since a webhook named it.

        Returns:
            Whether any wait, watch or output stream of this client waits for the job.
        """
        job_id = check_job_id(job_id)
        is_waited_for = self._waits.nudge(job_id)
        return self._scheduler.nudge(job_id) or is_waited_for

    def _call(
        self, request: Request[Model], parse: Callable[[Request[Model], Response], Result]
    ) -> Coroutine[Any, Any, Result]:
        """Make one plain call."""
        self._transport.bind_loop()
        return self._retrier.call(request, parse)

    def _file_renewal(self) -> Renewal:
        """Looks up the jobs of expired files, each job once."""
        return Renewal(self.get_job)

    def _attach(self) -> Scheduler:
        self._transport.bind_loop()
        return self._scheduler

    def _check_wait(
        self, timeout: float | timedelta | None, polling: PollPolicy | None
    ) -> tuple[float | None, PollPolicy]:
        """The seconds and the policy of a wait."""
        seconds = check_timeout(timeout)
        if polling is not None and not isinstance(polling, PollPolicy):
            raise InvalidArgumentError(f"polling must be a PollPolicy, got {polling!r}")
        return seconds, self._polling if polling is None else polling

    def _begin(self, policy: PollPolicy, seconds: float | None) -> PollState:
        self._transport.bind_loop()
        now = loop_time()
        return PollState(policy, now, None if seconds is None else now + seconds)


def _home() -> Path | None:
    try:
        return Path.home()
    except RuntimeError:  # no home is known, so there is no file of the official client
        return None
