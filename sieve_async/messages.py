"""What travels between the rooms: a request as a value, and an answer as it came."""

import re
from collections.abc import Callable
from typing import Generic, TypeVar

import attrs

from sieve_async.models import FunctionVersion, Job

Model = TypeVar("Model", Job, FunctionVersion)

# What an id may be, in what we send and in what we accept back.
ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._~-]{0,127}")

_EXCERPT_LENGTH = 300
_LONGEST_BEGINNING = 64 * 1024  # to redact all of a large body would hold up the loop for a second
# The query of a signed URL is as good as a password, and an excerpt may end in a log.
_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")  # all but tabs and line ends
_URL_QUERY = re.compile(r"(https?://[^\s\"'<>?]+)\?[^\s\"'<>]*")


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
    """

    method: str
    path: str
    model: type[Model]
    query: str = ""
    expected_id: str | None = None
    expected_id_is_prefix: bool = False
    hold_time: float = 0.0

    def accepts(self, expected_id: str) -> bool:
        """Whether an answer with this id is an answer to this request."""
        if self.expected_id is None:
            return ID.fullmatch(expected_id) is not None
        if self.expected_id_is_prefix:
            return (
                expected_id.startswith(self.expected_id) and ID.fullmatch(expected_id) is not None
            )
        return expected_id == self.expected_id


@attrs.define(eq=False)
class Response:
    """A complete HTTP answer.

    Attributes:
        status: The HTTP status.
        headers: Pairs of name and value, as they stood on the wire.
        body: The whole body of a good answer; at most the beginning of any other.
        redact: Takes the API key out of a text, for whatever is shown or kept as evidence.
    """

    status: int
    headers: tuple[tuple[bytes, bytes], ...] = attrs.field(repr=False)
    body: bytes = attrs.field(repr=False)
    redact: Callable[[str], str] = attrs.field(repr=False)

    def header(self, name: str) -> list[str]:
        """All values of one header, masked, in their order."""
        wanted = name.lower().encode()
        values = (value for key, value in self.headers if key.lower() == wanted)
        return [self.redact(value.decode("latin-1")) for value in values]

    def text(self) -> str:
        """The body as text, masked; bytes that are not UTF-8 are replaced."""
        return self.redact(self.body.decode("utf-8", "replace"))

    def excerpt(self) -> str:
        """The beginning of the body, fit to be logged."""
        beginning = self.redact(self.body[:_LONGEST_BEGINNING].decode("utf-8", "replace"))
        return shorten(beginning[: 8 * _EXCERPT_LENGTH])


def printable(text: str) -> str:
    """A text fit to be logged: no queries of URLs, no terminal controls, no lone surrogates."""
    text = _CONTROLS.sub(" ", _URL_QUERY.sub(r"\1?...", text))
    return text.encode("utf-8", "replace").decode()


def shorten(text: str) -> str:
    """One printable line of at most 300 characters."""
    line = " ".join(printable(text).split())
    return line if len(line) <= _EXCERPT_LENGTH else f"{line[: _EXCERPT_LENGTH - 3]}..."
