"""One transfer: requests until a part file holds all of the content, or an error that says why."""

import asyncio
import inspect
import logging
import os
import ssl
import time
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TypeAlias, TypeVar

import aiohttp
import attrs
from yarl import URL

from sieve_async import delays
from sieve_async.decode.error_responses import retry_after
from sieve_async.errors import DownloadError, FileExpiredError
from sieve_async.files.hosts import (
    CheckedResolver,
    ForbiddenUrlError,
    HostRules,
    parse_url,
    without_query,
)
from sieve_async.files.parts import PartFile, on_disk
from sieve_async.files.ranges import (
    Complete,
    Content,
    Decision,
    Receive,
    Redirect,
    Refused,
    StartOver,
    decide,
    is_expired,
    range_headers,
)
from sieve_async.models import File
from sieve_async.settings import RetryPolicy, Timeout
from sieve_async.transport.session import environment_proxy

Progress: TypeAlias = Callable[[int, int | None], object]
# Asks the API for the job again; the same file with a fresh URL, or None where there is none.
Renew: TypeAlias = Callable[[File], Awaitable[File | None]]
Result = TypeVar("Result")

_MAX_REDIRECTS = 5
_WRITE_SIZE = 1024 * 1024
_READ_BUFFER = 256 * 1024
_MAX_ERROR_BODY = 64 * 1024
# An attempt that brought less has failed: else a host that sends a byte at a time has no end.
_MIN_PROGRESS = 64 * 1024

_log = logging.getLogger("sieve_async")


@attrs.frozen(kw_only=True)
class DownloadSettings:
    """How downloads connect and retry; ``Timeout.request`` bounds the silence between two bytes."""

    timeout: Timeout = Timeout()
    retry: RetryPolicy = RetryPolicy()
    trust_env: bool = False


class _AttemptError(Exception):
    """An attempt failed in a way that another one may not."""

    def __init__(self, reason: str, status: int | None = None, delay: float | None = None) -> None:
        super().__init__(reason)
        self.reason, self.status, self.delay = reason, status, delay


class _ExpiredError(Exception):
    """The URL has expired."""


class Transfer:
    """Brings the content of one file into its part, in as many attempts as it takes."""

    def __init__(
        self, file: File, part: PartFile, settings: DownloadSettings, on_progress: Progress | None
    ) -> None:
        self._file = file
        self._part = part
        self._settings = settings
        self._on_progress = on_progress
        self._may_resume = True
        self._is_renewed = False
        self._delays: Iterator[float] | None = None

    async def run(self, renew: Renew | None, *, resume: bool) -> None:
        """Return once the part holds all of the content, checked."""
        if not resume:
            await self._disk(self._part.start, Content())
        if _has_expired(self._file):
            await self._renew(renew)
        best, failures = self._part.size, 0
        while True:
            try:
                await self._attempt(failures + 1)
            except _ExpiredError:
                await self._renew(renew)
                continue
            except _AttemptError as error:
                failure = error
            else:
                return
            if self._part.size >= best + _MIN_PROGRESS:
                best, failures = self._part.size, 0
                self._delays = None
            failures += 1
            await self._pause(failure, failures)

    async def finish(self, target: Path, *, overwrite: bool) -> None:
        """Make the part the target.

        Raises:
            FileExistsError: There is a target by now, and it is not to be overwritten.
        """
        await self._disk(partial(self._part.finish, target, overwrite=overwrite))

    async def _pause(self, failure: _AttemptError, failures: int) -> None:
        """Wait before the next attempt, or raise if there is none."""
        error = DownloadError(failure.reason, without_query(self._file.url), failure.status)
        policy = self._settings.retry
        if failures >= policy.max_attempts:
            raise error
        if self._delays is None:
            self._delays = delays.transient(base=policy.initial_delay, cap=policy.max_delay)
        delay = next(self._delays) if failure.delay is None else failure.delay
        if policy.max_retry_after is not None and delay > policy.max_retry_after:
            raise error
        _log.debug("download of %s: retrying: %s", without_query(self._file.url), failure.reason)
        await asyncio.sleep(delay)

    async def _renew(self, renew: Renew | None) -> None:
        """Take a fresh URL of the file, once."""
        if renew is None:
            raise self._expired("the URL has expired, and its job is not known")
        fresh = None if self._is_renewed else await renew(self._file)
        if fresh is None or fresh.url == self._file.url or _has_expired(fresh):
            raise self._expired("the URL has expired, and the API gives no fresh one")
        self._file, self._is_renewed = fresh, True

    def _expired(self, reason: str) -> FileExpiredError:
        return FileExpiredError(reason, without_query(self._file.url))

    async def _attempt(self, number: int) -> None:
        """Make one request with its redirects and receive what it brings."""
        url, rules = self._first_url()
        resolver = CheckedResolver(rules)
        async with self._session(resolver) as session:
            for _ in range(_MAX_REDIRECTS + 1):
                location = await self._request(session, resolver, url, number)
                if location is None:
                    return
                url = self._redirected(rules, url, location)
        raise self._failed(f"more than {_MAX_REDIRECTS} redirects")

    def _first_url(self) -> tuple[URL, HostRules]:
        try:
            url = parse_url(self._file.url)
            rules = HostRules.for_first(url)
            rules.check_url(url)
        except ForbiddenUrlError as error:
            reason = str(error)
        else:
            return url, rules
        raise self._failed(reason)

    def _redirected(self, rules: HostRules, url: URL, location: str) -> URL:
        """The URL that a redirect leads to."""
        try:
            target = parse_url(str(url.join(URL(location, encoded=location.isascii()))))
            rules.check_url(target)
        except ForbiddenUrlError as error:
            reason = str(error)
        except ValueError:
            reason = "not a URL"
        else:
            return target
        raise self._failed(f"redirected to what must not be contacted: {reason}")

    def _session(self, resolver: CheckedResolver) -> aiohttp.ClientSession:
        """A session that knows no key, keeps no cookies and reuses no connection."""
        timeout = self._settings.timeout
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(
                resolver=resolver, use_dns_cache=False, force_close=True, limit=1
            ),
            cookie_jar=aiohttp.DummyCookieJar(),
            auto_decompress=False,
            read_bufsize=_READ_BUFFER,
            raise_for_status=False,
            timeout=aiohttp.ClientTimeout(
                total=None, connect=timeout.connect, sock_read=timeout.request
            ),
        )

    async def _request(
        self, session: aiohttp.ClientSession, resolver: CheckedResolver, url: URL, number: int
    ) -> str | None:
        """Send one request and receive its body; the location where it was a redirect."""
        part = self._part
        offset = part.size if self._may_resume and part.content.etag is not None else 0
        proxy = environment_proxy(url) if self._settings.trust_env else None
        if proxy is not None:
            resolver.trust_proxy(proxy.host or "")
        headers = range_headers(part.content, offset)
        started = time.monotonic()
        response = await self._network(
            session.get(url, headers=headers, allow_redirects=False, proxy=proxy)
        )
        try:
            _log.debug(
                "GET %s: %d, %.0f ms, attempt %d",
                without_query(url),
                response.status,
                1000 * (time.monotonic() - started),
                number,
            )
            decision = decide(response.status, response.headers, part.content, offset)
            return await self._act(decision, response)
        finally:
            response.close()

    async def _act(self, decision: Decision, response: aiohttp.ClientResponse) -> str | None:
        match decision:
            case Redirect(location):
                return location
            case Receive():
                await self._receive(decision, response)
            case Complete():
                await self._check_digest()
            case StartOver(reason):
                await self._start_over(reason)
            case Refused(reason, is_transient):
                await self._refuse(reason, response, is_transient=is_transient)
        return None

    async def _refuse(
        self, reason: str, response: aiohttp.ClientResponse, *, is_transient: bool
    ) -> None:
        if is_transient:
            raise _AttemptError(reason, response.status, _retry_after(response))
        if response.status >= 400 and is_expired(response.status, await _prefix(response)):
            raise _ExpiredError
        raise self._failed(reason, response.status)

    async def _start_over(self, reason: str) -> None:
        """Give up what the part holds; such a host is not asked for the rest again."""
        self._may_resume = False
        await self._disk(self._part.start, attrs.evolve(self._part.content, etag=None))
        raise _AttemptError(reason)

    async def _receive(self, decision: Receive, response: aiohttp.ClientResponse) -> None:
        """Receive a body into the part, and check that it was all of it."""
        part, end = self._part, decision.end
        if decision.offset == 0:
            await self._disk(part.start, decision.content)
        else:
            part.content = decision.content
        if end is None and not _is_delimited(response) and decision.content.md5 is None:
            raise self._failed("the host says neither how long the file is nor where it ends")
        await self._check_space(decision)
        await self._report(decision.offset)
        received = await self._copy(response, decision.offset, end)
        # aiohttp notices a wrong length where it can, but the file must not depend on that.
        if part.content.length not in {None, received}:
            raise _AttemptError(f"{received} of {part.content.length} bytes came")
        await self._check_digest()

    async def _copy(self, response: aiohttp.ClientResponse, received: int, end: int | None) -> int:
        """Write the body behind the part; how many bytes of the content there are then."""
        buffer = bytearray()
        try:
            while chunk := await self._network(response.content.readany()):
                received += len(chunk)
                if end is not None and received > end:
                    break
                buffer += chunk
                if len(buffer) >= _WRITE_SIZE:
                    full, buffer = buffer, bytearray()
                    await self._write(full)
                await self._report(received)
        except _AttemptError:
            buffer += _unread(response.content)
            raise
        finally:  # what has come is kept, also when the caller cancels
            if buffer:
                await self._write(buffer)
        return received

    async def _write(self, data: bytearray) -> None:
        await self._disk(self._part.append, data)

    async def _check_space(self, decision: Receive) -> None:
        length = decision.content.length
        if length is None:
            return
        free = await self._disk(self._part.free_space)
        if length - decision.offset > free:
            raise self._failed(f"needs {length - decision.offset} bytes, the disk has {free} left")

    async def _check_digest(self) -> None:
        expected = self._part.content.md5
        if expected is None:
            return
        digest = await self._disk(self._part.start_digest)
        while await self._disk(self._part.digest_step, digest):
            pass
        if digest.hexdigest() != expected:
            await self._start_over("the MD5 of what came is not the one the host gave")

    async def _report(self, done: int) -> None:
        if self._on_progress is None:
            return
        result = self._on_progress(done, self._part.content.length)
        if inspect.isawaitable(result):
            await result

    async def _network(self, step: Awaitable[Result]) -> Result:
        """Do one step on the network; aiohttp's errors hold the whole URL, so none leaves."""
        try:
            return await step
        except ForbiddenUrlError as error:
            failure: Exception = self._failed(str(error))
        except aiohttp.ClientConnectorCertificateError:
            failure = self._failed("the certificate of the host is not trusted")
        except (aiohttp.InvalidURL, UnicodeError):
            failure = self._failed("the host name is not valid")
        except (aiohttp.ClientError, OSError) as error:
            failure = _AttemptError(_network_reason(error))
        raise failure

    def _failed(self, reason: str, status: int | None = None) -> DownloadError:
        return DownloadError(reason, without_query(self._file.url), status)

    async def _disk(self, function: Callable[..., Result], *arguments: object) -> Result:
        """Call a method of the part in a thread."""
        url = without_query(self._file.url)
        return await on_disk(self._part.path.parent, url, function, *arguments)


def _has_expired(file: File) -> bool:
    end = file.expires_at
    return end is not None and end.replace(tzinfo=end.tzinfo or UTC) <= datetime.now(UTC)


def _is_delimited(response: aiohttp.ClientResponse) -> bool:
    return "chunked" in response.headers.get("Transfer-Encoding", "").lower()


def _unread(stream: aiohttp.StreamReader) -> bytes:
    """What had come before a connection broke: aiohttp raises without handing it out."""
    return b"".join(stream._buffer)[stream._buffer_offset :]  # noqa: SLF001


async def _prefix(response: aiohttp.ClientResponse) -> bytes:
    """The beginning of the body of an error; what there is of it."""
    body = b""
    try:
        while len(body) < _MAX_ERROR_BODY and (chunk := await response.content.readany()):
            body += chunk
    except (aiohttp.ClientError, OSError):
        pass
    return body


def _retry_after(response: aiohttp.ClientResponse) -> float | None:
    return retry_after(
        response.headers.getall("Retry-After", []),
        date=response.headers.get("Date"),
        now=datetime.now(UTC),
    )


def _network_reason(error: Exception) -> str:
    """What happened, in the system's words: aiohttp's own may hold the URL."""
    cause: BaseException = getattr(error, "os_error", error)
    if isinstance(error, aiohttp.ClientConnectorDNSError):
        return f"the host was not found: {getattr(cause, 'strerror', None) or cause}"
    if isinstance(error, aiohttp.ClientSSLError) or isinstance(cause, ssl.SSLError):
        return f"TLS: {getattr(cause, 'reason', None) or 'the handshake failed'}"
    if isinstance(error, TimeoutError):
        return "the host did not answer in time"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the answer was cut off"
    if isinstance(error, aiohttp.ClientResponseError):
        return "the answer is malformed as HTTP"
    number = getattr(cause, "errno", None)
    return "the connection broke" + (f": {os.strerror(number)}" if number else "")
