"""What the server says to one request, before it is HTTP."""

from collections.abc import Mapping
from functools import lru_cache

import attrs

from sieve_async.testing.documents import encode


@attrs.frozen
class Answer:
    """A status and a body, and what they showed: a version, or the end of a job."""

    status: int
    body: bytes
    headers: Mapping[str, str] = attrs.field(factory=dict)
    version_id: str | None = None
    ended_job_id: str | None = None


@lru_cache(maxsize=1024)
def refusal(status: int, detail: str) -> Answer:
    """Refuse something, with a reason."""
    return Answer(status, encode({"detail": detail}))
