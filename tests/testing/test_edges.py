"""What a test server must get right at the edges: no body, no key, no second header, no hanging."""

import aiohttp
import pytest

from sieve_async.testing import FakeSieve


@pytest.mark.parametrize("status", [204, 304])
@pytest.mark.parametrize("drip", [0.0, 0.01])
async def test_answers_without_a_body(
    sieve: FakeSieve, session: aiohttp.ClientSession, status: int, drip: float
) -> None:
    """Where HTTP has no body none is sent, and the connection serves the next request."""
    job_id = sieve.add_job()
    url = f"{sieve.url}/v2/jobs/{job_id}"

    with sieve.fault(status=status, slow_body=drip):
        async with session.get(url) as bare:
            assert (bare.status, await bare.read()) == (status, b"")
    async with session.get(url, headers={"X-API-Key": sieve.api_key}) as whole:
        assert (await whole.json())["id"] == job_id

    assert sieve.connections == 1
    assert sieve.requests[0].body_bytes == 0


async def test_headers_of_faults(sieve: FakeSieve, session: aiohttp.ClientSession) -> None:
    """A header that a fault gives replaces the server's own, however it is spelt."""
    with sieve.fault(status=502, body="<html>", headers={"content-type": "text/html"}):
        async with session.get(f"{sieve.url}/v2/jobs/any") as answer:
            kinds = answer.headers.getall("Content-Type")

    assert kinds == ["text/html"]


async def test_refused_arguments(sieve: FakeSieve, session: aiohttp.ClientSession) -> None:
    """A fault of 422 has the list of problems that the API documents."""
    with sieve.fault(status=422):
        async with session.get(f"{sieve.url}/v2/jobs/any") as answer:
            (problem,) = (await answer.json())["detail"]

    assert problem.keys() >= {"loc", "msg", "type"}


@pytest.mark.parametrize("value", ["a\r\nX-Other: b", "a\0b", 5])
def test_headers_that_cannot_be_sent(sieve: FakeSieve, value: str) -> None:
    """A header that is not one line of text is refused when the fault is made."""
    with pytest.raises(ValueError, match="must be text of one line"):
        sieve.fault(status=500, headers={"X-Trace": value})


def test_endless_pause(sieve: FakeSieve) -> None:
    """So is a pause that no clock can tell."""
    with pytest.raises(ValueError, match="retry_after must be at most"):
        sieve.fault(retry_after=float("inf"))


def test_start_that_fails() -> None:
    """A server in a thread that cannot start raises where it is started."""
    with pytest.raises(ZeroDivisionError), FakeSieve.in_thread(clock=lambda: 1 / 0):
        pass


def test_port_that_cannot_be() -> None:
    """A port that no machine has is refused when the server is made."""
    with pytest.raises(ValueError, match="port must be from 0 to 65535"):
        FakeSieve(port=70_000)


async def test_key_in_the_request_log(sieve: FakeSieve, session: aiohttp.ClientSession) -> None:
    """The log holds the key nowhere, also not within a longer text."""
    for target in (f"x-{sieve.api_key}", f"x?auth=Bearer%20{sieve.api_key}", sieve.api_key):
        async with session.get(f"{sieve.url}/v2/jobs/{target}") as answer:
            assert answer.status == 404

    assert sieve.api_key not in repr(list(sieve.requests))


async def test_unknown_paths_need_no_key(sieve: FakeSieve, session: aiohttp.ClientSession) -> None:
    """A path that is not there is not found, with a key or without."""
    async with session.get(f"{sieve.url}/v2/nowhere") as answer:
        assert (answer.status, await answer.json()) == (404, {"detail": "Not Found"})
