"""Fault class D: the deadline of each kind of wait before any server was reached."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, TypeAlias

import aiohttp
import pytest
from aiohttp.abc import AbstractResolver, ResolveResult

from helpers.asserts import assert_idle
from helpers.deadline_waits import TIMEOUTS, WAITS, check_last, wait_until_deadline
from helpers.http_helpers import now
from helpers.job_snapshots import collect_outputs
from helpers.leak_checks import KEY
from helpers.raw_server import (
    JOB,
    Action,
    RawRequest,
    RawServer,
    Script,
    ScriptedServer,
    error_response,
    job_document,
    respond,
    running_job,
    version_json,
)
from sieve_async import (
    Limits,
    NotFoundError,
    PollPolicy,
    SieveClient,
    WaitTimeoutError,
)

pytestmark = pytest.mark.looptime

QUICK = PollPolicy(min_interval=0.05, max_interval=0.05)


class SilentResolver(AbstractResolver):
    """A resolver that never answers."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        """Wait until nobody asks any more."""
        del host, port, family
        await asyncio.sleep(60)
        raise OSError(socket.EAI_AGAIN, "no answer")

    async def close(self) -> None:
        """Nothing is open."""


@asynccontextmanager
async def behind_a_slot() -> AsyncIterator[SieveClient]:
    """The only slot is taken by a call that is not answered."""
    async with (
        RawServer([Action.SILENCE]) as wire,
        wire.client(limits=Limits(max_connections=1)) as client,
    ):
        other = asyncio.create_task(client.get_job("another"))
        await asyncio.sleep(0)
        yield client
        other.cancel()
        await asyncio.wait([other])


@asynccontextmanager
async def looking_up() -> AsyncIterator[SieveClient]:
    """The name of the host is not found out."""
    connector = aiohttp.TCPConnector(resolver=SilentResolver())
    async with aiohttp.ClientSession(connector=connector) as session:
        async with SieveClient(KEY, base_url="https://sieve.test", session=session) as client:
            yield client
        await asyncio.sleep(120)  # a resolver cannot be cancelled


@asynccontextmanager
async def connecting() -> AsyncIterator[SieveClient]:
    """The connection is not taken: others wait there already."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for one in (first, second):
            one.settimeout(0)
            one.connect_ex(listener.getsockname())
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with SieveClient(KEY, base_url=url) as client:
            yield client


@asynccontextmanager
async def shaking_hands() -> AsyncIterator[SieveClient]:
    """The TLS handshake is not answered."""
    async with RawServer([Action.DONT_READ, Action.SILENCE]) as wire:
        client = wire.client(base_url=wire.url.replace("http", "https"))
        yield client
        await client.close()


Unreached: TypeAlias = Callable[[], AbstractAsyncContextManager[SieveClient]]


@pytest.mark.parametrize("wait", WAITS)
@pytest.mark.parametrize("unreached", [behind_a_slot, looking_up, connecting, shaking_hands])
async def test_deadline_before_the_server(unreached: Unreached, wait: str) -> None:
    """A wait that reaches nobody is over at its deadline, with nothing seen."""
    async with unreached() as client:
        for seconds in TIMEOUTS:
            for error in await wait_until_deadline(client, WAITS[wait], seconds):
                check_last(error, was_seen=False)
                assert error.last_error is None


def seen_once(asked: RawRequest) -> Script:
    """One good look at each, and then nothing is found any more."""
    if asked.times:
        return error_response(404)
    if asked.job_id == "v2":
        return respond(version_json(build_status="building"))
    return running_job(asked.job_id)


@pytest.mark.parametrize("wait", [name for name in WAITS if "list" not in name])
async def test_deadline_between_confirmations(wait: str) -> None:
    """A wait that is about to confirm a refusal is over at its deadline, with what was seen."""
    for seconds in (0.3, 0.9, 1.5):
        async with ScriptedServer(seen_once) as stage, stage.client(polling=QUICK) as client:
            for error in await wait_until_deadline(client, WAITS[wait], seconds):
                check_last(error, was_seen=True)
                assert isinstance(error.last_error, NotFoundError)


@pytest.mark.parametrize("seconds", TIMEOUTS)
@pytest.mark.parametrize("late", ["asynchronous", "blocking"])
async def test_deadline_in_a_callback(late: str, seconds: float) -> None:
    """A callback is not cut off; when it returns after the deadline, nothing more is asked."""

    async def sleep(_: object) -> None:
        await asyncio.sleep(seconds + 5)

    def block(_: object) -> None:
        loop = asyncio.get_running_loop()
        while loop.time() < seconds + 5:
            loop.setup_looptime(start=loop.time() + 1)  # type: ignore[attr-defined] # looptime's

    async with (
        ScriptedServer(lambda asked: running_job(asked.job_id)) as stage,
        stage.client() as client,
    ):
        with pytest.raises(WaitTimeoutError) as caught:
            await client.wait_for_job(
                JOB, timeout=seconds, on_update=sleep if late == "asynchronous" else block
            )

        assert seconds + 5 <= now() <= seconds + 6.1
        assert (caught.value.polls, len(stage.requests)) == (1, 1)
        check_last(caught.value, was_seen=True)
        assert_idle(client)


@pytest.mark.parametrize("page", [0, 1, 2, 5])
@pytest.mark.parametrize("seconds", [1.0, 2.5, 7.7])
async def test_deadline_in_a_page(page: int, seconds: float) -> None:
    """A sweep is over at its deadline whichever of its pages is not answered."""

    def reply(asked: RawRequest) -> Script:
        if not asked.is_list:
            return running_job(asked.job_id)
        if asked.times >= page:
            return [Action.SILENCE]
        rows = [job_document("nobody's")] * 500
        return [0.05, *respond({"data": rows, "next_offset": 500 * (asked.times + 1)})]

    async with ScriptedServer(reply) as stage, stage.client() as client:
        errors = await wait_until_deadline(client, WAITS["jobs, sweep"], seconds)

        assert len(errors) == 3
        assert len(stage.lists) == page + 1


@pytest.mark.parametrize("seconds", TIMEOUTS)
async def test_deadline_while_outputs_come(seconds: float) -> None:
    """A stream whose next outputs are on their way is over at its deadline, after those it has."""
    first = respond(job_document(JOB, outputs=[{"data": 1}, {"data": 2}]))
    (rest,) = respond(job_document(JOB, outputs=[{"data": 3}]))
    assert isinstance(rest, bytes)
    found: list[Any] = []
    async with RawServer(first, [rest[:-9], Action.SILENCE]) as wire, wire.client() as client:
        with pytest.raises(WaitTimeoutError) as caught:
            await collect_outputs(client.stream_outputs(JOB, timeout=seconds), found)

        assert seconds - 1e-6 <= now() <= seconds + 0.1
        assert found == [1, 2]
        check_last(caught.value, was_seen=True)
