"""``Request`` and ``Response``: what the client sends, and the answer as it came."""

from collections.abc import Callable
from typing import Generic, TypeVar

import attrs

from sieve_async.config import ID
from sieve_async.display import printable, shorten
from sieve_async.models import FunctionVersion, Job

__all__ = ["Model", "Request", "Response", "printable", "shorten"]

Model = TypeVar("Model", Job, FunctionVersion)

_MAX_EXCERPT = 2400  # characters, before white space is joined
_MAX_EXCERPT_SOURCE = 64 * 1024  # to redact all of a large body would block the loop


# Requests and responses are never changed, but not frozen: to make a frozen one takes up to 1 us
# more, at each poll of each job.
@attrs.define
class Request(Generic[Model]):
    """One request, and what a good answer to it is.

    Attributes:
        method: The HTTP method.
        path: The path below the base URL, percent-encoded.
        model: The model that a good answer holds; a list holds many of them.
        query: The query string without its question mark; empty for none.
        expected_id: The id that the answer must bear; None where any will do.
        expected_id_is_prefix: Whether the answer's id needs only to begin with ``expected_id``.
        hold_time: Seconds for which the server may hold the request before it answers.
        body: The JSON to send; None for none.
        fresh_connection: Whether to send it on a new connection: what must not be sent twice must
            not meet a connection that the server has closed meanwhile.
    """

    method: str
    path: str
    model: type[Model]
    query: str = ""
    expected_id: str | None = None
    expected_id_is_prefix: bool = False
    hold_time: float = 0.0
    body: bytes | None = attrs.field(default=None, repr=False)
    fresh_connection: bool = False

    def accepts(self, found_id: str) -> bool:
        """Whether an answer with this id is an answer to this request."""
        if self.expected_id is None:
            return ID.fullmatch(found_id) is not None
        if self.expected_id_is_prefix:
            return found_id.startswith(self.expected_id) and ID.fullmatch(found_id) is not None
        return found_id == self.expected_id


@attrs.define(eq=False)
class Response:
    """A complete HTTP answer.

    Attributes:
        status: The HTTP status.
        headers: Pairs of name and value, as they stood on the wire.
        body: The complete body of a good answer; at most the beginning of any other.
        redact: Takes the API key out of a text, for whatever is shown or kept as evidence.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    redact: Callable[[str], str] = attrs.field(repr=False)

    def header(self, name: str) -> list[str]:
        """All values of one header, redacted, in their order."""
        wanted = name.lower().encode()
        values = (value for key, value in self.headers if key.lower() == wanted)
        return [self.redact(value.decode("latin-1")) for value in values]

    def text(self) -> str:
        """The body as text, redacted; bytes that are not UTF-8 are replaced."""
        return self.redact(self.body.decode("utf-8", "replace"))

    def excerpt(self) -> str:
        """The beginning of the body, fit to be logged."""
        beginning = self.body[:_MAX_EXCERPT_SOURCE].decode("utf-8", "replace")
        return shorten(self.redact(beginning)[:_MAX_EXCERPT])
