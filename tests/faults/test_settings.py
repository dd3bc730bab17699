"""Invalid settings, and settings of the environment."""

import traceback
from pathlib import Path
from typing import Any

import pytest

from helpers.leak_checks import KEY, check_error
from helpers.raw_server import JOB, RawServer, serve
from sieve_async import (
    ConfigError,
    SieveClient,
)

pytestmark = pytest.mark.looptime


async def test_traceback_with_locals() -> None:
    """A traceback with locals can be formatted for a client that was not created."""
    with pytest.raises(ConfigError) as caught:
        SieveClient(KEY, base_url="http://example.com")

    shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
    assert "ConfigError" in "".join(shown.format())


@pytest.mark.parametrize(
    "key",
    [
        "",
        " ",
        "a b",
        "a\tb",
        "a\r\nX-Evil: 1",
        "a\n",
        "\na",
        "clé",
        "a\x00b",
        "a\x7f",
        "a\u200b",
        5,
        b"bytes",
        ["a"],
        True,
    ],
)
async def test_malformed_key(key: Any) -> None:
    """An invalid key is rejected and not quoted."""
    with pytest.raises(ConfigError) as caught:
        SieveClient(key)

    assert repr(key) not in f"{caught.value} {caught.value!r}"
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("key", [" ", "a b", "a\n", "clé"])
async def test_malformed_key_in_the_environment(key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same for a key from the environment."""
    monkeypatch.setenv("SIEVE_API_KEY", key)

    with pytest.raises(ConfigError, match="SIEVE_API_KEY"):
        SieveClient()


async def test_no_key() -> None:
    """Without a key the message names the environment variable."""
    with pytest.raises(ConfigError, match="SIEVE_API_KEY"):
        SieveClient()


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "//example.com",
        "https://",
        "https:///v2",
        "ftp://example.com",
        "file:///etc/passwd",
        "http://example.com",
        "http://10.0.0.1",
        "http://0.0.0.0:80",
        "http://localhost.example.com",
        "http://127.0.0.1.example.com",
        "http://127.0.0.1@example.com",
        "http://example.com#@127.0.0.1",
        "http://example.com\\@127.0.0.1",
        "http://[::2]",
        "http://[::1",
        "https://user@example.com",
        "https://user:password@example.com",
        "https://:password@example.com",
        "https://@example.com",
        "https://example.com?a=b",
        "https://example.com/?",
        "https://example.com#top",
        "https://example.com:0",
        "https://example.com:99999",
        "https://example.com:port",
        "https://exa mple.com",
        " https://example.com",
        "https://example.com\r\nX-Evil: 1",
        "https://example.com/\u00e9",
        "https://ex\u0430mple.com",
        "https://example.com%2f@127.0.0.1",
        5,
        b"https://example.com",
    ],
)
async def test_invalid_base_url(url: Any) -> None:
    """A base URL is https, or http to loopback, without user, query or fragment."""
    with pytest.raises(ConfigError) as caught:
        SieveClient(KEY, base_url=url)

    assert "password" not in str(caught.value)
    check_error(caught.value.with_traceback(None))  # its frames hold the key as an argument


async def test_base_path() -> None:
    """A base URL may have a path and a trailing slash."""
    async with serve() as (server, _), server.client(base_url=f"{server.url}/a/b%20c/") as client:
        await client.get_job(JOB)
        await client.get_job(JOB, offset=3)

        assert [seen.target for seen in server.requests] == [
            "/a/b%20c/v2/jobs/job-1",
            "/a/b%20c/v2/jobs/job-1?offset=3",
        ]


@pytest.mark.parametrize("url", ["http://localhost:1", "http://127.9.9.9", "http://[::1]:8000/a"])
async def test_loopback(url: str) -> None:
    """Plain http is accepted for loopback."""
    assert repr(SieveClient(KEY, base_url=url)) == f"<SieveClient {url}>"


async def test_proxy_variables_and_netrc(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By default neither proxy variables nor ~/.netrc are used."""
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1 login someone password secret\ndefault login a password b")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    async with RawServer() as proxy, serve() as (server, client):
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "HTTPS_PROXY", "ALL_PROXY"):
            monkeypatch.setenv(name, proxy.url)
        await client.get_job(JOB)

        assert proxy.connections == 0
        assert len(server.requests) == 1
        assert server.requests[0].header("Authorization") is None
        assert server.requests[0].header("X-API-Key") == KEY
