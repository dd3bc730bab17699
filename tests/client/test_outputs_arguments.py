"""What ``stream_outputs`` refuses, and what it does before its first step: nothing."""

import asyncio
import gc
import math
from datetime import timedelta
from typing import Any

import pytest

from helpers.leak_checks import check_error
from sieve_async import ClientClosedError, InvalidArgumentError, SieveClient
from sieve_async.testing import FakeSieve

BAD_VALUES: dict[str, tuple[Any, ...]] = {
    "job_id": ("", "..", "a/b", "a b", "\u00e9", "x" * 129, None, 5, b"job", "-x"),
    "offset": (-1, 1.0, "1", True, None, 2**63, math.nan),
    "timeout": (-1, math.nan, True, "5", timedelta(seconds=-1), object()),
    "polling": (0.5, "fast", {}, object()),
    "on_restart": ("", "Continue", "ignore", None, True, ["continue"], {"raise"}),
}
BAD_ARGUMENTS = [{name: value} for name, values in BAD_VALUES.items() for value in values]


@pytest.mark.parametrize("bad", BAD_ARGUMENTS)
async def test_bad_arguments(sieve: FakeSieve, client: SieveClient, bad: dict[str, Any]) -> None:
    """An argument that cannot be right is refused by the call itself, before any step."""
    with pytest.raises(InvalidArgumentError) as caught:
        client.stream_outputs(**({"job_id": "job"} | bad))

    assert next(iter(bad)) in str(caught.value)
    check_error(caught.value)
    assert not sieve.requests


async def test_nothing_before_the_first_step(sieve: FakeSieve, client: SieveClient) -> None:
    """The call alone sends nothing, and a stream that is never begun leaves nothing behind."""
    outputs = client.stream_outputs("job")
    await asyncio.sleep(0.01)

    assert client.stats.waits == 0
    del outputs
    gc.collect()
    assert not sieve.requests
    assert sieve.connections == 0


async def test_closed_before_the_first_step(sieve: FakeSieve, client: SieveClient) -> None:
    """The first step of a stream of a closed client says so, and sends nothing."""
    outputs = client.stream_outputs("job")
    await client.close()

    with pytest.raises(ClientClosedError):
        await anext(outputs)
    assert not sieve.requests
