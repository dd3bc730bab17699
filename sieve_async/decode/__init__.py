"""From responses to values or errors: liberal about fields, strict about id and status."""

from sieve_async.decode.error_responses import error_from_response
from sieve_async.decode.responses import (
    JobPage,
    PolledState,
    parse_model,
    parse_object,
    parse_page,
    parse_state,
    parse_states,
    parse_success,
    parse_text,
)

__all__ = [
    "JobPage",
    "PolledState",
    "error_from_response",
    "parse_model",
    "parse_object",
    "parse_page",
    "parse_state",
    "parse_states",
    "parse_success",
    "parse_text",
]
