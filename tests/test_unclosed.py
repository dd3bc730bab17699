"""What is told of a client that nobody has closed, and of retries: nothing that hurts."""

import gc
import logging

import pytest
from faults.closed_world import KEY
from faults.wire import JOB, Do, Wire, answer

from sieve_async import SieveClient

pytestmark = pytest.mark.looptime


async def test_client_that_was_never_closed(caplog: pytest.LogCaptureFixture) -> None:
    """Whoever forgets to close a client is told so by Python's own warning, without the key."""
    async with Wire(answer()) as wire:
        client = SieveClient(KEY, base_url=wire.url)
        await client.get_job(JOB)
        del client
        with pytest.warns(ResourceWarning, match="Unclosed") as told:
            gc.collect()

    assert all(KEY not in str(warning.message) for warning in told)
    assert "Unclosed" in caplog.text


async def test_retries_are_not_logged_by_others(caplog: pytest.LogCaptureFixture) -> None:
    """Retries of lookups are counted and not logged, by us or by the library of the pauses."""
    async with Wire([Do.FIN], [Do.FIN], answer()) as wire, wire.client() as client:
        await client.get_job(JOB)

        assert client.stats.retries == 2
    names = {record.name for record in caplog.records if record.levelno > logging.DEBUG}
    assert not {name for name in names if name.startswith(("backoff", "sieve_async"))}
