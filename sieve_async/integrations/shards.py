"""Shards: a list of ids split among workers."""

from collections.abc import Iterable
from itertools import pairwise
from typing import TypeVar

from sieve_async.errors import InvalidArgumentError

Item = TypeVar("Item")


def shard(job_ids: Iterable[Item], n: int) -> list[list[Item]]:
    """Split ids, in their order, into at most ``n`` shards whose sizes differ by at most one.

    Fewer ids than ``n`` give one shard each, so no shard is empty.

    Raises:
        InvalidArgumentError: ``n`` is not a whole number of at least 1, or the ids are one string.
    """
    if isinstance(n, bool) or not isinstance(n, int) or n < 1:
        raise InvalidArgumentError(f"n must be a whole number of at least 1, got {n!r}")
    if isinstance(job_ids, (str, bytes)):
        raise InvalidArgumentError("job_ids must be several ids, got one string")
    ids = list(job_ids)
    count = min(n, len(ids))
    bounds = [len(ids) * index // count for index in range(count + 1)] if count else []
    return [ids[start:end] for start, end in pairwise(bounds)]
