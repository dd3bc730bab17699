"""From an answer to a model or an error: strict about types, open about words and extra keys."""

from sieve_async.decode.answers import Seen, prepare, read_model, read_state
from sieve_async.decode.pages import Page, read_page
from sieve_async.decode.texts import read_text

__all__ = ["Page", "Seen", "prepare", "read_model", "read_page", "read_state", "read_text"]
