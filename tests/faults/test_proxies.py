"""Proxies: of the environment and of a caller's session, and how they reject requests."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from helpers.leak_checks import KEY, error_of
from helpers.raw_server import JOB, Action, RawServer
from sieve_async import ProxyError, SieveClient

pytestmark = pytest.mark.looptime
both = pytest.mark.parametrize("way", ["environment", "session"])

TARGET = "https://sieve.test"


def proxy_with(status: int | None, garbage: bytes = b"") -> RawServer:
    """A proxy that answers each request with this status, or with garbage."""
    head = b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n"
    return RawServer([garbage if status is None else head % status, Action.CLOSE])


@pytest.fixture(autouse=True)
def no_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """The environment names no proxies but those of the test."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@asynccontextmanager
async def client_through(
    way: str, proxy: str, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[SieveClient]:
    """A client that reaches the target through the proxy, by the environment or by a session."""
    if way == "environment":
        monkeypatch.setenv("HTTPS_PROXY", proxy)
        async with SieveClient(KEY, base_url=TARGET, trust_env=True) as client:
            yield client
        return
    async with (
        aiohttp.ClientSession(proxy=proxy) as session,
        SieveClient(KEY, base_url=TARGET, session=session) as client,
    ):
        yield client


@both
@pytest.mark.parametrize("status", [400, 403, 407, 502])
async def test_rejected_connect(way: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy's own response is reported as such; 4xx are lasting, and nothing was sent."""
    async with proxy_with(status) as proxy, client_through(way, proxy.url, monkeypatch) as client:
        error = await error_of(client.get_job(JOB))
        assert type(error) is ProxyError
        assert error.reason == f"the proxy answered {status}"
        assert (error.status, error.sent, error.is_transient) == (status, False, status >= 500)
        assert error.attempts == len(proxy.requests) == (1 if status < 500 else 3)
        assert all(each.head.startswith(b"CONNECT sieve.test:443 ") for each in proxy.requests)
        assert all(KEY.encode() not in each.raw for each in proxy.requests)


async def test_unused_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ``trust_env`` the environment does not count."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    async with RawServer() as server, server.client() as client:
        assert (await client.get_job(JOB)).succeeded


async def test_urls_of_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials go to the proxy, and into no error; a URL without a scheme is plain http."""
    async with proxy_with(403) as proxy:
        for url in (proxy.url.replace("//", "//user:hidden@"), proxy.url.removeprefix("http://")):
            async with client_through("environment", url, monkeypatch) as client:
                error = await error_of(client.get_job(JOB))
            assert "hidden" not in f"{error!r} {error}"
        assert proxy.requests[0].header("Proxy-Authorization") == "Basic dXNlcjpoaWRkZW4="
        assert len(proxy.requests) == 2


@pytest.mark.parametrize("authorization", [None, "Bearer gateway"])
async def test_authorization(
    authorization: str | None, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A netrc file adds no header; a header that the caller has set in the session is sent."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password hidden\n")
    if authorization is None:
        monkeypatch.setenv("NETRC", str(netrc))
    headers = {"Authorization": authorization} if authorization else {}
    async with RawServer() as server:
        async with (
            aiohttp.ClientSession(trust_env=True, headers=headers) as session,
            server.client(session=session) as client,
        ):
            await client.get_job(JOB)
        async with server.client(trust_env=True) as client:
            await client.get_job(JOB)
        sent = [request.header("Authorization") for request in server.requests]
        assert sent == [authorization, None]
