"""`FakeSieve`: what a test says to the server, and what it can see of it."""

import asyncio
import random
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from typing import Any, Literal, Self, TypedDict, Unpack

from sieve_async.testing.answers import (
    EffectOptions,
    Fault,
    FaultEffect,
    check_at_least,
    job_paths,
    output_documents,
)
from sieve_async.testing.clock import ByClock, Clock, ServerThread, Timers, run_in_server_thread
from sieve_async.testing.functions import (
    BUILDING,
    BuildEnd,
    FunctionScript,
    FunctionStore,
    JobOptions,
    Outputs,
    Push,
    VersionScript,
)
from sieve_async.testing.handler import Listener, RequestHandler, RequestLog
from sieve_async.testing.jobs import JobHandle, JobScript, random_jobs
from sieve_async.testing.routes import Endpoints, FileStore, headers_of
from sieve_async.testing.store import JobStore, LongPollWaiters
from sieve_async.testing.webhooks import Delivery, WebhookFault, WebhookFaultOptions, WebhookSender


class Options(TypedDict, total=False):
    """The arguments of `FakeSieve`."""

    host: str
    port: int
    api_key: str
    clock: Callable[[], float] | Literal["manual"] | None
    speed: float
    max_await: float


class FakeSieve:
    """A Sieve server on loopback whose jobs and builds follow the scripts of a test.

    Timelines follow the server's clock, which is the running loop's unless another ``clock`` is
    given, times ``speed``. It starts with the server: what was added before begins then. The clock
    ``"manual"`` stands still until ``advance()``. Stopping and starting again, on the same port,
    plays an outage: timelines, clock and request log continue.

    It answers lookups of jobs, versions and functions, lists, pushes, cancels and awaits: those are
    held until the job ends or ``max_await`` seconds of its clock have passed. Held requests are
    timed by the loop: a ``clock`` of your own should keep pace with it.

    Its answers are right until ``fault()`` is called; ``requests`` logs what was asked. Methods
    raise ValueError for arguments that are invalid, such as an id that is taken or not there.

    Example:
        >>> async with FakeSieve() as sieve:
        ...     job_id = sieve.add_job(queued=2, processing=7, outputs=["hello"])
        ...     ...  # talk to sieve.url with sieve.api_key
        ...     assert sieve.requests_for(job_id) < 10
    """

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        api_key: str = "sieve-test-key",
        clock: Callable[[], float] | Literal["manual"] | None = None,
        speed: float = 1.0,
        max_await: float = 600.0,
    ) -> None:
        if not 0 <= port <= 65535:
            raise ValueError(f"port must be from 0 to 65535, not {port!r}")
        check_at_least(0, max_await=max_await)
        self.requests = RequestLog()
        self._api_key = api_key
        self._key_is_revoked = False
        # As a word of its own, or a key of one letter would change every path.
        self._key_in_text = re.compile(rf"(?<![A-Za-z0-9]){re.escape(api_key)}(?![A-Za-z0-9])")
        self._clock_source = None if clock == "manual" else clock
        self._clock = Clock(speed, is_manual=clock == "manual")
        self._timers = Timers(self._clock)
        self._thread = ServerThread()
        self._jobs = JobStore(self._timers, LongPollWaiters(max_await, self._timers))
        self._functions = FunctionStore(self._clock)
        self._files = FileStore(self._clock)
        self._webhooks = WebhookSender(self._jobs)
        self._jobs.listeners.append(self._webhooks.moved)
        self._faults: list[Fault] = []
        self._endpoints = Endpoints(self._jobs, self._functions, self._files, self._webhooks.follow)
        handler = RequestHandler(
            self.requests, self._endpoints, self._faults, self._timers, self._accepts, self._redact
        )
        self._listener = Listener(host, port, handler.serve)

    @classmethod
    @contextmanager
    def in_thread(cls, **options: Unpack[Options]) -> Iterator[Self]:
        """Run a server in a thread of its own, for programs without a loop, or with others.

        Takes the arguments of the class. All public members may be used from any thread, except
        ``start()`` and ``stop()``.

        Example:
            >>> with FakeSieve.in_thread() as sieve:
            ...     job_id = sieve.add_job(outputs=["hello"])
        """
        sieve = cls(**options)
        with sieve._thread.running(sieve):
            yield sieve

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def __repr__(self) -> str:
        address = f"{self._listener.host}:{self._listener.port}"
        state = "running" if self._listener.is_open else "stopped"
        count = f"{len(self._jobs.jobs)} jobs, {len(self._functions)} versions"
        return f"<FakeSieve at {address}, {state}, {count}>"

    @property
    def url(self) -> str:
        """The base URL, also while the server is stopped.

        Raises:
            RuntimeError: It is to choose a free port, and was not started yet.
        """
        host, port = self._listener.host, self._listener.port
        if port == 0:
            raise RuntimeError("the port is chosen when the server starts: start it first")
        return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"

    @property
    def api_key(self) -> str:
        """The key that is accepted until it is revoked."""
        return self._api_key

    @property
    def connections(self) -> int:
        """The number of TCP connections accepted so far."""
        return self._listener.connections

    @property
    def max_in_flight(self) -> int:
        """The largest number of requests ever in flight at once."""
        return self.requests.max_in_flight

    @property
    def in_flight(self) -> int:
        """The number of requests in flight now."""
        return self.requests.in_flight

    @property
    def pushes(self) -> list[Push]:
        """The latest pushes that were accepted, in order."""
        return [*self._endpoints.pushes]

    @property
    def deliveries(self) -> list[Delivery]:
        """The latest webhook events that were due, in order, with the answers they got."""
        return [*self._webhooks.deliveries]

    @property
    def file_requests_with_credentials(self) -> int:
        """How many requests for files had an API key, another credential or a cookie."""
        return self._files.requests_with_credentials

    async def start(self) -> None:
        """Accept connections; when it does so already, change nothing."""
        if self._listener.is_open:
            return
        if not self._clock.is_manual:
            self._clock.follow(self._clock_source or asyncio.get_running_loop().time)
        await self._listener.open()
        self._webhooks.open()

    async def stop(self) -> None:
        """Refuse connections and abort the open ones; timelines continue, and so may the server."""
        await self._listener.close()
        await self._webhooks.close()

    def requests_for(self, subject: str) -> int:
        """Count the requests for a job id, a version id or a path, whatever the answer was.

        Awaits count from when they arrive. Lookups of a version count for its id however they named
        it, ``latest`` included.
        """
        if subject.startswith("/"):
            return self.requests.by_path[self._redact(subject)]
        by_path = self.requests.by_path
        of_job = sum(by_path[self._redact(path)] for path in job_paths(subject))
        return of_job + self.requests.by_version[subject]

    def bytes_for(self, job_id: str) -> int:
        """Count the bytes of the bodies that answered lookups and awaits of a job."""
        by_path = self.requests.bytes_by_path
        return sum(by_path[self._redact(path)] for path in job_paths(job_id))

    def requests_after_terminal(self, job_id: str | None = None) -> int:
        """Count the lookups and awaits of a job, or of all, after an answer showed it as terminal.

        A good client makes none.
        """
        after_terminal = self.requests.after_terminal
        return after_terminal.total() if job_id is None else after_terminal[job_id]

    @run_in_server_thread
    def add_job(
        self,
        job_id: str | None = None,
        *,
        outputs: Iterable[object] = (),
        inputs: Mapping[str, object] | None = None,
        function: str = "sieve/demo",
        listed: bool = True,
        **script: Unpack[JobOptions],
    ) -> str:
        """Add a job whose timeline begins now, and return its id.

        Args:
            job_id: A new one is made when there is none.
            outputs: Any JSON values. One with a ``"data"`` key is taken as a whole InputOutput,
                a list of such is a nested output, and all else is wrapped as the data of one.
            inputs: The values by name, wrapped as outputs are.
            function: Its function, as ``owner/name``; its version is the latest one.
            listed: Whether lists show it, or only lookups, like another organization's public job.
            **script: How it continues:
                ``queued`` is how long it is queued, in seconds or in polls (see ``by``).
                ``processing`` is how long each run takes then.
                ``status`` is its last status (finished); None keeps it processing forever.
                ``error`` is its text once it is terminal; a failed job has a traceback by default.
                ``restarts`` is how many runs die at their end before the one that counts.
                ``streams`` shows outputs one by one, evenly over each run, not when it finishes.
                ``by`` moves it by ``"time"``, by the number of ``"polls"``, or ``"manual"``: it is
                queued until the methods of ``job()`` move it.
                ``fields`` are members of the document to add or replace, whatever they are.
        """
        job = JobScript(
            id=str(uuid.uuid4()) if job_id is None else job_id,
            outputs=outputs,
            inputs=inputs,
            function=function,
            version_id=self._functions.register(function),
            **script,
        )
        self._jobs.add(job, listed=listed)
        return job.id

    @run_in_server_thread
    def add_jobs(  # noqa: PLR0913  # as above
        self,
        count: int,
        *,
        seed: int = 0,
        prefix: str = "job",
        queued: float = 2.0,
        processing: float = 2.0,
        error_rate: float = 0.1,
        cancel_rate: float = 0.1,
        restart_rate: float = 0.0,
        outputs: int = 1,
        streams: bool = False,
        function: str = "sieve/demo",
        listed: bool = True,
    ) -> list[str]:
        """Add many jobs with random timelines, the same for the same seed, and return their ids.

        The ids are ``prefix-00`` and so on. Times in the queue are uniform, up to ``queued``
        seconds. A run takes ``processing`` seconds in the median, and two thirds of all runs take
        from 0.6 to 1.6 times as long. Exactly these shares, rounded, fail, are cancelled, or
        restart once. Each job makes as many files as ``outputs`` says. The other arguments are
        those of ``add_job``.
        """
        dice, rates = random.Random(seed), (error_rate, cancel_rate, restart_rate)
        jobs = random_jobs(dice, prefix, count, queued, processing, rates, outputs)
        common: dict[str, Any] = {"streams": streams, "function": function, "listed": listed}
        return [self.add_job(**job, **common) for job in jobs]

    @run_in_server_thread
    def job(self, job_id: str) -> JobHandle:
        """Return a handle that shows how a job is, and moves it by hand."""
        return JobHandle(self._clock, self._jobs.get(job_id), self._thread, self._jobs.moved)

    @run_in_server_thread
    def remove_job(self, job_id: str) -> None:
        """Remove a job: its id is not found from now on, and may be used again."""
        self._jobs.remove(job_id)
        self.requests.forget(job_id)

    @run_in_server_thread
    def add_version(  # noqa: PLR0913  # as above
        self,
        /,
        owner_name: str,
        function_name: str,
        version_id: str | None = None,
        *,
        queued: float = 0.0,
        building: float = 0.0,
        pushing: float = 0.0,
        deploying: float = 0.0,
        status: BuildEnd | None = "ready",
        by: ByClock = "time",
        **fields: object,
    ) -> str:
        """Add a version whose build begins now, make it the latest, and return its id.

        The build takes so many seconds, or polls (see ``by``), in each stage, and has ``status``
        then; None keeps it deploying forever. A build that ends in ``"error"`` never reached the
        stages that take no time. ``fields`` are added to the document, such as ``gpu=True``.

        A function that is named by a job, and has no version, has a ready one of its own.
        """
        script = VersionScript(
            id=str(uuid.uuid4()) if version_id is None else version_id,
            function=f"{owner_name}/{function_name}",
            spans=dict(zip(BUILDING, (queued, building, pushing, deploying), strict=True)),
            status=status,
            by=by,
            fields=fields,
        )
        self._functions.add_version(script)
        return script.id

    @run_in_server_thread
    def script_function(
        self, function: str, *, outputs: Outputs = (), **script: Unpack[JobOptions]
    ) -> None:
        """Accept pushes to a function; its jobs continue by this script.

        A function that is not scripted, but named by a job or a version, accepts pushes too: its
        jobs finish at once. Pushes to other functions are answered with 404.

        Args:
            function: As ``owner/name``; ``"*"`` is any function without a script of its own.
            outputs: As for ``add_job``; or a callable that makes them from the inputs of a push.
                When it raises, the job fails with the traceback.
            **script: ``queued``, ``processing``, ``status``, ``error``, ``restarts``, ``streams``,
                ``by`` and ``fields``, as for ``add_job``.

        Example:
            >>> sieve.script_function("me/upper", processing=2, outputs=lambda i: [i["text"]])
        """
        made = outputs if callable(outputs) else output_documents(outputs)
        self._functions.script(function, FunctionScript(made, script))

    @run_in_server_thread
    def add_file(
        self,
        name: str,
        content: bytes | str,
        *,
        content_type: str = "application/octet-stream",
        etag: str | None = "md5",
        expires_at: datetime | None = None,
        expires_in: float | None = None,
        md5: bool = True,
    ) -> str:
        """Store a file, and return a link to it, which needs no key.

        A file of that name is replaced, and links to it stay valid as long as they were to be. A
        link expires at an aware datetime, or in so many seconds of the server's clock, and is
        spelled as those of the API then: signed 48 hours before its end. The ETag is given with its
        quotes; ``"md5"`` makes a strong one, and None sends none. ``md5`` says whether there is an
        ``x-goog-hash``.
        """
        body = content.encode() if isinstance(content, str) else bytes(content)
        headers = headers_of(body, content_type, etag, md5=md5)
        return self.url + self._files.add(name, body, headers, expires_at, expires_in)

    @run_in_server_thread
    def advance(self, seconds: float) -> None:
        """Set a manual clock forward; requests that were held until then are answered.

        Raises:
            RuntimeError: The clock runs by itself.
            ValueError: The time is invalid, or negative.
        """
        if not self._clock.is_manual:
            message = 'the clock runs by itself: only FakeSieve(clock="manual") can be advanced'
            raise RuntimeError(message)
        if not 0 <= seconds < float("inf"):
            raise ValueError(f"seconds must be zero or more, not {seconds!r}")
        self._timers.advance(seconds)

    @run_in_server_thread
    def fault(
        self,
        *,
        method: str | None = None,
        path: str | None = None,
        job: str | None = None,
        times: int | None = None,
        probability: float = 1.0,
        seed: int = 0,
        **effect: Unpack[EffectOptions],
    ) -> Fault:
        """Inject a fault into requests from now on.

        All effects happen to each request that matches. When a request matches several faults, all
        have their effects, except that only the oldest one answers: with two that have a status,
        the second begins when the first is used up. A request that is answered by a fault has no
        effect itself, and is no poll, unless ``takes_effect`` is set. The fault that is returned
        counts its ``hits`` and can be removed.

        Args:
            method: Match only requests of this method.
            path: Match only requests of this path; ``*`` stands for any part of it.
            job: Match only requests for this job.
            times: Be used up after so many requests; None is never.
            probability: Match this share of the requests, chosen by ``seed``.
            seed: Which requests match, when not all do.
            **effect: What goes wrong:
                ``status`` answers with this status, and a body that fits it: 401 is a revoked key.
                ``headers`` are added or set, such as ``{"Location": ...}`` of a redirect.
                ``body`` answers with text or bytes as they are, or anything else as JSON.
                ``retry_after`` asks to wait so many seconds, by a date if ``as_date`` is set.
                ``delay`` is how many seconds of the server's clock nothing happens at first.
                ``drop`` closes the connection: ``"before"`` the request takes effect; ``"after"``
                it took effect, without an answer; within the ``"headers"`` or the ``"body"``.
                ``truncate`` sends only half of the body, as if it were all.
                ``slow_body`` is how many seconds the body takes, which comes in pieces.
                ``fields`` are added or replaced in each document: wrong types, unknown words.
                ``takes_effect`` lets the request take effect first, whatever becomes of its answer:
                with a ``status``, a push is accepted and the client gets an error.
        """
        made = FaultEffect(**effect)
        made.check()
        where = {"method": method and method.upper(), "path": path, "job": job}
        fault = Fault(effect=made, times=times, probability=probability, seed=seed, **where)
        self._faults.append(fault)
        return fault

    @run_in_server_thread
    def webhook_fault(self, **options: Unpack[WebhookFaultOptions]) -> WebhookFault:
        """Inject a fault into webhook events from now on; several add up.

        Args:
            **options: ``event`` (a type such as ``"job.complete"``) and ``job`` choose the events;
                ``times``, ``probability`` and ``seed`` are those of ``fault()``.
                ``lose`` never sends the event.
                ``delay`` sends it so many seconds of the server's clock later: when some events
                are delayed, they arrive in another order.
                ``repeats`` sends it so many times more, although it was received.
                ``fields`` are added or replaced in its body: a forged status, another job's id.
        """
        fault = WebhookFault(**options)
        self._webhooks.faults.append(fault)
        return fault

    @run_in_server_thread
    def clear_faults(self) -> None:
        """Remove all faults, those of webhooks too."""
        for fault in (*self._faults, *self._webhooks.faults):
            fault.remove()

    @run_in_server_thread
    def revoke_key(self) -> None:
        """Refuse the right key as well from now on."""
        self._key_is_revoked = True

    def _redact(self, text: str) -> str:
        return self._key_in_text.sub("[key]", text) if self._api_key else text

    def _accepts(self, key: str | None) -> bool:
        return key == self._api_key and not self._key_is_revoked
