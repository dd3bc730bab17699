"""The front door: what a test says to the server, and what the server says over HTTP."""

import asyncio
import re
from collections.abc import Callable
from typing import Literal, Self, TypedDict, Unpack

from sieve_async.testing.alarms import Alarms
from sieve_async.testing.answering import Answering
from sieve_async.testing.breaking import Breaking
from sieve_async.testing.clocks import Clock
from sieve_async.testing.faults import job_paths
from sieve_async.testing.holds import Holds
from sieve_async.testing.home import InThread
from sieve_async.testing.listener import Listener
from sieve_async.testing.population import Population
from sieve_async.testing.scripting import Scripting


class Options(TypedDict, total=False):
    """What a server can be made with."""

    host: str
    port: int
    api_key: str
    clock: Callable[[], float] | Literal["manual"] | None
    speed: float
    max_await: float


class FakeSieve(Scripting, Breaking):
    """A Sieve server on loopback whose jobs and builds live as a test scripts them.

    Lives go by the server's clock, which is the running loop's unless another ``clock`` is
    given, and runs ``speed`` times as fast. It starts with the server: what was added before
    begins to live then. The clock ``"manual"`` stands still until ``advance()`` puts it forward.
    Stopping and starting again, on the same port, plays an outage: lives, clock and ledger go on.

    It answers lookups of jobs and versions, lists of jobs, and awaits: those are held until the
    job ends or ``max_await`` seconds of its clock have passed. Held requests are timed by the
    loop: a ``clock`` of your own should keep pace with it.

    All is right with its answers until ``fault()`` is called; ``requests`` is the ledger of what
    was asked.

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
            message = f"port must be from 0 to 65535, not {port!r}"
            raise ValueError(message)
        self._api_key = api_key
        # As a word of its own, or a key of one letter would change every path.
        word = rf"(?<![A-Za-z0-9]){re.escape(api_key)}(?![A-Za-z0-9])"
        self._key_in_text = re.compile(word)
        self._clock_source = None if clock == "manual" else clock
        self._clock = Clock(speed, is_manual=clock == "manual")
        alarms = Alarms(self._clock)
        Scripting.__init__(self, Population(self._clock, Holds(max_await, alarms)), alarms)
        Breaking.__init__(self, self._home)
        answering = Answering(
            self.requests, self._population, self._faults, self._accepts, self._without_key
        )
        self._listener = Listener(host, port, answering.serve)

    @classmethod
    def in_thread(cls, **options: Unpack[Options]) -> InThread:
        """Run a server in a thread of its own, for programs without a loop, or with others.

        Takes what the class takes. All that is public may be called from any thread, but for
        ``start()`` and ``stop()``.

        Example:
            >>> with FakeSieve.in_thread() as sieve:
            ...     job_id = sieve.add_job(outputs=["hello"])
        """
        sieve = cls(**options)
        return InThread(sieve, sieve._home)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop()

    def __repr__(self) -> str:
        address = f"{self._listener.host}:{self._listener.port}"
        state = "running" if self._listener.is_open else "stopped"
        return f"<FakeSieve at {address}, {state}, {self._population!r}>"

    @property
    def url(self) -> str:
        """Where the server is, also while it is stopped.

        Raises:
            RuntimeError: It was to choose a free port and has not been started yet.
        """
        host, port = self._listener.host, self._listener.port
        if port == 0:
            message = "the port is chosen when the server starts: start it first"
            raise RuntimeError(message)
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

    async def start(self) -> None:
        """Accept connections; when it does so already, change nothing."""
        if not self._clock.is_manual:
            self._clock.follow(self._clock_source or asyncio.get_running_loop().time)
        await self._listener.open()

    async def stop(self) -> None:
        """Refuse connections and cut the open ones; lives go on, and so may the server later."""
        await self._listener.close()

    def requests_for(self, subject: str) -> int:
        """Count the requests for a job id, a version id or a path, whatever the answer was.

        Awaits of a job count as its lookups do, from when they come. Lookups of a version count
        for its id however they named it, ``latest`` included.
        """
        if subject.startswith("/"):
            return self.requests.by_path[self._without_key(subject)]
        by_path = self.requests.by_path
        of_job = sum(by_path[self._without_key(path)] for path in job_paths(subject))
        return of_job + self.requests.by_version[subject]

    def bytes_for(self, job_id: str) -> int:
        """Count the bytes of the bodies that answered lookups and awaits of a job."""
        by_path = self.requests.bytes_by_path
        return sum(by_path[self._without_key(path)] for path in job_paths(job_id))

    def requests_after_terminal(self, job_id: str | None = None) -> int:
        """Count the lookups and awaits that came when one before had shown the job's end.

        Of one job, or of all: nobody needs to ask again, so a good client has none.
        """
        after_end = self.requests.after_end
        return after_end.total() if job_id is None else after_end[job_id]

    def _without_key(self, text: str) -> str:
        return self._key_in_text.sub("[key]", text) if self._api_key else text

    def _accepts(self, key: str | None) -> bool:
        return key == self._api_key and not self._key_is_revoked
