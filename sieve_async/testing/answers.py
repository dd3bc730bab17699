"""What the server says to one request, before it is HTTP."""

from collections.abc import Mapping
from functools import lru_cache

import attrs

from sieve_async.testing.documents import encode


@attrs.frozen
class Answer:
    """A status, a body, and which version was shown if it was one."""

    status: int
    body: bytes
    headers: Mapping[str, str] = attrs.field(factory=dict)
    version_id: str | None = None


@lru_cache(maxsize=1024)
def refusal(status: int, detail: str) -> Answer:
    """Refuse something, with a reason."""
    return Answer(status, encode({"detail": detail}))
