"""Log lines: one per request and failed poll at DEBUG, pauses at INFO, never the key or a query."""

import asyncio
import logging
import os
import re
import subprocess
import sys

import pytest

from helpers.http_helpers import now
from helpers.leak_checks import KEY
from helpers.raw_server import ScriptedServer, error_response, finished_job, respond
from sieve_async import ConfigError, SieveClient
from sieve_async.log import configure_logging, logger
from sieve_async.testing import FakeSieve


def lines_of(caplog: pytest.LogCaptureFixture, level: int) -> list[str]:
    """The lines of the package at a level."""
    return [
        record.getMessage()
        for record in caplog.records
        if record.name == "sieve_async" and record.levelno == level
    ]


@pytest.mark.looptime
async def test_requests(
    sieve: FakeSieve, client: SieveClient, caplog: pytest.LogCaptureFixture
) -> None:
    """Each request has one line: method, path, status, milliseconds and number of the attempt."""
    sieve.add_job("a")
    sieve.fault(times=1, status=503)
    sieve.fault(times=1, delay=0.25)
    await client.get_job("a", offset=5)
    first, second = lines_of(caplog, logging.DEBUG)[:2]
    assert re.fullmatch(r"GET /v2/jobs/a: 503 in \d+ ms \(attempt 1\)", first)
    assert re.fullmatch(r"GET /v2/jobs/a: 200 in \d+ ms \(attempt 2\)", second)
    assert "offset" not in caplog.text


@pytest.mark.looptime
async def test_failed_polls_for_long(caplog: pytest.LogCaptureFixture) -> None:
    """Each wait warns once, however long its polls fail; a watch of many jobs once a minute."""
    server = ScriptedServer(
        lambda request: error_response(503) if now() < 600 else finished_job(request.job_id)
    )
    async with server, server.client() as client:
        await asyncio.gather(client.wait_for_job("a"), client.wait_for_job("b"))
        single = lines_of(caplog, logging.WARNING)
    assert sorted(line.split(":")[0] for line in single) == ["job a", "job b"]
    caplog.clear()
    begun = now()
    server = ScriptedServer(
        lambda request: error_response(503) if now() < begun + 600 else finished_job(request.job_id)
    )
    async with server, server.client() as client:
        await client.wait_for_jobs([f"j{number}" for number in range(20)])
    # One silences the others for a minute, and the next poll follows within another minute.
    assert 5 <= len(lines_of(caplog, logging.WARNING)) <= 11


@pytest.mark.looptime
async def test_pauses(caplog: pytest.LogCaptureFixture) -> None:
    """A pause of the client is one line at INFO."""
    limited = error_response(429, ("Retry-After", "7"))
    server = ScriptedServer(lambda request: finished_job("job") if request.times else limited)
    async with server, server.client() as client:
        await client.get_job("job")
    [line] = lines_of(caplog, logging.INFO)
    assert line.startswith("client pauses for 7.0 s: GET /v2/jobs/job: HTTP 429")


@pytest.mark.looptime
async def test_fallbacks(
    sieve: FakeSieve, client: SieveClient, caplog: pytest.LogCaptureFixture
) -> None:
    """What makes a strategy fall back is one line."""
    sieve.fault(path="/v2/jobs/*/await", status=404)
    ids = [sieve.add_job(processing=5) for _ in range(5)]
    await client.wait_for_jobs(ids, strategy="long_poll")
    await client.wait_for_jobs(ids, strategy="long_poll")
    [line] = lines_of(caplog, logging.INFO)
    assert line.startswith("the server cannot hold requests, polling instead: GET /v2/jobs/")


@pytest.mark.looptime
async def test_no_secrets(caplog: pytest.LogCaptureFixture) -> None:
    """Neither the key nor the query of a signed URL is logged."""
    detail = f"no {KEY} at https://files.example/a?X-Goog-Signature=abc"
    refused = respond({"detail": detail}, status=400)
    async with ScriptedServer(lambda _: refused) as server, server.client() as client:
        await client.wait_for_jobs(["job"])
    assert "Signature" not in caplog.text
    assert KEY not in caplog.text


PROGRAM = """
import asyncio
from sieve_async import SieveClient
from sieve_async.testing import FakeSieve

async def main():
    async with FakeSieve() as sieve:
        sieve.add_job("a")
        for _ in range(2):
            async with SieveClient(sieve.api_key, base_url=sieve.url) as client:
                await client.get_job("a")

asyncio.run(main())
"""


def test_switch() -> None:
    """SIEVE_LOG writes the log to standard error, each line once."""
    done = subprocess.run(  # noqa: S603
        [sys.executable, "-c", PROGRAM],
        capture_output=True,
        text=True,
        check=True,
        env=os.environ | {"SIEVE_LOG": "DEBUG"},
    )
    assert done.stderr.count("DEBUG sieve_async: GET /v2/jobs/a: 200 in ") == 2
    assert len(done.stderr.splitlines()) == 2
    assert done.stdout == ""


def test_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    """The other level is info; another word is a ConfigError that names the words."""
    monkeypatch.setenv("SIEVE_LOG", "loud")
    with pytest.raises(ConfigError, match="SIEVE_LOG must be one of debug, info"):
        SieveClient(KEY)
    level, handlers = logger.level, list(logger.handlers)
    with pytest.raises(ConfigError):
        configure_logging("")
    assert (logger.level, logger.handlers) == (level, handlers)
    configure_logging("info")
    assert (logger.level, len(logger.handlers)) == (logging.INFO, len(handlers) + 1)
    logger.setLevel(level)
    logger.handlers[:] = handlers
