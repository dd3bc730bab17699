"""From an answer to a model or an error: strict about types, open about words and extra keys."""

from sieve_async.decode.answers import PolledState, parse_model, parse_state, prepare
from sieve_async.decode.pages import JobPage, parse_page
from sieve_async.decode.texts import parse_text

__all__ = [
    "JobPage",
    "PolledState",
    "parse_model",
    "parse_page",
    "parse_state",
    "parse_text",
    "prepare",
]
