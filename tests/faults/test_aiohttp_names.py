"""aiohttp without a name that the direct connection needs: the client uses sessions instead."""

import asyncio
import inspect
import logging
from operator import attrgetter
from types import SimpleNamespace
from typing import Any

import aiohttp
import attrs
import pytest
from multidict import CIMultiDict

from helpers.leak_checks import KEY
from helpers.raw_server import RawServer
from helpers.transports import GET, PUSH, transport_of
from sieve_async import Limits, Timeout
from sieve_async.config import Config
from sieve_async.transport import Transport
from sieve_async.transport.connection import _NEEDED
from sieve_async.transport.errors import Exchange

pytestmark = pytest.mark.looptime

NAMES = [(path, name) for path, names in _NEEDED.items() for name in sorted(names)]
REQUEST_KEY = "client_reqrep.ClientRequest.connection_key"


class CountingTransport(Transport):
    """A transport that counts its connectors."""

    opened = 0

    def _open_connector(self) -> aiohttp.TCPConnector:
        self.opened += 1
        return super()._open_connector()


def without(path: str, name: str) -> Any:
    """A class without this attribute, or a function without this parameter."""
    others = _NEEDED[path] - {name}
    if isinstance(attrgetter(path)(aiohttp), type):
        return type("Lacking", (), dict.fromkeys(others))
    function: Any = lambda: None  # noqa: E731 - it is never called
    kind = inspect.Parameter.KEYWORD_ONLY
    function.__signature__ = inspect.Signature([inspect.Parameter(each, kind) for each in others])
    return function


@pytest.mark.parametrize(
    ("path", "name"), [*NAMES, ("http.RawResponseMessage", ""), (REQUEST_KEY, ""), ("", "")]
)
async def test_missing_name(
    path: str, name: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """No request is lost or sent twice, and one line is logged; nothing lacks by default."""
    caplog.set_level(logging.INFO, "sieve_async")
    async with RawServer() as server:
        transport = CountingTransport(Config(api_key=KEY, base_url=server.url), Timeout(), Limits())
        with monkeypatch.context() as patch:
            if name:
                patch.setattr(f"aiohttp.{path}", without(path, name))
            elif path:
                patch.delattr(f"aiohttp.{path}")
            transport._sender(GET)
        responses = await asyncio.gather(*(transport.send(GET, None) for _ in range(5)))
        responses += [await transport.send(GET, None), await transport.send(PUSH, None)]
        transport.abort()
        await transport.close()
        assert [response.status for response in responses] == [200] * 7
        assert (len(server.requests), transport.opened) == (7, 2)
        lines = [record.getMessage() for record in caplog.records if record.name == "sieve_async"]
        if path:
            lacking = f"{path}.{name}" if name else path
            lacking = "ClientRequest(method, url)" if path == REQUEST_KEY else lacking
            assert lines == [f"aiohttp {aiohttp.__version__} lacks {lacking}: using its sessions"]
        else:
            assert (lines, transport._is_direct) == ([], True)


async def test_session_without_its_hook() -> None:
    """Where aiohttp did not call ``ClientRequest.send``, a request would count as sent."""

    async def respond(_: Any) -> Any:
        return SimpleNamespace(headers=CIMultiDict())

    async with aiohttp.ClientSession() as session:
        sender: Any = transport_of("http://localhost", session)._sender(GET)
        exchange = Exchange("GET", "/v2/jobs/job-1")
        request = SimpleNamespace(headers=CIMultiDict(), proxy=None)
        await sender._middleware(exchange, fresh=False)(request, respond)
        assert exchange.is_sent
        assert request.headers["X-API-Key"] == KEY


async def test_same_request_both_ways() -> None:
    """The server cannot distinguish the two ways."""
    async with RawServer() as server:
        for trust_env in (False, True):
            config = Config(api_key=KEY, base_url=f"{server.url}/base")
            transport = Transport(config, Timeout(), Limits(), trust_env=trust_env)
            assert KEY not in repr(transport._settings)
            await transport.send(attrs.evolve(GET, query="offset=5"), None)
            transport.abort()
            await transport.close()
        first, second = (request.head for request in server.requests)
        assert sorted(first.lower().split(b"\r\n")) == sorted(second.lower().split(b"\r\n"))
        assert first.startswith(b"GET /base/v2/jobs/job-1?offset=5 HTTP/1.1\r\n")
