"""The deadline of each kind of wait, in each phase in which it can pass."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from functools import partial
from typing import Any, TypeAlias

import aiohttp
import attrs
import pytest

from helpers.asserts import assert_no_more_requests
from helpers.http_helpers import now
from helpers.leak_checks import KEY, check_error
from helpers.network import FakeResolver
from helpers.raw_server import (
    JOB,
    Action,
    RawRequest,
    RawServer,
    Script,
    ScriptedServer,
    error_response,
    job_document,
    job_until,
    respond,
    running_job,
    version_json,
)
from helpers.waits import KINDS, ends_of
from sieve_async import FunctionVersion, Job, Limits, PollPolicy, RetryPolicy, SieveClient, errors

pytestmark = pytest.mark.looptime

IDS = [JOB, "job-2", "job-3"]
TIMEOUTS = 0.3, 7.7
NAME = "o/f:latest"


async def wait_until_deadline(
    client: SieveClient, kind: str, seconds: float
) -> list[errors.WaitTimeoutError]:
    """Wait until the deadline; check its time and its errors."""
    started, in_flight = now(), client.stats.in_flight
    ends: list[errors.WaitTimeoutError] = await ends_of(client, kind, IDS, timeout=seconds)
    assert seconds - 1e-6 <= now() - started <= seconds + 0.1
    stats = client.stats
    assert (stats.waits, stats.queued, stats.in_flight) == (0, 0, in_flight)
    assert {type(error) for error in ends} == {errors.WaitTimeoutError}
    assert all(seconds - 1e-6 <= error.elapsed <= seconds + 0.1 for error in ends)
    targets = {"version": [NAME], "jobs": IDS}.get(kind.partition(",")[0], [JOB])
    assert [error.target for error in ends] == targets
    check_error(ends[0])
    return ends


def check_last(error: errors.WaitTimeoutError, *, was_seen: bool) -> None:
    """Check that an error holds the last state if there was one."""
    last = error.last
    assert (last is not None) is was_seen
    assert error.polls >= was_seen
    if isinstance(last, Job):
        assert (last.id, last.status) == (error.target, "processing")
    if isinstance(last, FunctionVersion):
        assert error.target == NAME
        assert last.build_status == "building"


@attrs.frozen
class Phase:
    """What a wait does when its deadline passes.

    Attributes:
        script: What the server sends; None for good responses.
        last_error: The class of ``last_error``; None if no poll has failed yet.
        settings: Settings of the client.
    """

    script: Script | None
    last_error: type[errors.SieveError] | None = None
    settings: dict[str, Any] = attrs.field(factory=dict)


(WHOLE,) = running_job(JOB)
assert isinstance(WHOLE, bytes)
SLOW_POLLS = {"polling": PollPolicy(min_interval=60, max_interval=60)}
SLOW_RETRIES = {"retry": RetryPolicy(max_attempts=99, initial_delay=100, max_delay=100)}
PHASES: dict[str, Phase] = {
    "headers": Phase([Action.SILENCE]),
    "body": Phase([WHOLE[:-9], Action.SILENCE]),
    "body of an error": Phase([b"HTTP/1.1 500 No\r\nContent-Length: 9\r\n\r\n", Action.SILENCE]),
    "retry delay": Phase(error_response(503), errors.ServerError, SLOW_RETRIES),
    "pause of 429": Phase(error_response(429, ("Retry-After", "600")), errors.RateLimitError),
    "failed polls": Phase(error_response(500), errors.ServerError),
    "responses that are not JSON": Phase(respond(b"<html>"), errors.DecodeError),
    "poll interval": Phase(None, None, SLOW_POLLS),
    "many polls": Phase(None),
}


def reply(phase: Phase, *, from_start: bool) -> Callable[[RawRequest], Script]:
    """Respond as the phase says, from the start or after one good response for each job."""

    def respond_to(request: RawRequest) -> Script:
        first = 0 if from_start else 2 if request.is_list else 1
        if phase.script is not None and request.times >= first:
            return phase.script
        if request.is_list:
            return respond({"data": [job_document(one) for one in IDS], "next_offset": -1})
        if request.job_id == "v2":
            return respond(version_json(build_status="building"))
        return running_job(request.job_id)

    return respond_to


@pytest.mark.parametrize("from_start", [True, False], ids=["first poll", "later poll"])
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PHASES)
async def test_deadline_in_each_phase(name: str, kind: str, *, from_start: bool) -> None:
    """The wait ends at its deadline, with the last state and the last error."""
    phase = PHASES[name]
    for seconds in TIMEOUTS if from_start else TIMEOUTS[1:]:
        async with (
            ScriptedServer(reply(phase, from_start=from_start)) as server,
            server.client(**phase.settings) as client,
        ):
            ends = await wait_until_deadline(client, kind, seconds)
            for error in ends:
                # A job that is listed as running may have had no poll of its own.
                has_polls = "list" not in kind or error.polls > 0
                check_last(error, was_seen=has_polls and not (phase.script and from_start))
                if phase.last_error is None:
                    assert error.last_error is None or isinstance(
                        error.last_error, errors.TransportError
                    )
                elif from_start and error.polls:
                    assert isinstance(error.last_error, phase.last_error)
            if seconds == TIMEOUTS[-1]:
                await assert_no_more_requests(client, server.requests)


@asynccontextmanager
async def waiting_for_a_slot() -> AsyncIterator[SieveClient]:
    """The only slot is held by a call without a response."""
    async with (
        RawServer([Action.SILENCE]) as server,
        server.client(limits=Limits(max_connections=1)) as client,
    ):
        other = asyncio.create_task(client.get_job("another"))
        await asyncio.sleep(0)
        yield client
        other.cancel()
        await asyncio.wait([other])


@asynccontextmanager
async def resolving() -> AsyncIterator[SieveClient]:
    """The host name is not resolved."""
    connector = aiohttp.TCPConnector(resolver=FakeResolver(partial(asyncio.sleep, 60)))
    async with aiohttp.ClientSession(connector=connector) as session:
        async with SieveClient(KEY, base_url="https://sieve.test", session=session) as client:
            yield client
        await asyncio.sleep(120)  # a resolver cannot be cancelled


@asynccontextmanager
async def handshaking() -> AsyncIterator[SieveClient]:
    """The TLS handshake has no response."""
    async with RawServer([Action.DONT_READ, Action.SILENCE]) as server:
        client = server.client(base_url=server.url.replace("http", "https"))
        yield client
        await client.close()


Unreachable: TypeAlias = Callable[[], AbstractAsyncContextManager[SieveClient]]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("phase", [waiting_for_a_slot, resolving, handshaking])
async def test_deadline_before_a_request(phase: Unreachable, kind: str) -> None:
    """A wait that can send no request ends at its deadline."""
    async with phase() as client:
        for seconds in TIMEOUTS:
            for error in await wait_until_deadline(client, kind, seconds):
                check_last(error, was_seen=False)


def found_once(request: RawRequest) -> Script:
    """One good response for each job, then 404."""
    if request.times:
        return error_response(404)
    if request.job_id == "v2":
        return respond(version_json(build_status="building"))
    return running_job(request.job_id)


@pytest.mark.parametrize("kind", [kind for kind in KINDS if "list" not in kind])
async def test_deadline_between_confirmations(kind: str) -> None:
    """A wait that is confirming a rejection ends at its deadline, with the last state."""
    fast = PollPolicy(min_interval=0.05, max_interval=0.05)
    for seconds in (0.3, 0.9, 1.5):
        async with ScriptedServer(found_once) as server, server.client(polling=fast) as client:
            for error in await wait_until_deadline(client, kind, seconds):
                check_last(error, was_seen=True)
                assert isinstance(error.last_error, errors.NotFoundError)


async def test_last_poll_behind_a_callback() -> None:
    """A job whose callback runs as the last polls begin is polled after it."""

    def reply(request: RawRequest) -> Script:
        if request.job_id != "0" or now() < 285:
            return job_until(1000, request.job_id)
        outputs = [{"data": 1}][request.offset :]
        status = "finished" if now() >= 294.1 else "processing"
        return respond(job_document("0", status, outputs=outputs))

    async def on_update(job: Job) -> None:
        if job.outputs and not job.is_terminal:
            await asyncio.sleep(294.3 - now())  # the last polls begin at 294

    policy = PollPolicy(min_interval=10, jitter=0)
    limits = Limits(polls_per_second=2)
    ids = [f"{number}" for number in range(10)]
    async with ScriptedServer(reply) as server, server.client(limits=limits) as client:
        outcomes = await client.wait_for_jobs(ids, timeout=299, polling=policy, on_update=on_update)

    assert outcomes[0].ok
