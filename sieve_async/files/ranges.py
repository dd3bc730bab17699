"""What the answers of a storage host mean for a file that is partly there; pure decisions.

Two answers may be joined only if both are of the same content. A strong ETag says so (RFC 9110,
sections 8.8.3 and 13.1.5), a weak one or a date does not.
"""

import base64
import binascii
import re
from collections.abc import Mapping
from http import HTTPStatus
from typing import TYPE_CHECKING, TypeAlias

import attrs

if TYPE_CHECKING:
    from multidict import MultiMapping  # comes with aiohttp

_STRONG_ETAG = re.compile(r'"[\x21\x23-\x7e]{1,1000}"')
_CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,19})-([0-9]{1,19})/([0-9]{1,19}|\*)")
_UNSATISFIED = re.compile(r"bytes \*/([0-9]{1,19})")
_MD5 = re.compile(r"(?:^|[,\s])md5=([A-Za-z0-9+/]{22}==)")
# The words of Google Cloud Storage, of Amazon S3 and of Azure.
_EXPIRED = re.compile(
    rb"ExpiredToken|Request has expired|signature (?:has )?expired|"
    rb"not valid in the specified time frame",
    re.IGNORECASE,
)
_REDIRECTS = frozenset({301, 302, 303, 307, 308})
_TRANSIENT = frozenset({408, 425, 429})
_PLAIN = frozenset({"", "identity", "chunked"})


@attrs.frozen
class Content:
    """What is known about the content that a part file holds the beginning of.

    Attributes:
        etag: Its strong ETag; None where the host gave none.
        length: Its length in bytes; None where it is not known.
        md5: Its MD5 digest in hex; None where it is not known.
    """

    etag: str | None = None
    length: int | None = None
    md5: str | None = None


@attrs.frozen
class Receive:
    """The body is the content from ``offset`` to ``end`` (None where that is not known)."""

    content: Content
    offset: int
    end: int | None


@attrs.frozen
class Complete:
    """The part file already holds all of the content."""


@attrs.frozen
class StartOver:
    """What the part file holds cannot be continued."""

    reason: str


@attrs.frozen
class Redirect:
    """The content is at another URL."""

    location: str


@attrs.frozen
class Refused:
    """The host gave an error."""

    reason: str
    is_transient: bool = False


Decision: TypeAlias = Receive | Complete | StartOver | Redirect | Refused


def range_headers(content: Content, offset: int) -> Mapping[str, str]:
    """The headers that ask for the rest; none where only the whole content can be asked for."""
    headers = {"Accept-Encoding": "identity"}
    if offset and content.etag is not None:
        headers |= {"Range": f"bytes={offset}-", "If-Range": content.etag}
    return headers


def decide(status: int, headers: "MultiMapping[str]", held: Content, offset: int) -> Decision:
    """Say what an answer means.

    Args:
        status: Its HTTP status.
        headers: Its headers.
        held: The content that the part file holds the beginning of.
        offset: Where the asked range begins; 0 if the whole content was asked for.
    """
    if status in _REDIRECTS and (location := headers.get("Location")):
        return Redirect(location)
    if status in {200, 206} and (coding := _coding(headers)):
        return Refused(f"the body has {coding}, not asked for")
    if status == 200:
        return _complete(headers, held, offset)
    if status == 206 and offset:
        return _partial(headers, held, offset)
    if status == 416 and offset:
        return _unsatisfied(headers, held, offset)
    is_transient = status in _TRANSIENT or (status >= 500 and status not in {501, 505})
    return Refused(_describe(status), is_transient=is_transient)


def is_expired(status: int, body: bytes) -> bool:
    """Whether an error says that a signed URL has expired."""
    return status in {400, 401, 403} and _EXPIRED.search(body) is not None


def _complete(headers: "MultiMapping[str]", held: Content, offset: int) -> Receive | StartOver:
    """A 200; where a range was asked for, its length must show that it is not only the range."""
    found = _content(headers)
    if offset and (found.length is None or found.length != held.length):
        return StartOver(f"200 of another length than {held.length}, asked for {offset}-")
    return Receive(found, 0, found.length)


def _partial(headers: "MultiMapping[str]", held: Content, offset: int) -> Receive | StartOver:
    match = _CONTENT_RANGE.fullmatch((headers.get("Content-Range") or "").strip())
    if match is None:
        return StartOver("206 without a Content-Range that can be read")
    first, last = int(match[1]), int(match[2])
    total = held.length if match[3] == "*" else int(match[3])
    found = _content(headers)
    if total is None or not first == offset <= last < total:
        return StartOver(f"206 with Content-Range {match[0]}, asked for {offset}-")
    if held.length not in {None, total}:
        return StartOver(f"the length changed from {held.length} to {total} bytes")
    if found.length not in {None, last - first + 1}:
        return StartOver("206 whose Content-Length and Content-Range differ")
    if (headers.get("ETag") or held.etag) != held.etag or found.md5 not in {
        None,
        held.md5 or found.md5,
    }:
        return StartOver("206 of another content")
    return Receive(attrs.evolve(held, length=total, md5=held.md5 or found.md5), offset, last + 1)


def _unsatisfied(headers: "MultiMapping[str]", held: Content, offset: int) -> Complete | StartOver:
    match = _UNSATISFIED.fullmatch((headers.get("Content-Range") or "").strip())
    length = held.length if match is None else int(match[1])
    if length != offset or held.length not in {None, offset}:
        return StartOver(f"416 although {offset} bytes are not the whole file")
    if _strong_etag(headers) not in {None, held.etag}:
        return StartOver("416 with another ETag")
    return Complete()


def _content(headers: "MultiMapping[str]") -> Content:
    return Content(_strong_etag(headers), _content_length(headers), _md5(headers))


def _strong_etag(headers: "MultiMapping[str]") -> str | None:
    etag = (headers.get("ETag") or "").strip()
    return etag if _STRONG_ETAG.fullmatch(etag) else None


def _content_length(headers: "MultiMapping[str]") -> int | None:
    length = (headers.get("Content-Length") or "").strip()
    return int(length) if length.isascii() and length.isdigit() and len(length) <= 19 else None


def _md5(headers: "MultiMapping[str]") -> str | None:
    """The MD5 in ``x-goog-hash``, which is that of the stored bytes: not of what was unpacked."""
    if (headers.get("x-goog-stored-content-encoding") or "identity").lower() != "identity":
        return None
    for value in headers.getall("x-goog-hash", []):
        if match := _MD5.search(value):
            try:
                return base64.b64decode(match[1], validate=True).hex()
            except binascii.Error:  # pragma: no cover - the pattern leaves nothing to refuse
                return None
    return None


def _coding(headers: "MultiMapping[str]") -> str:
    """What the body is encoded with, beside being sent in chunks."""
    for name in ("content-encoding", "transfer-encoding"):
        coding = headers.get(name, "").strip().lower()
        if coding not in _PLAIN:
            return f"{name} {coding:.40}"
    return ""


def _describe(status: int) -> str:
    try:
        return f"HTTP {status} {HTTPStatus(status).phrase}"
    except ValueError:
        return f"HTTP {status}"
