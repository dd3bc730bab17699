"""What the adapters for engines share, without an engine: shards and leased clients."""

import asyncio
import pickle
import subprocess
import sys
from typing import Any

import pytest

from sieve_async import ClientClosedError, ConfigError, InvalidArgumentError, Limits
from sieve_async.integrations import shard
from sieve_async.integrations.leases import ClientSettings, leased_client
from sieve_async.testing import FakeSieve

KEY = "canary-4f1d9c7e-key"


@pytest.mark.parametrize(
    ("count", "n", "sizes"),
    [(0, 3, []), (2, 3, [1, 1]), (3, 3, [1, 1, 1]), (7, 3, [2, 2, 3]), (9, 1, [9])],
)
def test_shards_are_even(count: int, n: int, sizes: list[int]) -> None:
    """Sizes differ by at most one, no shard is empty, and the order is kept."""
    shards = shard(iter(range(count)), n)

    assert [len(each) for each in shards] == sizes
    assert [item for each in shards for item in each] == [*range(count)]


@pytest.mark.parametrize("n", [0, -1, True, 1.0, "2", None])
def test_invalid_number_of_shards(n: Any) -> None:
    """The number of shards is a whole number of at least one."""
    with pytest.raises(ConfigError, match="n must be a whole number of at least 1"):
        shard(["a"], n)


def test_one_id_is_no_list_of_ids() -> None:
    """A string is not taken apart."""
    with pytest.raises(InvalidArgumentError, match="an iterable of ids"):
        shard("abc", 2)


async def test_equal_settings_share_a_client(sieve: FakeSieve) -> None:
    """The client lives as long as one of its users; the next user gets a new one."""

    def settings(rate: float = 5.0) -> ClientSettings:
        return ClientSettings(api_key=KEY, base_url=sieve.url, limits=Limits(polls_per_second=rate))

    async with leased_client(settings()) as first:
        async with leased_client(settings()) as second, leased_client(settings(6.0)) as other:
            assert second is first
            assert other is not first
        assert other.closed
        assert (await first.get_job(sieve.add_job())).succeeded
    assert first.closed
    with pytest.raises(ClientClosedError):
        await first.get_job("job")
    async with leased_client(settings()) as third:
        assert third is not first


def test_every_loop_has_its_own_client() -> None:
    """A client belongs to one event loop."""
    settings = ClientSettings(api_key=KEY, options=(("timeout", 3.0),))

    async def lease() -> object:
        async with leased_client(settings) as client:
            return client

    assert asyncio.run(lease()) is not asyncio.run(lease())


async def test_lease_of_invalid_settings() -> None:
    """Invalid settings raise, and leave no lease behind."""
    for _ in range(2):
        with pytest.raises(ConfigError, match="base URL"):
            await leased_client(ClientSettings(api_key=KEY, base_url="ftp://x")).__aenter__()


def test_settings_keep_the_key() -> None:
    """The key is neither shown nor pickled."""
    settings = ClientSettings(api_key=KEY)

    assert KEY not in repr(settings)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(settings)


def test_the_package_loads_no_adapter() -> None:
    """Neither the package nor its client imports an engine or an adapter."""
    code = (
        "import sys, sieve_async\n"
        "[getattr(sieve_async, name) for name in sieve_async.__all__]\n"
        "print([n for n in sys.modules if n.startswith('sieve_async.integrations')\n"
        "       or n.partition('.')[0] in ('airflow', 'distributed', 'dask', 'opentelemetry')])"
    )
    done = subprocess.run(  # noqa: S603 - it is the interpreter itself
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
