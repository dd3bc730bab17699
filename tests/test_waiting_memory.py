"""What errors keep alive: nothing of the calls in which they came up."""

import pytest
from faults.wire import JOB, Do, serving
from stage import Stage, failing

from sieve_async import ConnectError, ServerError, WaitTimeoutError

pytestmark = pytest.mark.looptime


async def test_last_error_of_a_wait() -> None:
    """The last error that a wait tells of holds no frames of the polls."""
    async with serving([Do.FIN]) as (_, client):
        with pytest.raises(WaitTimeoutError) as caught:
            await client.wait_for_job(JOB, timeout=30)

    assert isinstance(caught.value.last_error, ConnectError)
    assert caught.value.last_error.__traceback__ is None


async def test_last_errors_of_many() -> None:
    """Nor do those of many jobs, of which there may be thousands."""
    async with Stage(lambda _: failing(500)) as stage, stage.client() as client:
        outcomes = await client.wait_for_jobs(["a", "b"], timeout=30)

    for outcome in outcomes:
        assert isinstance(outcome.error, WaitTimeoutError)
        assert outcome.error.__traceback__ is None
        assert isinstance(outcome.error.last_error, ServerError)
        assert outcome.error.last_error.__traceback__ is None
