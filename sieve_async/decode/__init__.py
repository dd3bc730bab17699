"""From an answer to a model or an error: strict about types, open about words and extra keys."""

from sieve_async.decode.answers import Seen, read_model, read_state

__all__ = ["Seen", "read_model", "read_state"]
