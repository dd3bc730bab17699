"""Fault class D: answers that are slow, and the deadline in each phase of a wait."""

import asyncio
import json
import time
from functools import partial
from typing import Any

import pytest

from helpers.leak_checks import error_of
from helpers.raw_server import (
    JOB,
    Action,
    Script,
    job_json,
    respond,
    respond_chunked,
    respond_slowly,
    serve,
    serve_once,
)
from sieve_async import (
    JobStatus,
    Limits,
    PollPolicy,
    RequestTimeoutError,
    RetryPolicy,
    Timeout,
    WaitTimeoutError,
)

pytestmark = pytest.mark.looptime

BODY = json.dumps(job_json()).encode()


HALF = BODY[: BODY.index(b"finished") + 12]  # the word is in it


HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n" % len(BODY)


CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


SLOW: dict[str, Script] = {
    "headers": respond_slowly(b"HTTP/1.1 200 OK\r\n", b"X: y\r\n"),
    "a header": respond_slowly(b"HTTP/1.1 200 OK\r\nX: ", b"y"),
    "body": respond_slowly(HEAD + b"\r\n", b" "),
    "chunks": respond_slowly(CHUNKS, b"1\r\n \r\n"),
    "interim answers": respond_slowly(b"", b"HTTP/1.1 102 Processing\r\n\r\n"),
    "error body": respond_slowly(b"HTTP/1.1 500 No\r\nContent-Length: 90\r\n\r\n", b"x"),
    "nothing": [50.0],
}


@pytest.mark.parametrize("slow", SLOW.values(), ids=SLOW)
async def test_trickle(slow: Script) -> None:
    """However the bytes trickle in, an attempt takes no longer than it may."""
    async with serve_once(slow, timeout=Timeout(request=7.3)) as (wire, client):
        error = await error_of(client.get_job(JOB))

        assert isinstance(error, RequestTimeoutError)
        assert 7.3 <= error.elapsed <= 7.4
        assert wire.connections == 1


async def test_slow_but_in_time() -> None:
    """An answer that takes its time, but not more than it may, is as good as any."""
    async with serve_once([20.0, *respond_chunked(BODY), 5.0]) as (_, client):
        seen = await client.get_job(JOB)

        assert seen.succeeded


PROCESSING = respond(job_json(status="processing"))


LATE: dict[str, tuple[list[Script], dict[str, Any]]] = {
    "headers": ([[Action.SILENCE]], {}),
    "body": ([[HEAD + b"\r\n" + HALF, Action.SILENCE]], {}),
    "trickle": ([SLOW["body"]], {}),
    "backoff": (
        [respond({}, status=500)],
        {"retry": RetryPolicy(max_attempts=99, initial_delay=8)},
    ),
    "Retry-After": ([respond({}, status=429, headers=[("Retry-After", "60")])], {}),
    "between polls": ([PROCESSING], {"polling": PollPolicy(min_interval=60, max_interval=60)}),
    "many polls": ([PROCESSING], {}),
    "headers after a good poll": ([PROCESSING, [Action.SILENCE]], {}),
    "failed polls": ([respond({}, status=500)], {}),
    "broken connections": ([[Action.RESET]], {}),
}


@pytest.mark.parametrize("timeout", [0.3, 3, 7.7])
@pytest.mark.parametrize(("scripts", "settings"), LATE.values(), ids=LATE)
async def test_deadline(scripts: list[Script], settings: dict[str, Any], timeout: float) -> None:  # noqa: ASYNC109 - it is what is tried
    """A wait is over at its deadline, whatever it was doing then."""
    loop = asyncio.get_running_loop()
    async with serve(*scripts, **settings) as (_, client):
        started = loop.time()
        error = await error_of(client.wait_for_job(JOB, timeout=timeout))

        assert isinstance(error, WaitTimeoutError)
        assert timeout - 1e-6 <= loop.time() - started <= timeout + 0.1
        assert timeout - 1e-6 <= error.elapsed <= timeout + 0.1
        assert (error.job_id, error.polls >= 1) == (JOB, True)
        assert (error.last is not None) == (scripts[0] is PROCESSING)


async def test_deadline_in_the_queue() -> None:
    """A wait that gets no slot is over at its deadline, and has sent nothing."""
    async with serve([Action.SILENCE], limits=Limits(max_connections=1)) as (wire, client):
        other = asyncio.create_task(client.get_job(JOB))
        await asyncio.sleep(0.01)
        error = await error_of(client.wait_for_job(JOB, timeout=2))
        other.cancel()

        assert isinstance(error, WaitTimeoutError)
        assert 2 - 1e-6 <= error.elapsed <= 2.1
        assert len(wire.requests) == 1


async def test_deadline_in_the_handshake() -> None:
    """A wait that gets no connection is over at its deadline."""
    async with serve([Action.DONT_READ, Action.SILENCE]) as (wire, _):
        async with wire.client(base_url=wire.url.replace("http", "https")) as client:
            error = await error_of(client.wait_for_job(JOB, timeout=2))

        assert isinstance(error, WaitTimeoutError)
        assert 2 - 1e-6 <= error.elapsed <= 2.1


async def test_queue_is_no_timeout() -> None:
    """The clock of an attempt starts when it has its slot: queueing for long is no failure."""
    settings = {"limits": Limits(max_connections=2), "timeout": Timeout(request=3)}
    async with serve([2.0, *respond()], **settings) as (wire, client):
        jobs = await asyncio.gather(*(client.get_job(JOB) for _ in range(20)))

        assert all(one.succeeded for one in jobs)
        assert (len(wire.requests), wire.connections) == (20, 2)


async def test_zero_is_one_poll() -> None:
    """A wait of 0 s looks exactly once, and tells what it saw."""
    async with serve(PROCESSING) as (wire, client):
        error = await error_of(client.wait_for_job(JOB, timeout=0))

        assert isinstance(error, WaitTimeoutError)
        assert (error.polls, len(wire.requests)) == (1, 1)
        assert error.last is not None
        assert error.last.status is JobStatus.PROCESSING


@pytest.mark.looptime(False)  # noqa: FBT003 - the marker's own spelling
async def test_answer_wins_over_the_deadline() -> None:
    """A terminal answer that came while the loop was stalled beyond the deadline is the outcome."""
    stall = partial(time.sleep, 0.1)  # the fault itself: it blocks the loop past the deadline
    async with serve_once([*respond(), stall]) as (_, client):
        ended = await client.wait_for_job(JOB, timeout=0.05)

        assert ended.succeeded
