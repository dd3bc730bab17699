"""Proxies: of the environment and of a caller's session, and how they refuse."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import attrs
import pytest

from helpers.leak_checks import KEY, error_of
from helpers.raw_server import JOB, RawServer
from sieve_async import ConfigError, ProxyError, RetryPolicy, SieveClient

pytestmark = pytest.mark.looptime

TARGET = "https://sieve.test"


@attrs.define
class FakeProxy:
    """An HTTP proxy that answers each request with the same bytes, and keeps what came."""

    answer: bytes
    url: str = ""
    heads: list[bytes] = attrs.Factory(list)


@asynccontextmanager
async def proxy_that_says(answer: bytes) -> AsyncIterator[FakeProxy]:
    """A proxy on a free port."""
    proxy = FakeProxy(answer)

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            proxy.heads.append(await reader.readuntil(b"\r\n\r\n"))
            writer.write(proxy.answer)
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(accept, "127.0.0.1", 0)
    proxy.url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server:
        yield proxy
        await asyncio.sleep(0.1)


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


@pytest.mark.parametrize("way", ["environment", "session"])
@pytest.mark.parametrize("status", [400, 403, 407, 500, 502, 503])
async def test_refused_connect(way: str, status: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """The proxy's own answer is called that; its 4xx are lasting, and nothing was sent."""
    body = b"HTTP/1.1 %d No\r\nContent-Length: 0\r\n\r\n" % status
    async with (
        proxy_that_says(body) as proxy,
        client_through(way, proxy.url, monkeypatch) as client,
    ):
        error = await error_of(client.get_job(JOB))

        assert type(error) is ProxyError
        assert error.reason == f"the proxy answered {status}"
        assert (error.status, error.sent, error.is_transient) == (status, False, status >= 500)
        assert error.attempts == len(proxy.heads) == (1 if status < 500 else 3)
        assert all(head.startswith(b"CONNECT sieve.test:443 ") for head in proxy.heads)
        assert all(KEY.encode() not in head for head in proxy.heads)


BROKEN = {"closes": b"", "no HTTP": b"SSH-2.0-x\r\n\r\n", "half a head": b"HTTP/1.1 2"}


@pytest.mark.parametrize("way", ["environment", "session"])
@pytest.mark.parametrize("answer", BROKEN.values(), ids=BROKEN)
async def test_broken_proxy(way: str, answer: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that breaks is named, and may work later."""
    async with (
        proxy_that_says(answer) as proxy,
        client_through(way, proxy.url, monkeypatch) as client,
    ):
        error = await error_of(client.get_job(JOB))

        assert type(error) is ProxyError
        assert "proxy" in error.reason
        assert (error.status, error.sent, error.is_transient) == (None, False, True)
        assert len(proxy.heads) == 3


@pytest.mark.parametrize("way", ["environment", "session"])
async def test_unreachable_proxy(way: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy that refuses the connection is named."""
    async with client_through(way, "http://127.0.0.1:1", monkeypatch) as client:
        error = await error_of(client.get_job(JOB))

        assert type(error) is ProxyError
        assert "127.0.0.1:1" in error.reason
        assert "Connection refused" in error.reason
        assert (error.sent, error.is_transient, error.attempts) == (False, True, 3)


async def test_plain_http_through_a_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy for plain http answers instead of the server: 407 is always its own."""
    async with proxy_that_says(b"HTTP/1.1 407 No\r\nContent-Length: 0\r\n\r\n") as proxy:
        monkeypatch.setenv("HTTP_PROXY", proxy.url)
        async with SieveClient(KEY, base_url="http://127.0.0.2:9", trust_env=True) as client:
            error = await error_of(client.get_job(JOB))

    assert type(error) is ProxyError
    assert (error.status, error.sent, error.attempts) == (407, False, 1)


@pytest.mark.parametrize(
    "variables",
    [{}, {"NO_PROXY": "127.0.0.1"}, {"NO_PROXY": "*"}],
    ids=["not asked for", "no_proxy", "no_proxy for all"],
)
async def test_proxy_that_is_not_used(
    variables: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without ``trust_env`` the environment does not count; with it, its exceptions do."""
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    async with RawServer() as server, server.client(trust_env=bool(variables)) as client:
        assert (await client.get_job(JOB)).succeeded


async def test_credentials_of_the_proxy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Credentials in the proxy's URL go to the proxy, and into no error."""
    async with proxy_that_says(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n") as proxy:
        url = proxy.url.replace("//", "//user:hidden@")
        async with client_through("environment", url, monkeypatch) as client:
            error = await error_of(client.get_job(JOB))

        assert b"Proxy-Authorization: Basic dXNlcjpoaWRkZW4=" in proxy.heads[0]
        assert "hidden" not in f"{error!r} {error}"


@pytest.mark.parametrize(
    "proxy", ["socks5://127.0.0.1:1080", "http://", "http://[::1", "http://u:hidden@:1"]
)
def test_invalid_proxy(proxy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What cannot be used as a proxy is an error of the settings, which shows no password."""
    monkeypatch.setenv("HTTPS_PROXY", proxy)

    with pytest.raises(ConfigError, match="HTTPS_PROXY must be") as caught:
        SieveClient(KEY, base_url=TARGET, trust_env=True)

    assert "hidden" not in str(caught.value)


async def test_proxy_without_a_scheme(monkeypatch: pytest.MonkeyPatch) -> None:
    """As other programs do, a proxy without a scheme is one of plain http."""
    async with proxy_that_says(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n") as proxy:
        bare = proxy.url.removeprefix("http://")
        async with client_through("environment", bare, monkeypatch) as client:
            await error_of(client.get_job(JOB))

        assert len(proxy.heads) == 1


@pytest.mark.parametrize("way", ["our own", "session"])
async def test_no_credentials_out_of_netrc(
    way: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A netrc file adds no header to a request."""
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login user password hidden\n")
    monkeypatch.setenv("NETRC", str(netrc))
    async with RawServer() as server, aiohttp.ClientSession(trust_env=True) as session:
        settings: dict[str, Any] = {"trust_env": True} if way == "our own" else {"session": session}
        async with server.client(retry=RetryPolicy(max_attempts=1), **settings) as client:
            await client.get_job(JOB)

        assert server.requests[0].header("Authorization") is None
        assert server.requests[0].header("X-API-Key") == KEY


async def test_authorization_of_the_caller_is_kept() -> None:
    """A header that the caller has set in the session is sent."""
    headers = {"Authorization": "Bearer gateway"}
    async with (
        RawServer() as server,
        aiohttp.ClientSession(trust_env=True, headers=headers) as session,
        server.client(session=session) as client,
    ):
        await client.get_job(JOB)

        assert server.requests[0].header("Authorization") == "Bearer gateway"
