"""aiohttp without a name that the direct connection needs: the client uses sessions instead."""

import asyncio
import logging
from typing import Any

import aiohttp
import attrs
import pytest

from faults.transport_ways import GET, PUSH, send
from helpers.leak_checks import KEY
from helpers.raw_server import RawServer
from sieve_async import Limits, Timeout
from sieve_async.config import Config
from sieve_async.transport import Transport

pytestmark = pytest.mark.looptime


class OtherSignature(aiohttp.TCPConnector):
    """A connector with another argument."""

    async def connect(self, request: Any, **options: Any) -> Any:  # type: ignore[override]
        """Never called."""
        raise AssertionError(request, options)


class Hiding:
    """An object of aiohttp without some of its names."""

    def __init__(self, inner: Any, *hidden: str, **others: Any) -> None:
        self._inner = inner
        self._hidden = hidden
        self._others = others

    def __getattr__(self, name: str) -> Any:
        if name in self._hidden:
            raise AttributeError(name)
        return self._others[name] if name in self._others else getattr(self._inner, name)


def lacking(where: str, name: str, **others: Any) -> type[aiohttp.TCPConnector]:
    """A class of connectors whose connections, or their protocols, lack a name."""

    class Lacking(aiohttp.TCPConnector):
        async def connect(self, req: Any, traces: Any, timeout: Any) -> Any:  # noqa: ASYNC109
            connection = await super().connect(req, traces, timeout)
            if where == "connection":
                return Hiding(connection, name)
            return Hiding(connection, protocol=Hiding(connection.protocol, name, **others))

    return Lacking


def with_other_names(read_until_end: bool, auto_decompress: bool) -> None:  # noqa: FBT001
    """Not what the direct connection calls."""
    raise AssertionError(read_until_end, auto_decompress)


CONNECTORS: dict[str, type[aiohttp.TCPConnector]] = {
    "connect": OtherSignature,
    "set_response_params": lacking("protocol", "set_response_params"),
    "its parameters": lacking("protocol", "", set_response_params=with_other_names),
    "should_close": lacking("protocol", "should_close"),
    "read": lacking("protocol", "read"),
    "transport": lacking("connection", "transport"),
    "nothing": aiohttp.TCPConnector,
}


class TransportOn(Transport):
    """A transport whose direct connections come from this class of connectors."""

    def __init__(self, url: str, kind: type[aiohttp.TCPConnector]) -> None:
        super().__init__(Config(api_key=KEY, base_url=url), Timeout(), Limits())
        self.opened: list[aiohttp.TCPConnector] = []
        self._kind = kind

    def _open_connector(self) -> aiohttp.TCPConnector:
        if self.opened:
            return super()._open_connector()
        self.opened.append(self._kind())
        return self.opened[0]


@pytest.mark.parametrize("name", CONNECTORS)
async def test_missing_name(name: str, caplog: pytest.LogCaptureFixture) -> None:
    """No request is lost or sent twice, and one line is logged; nothing lacks by default."""
    caplog.set_level(logging.INFO, "sieve_async")
    async with RawServer() as server:
        transport = TransportOn(server.url, CONNECTORS[name])
        responses = await asyncio.gather(*(send(transport) for _ in range(5)))
        responses += [await send(transport), await send(transport, PUSH)]
        transport.abort()
        await transport.close()

        assert [response.status for response in responses] == [200] * 7
        assert (len(server.requests), len(transport.opened)) == (7, 1)
        lines = [record.getMessage() for record in caplog.records if record.name == "sieve_async"]
        if name == "nothing":
            assert (lines, transport._is_direct) == ([], True)
        else:
            assert len(lines) == 1
            assert f"aiohttp {aiohttp.__version__} lacks" in lines[0]


async def test_same_request_both_ways() -> None:
    """The server cannot distinguish the two ways."""
    async with RawServer() as server:
        for trust_env in (False, True):
            config = Config(api_key=KEY, base_url=f"{server.url}/base")
            transport = Transport(config, Timeout(), Limits(), trust_env=trust_env)
            assert KEY not in repr(transport._settings)
            await send(transport, attrs.evolve(GET, query="offset=5"))
            transport.abort()
            await transport.close()

        first, second = (request.head for request in server.requests)
        assert sorted(first.lower().split(b"\r\n")) == sorted(second.lower().split(b"\r\n"))
        assert first.startswith(b"GET /base/v2/jobs/job-1?offset=5 HTTP/1.1\r\n")
