"""Who looks jobs and versions up, and by which means."""

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import aiohttp
import attrs

from sieve_async import Limits, SieveClient, endpoints
from sieve_async.decode import read_state

Loads = Callable[[bytes], Any]
Ask = Callable[[str], Awaitable[Any]]

loads: Loads
try:
    from orjson import loads
except ImportError:  # it comes with the [speedups] extra, and without it the SDK does as we do here
    loads, LOADS = json.loads, "json"
else:
    LOADS = "orjson"

_API_KEY = "a-key-for-nobody-but-this-benchmark"


@attrs.frozen
class Contender:
    """One way to look something up.

    Attributes:
        name: What the table calls it.
        word: What its ids begin with; it says what the server answers.
        ask: Looks up one id.
        target: The least ratio to the yardstick that we want.
    """

    name: str
    word: str
    ask: Ask
    target: float | None = None


@attrs.frozen
class Group:
    """Contenders that get the same body.

    Attributes:
        plain: The yardstick: aiohttp as it comes.
        tuned: The other yardstick: aiohttp with the settings that cost it least.
        others: Those that are compared with the two.
    """

    plain: Contender
    tuned: Contender
    others: tuple[Contender, ...]

    @property
    def all(self) -> tuple[Contender, ...]:
        """The yardsticks and the others."""
        return self.plain, self.tuned, *self.others


@asynccontextmanager
async def contending(url: str, in_flight: int) -> AsyncIterator[tuple[Group, ...]]:
    """Open all sessions and clients, and close them at the end.

    Args:
        url: Where the server is.
        in_flight: How many requests there will be at once.
    """
    async with AsyncExitStack() as stack:
        plain = await stack.enter_async_context(_plain(in_flight))
        again = await stack.enter_async_context(_plain(in_flight))
        tuned = await stack.enter_async_context(_tuned(in_flight))
        client = await stack.enter_async_context(
            SieveClient(_API_KEY, base_url=url, limits=Limits(max_in_flight=in_flight))
        )
        jobs, versions = f"{url}/v2/jobs", f"{url}/v2/functions/sieve/dubbing/versions"
        # A session's settings cost the same whatever it asks for, so it may serve two contenders.
        yield (
            Group(
                Contender(f"aiohttp + {LOADS}", "finished", _bare(plain, jobs)),
                Contender(f"aiohttp + {LOADS}, tuned", "finished", _bare(tuned, jobs)),
                (
                    Contender("the first once more", "finished", _bare(again, jobs)),
                    Contender(
                        "aiohttp + the standard json", "finished", _bare(plain, jobs, json.loads)
                    ),
                    Contender("SieveClient.get_job", "finished", client.get_job, 0.75),
                    Contender("a poll, job not ended", "processing", _poll(client), 0.85),
                ),
            ),
            Group(
                Contender(f"aiohttp + {LOADS}, a version", "ready", _bare(plain, versions)),
                Contender(f"aiohttp + {LOADS}, tuned, a version", "ready", _bare(tuned, versions)),
                (Contender("SieveClient.get_version", "ready", _get_version(client)),),
            ),
        )


def _plain(in_flight: int) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=in_flight)
    return aiohttp.ClientSession(connector=connector, headers={"X-API-Key": _API_KEY})


def _tuned(in_flight: int) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=in_flight),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"X-API-Key": _API_KEY},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
    )


def _bare(session: aiohttp.ClientSession, url: str, loads: Loads = loads) -> Ask:
    """What nobody can do without: ask, read, parse. It checks nothing and builds nothing."""

    async def ask(id_: str) -> Any:
        async with session.get(f"{url}/{id_}") as response:
            return loads(await response.read())

    return ask


def _poll(client: SieveClient) -> Ask:
    """A poll without the pause that follows it.

    It goes through the client's internals: ``wait_for_job`` would pause between two polls, and a
    wait of 0 s builds the model that a poll does without, for the error that it ends with.
    """
    retrier = client._retrier  # noqa: SLF001

    async def ask(job_id: str) -> Any:
        return await retrier.poll(endpoints.get_job(job_id), read_state, deadline=None)

    return ask


def _get_version(client: SieveClient) -> Ask:
    async def ask(version_id: str) -> Any:
        return await client.get_version("sieve", "dubbing", version_id)

    return ask
