"""What is told of retries: nothing, by nobody."""

import logging

import pytest

from helpers.raw_server import JOB, Action, RawServer, respond

pytestmark = pytest.mark.looptime


async def test_retries_are_not_logged_by_others(caplog: pytest.LogCaptureFixture) -> None:
    """Retries of lookups are counted and not logged, by us or by the library of the pauses."""
    async with (
        RawServer([Action.CLOSE], [Action.CLOSE], respond()) as wire,
        wire.client() as client,
    ):
        await client.get_job(JOB)

        assert client.stats.retries == 2
    names = {record.name for record in caplog.records if record.levelno > logging.DEBUG}
    assert not {name for name in names if name.startswith(("backoff", "sieve_async"))}
