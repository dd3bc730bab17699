"""Sends GETs over aiohttp's connector, without the `ClientSession` that takes a third of the time.

Resolver, TLS, happy eyeballs, pool and parser are aiohttp's. The few names used here that aiohttp
does not document are checked: where one is missing, nothing is sent.
"""

import inspect
from functools import cached_property
from typing import TYPE_CHECKING, Any

import aiohttp

from sieve_async.messages import Request
from sieve_async.transport.body import Answer, read_body
from sieve_async.transport.errors import Exchange
from sieve_async.transport.settings import SenderSettings, UnusableConnectionError

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ConnectionKey
    from aiohttp.connector import Connection


class UnsupportedError(Exception):
    """This version of aiohttp lacks a name that is used here; nothing was sent."""


class _Target(aiohttp.ClientRequest):
    """What the connector asks about a server: one object for all requests."""

    @cached_property
    def connection_key(self) -> "ConnectionKey":  # it never changes
        return super().connection_key


class ConnectionSender:
    """Sends GETs to one server, over connections that a connector opens and keeps.

    Raises:
        UnsupportedError: aiohttp lacks a name that is needed.
    """

    def __init__(self, connector: aiohttp.TCPConnector, settings: SenderSettings) -> None:
        self._connector = connector
        self._settings = settings
        self._is_checked = False
        if not _has_parameters(connector.connect, "req", "traces", "timeout"):
            raise UnsupportedError("TCPConnector.connect(req, traces, timeout)")
        _require(aiohttp.http.RawResponseMessage, "code", "headers", "raw_headers")
        try:
            self._target = _Target("GET", settings.origin)
            host = self._target.headers[aiohttp.hdrs.HOST]
            self._target.connection_key  # noqa: B018 - whether it is there
        except (AttributeError, KeyError, TypeError):
            raise UnsupportedError("ClientRequest(method, url)") from None
        lines = [f"{name}: {value}" for name, value in {"Host": host, **settings.headers}.items()]
        self._head = "\r\n".join([" HTTP/1.1", *lines, "", ""])

    @property
    def closed(self) -> bool:
        """Whether the connector is closed."""
        return self._connector.closed

    async def send(self, request: Request[Any], target: str, exchange: Exchange) -> Answer:
        """Send one GET, as ``SessionSender.send`` does; or raise ``UnsupportedError`` before."""
        while True:
            connection = await self._connector.connect(
                req=self._target, traces=[], timeout=self._settings.timeout
            )
            is_complete = False
            try:
                if not self._is_checked:
                    self._check(connection)
                protocol: Any = connection.protocol
                exchange.is_reused = self._settings.pool.check(
                    protocol, fresh=request.fresh_connection
                )
                protocol.set_response_params(read_until_eof=True, auto_decompress=False)
                if (transport := connection.transport) is not None:  # else reading says why
                    exchange.is_sent = True
                    transport.write(f"GET {target}{self._head}".encode("ascii"))
                message, content = await protocol.read()
                while 100 <= message.code < 200 and message.code != 101:
                    message, content = await protocol.read()
                exchange.status = status = message.code
                body = await read_body(
                    status, content, message.headers, self._settings.max_body, protocol
                )
                is_complete = content.at_eof()
            except UnusableConnectionError:
                continue  # the next one may do
            else:
                return status, message.raw_headers, body
            finally:
                if is_complete:
                    connection.release()
                else:
                    connection.close()

    async def close(self) -> None:
        """Close all connections."""
        await self._connector.close()

    def _check(self, connection: "Connection") -> None:
        _require(connection, "protocol", "transport", "release", "close")
        _require(connection.protocol, "read", "should_close", "set_response_params")
        set_params = connection.protocol.set_response_params  # type: ignore[union-attr]
        if not _has_parameters(set_params, "read_until_eof", "auto_decompress"):
            raise UnsupportedError("ResponseHandler.set_response_params")
        self._is_checked = True


def _require(owner: Any, *names: str) -> None:
    for name in names:
        if not hasattr(owner, name):
            raise UnsupportedError(f"{type(owner).__name__}.{name}")


def _has_parameters(function: Any, *names: str) -> bool:
    return inspect.signature(function).parameters.keys() >= {*names}
