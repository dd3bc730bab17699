"""What the adapters for engines share, without an engine: shards and leased clients."""

import asyncio
import pickle
from typing import Any

import pytest

from sieve_async import ClientClosedError, ConfigError, InvalidArgumentError, Limits
from sieve_async.integrations import shard
from sieve_async.integrations.leases import ClientSettings, leased_client
from sieve_async.testing import FakeSieve

KEY = "canary-4f1d9c7e-key"


def test_shards() -> None:
    """Sizes differ by at most one, no shard is empty, and the order is kept."""
    for count, n, sizes in ((0, 3, []), (2, 3, [1, 1]), (7, 3, [2, 2, 3]), (9, 1, [9])):
        shards = shard(iter(range(count)), n)
        assert [len(each) for each in shards] == sizes
        assert [item for each in shards for item in each] == [*range(count)]
    numbers: list[Any] = [0, -1, True, 1.0, "2", None]
    for number in numbers:
        with pytest.raises(ConfigError, match="n must be a whole number of at least 1"):
            shard(["a"], number)
    with pytest.raises(InvalidArgumentError, match="an iterable of ids"):
        shard("abc", 2)


async def test_equal_settings_share_a_client(sieve: FakeSieve) -> None:
    """The client stays open as long as one of its users; the next user gets a new one."""

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
    settings = ClientSettings(api_key=KEY, options=(("timeout", 3.0),))

    async def lease() -> object:
        async with leased_client(settings) as client:
            return client

    assert asyncio.run(lease()) is not asyncio.run(lease())


async def test_lease_of_invalid_settings() -> None:
    for _ in range(2):
        with pytest.raises(ConfigError, match="base URL"):
            await leased_client(ClientSettings(api_key=KEY, base_url="ftp://x")).__aenter__()


def test_settings_keep_the_key() -> None:
    """The key is neither shown nor pickled."""
    settings = ClientSettings(api_key=KEY)
    assert KEY not in repr(settings)
    with pytest.raises(TypeError, match="cannot be pickled"):
        pickle.dumps(settings)
