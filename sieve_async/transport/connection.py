"""Sends GETs over aiohttp's connector, without the `ClientSession` that takes a third of the time.

Resolver, TLS, happy eyeballs, pool and parser are aiohttp's. The few names used here that aiohttp
does not document are checked: where one is missing, this is not used.
"""

import inspect
from functools import cached_property
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import aiohttp

from sieve_async.messages import Request
from sieve_async.transport.body import Answer, read_body
from sieve_async.transport.errors import Exchange
from sieve_async.transport.settings import SenderSettings, UnusableConnectionError

if TYPE_CHECKING:
    from aiohttp.client_reqrep import ConnectionKey

# Attributes of classes and parameters of methods.
_NEEDED = {
    "connector.TCPConnector.connect": {"req", "traces", "timeout"},
    "connector.Connection": {"protocol", "transport", "release", "close"},
    "client_proto.ResponseHandler": {"read", "should_close", "set_response_params"},
    "client_proto.ResponseHandler.set_response_params": {"read_until_eof", "auto_decompress"},
    "http.RawResponseMessage": {"code", "headers", "raw_headers"},
}


class UnsupportedError(Exception):
    """This version of aiohttp lacks a name that is used here."""


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
        self.resource = connector
        self._settings = settings
        for path, names in _NEEDED.items():
            _check(path, names)
        try:
            self._target = _Target("GET", settings.origin)
            host = self._target.headers[aiohttp.hdrs.HOST]
            self._target.connection_key  # noqa: B018 - whether it is there
        except (AttributeError, KeyError, TypeError):
            raise UnsupportedError("ClientRequest(method, url)") from None
        lines = [f"{name}: {value}" for name, value in {"Host": host, **settings.headers}.items()]
        self._head = "\r\n".join([" HTTP/1.1", *lines, "", ""])

    async def send(self, request: Request[Any], target: str, exchange: Exchange) -> Answer:
        """Send one GET, as ``SessionSender.send`` does."""
        while True:
            connection = await self.resource.connect(
                req=self._target, traces=[], timeout=self._settings.timeout
            )
            is_complete = False
            try:
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


def _check(path: str, names: set[str]) -> None:
    try:
        found = attrgetter(path)(aiohttp)
    except AttributeError:
        raise UnsupportedError(path) from None
    known = dir(found) if isinstance(found, type) else inspect.signature(found).parameters
    if missing := names.difference(known):
        raise UnsupportedError(f"{path}.{min(missing)}")
