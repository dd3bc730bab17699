"""Shards: a list of ids split among workers."""

from collections.abc import Iterable
from itertools import pairwise
from typing import TypeVar

from sieve_async.config import check_count, check_job_ids

Item = TypeVar("Item")


def shard(job_ids: Iterable[Item], n: int) -> list[list[Item]]:
    """Split ids, in their order, into at most ``n`` shards whose sizes differ by at most one.

    Fewer ids than ``n`` give one shard each, so no shard is empty.

    Raises:
        ConfigError: ``n`` is not a whole number of at least 1.
        InvalidArgumentError: ``job_ids`` is no iterable, or one string.
    """
    check_count("n", n)
    check_job_ids(job_ids)
    ids = list(job_ids)
    count = min(n, len(ids))
    bounds = [len(ids) * index // count for index in range(count + 1)] if count else []
    return [ids[start:end] for start, end in pairwise(bounds)]
