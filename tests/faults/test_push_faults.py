"""A push is one POST, and every failure says truly whether a job may have started."""

import asyncio
import random
import socket

import pytest
import trustme

from helpers.leak_checks import KEY
from helpers.push_server import PushPlan, push_server
from helpers.raw_server import RawServer
from helpers.tls import server_context
from sieve_async import (
    AmbiguousPushError,
    AuthenticationError,
    BadRequestError,
    ClientClosedError,
    ConnectError,
    Limits,
    NotFoundError,
    OutOfCreditsError,
    PermissionDeniedError,
    PushedJob,
    RateLimitError,
    RetryPolicy,
    SieveClient,
    SieveError,
    TLSError,
    UnprocessableEntityError,
)

INPUTS = {"text": "hello"}
FUNCTION = "me/mine"
# Far more attempts than the default: whatever is sent again would be seen.
EAGER = RetryPolicy(max_attempts=10, initial_delay=0.0, max_delay=0.0)


async def outcome(client: SieveClient, **settings: object) -> PushedJob | SieveError:
    """Push once: the job, or the error."""
    try:
        return await client.push_job(FUNCTION, settings or INPUTS)
    except SieveError as error:
        return error


@pytest.mark.looptime
@pytest.mark.parametrize("resets", [False, True])
async def test_the_server_ends_at_every_byte_of_the_request(*, resets: bool) -> None:
    """Wherever the request is cut, it was sent once, and a job may have started."""
    async with (
        push_server() as server,
        SieveClient(KEY, base_url=server.url, retry=EAGER) as client,
    ):
        await client.push_job(FUNCTION, INPUTS)
        size = len(server.posts[0])
        for read in range(1, size + 1):
            server.posts.clear()
            server.plan = lambda _, read=read: PushPlan(read=read, resets=resets)  # type: ignore[misc]

            error = await outcome(client)

            assert len(server.posts) == 1, read
            assert isinstance(error, AmbiguousPushError), (read, error)
            assert not error.accepted
            assert (error.function, error.inputs) == (FUNCTION, INPUTS)


@pytest.mark.looptime
@pytest.mark.parametrize("resets", [False, True])
async def test_the_server_ends_at_every_byte_of_the_answer(*, resets: bool) -> None:
    """Once the status has come, the push is known to be accepted; before, it may be."""
    async with (
        push_server() as server,
        SieveClient(KEY, base_url=server.url, retry=EAGER) as client,
    ):
        answer = server.answer(PushPlan(), b"{}")
        for write in range(len(answer)):
            server.posts.clear()
            server.plan = lambda _, write=write: PushPlan(write=write, resets=resets)  # type: ignore[misc]

            error = await outcome(client)

            assert len(server.posts) == 1, write
            assert isinstance(error, AmbiguousPushError), (write, error)
            assert not error.accepted or write > answer.index(b"\r\n\r\n")
            if not resets:
                assert error.accepted == (write >= answer.index(b"\r\n\r\n") + 4), write


@pytest.mark.looptime
async def test_a_server_that_is_silent() -> None:
    """A timeout is ambiguous, before the answer and within it."""
    async with (
        push_server() as server,
        SieveClient(KEY, base_url=server.url, retry=EAGER, timeout=5.0) as client,
    ):
        answer = server.answer(PushPlan(), b"{}")
        for write in (0, 10, len(answer) - 1):
            server.posts.clear()
            server.plan = lambda _, write=write: PushPlan(write=write, hangs=True)  # type: ignore[misc]

            error = await outcome(client)

            assert len(server.posts) == 1
            assert isinstance(error, AmbiguousPushError)
            assert error.accepted == (write == len(answer) - 1)
            assert "in time" in error.reason


REFUSED: dict[str, type[SieveError]] = {
    "400 Bad": BadRequestError,
    "401 No": AuthenticationError,
    "402 Pay": OutOfCreditsError,
    "403 No": PermissionDeniedError,
    "404 None": NotFoundError,
    "422 Bad": UnprocessableEntityError,
}
AMBIGUOUS = ["408", "409", "413", "418", "425", "500", "501", "502", "503", "504", "505", "599"]
MOVED = ["301", "302", "303", "307", "308"]


@pytest.mark.looptime
@pytest.mark.parametrize("status", [*REFUSED, *(f"{status} X" for status in AMBIGUOUS + MOVED)])
async def test_statuses(status: str) -> None:
    """What the API documents as refused is raised as it is; all else is ambiguous."""
    async with (
        push_server() as server,
        SieveClient(KEY, base_url=server.url, retry=EAGER) as client,
    ):
        location = "Location: /v2/push\r\nRetry-After: 1\r\n"
        server.plan = lambda _: PushPlan(accepts=False, status=status, headers=location)

        error = await outcome(client)

        assert len(server.posts) == 1
        assert type(error) is REFUSED.get(status, AmbiguousPushError)
        if isinstance(error, AmbiguousPushError):
            assert not error.accepted


@pytest.mark.looptime
@pytest.mark.parametrize(
    "body",
    [
        b" ",
        b"rubbish",
        b"[]",
        b"{}",
        b'{"id": 7}',
        b'{"id": ""}',
        b'{"id": "a/b"}',
        b'{"id": null}',
    ],
)
@pytest.mark.parametrize("status", ["200 OK", "201 Created", "202 OK", "206 Part"])
async def test_accepted_but_unreadable(status: str, body: bytes) -> None:
    """A good answer without an id says that there is a job, but not which."""
    async with (
        push_server() as server,
        SieveClient(KEY, base_url=server.url, retry=EAGER) as client,
    ):
        server.plan = lambda _: PushPlan(status=status, body=body)

        error = await outcome(client)

        assert len(server.posts) == 1
        assert isinstance(error, AmbiguousPushError)
        assert error.accepted
        [job] = await client.find_pushed(error)
        assert job.id == "job-0"


@pytest.mark.looptime
async def test_an_answer_that_is_too_large() -> None:
    """An answer beyond the limit is one that cannot be read."""
    async with push_server() as server:
        limits = Limits(max_response_bytes=1000)
        async with SieveClient(KEY, base_url=server.url, limits=limits) as client:
            server.plan = lambda _: PushPlan(body=b"x" * 2000)

            error = await outcome(client)

    assert isinstance(error, AmbiguousPushError)
    assert error.accepted
    assert len(server.posts) == 1


@pytest.mark.looptime
@pytest.mark.parametrize("pause", [None, 7])
async def test_a_server_that_is_too_busy(pause: int | None) -> None:
    """429 starts no job: the push is sent again, after the time that the server asks for."""
    loop = asyncio.get_running_loop()
    async with push_server() as server, SieveClient(KEY, base_url=server.url) as client:
        headers = "" if pause is None else f"Retry-After: {pause}\r\n"
        busy = PushPlan(accepts=False, status="429 Busy", headers=headers)
        server.plan = lambda number: busy if number < 2 else PushPlan()
        started = loop.time()

        pushed = await client.push_job(FUNCTION, INPUTS)

        assert pushed.id == "job-0"
        assert len(server.posts) == 3
        assert loop.time() - started >= 2 * (pause or 0.5)
        server.posts.clear()
        server.plan = lambda _: busy
        with pytest.raises(RateLimitError) as raised:
            await client.push_job(FUNCTION, INPUTS)
        assert raised.value.attempts == len(server.posts) == 3


@pytest.mark.looptime
async def test_a_pause_that_is_too_long() -> None:
    """A push does not wait longer than the policy allows, also in a pause of another call."""
    async with push_server() as server, SieveClient(KEY, base_url=server.url) as client:
        server.plan = lambda _: PushPlan(
            accepts=False, status="429 Busy", headers="Retry-After: 1000\r\n"
        )
        started = asyncio.get_running_loop().time()
        for _ in range(2):
            with pytest.raises(RateLimitError) as raised:
                await client.push_job(FUNCTION, INPUTS)
            assert raised.value.retry_after == pytest.approx(1000, abs=1)
        assert asyncio.get_running_loop().time() - started < 0.5

    assert len(server.posts) == 1


@pytest.mark.looptime
async def test_a_server_that_is_away() -> None:
    """What could not be connected was not sent: tried again, and not ambiguous at the end."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    async with SieveClient(KEY, base_url=url) as client:
        error = await outcome(client)

        assert isinstance(error, ConnectError)
        assert not error.sent
        assert error.attempts == 3
        assert client.stats.requests == 3


@pytest.mark.looptime
async def test_a_server_that_is_not_trusted() -> None:
    """What will not pass is not tried again, although nothing was sent."""
    tls = server_context(trustme.CA())
    async with RawServer(tls=tls) as server, server.client(retry=EAGER) as client:
        error = await outcome(client)

        assert isinstance(error, TLSError)
        assert not error.sent
        assert client.stats.requests == 1


@pytest.mark.looptime
async def test_kept_connections_are_not_used() -> None:
    """A push goes out on a new connection, whatever lies in the pool."""
    async with push_server() as server, SieveClient(KEY, base_url=server.url) as client:
        first = await client.push_job(FUNCTION, INPUTS)
        for _ in range(5):
            await client.get_job(first.id)
            await client.push_job(FUNCTION, INPUTS)
        assert len(server.posts) == 6
        assert server.reused == 0


@pytest.mark.looptime
async def test_closing_the_client_during_a_push() -> None:
    """A push that was in flight when the client was closed may have started a job."""
    async with push_server() as server, SieveClient(KEY, base_url=server.url) as client:
        server.plan = lambda _: PushPlan(write=0, hangs=True)
        push = asyncio.create_task(outcome(client))
        while not server.jobs:  # noqa: ASYNC110 - nothing reports it
            await asyncio.sleep(0)
        await client.close()

        error = await push

        assert isinstance(error, AmbiguousPushError)
        assert isinstance(await outcome(client), ClientClosedError)


@pytest.mark.looptime
async def test_cancelling_a_push() -> None:
    """A cancellation passes, and is never an error of ours."""
    async with push_server() as server, SieveClient(KEY, base_url=server.url) as client:
        server.plan = lambda _: PushPlan(write=0, hangs=True)
        push = asyncio.create_task(client.push_job(FUNCTION, INPUTS))
        while not server.jobs:  # noqa: ASYNC110 - nothing reports it
            await asyncio.sleep(0)
        push.cancel()

        with pytest.raises(asyncio.CancelledError):
            await push
        assert len(server.posts) == 1


def random_plan(dice: random.Random) -> PushPlan:
    """One of the ways in which a push goes well or wrong."""
    accepts, resets = dice.random() < 0.5, dice.random() < 0.5
    status = dice.choice(["408 T", "500 E", "502 E", "503 E", "504 E", "302 M", "409 C"])
    return dice.choice(
        [
            PushPlan(),
            PushPlan(),
            PushPlan(read=dice.randrange(1, 200), resets=resets),
            PushPlan(write=dice.randrange(80), resets=resets),
            PushPlan(write=dice.randrange(80), hangs=True),
            PushPlan(accepts=accepts, status=status, headers="Location: /\r\n", body=b"<html>"),
            PushPlan(body=dice.choice([b"rubbish", b"{}", b'{"id": null}'])),
            PushPlan(accepts=False, status="429 B", headers="Retry-After: 1\r\n"),
            PushPlan(accepts=False, status=dice.choice(list(REFUSED))),
        ]
    )


@pytest.mark.looptime
@pytest.mark.parametrize(
    ("pushes", "seed"),
    [(100, 1), pytest.param(1000, 2, marks=pytest.mark.campaign)],
)
async def test_random_faults(pushes: int, seed: int) -> None:
    """The pushes that the server accepted are those that returned and those that are found."""
    dice = random.Random(seed)
    numbers = iter(range(pushes))
    known: list[str] = []
    errors: list[AmbiguousPushError] = []

    async def worker(client: SieveClient) -> None:
        for number in numbers:
            result = await outcome(client, number=number)
            if isinstance(result, PushedJob):
                known.append(result.id)
            elif isinstance(result, AmbiguousPushError):
                errors.append(result)

    async with push_server() as server:
        server.plan = lambda _: random_plan(dice)
        async with SieveClient(KEY, base_url=server.url, timeout=5.0) as client:
            async with asyncio.TaskGroup() as group:
                for _ in range(10):
                    group.create_task(worker(client))
            found = [await client.find_pushed(error, timeout=5.0) for error in errors]

    ids = [job.id for jobs in found for job in jobs]
    assert sorted(known + ids) == sorted(server.jobs)
    for error, jobs in zip(errors, found, strict=True):
        accepted = [id_ for id_, job in server.jobs.items() if job["inputs"] == error.inputs]
        assert [job.id for job in jobs] == accepted
        assert not error.accepted or accepted
    assert errors
    assert known
