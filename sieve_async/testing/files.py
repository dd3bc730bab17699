"""The file storage of the fake server: signed links that expire, ranges, checksums."""

import base64
import hashlib
import re
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from math import ceil
from urllib.parse import quote

import attrs

from sieve_async.testing.clock import Clock
from sieve_async.testing.documents import Answer

PREFIX = "/files/"
XML = {"Content-Type": "application/xml; charset=UTF-8"}
# How long before its expiry a link says it was signed, as the API's own links do.
LIFETIME = timedelta(hours=48)


@attrs.define
class FileStore:
    """The files by name, and every link that was made to them."""

    clock: Clock
    requests_with_credentials: int = attrs.field(default=0, init=False)
    # The content of each file, and the headers that describe it.
    _files: dict[str, tuple[bytes, Mapping[str, str]]] = attrs.field(factory=dict, init=False)
    # The expiry of each link, by the file's name and the signature.
    _links: dict[tuple[str, str], datetime | None] = attrs.field(factory=dict, init=False)

    def add(
        self, name: str, body: bytes, headers: Mapping[str, str], expiry: datetime | None
    ) -> str:
        """Add or replace a file, and return the path and query of a link to it."""
        if not re.fullmatch(r"[^/?#\0]+", name) or name in {".", ".."}:
            message = f"name must be a file name without a slash, not {name!r}"
            raise ValueError(message)
        self._files[name] = body, headers
        path = f"{PREFIX}{quote(name)}"
        if expiry is None:
            self._links[name, ""] = None
            return path
        signature = uuid.uuid4().hex
        self._links[name, signature] = expiry
        date = (expiry - LIFETIME).strftime("%Y%m%dT%H%M%SZ")
        seconds = int(LIFETIME.total_seconds())
        return f"{path}?X-Goog-Date={date}&X-Goog-Expires={seconds}&X-Goog-Signature={signature}"

    def answer(self, name: str, query: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
        """Answer a request for a file as the storage does."""
        file = self._files.get(name)
        if file is None:
            return _xml(404, "NoSuchKey", "The specified key does not exist.")
        link = name, query.get("X-Goog-Signature", "")
        if link not in self._links:
            return _xml(403, "AccessDenied", "Access denied.")
        expiry = self._links[link]
        if expiry is not None and self.clock.at(self.clock.now()) >= expiry:
            details = f"Request signature expired at: {expiry.isoformat()}"
            return _xml(400, "ExpiredToken", "The provided token has expired.", details)
        return _in_range(*file, headers)

    def expiry(self, at: datetime | None, within: float | None) -> datetime | None:
        """The end of a link, in whole seconds, as links state it."""
        if at is not None and within is not None:
            message = "expires_at and expires_in exclude each other"
            raise ValueError(message)
        if at is not None and at.tzinfo is None:
            message = f"expires_at must be an aware datetime, not {at!r}"
            raise ValueError(message)
        if within is not None:
            at = self.clock.at(self.clock.now() + within)
        return at and datetime.fromtimestamp(ceil(at.timestamp()), UTC)


def headers_of(body: bytes, content_type: str, etag: str | None, *, md5: bool) -> dict[str, str]:
    """The headers that describe a file; the tag ``"md5"`` makes one."""
    digest = hashlib.md5(body, usedforsecurity=False)
    headers = {"Content-Type": content_type, "Accept-Ranges": "bytes"}
    if etag is not None:
        headers["ETag"] = f'"{digest.hexdigest()}"' if etag == "md5" else etag
    if md5:
        headers["x-goog-hash"] = f"md5={base64.b64encode(digest.digest()).decode()}"
    return headers


def _in_range(content: bytes, described: Mapping[str, str], headers: Mapping[str, str]) -> Answer:
    """Answer with the one range that was asked for, or with the whole file."""
    size, whole = len(content), Answer(200, content, described)
    matches = re.fullmatch(r"bytes=(\d*)-(\d*)", headers.get("Range", "").replace(" ", ""))
    tag = headers.get("If-Range")
    # Weak tags never match here, and dates are not supported.
    is_same = tag is None or (tag == described.get("ETag") and not tag.startswith("W/"))
    if not matches or not any(matches.groups()) or not is_same:
        return whole
    first, last = matches.groups()
    if first:
        start, end = int(first), min(int(last or size), size - 1)
    else:
        start, end = max(0, size - int(last)), size - 1
    if last and first and int(last) < start:
        return whole  # not a valid range: it is ignored
    if start >= size:
        refused = _xml(416, "InvalidRange", "The requested range cannot be satisfied.")
        return attrs.evolve(refused, headers={**XML, "Content-Range": f"bytes */{size}"})
    part = {"Content-Range": f"bytes {start}-{end}/{size}"}
    return Answer(206, content[start : end + 1], {**described, **part})


def _xml(status: int, code: str, message: str, details: str = "") -> Answer:
    more = f"<Details>{details}</Details>" if details else ""
    error = f"<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>"
    body = f"<?xml version='1.0' encoding='UTF-8'?>{error}".encode()
    return Answer(status, body, XML)
