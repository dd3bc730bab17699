"""Who looks jobs and versions up, and by which means: the stage of ``lookup``."""

import asyncio
import importlib
import json
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, TypeAlias

import aiohttp
import attrs
from yarl import URL

from benchmarks.asking import API_KEY, Ask, Contender, attribute, company, item
from benchmarks.peers import PEERS
from benchmarks.turns import Company
from sieve_async import Limits, SieveClient

Loads: TypeAlias = Callable[[bytes], Any]

loads: Loads
try:
    from orjson import loads
except ImportError:  # it comes with the [speedups] extra, and without it the SDK does as we do here
    loads, LOADS = json.loads, "json"
else:
    LOADS = "orjson"


@attrs.frozen
class Scene:
    """What is asked, and how.

    Attributes:
        url: Where the server is.
        word: Which job it answers with.
        in_flight: How many requests there are at once.
        versions: Whether versions are looked up, too.
        peer: The one client of others that takes part; None for those who do the same by other
            means.
        alone: Whether those take part here that do not care about orjson: in the process with it,
            or in the only one.
    """

    url: str
    word: str
    in_flight: int
    versions: bool
    peer: str | None
    alone: bool = False


@asynccontextmanager
async def contending(settings: Mapping[str, Any]) -> AsyncIterator[Company]:
    """Open all sessions and clients, and close them at the end."""
    scene = Scene(**settings)
    async with AsyncExitStack() as stack:
        contenders = await _ours(stack, scene)
        if scene.peer is not None:
            contenders[scene.peer] = await _peer(stack, scene, scene.peer)
        elif LOADS == "orjson" or scene.alone:
            contenders |= await _others(stack, scene)
        yield await company(contenders, scene.in_flight)


async def _ours(stack: AsyncExitStack, scene: Scene) -> dict[str, Contender]:
    """The SDK, and aiohttp with the parser that the SDK has."""
    plain = await stack.enter_async_context(_session(scene))
    limits = Limits(max_connections=scene.in_flight)
    client = await stack.enter_async_context(
        SieveClient(API_KEY, base_url=scene.url, limits=limits)
    )
    jobs, versions = f"{scene.url}/v2/jobs", f"{scene.url}/v2/functions/sieve/dubbing/versions"
    suffix = "" if LOADS == "orjson" else ", no orjson"
    contenders = {
        f"aiohttp + {LOADS}": Contender(scene.word, bare(plain, jobs), item),
        f"get_job{suffix}": Contender(scene.word, client.get_job, attribute),
    }
    if not scene.versions:
        return contenders

    async def get_version(version_id: str) -> Any:
        return await client.get_version("sieve", "dubbing", version_id)

    return contenders | {
        f"version: aiohttp + {LOADS}": Contender("ready", bare(plain, versions), item),
        f"get_version{suffix}": Contender("ready", get_version, attribute),
    }


async def _others(stack: AsyncExitStack, scene: Scene) -> dict[str, Contender]:
    """Those who do the same by other means."""
    again = await stack.enter_async_context(_session(scene))
    tuned = await stack.enter_async_context(_tuned(scene))
    streams = _Streams(URL(scene.url))
    stack.callback(streams.close)
    jobs = f"{scene.url}/v2/jobs"
    return {
        "asyncio streams, by hand": Contender(scene.word, streams.ask, item),
        f"aiohttp + {LOADS}, once more": Contender(scene.word, bare(again, jobs), item),
        f"aiohttp + {LOADS}, tuned": Contender(scene.word, bare(tuned, jobs), item),
    }


async def _peer(stack: AsyncExitStack, scene: Scene, name: str) -> Contender:
    if name == "httpx":
        return Contender(scene.word, await _httpx(stack, scene), item)
    return await PEERS[name][1](stack, scene.url, scene.in_flight)


def _session(scene: Scene) -> aiohttp.ClientSession:
    connector = aiohttp.TCPConnector(limit=scene.in_flight)
    return aiohttp.ClientSession(connector=connector, headers={"X-API-Key": API_KEY})


def _tuned(scene: Scene) -> aiohttp.ClientSession:
    """With the settings that cost least."""
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=scene.in_flight),
        cookie_jar=aiohttp.DummyCookieJar(),
        headers={"X-API-Key": API_KEY},
        timeout=aiohttp.ClientTimeout(total=None, sock_connect=10),
    )


def bare(session: aiohttp.ClientSession, url: str) -> Ask:
    """What nobody can do without: ask, read, parse. It checks nothing and builds nothing."""

    async def ask(id_: str) -> Any:
        async with session.get(f"{url}/{id_}") as response:
            return loads(await response.read())

    return ask


async def _httpx(stack: AsyncExitStack, scene: Scene) -> Ask:
    httpx: Any = importlib.import_module("httpx")
    limits = httpx.Limits(
        max_connections=scene.in_flight, max_keepalive_connections=scene.in_flight
    )
    client = await stack.enter_async_context(
        httpx.AsyncClient(headers={"X-API-Key": API_KEY}, limits=limits)
    )
    url = f"{scene.url}/v2/jobs"

    async def ask(id_: str) -> Any:
        response = await client.get(f"{url}/{id_}")
        return response.json()

    return ask


class _Streams:
    """The floor: a request of bytes, an answer of bytes, and a parser for its body.

    It trusts that the server is the one of these benchmarks.
    """

    def __init__(self, url: URL) -> None:
        self._host, self._port = url.host, url.port
        self._free: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self._head = f"host: {url.authority}\r\nx-api-key: {API_KEY}\r\n\r\n".encode()

    async def ask(self, id_: str) -> Any:
        reader, writer = (
            self._free.pop()
            if self._free
            else await asyncio.open_connection(self._host, self._port)
        )
        writer.write(b"GET /v2/jobs/%b HTTP/1.1\r\n%b" % (id_.encode(), self._head))
        head = await reader.readuntil(b"\r\n\r\n")
        length = head.partition(b"content-length: ")[2].partition(b"\r")[0]
        body = await reader.readexactly(int(length))
        self._free.append((reader, writer))
        return loads(body)

    def close(self) -> None:
        for _, writer in self._free:
            writer.close()
