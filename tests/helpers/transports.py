"""A transport without a client, and requests for it."""

from typing import Any

import aiohttp

from helpers.leak_checks import KEY
from sieve_async import Job, Limits, Timeout
from sieve_async.config import Config
from sieve_async.messages import Request
from sieve_async.transport import Transport

GET: Request[Any] = Request("GET", "/v2/jobs/job-1", Job)
PUSH: Request[Any] = Request(
    "POST", "/v2/push", Job, body=b'{"function": "o/f"}', fresh_connection=True
)


def transport_of(url: str, session: aiohttp.ClientSession | None = None) -> Transport:
    """A transport with the default settings."""
    return Transport(Config(api_key=KEY, base_url=url), Timeout(), Limits(), session)
