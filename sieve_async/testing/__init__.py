"""A Sieve server of your own, on loopback, for the tests of your programs.

Real HTTP, no account, no network. It shares nothing with the client, so that each can be checked
against the other.

Example:
    >>> async with FakeSieve() as sieve:
    ...     job_id = sieve.add_job(queued=2, processing=7, outputs=["hello"])
    ...     async with SieveClient(sieve.api_key, base_url=sieve.url) as client:
    ...         job = await client.wait_for_job(job_id)
"""

from sieve_async.testing.answers import Fault
from sieve_async.testing.functions import Push
from sieve_async.testing.handler import LoggedRequest, RequestLog
from sieve_async.testing.jobs import JobHandle
from sieve_async.testing.server import FakeSieve
from sieve_async.testing.webhooks import Delivery, WebhookFault

__all__ = [
    "Delivery",
    "FakeSieve",
    "Fault",
    "JobHandle",
    "LoggedRequest",
    "Push",
    "RequestLog",
    "WebhookFault",
]
