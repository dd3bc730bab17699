"""Error responses: their classes, bodies, retries, and the end of waits."""

import pytest

from helpers.leak_checks import error_of
from helpers.raw_server import JOB, JOB_PATH, respond, serve
from sieve_async import errors

pytestmark = pytest.mark.looptime

SPECIAL: dict[int, type[errors.SieveError]] = {
    401: errors.AuthenticationError,
    402: errors.OutOfCreditsError,
    403: errors.PermissionDeniedError,
    404: errors.NotFoundError,
    422: errors.UnprocessableEntityError,
    429: errors.RateLimitError,
}
REJECTIONS = [400, 401, 402, 403, 404, 406, 409, 410, 422]
LASTING = [405, 413, 418, 426, 451, 499, 501, 505]
TRANSIENT = [408, 421, 425, 429, 500, 502, 503, 504, 507, 520, 524, 599]


@pytest.mark.parametrize("status", REJECTIONS + LASTING + TRANSIENT)
async def test_status(status: int) -> None:
    """Each error status has its class; only transient ones are retried and continue a wait."""
    rejection = respond({"detail": "why"}, status=status, headers=[("X-Request-Id", "r-1")])
    attempts = 3 if status in TRANSIENT else 1
    async with serve(*[rejection] * 7, respond()) as (server, client):
        error = await error_of(client.get_job(JOB))
        expected = SPECIAL.get(
            status, errors.BadRequestError if status < 500 else errors.ServerError
        )
        assert type(error) is expected
        assert isinstance(error, errors.APIError)
        assert (error.status, error.detail, error.request_id) == (status, "why", "r-1")
        assert (error.method, error.path, error.attempts) == ("GET", JOB_PATH, attempts)
        assert (error.error_id, error.retry_after) == (None, None)
        assert len(server.requests) == client.stats.requests == attempts
        assert all(gap >= 0.0499 for gap in server.gaps)
        assert f"{status}: why" in str(error)
        if attempts == 3:
            assert (await client.wait_for_job(JOB)).succeeded
            assert len(server.requests) == 8
        else:
            waited = await error_of(client.wait_for_job(JOB))
            assert isinstance(waited, errors.APIError)
            assert (waited.status, len(server.requests)) == (status, 2)


async def test_retry_budget() -> None:
    """A server that is down does not get three attempts for ever; a success refills the budget."""
    async with serve(respond({}, status=500)) as (server, client):
        for _ in range(60):
            await error_of(client.get_job(JOB))
        assert 0 <= client.stats.retry_tokens < 14
        assert len(server.requests) == client.stats.requests == 60 + 500 // 14
    async with serve(respond({}, status=500), respond()) as (_, client):
        await client.get_job(JOB)
        assert (client.stats.retry_tokens, client.stats.retries) == (500, 1)
