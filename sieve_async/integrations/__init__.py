"""Adapters for other systems, one module each; nothing else in the package imports them."""

from sieve_async.integrations.shards import shard

__all__ = ["shard"]
