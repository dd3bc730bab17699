"""What a test says to the server: who lives on it, and how."""

import uuid
from collections.abc import Iterable, Mapping

from sieve_async.testing.alarms import Alarms
from sieve_async.testing.handles import JobHandle
from sieve_async.testing.home import Home, at_home
from sieve_async.testing.jobs import JobEnd, JobScript
from sieve_async.testing.ledger import Ledger
from sieve_async.testing.lives import By, ByOrHand
from sieve_async.testing.population import Population
from sieve_async.testing.seeded import Mixture
from sieve_async.testing.versions import BuildEnd, VersionScript


class Scripting:
    """The part of a server that tests write scripts with."""

    requests: Ledger

    def __init__(self, population: Population, alarms: Alarms) -> None:
        self.requests = Ledger()
        self._population = population
        self._alarms = alarms
        self._home = Home()

    @at_home
    def add_job(  # noqa: PLR0913  # a script has many parts, and each is a keyword
        self,
        job_id: str | None = None,
        *,
        queued: float = 0.0,
        processing: float = 0.0,
        status: JobEnd | None = "finished",
        outputs: Iterable[object] = (),
        error: str = "",
        inputs: Mapping[str, object] | None = None,
        restarts: int = 0,
        streams: bool = False,
        by: ByOrHand = "time",
        function: str = "sieve/demo",
        fields: Mapping[str, object] | None = None,
        listed: bool = True,
    ) -> str:
        """Add a job whose life begins now, and return its id.

        Args:
            job_id: A new one is made up when there is none.
            queued: How long it is ``queued``, in seconds or in lookups (see ``by``).
            processing: How long each run is ``processing`` then.
            status: Its last status; None keeps it processing for ever.
            outputs: Any JSON values. One with a ``"data"`` key is taken as a whole InputOutput,
                a list of such is a nested output, and all else is wrapped as the data of one.
            error: Its error text, once it has ended; a failed job has a traceback by default.
            inputs: The values by name, wrapped as outputs are.
            restarts: How many runs die at their end before the one that counts.
            streams: Show outputs one by one, evenly over each run, and not only at a good end.
            by: Whether its life goes by the clock, by how often it was looked up, or by hand: then
                it is queued until ``job()`` is told otherwise.
            function: Its function, as ``owner/name``.
            fields: Members of the document to add or replace, whatever they are.
            listed: Whether lists show it; lookups find it in any case, as they find the jobs of
                other organisations that are public.

        Raises:
            ValueError: The id is taken, or the script cannot be played.
        """
        script = JobScript(
            id=str(uuid.uuid4()) if job_id is None else job_id,
            queued=queued,
            processing=processing,
            ends=status,
            outputs=outputs,
            error=error,
            inputs=inputs,
            restarts=restarts,
            streams=streams,
            by=by,
            function=function,
            fields=fields,
        )
        self._population.add_job(script, listed=listed)
        return script.id

    @at_home
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
        """Add many jobs with made-up lives, the same for the same seed, and return their ids.

        Args:
            count: How many. They are named ``job-00`` and so on.
            seed: Which lives to play.
            prefix: What ids begin with.
            queued: The longest time in the queue, in seconds; all times up to it are as likely.
            processing: The median length of a run, in seconds; two thirds of all runs take from
                0.6 to 1.6 times as long.
            error_rate: The share that fails: exactly so many, rounded.
            cancel_rate: The share that is cancelled.
            restart_rate: The share that restarts once, whatever its end.
            outputs: How many files each of them makes.
            streams: Show outputs one by one, evenly over each run, and not only at a good end.
            function: Their function, as ``owner/name``.
            listed: Whether lists show them.

        Raises:
            ValueError: An id is taken, or a number is none that can be.
        """
        mixture = Mixture(
            queued=queued,
            processing=processing,
            error_rate=error_rate,
            cancel_rate=cancel_rate,
            restart_rate=restart_rate,
            outputs=outputs,
        )
        return [
            self.add_job(
                job.id,
                queued=job.queued,
                processing=job.processing,
                status=job.ends,
                outputs=job.outputs,
                restarts=job.restarts,
                streams=streams,
                function=function,
                listed=listed,
            )
            for job in mixture.jobs(count, seed=seed, prefix=prefix)
        ]

    @at_home
    def job(self, job_id: str) -> JobHandle:
        """Take a job in hand: see how it is, and tell what happens to it next.

        Raises:
            ValueError: There is no such job.
        """
        return JobHandle(self._population, self._population.job(job_id), self._home)

    @at_home
    def remove_job(self, job_id: str) -> None:
        """Let a job vanish: its id is not found from now on, and may be used again.

        Raises:
            ValueError: There is no such job.
        """
        self._population.remove_job(job_id)
        self.requests.forget(job_id)

    @at_home
    def add_version(  # noqa: PLR0913  # a script has many parts, and each is a keyword
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
        by: By = "time",
        **fields: object,
    ) -> str:
        """Add a version whose build begins now, make it the latest, and return its id.

        Args:
            owner_name: The owner of the function.
            function_name: The name of the function.
            version_id: A new one is made up when there is none.
            queued: How long it is ``queued``, in seconds or in lookups (see ``by``).
            building: How long it is ``building`` then.
            pushing: How long it is ``pushing`` then.
            deploying: How long it is ``deploying`` then.
            status: Its last status; None keeps it deploying for ever. A build that ends in
                ``"error"`` never reached the stages that were given no time.
            by: Whether its life goes by the clock or by how often it was looked up.
            **fields: Members of the document to add or replace, such as ``gpu=True``.

        Raises:
            ValueError: The id is taken, or the script cannot be played.
        """
        script = VersionScript(
            id=str(uuid.uuid4()) if version_id is None else version_id,
            function=f"{owner_name}/{function_name}",
            queued=queued,
            building=building,
            pushing=pushing,
            deploying=deploying,
            ends=status,
            by=by,
            fields=fields,
        )
        self._population.add_version(script)
        return script.id

    @at_home
    def advance(self, seconds: float) -> None:
        """Put a manual clock forward; what was held until then is answered.

        Raises:
            RuntimeError: The clock goes by itself.
            ValueError: The time is none, or negative.
        """
        if not self._alarms.clock.is_manual:
            message = 'the clock goes by itself: only FakeSieve(clock="manual") can be advanced'
            raise RuntimeError(message)
        if not 0 <= seconds < float("inf"):
            message = f"seconds must be zero or more, not {seconds!r}"
            raise ValueError(message)
        self._alarms.pass_time(seconds)
