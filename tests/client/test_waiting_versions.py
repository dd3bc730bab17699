"""Waiting for a build, against a real server in virtual time."""

import asyncio

import pytest

from sieve_async import (
    BuildFailedError,
    BuildStatus,
    FunctionVersion,
    NotFoundError,
    SieveClient,
    WaitTimeoutError,
)
from sieve_async.testing import FakeSieve


@pytest.mark.looptime
async def test_build(sieve: FakeSieve, client: SieveClient) -> None:
    """A build is followed through all its states until it is ready."""
    sieve.add_version("owner", "name", queued=30, building=60, pushing=30, deploying=30)
    states: list[str] = []

    def note(version: FunctionVersion) -> None:
        states.append(version.build_status)

    version = await client.wait_until_ready("owner", "name", on_update=note, check=True)

    assert version.is_ready
    assert states == ["queued", "building", "pushing", "deploying", "ready"]
    assert asyncio.get_running_loop().time() >= 150


@pytest.mark.looptime
async def test_failed_build(sieve: FakeSieve, client: SieveClient) -> None:
    """A failed build is returned; with ``check`` it is raised, and the error holds it."""
    sieve.add_version("owner", "name", "v1", building=5, status="error")

    version = await client.wait_until_ready("owner", "name")
    with pytest.raises(BuildFailedError, match="v1") as failed:
        await client.wait_until_ready("owner", "name", check=True)

    assert version.build_status is BuildStatus.ERROR
    assert failed.value.version == version


@pytest.mark.looptime
@pytest.mark.parametrize("slug", ["latest", "aaaa", "aaaa-1"])
async def test_slug_is_resolved_once(sieve: FakeSieve, client: SieveClient, slug: str) -> None:
    """A wait follows the version that it saw first, also when another is deployed meanwhile."""
    sieve.add_version("owner", "name", "aaaa-1", building=100)
    waiting = asyncio.create_task(client.wait_until_ready("owner", "name", slug))
    await asyncio.sleep(10)
    sieve.add_version("owner", "name", "bbbb-2", building=1)

    version = await waiting

    assert version.id == "aaaa-1"
    assert version.is_ready
    first, *others = [entry.path.rpartition("/")[2] for entry in sieve.requests]
    assert first == slug
    assert set(others) == {"aaaa-1"}
    assert (await client.get_version("owner", "name")).id == "bbbb-2"


@pytest.mark.looptime
async def test_deadline(sieve: FakeSieve, client: SieveClient) -> None:
    """At the deadline the error holds the version that was waited for, and its last state."""
    sieve.add_version("owner", "name", "v1", building=1000)

    with pytest.raises(
        WaitTimeoutError, match=r"owner/name:latest.*last status: building"
    ) as caught:
        await client.wait_until_ready("owner", "name", timeout=60)

    error = caught.value
    assert error.target == "owner/name:latest"
    assert isinstance(error.last, FunctionVersion)
    assert error.last.id == "v1"


async def test_unknown_version(sieve: FakeSieve, client: SieveClient) -> None:
    """A version that is not there ends a lookup and a wait at the first answer."""
    with pytest.raises(NotFoundError, match="/v2/functions/owner/name/versions/v9"):
        await client.get_version("owner", "name", "v9")
    with pytest.raises(NotFoundError):
        await client.wait_until_ready("owner", "name", "v9")

    assert len(sieve.requests) == 2


async def test_lookup_by_prefix(sieve: FakeSieve, client: SieveClient) -> None:
    """A lookup takes the id, the beginning of one, or latest."""
    sieve.add_version("owner", "name", "abc123", gpu=True)

    for slug in ("latest", "abc", "abc123"):
        version = await client.get_version("owner", "name", slug)
        assert (version.id, version.gpu) == ("abc123", True)
