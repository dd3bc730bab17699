"""aiohttp without a name that the direct connection needs: the client uses sessions instead."""

import asyncio
import logging
from typing import Any

import aiohttp
import pytest

from faults.transport_ways import GET, PUSH, Connection, serving
from helpers.leak_checks import KEY
from sieve_async import Limits, Timeout
from sieve_async.config import Config
from sieve_async.transport import Transport
from sieve_async.transport.connection import ConnectionSender
from sieve_async.transport.settings import SenderSettings

pytestmark = pytest.mark.looptime


class OtherSignature(aiohttp.TCPConnector):
    """A connector that wants another argument."""

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
            protocol = Hiding(connection.protocol, name, **others)
            return Hiding(connection, protocol=protocol)

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


@pytest.mark.parametrize("kind", CONNECTORS.values(), ids=CONNECTORS)
async def test_missing_name(
    kind: type[aiohttp.TCPConnector], caplog: pytest.LogCaptureFixture
) -> None:
    """No request is lost or sent twice, and one line is logged."""
    caplog.set_level(logging.INFO, "sieve_async")
    async with serving(Connection.serve) as server:
        transport = TransportOn(server.url, kind)
        answers = await asyncio.gather(*(transport.send(GET, None) for _ in range(5)))
        answers.append(await transport.send(GET, None))
        answers.append(await transport.send(PUSH, None))
        transport.abort()
        await transport.close()

        assert [answer.status for answer in answers] == [200] * 7
        assert len(server.requests) == 7
        lines = [record.getMessage() for record in caplog.records if record.name == "sieve_async"]
        assert len(lines) == 1
        assert f"aiohttp {aiohttp.__version__} lacks" in lines[0]
        assert lines[0].endswith("using its sessions")
        assert len(transport.opened) == 1


async def test_direct_connection_by_default(caplog: pytest.LogCaptureFixture) -> None:
    """The installed aiohttp has all names: nothing is logged, and no session is opened."""
    caplog.set_level(logging.INFO, "sieve_async")
    async with serving(Connection.serve) as server:
        transport = TransportOn(server.url, aiohttp.TCPConnector)
        await transport.send(GET, None)
        transport.abort()
        await transport.close()

        assert isinstance(transport._direct, ConnectionSender)
        assert transport._pooled is None
        assert caplog.records == []


async def test_same_request_both_ways() -> None:
    """The server cannot tell the two ways apart."""
    async with serving(Connection.serve) as server:
        for trust_env in (False, True):
            config = Config(api_key=KEY, base_url=f"{server.url}/base")
            transport = Transport(config, Timeout(), Limits(), trust_env=trust_env)
            await transport.send(GET, None)
            request = type(GET)("GET", "/v2/jobs/job-1", GET.model, query="offset=5")
            await transport.send(request, None)
            transport.abort()
            await transport.close()

        first, second, third, fourth = server.requests
        assert sorted(first.lower().split(b"\r\n")) == sorted(third.lower().split(b"\r\n"))
        assert first.startswith(b"GET /base/v2/jobs/job-1 HTTP/1.1\r\n")
        assert second.split(b"\r\n")[0] == fourth.split(b"\r\n")[0]
        assert second.startswith(b"GET /base/v2/jobs/job-1?offset=5 HTTP/1.1\r\n")


def test_settings_hide_the_key() -> None:
    """The key is in no repr."""
    transport = Transport(Config(api_key=KEY, base_url="https://sieve.test"), Timeout(), Limits())

    assert isinstance(transport._settings, SenderSettings)
    assert KEY not in repr(transport._settings)
