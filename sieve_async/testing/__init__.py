"""A Sieve server of your own, on loopback, for the tests of your programs.

Real HTTP, no account, no network. It keeps the truth about its jobs and about what was
asked of it, and shares nothing with the client, so that each can be held against the other.

Example:
    >>> async with FakeSieve() as sieve:
    ...     job_id = sieve.add_job(queued=2, processing=7, outputs=["hello"])
    ...     async with SieveClient(sieve.api_key, base_url=sieve.url) as client:
    ...         job = await client.wait_for_job(job_id)
"""

from sieve_async.testing.faults import Fault
from sieve_async.testing.handles import JobHandle
from sieve_async.testing.ledger import Ledger, LedgerEntry
from sieve_async.testing.server import FakeSieve

__all__ = ["FakeSieve", "Fault", "JobHandle", "Ledger", "LedgerEntry"]
