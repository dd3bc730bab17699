"""The clients that `lookup` compares: sieve-async, other ways to do the same, and other services.

The clients of other services ask for what is natural to them, with their default settings; only a
connection pool smaller than the number of requests in flight is enlarged, where the client allows
it. They are imported when they are used.
"""

import asyncio
import dataclasses
import importlib
import itertools
import json
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from typing import Any, TypeAlias

import aiohttp
import attrs
from yarl import URL

from benchmarks.harness import Block
from benchmarks.server import SAMPLE_ID
from sieve_async import Limits, SieveClient

loads: Callable[[bytes], Any]
try:
    from orjson import loads
except ImportError:  # sieve-async does without it, too
    loads, PARSER = json.loads, "json"
else:
    PARSER = "orjson"

API_KEY = "key-of-the-benchmarks"

Get: TypeAlias = Callable[[str], Awaitable[Any]]

_numbers = itertools.count()


@attrs.frozen
class Lookup:
    """One way to look something up."""

    kind: str  # what the server answers, the first word of the ids
    get: Get
    id_of: Callable[[Any], str] | None  # the id in a result; None if it holds none


def id_attribute(result: Any) -> str:
    """The id of an object."""
    found: str = result.id
    return found


def id_item(result: Any) -> str:
    """The id of a JSON object."""
    found: str = result["id"]
    return found


def new_ids(kind: str, count: int) -> Iterator[str]:
    """So many ids that were never asked for before."""
    return (f"{kind}-{next(_numbers):08x}{SAMPLE_ID[8:]}" for _ in range(count))


def lookups(lookup: Lookup, in_flight: int) -> Block:
    """A block of lookups, so many in flight."""

    async def block(count: int) -> None:
        ids = new_ids(lookup.kind, count)

        async def work() -> None:
            for job_id in ids:  # shared by all workers, so all are busy until its end
                await lookup.get(job_id)

        async with asyncio.TaskGroup() as group:
            for _ in range(min(in_flight, count)):
                group.create_task(work())

    return block


async def verify(name: str, lookup: Lookup) -> None:
    """Compare a result with what was asked for, before its speed counts.

    Raises:
        RuntimeError: They differ.
    """
    (asked,) = new_ids(lookup.kind, 1)
    result = await lookup.get(asked)
    found = asked if lookup.id_of is None else lookup.id_of(result)
    if found != asked:
        raise RuntimeError(f"{name}: asked for {asked}, got {found}")


def open_session(in_flight: int, **settings: Any) -> aiohttp.ClientSession:
    """A session with aiohttp's defaults, but for the size of the pool."""
    connector = aiohttp.TCPConnector(limit=in_flight)
    return aiohttp.ClientSession(connector=connector, headers={"X-API-Key": API_KEY}, **settings)


def open_tuned_session(in_flight: int) -> aiohttp.ClientSession:
    """A session with the settings that cost least."""
    timeout = aiohttp.ClientTimeout(total=None, sock_connect=10)
    return open_session(in_flight, cookie_jar=aiohttp.DummyCookieJar(), timeout=timeout)


def open_client(
    url: str, in_flight: int, session: aiohttp.ClientSession | None = None, **settings: Any
) -> SieveClient:
    """A client of sieve-async with its defaults, but for the size of the pool and the poll rate."""
    limits = Limits(max_connections=in_flight, polls_per_second=None)
    return SieveClient(API_KEY, base_url=url, limits=limits, session=session, **settings)


def bare(session: aiohttp.ClientSession, url: str) -> Get:
    """The baseline: send, read, parse. It checks nothing and builds nothing."""

    async def get(job_id: str) -> Any:
        async with session.get(f"{url}/{job_id}") as response:
            return loads(await response.read())

    return get


def streams(stack: AsyncExitStack, url: str) -> Get:
    """The lower bound: a client written by hand that trusts this one server."""
    base = URL(url)
    idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    head = f"host: {base.authority}\r\nx-api-key: {API_KEY}\r\n\r\n".encode()

    async def get(job_id: str) -> Any:
        pair = idle.pop() if idle else await asyncio.open_connection(base.host, base.port)
        reader, writer = pair
        writer.write(b"GET /v2/jobs/%b HTTP/1.1\r\n%b" % (job_id.encode(), head))
        headers = await reader.readuntil(b"\r\n\r\n")
        length = headers.partition(b"content-length: ")[2].partition(b"\r")[0]
        body = await reader.readexactly(int(length))
        idle.append(pair)
        return loads(body)

    def close() -> None:
        for _, writer in idle:
            writer.close()

    stack.callback(close)
    return get


async def _open_httpx(stack: AsyncExitStack, url: str, in_flight: int, kind: str) -> Lookup:
    httpx: Any = importlib.import_module("httpx")
    limits = httpx.Limits(max_connections=in_flight, max_keepalive_connections=in_flight)
    client = await stack.enter_async_context(
        httpx.AsyncClient(headers={"X-API-Key": API_KEY}, limits=limits)
    )

    async def get(job_id: str) -> Any:
        response = await client.get(f"{url}/v2/jobs/{job_id}")
        return response.json()

    return Lookup(kind, get, id_item)


async def _open_openai(stack: AsyncExitStack, url: str, _: int, __: str) -> Lookup:
    openai: Any = importlib.import_module("openai")
    client = await stack.enter_async_context(
        openai.AsyncOpenAI(api_key=API_KEY, base_url=f"{url}/v1")
    )
    return Lookup("batch", client.batches.retrieve, id_attribute)


async def _open_anthropic(stack: AsyncExitStack, url: str, _: int, __: str) -> Lookup:
    anthropic: Any = importlib.import_module("anthropic")
    client = await stack.enter_async_context(
        anthropic.AsyncAnthropic(api_key=API_KEY, base_url=url)
    )
    return Lookup("messages", client.messages.batches.retrieve, id_attribute)


async def _open_replicate(_: AsyncExitStack, url: str, in_flight: int, __: str) -> Lookup:
    replicate: Any = importlib.import_module("replicate")
    httpx: Any = importlib.import_module("httpx")
    size = max(100, in_flight)  # a smaller pool would open connections all the time
    limits = httpx.Limits(max_connections=size, max_keepalive_connections=size)
    client = replicate.Client(
        api_token=API_KEY, base_url=url, transport=httpx.AsyncHTTPTransport(limits=limits)
    )
    return Lookup("prediction", client.predictions.async_get, id_attribute)


async def _open_fal(_: AsyncExitStack, url: str, __: int, ___: str) -> Lookup:
    fal: Any = importlib.import_module("fal_client")
    handle = await fal.AsyncClient(key=API_KEY).get_handle("example/dubbing", "none")

    async def get(request_id: str) -> Any:
        # In real life the addresses come with the answer to a submitted request.
        status_url = f"{url}/example/dubbing/requests/{request_id}/status"
        mine = dataclasses.replace(handle, request_id=request_id, status_url=status_url)
        return await mine.status(with_logs=True)

    return Lookup("request", get, None)


async def _open_aiobotocore(stack: AsyncExitStack, url: str, in_flight: int, _: str) -> Lookup:
    session: Any = importlib.import_module("aiobotocore.session")
    config: Any = importlib.import_module("aiobotocore.config")
    client = await stack.enter_async_context(
        session.get_session().create_client(
            "mediaconvert",
            region_name="eu-west-1",
            endpoint_url=url,
            aws_access_key_id=API_KEY,
            aws_secret_access_key=API_KEY,
            config=config.AioConfig(max_pool_connections=max(10, in_flight)),
        )
    )

    async def get(job_id: str) -> Any:
        return await client.get_job(Id=job_id)

    def id_of(result: Any) -> str:
        found: str = result["Job"]["Id"]
        return found

    return Lookup("media", get, id_of)


_Open: TypeAlias = Callable[[AsyncExitStack, str, int, str], Awaitable[Lookup]]

PEERS: Mapping[str, tuple[str, _Open]] = {
    "httpx": ("httpx", _open_httpx),
    "openai": ("openai", _open_openai),
    "anthropic": ("anthropic", _open_anthropic),
    "replicate": ("replicate", _open_replicate),
    "fal-client": ("fal_client", _open_fal),
    "aiobotocore": ("aiobotocore", _open_aiobotocore),
}
"""By name: the module that must be installed, and what opens the client."""
