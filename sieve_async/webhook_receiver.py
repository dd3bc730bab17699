"""HTTP endpoint for Sieve's webhooks: each event makes the next poll of its job due now.

Webhooks are not signed, so an event is a hint, never a result: lost, repeated and forged events
change when a job is polled, not what a wait returns.
"""

import asyncio
import hmac
import inspect
import logging
import re
import secrets
from collections import OrderedDict
from collections.abc import Callable

from aiohttp import HttpVersion11, web
from aiohttp.log import access_logger

from sieve_async.config import Secret, check_callable, check_job_id
from sieve_async.errors import InvalidArgumentError
from sieve_async.webhooks import parse_webhook

_LOG = logging.getLogger("sieve_async")

_TOKEN = re.compile(r"[A-Za-z0-9_-]{32,128}")
_MAX_BODY = 64 * 1024
# An event whose body was cut at that size may still name its job.
_JOB_ID = re.compile(rb'"job_id"\s*:\s*"([^"\\]{1,256})"')
# A delivery that takes longer is answered as it is, in seconds.
_READ_TIMEOUT = 10.0
# At most one nudge of a job in so many seconds.
_MIN_INTERVAL = 0.5


class WebhookReceiver:
    """Receives webhooks at ``POST /sieve/{token}`` and nudges the jobs that they name.

    The token in the path keeps strangers out. Requests without it get 404; everything else gets
    200, because any other answer would be delivered up to ten times.

    Args:
        nudge: Called with the id of each job that has an event, at most once in 0.5 s:
            ``client.nudge``, or a function (also a coroutine function) that passes the id on to
            other processes. What it raises is logged.
        token: 32 to 128 letters, digits, ``-`` and ``_``, for several processes behind one
            address; a random one if not given.

    Raises:
        InvalidArgumentError: ``nudge`` is not callable, or ``token`` is invalid.
    """

    def __init__(self, nudge: Callable[[str], object], *, token: str | None = None) -> None:
        check_callable("nudge", nudge, optional=False)
        if token is None:
            token = secrets.token_urlsafe(32)
        if not _is_token(token):
            del token  # a traceback with locals would show it
            raise InvalidArgumentError("token must be 32 to 128 letters, digits, '-' and '_'")
        self._nudge = nudge
        self._token = Secret(token)
        self._nudged: OrderedDict[str, float] = OrderedDict()  # job id -> when, oldest first
        self._later: set[str] = set()  # jobs that are nudged once more
        self._tasks: set[asyncio.Task[None]] = set()  # which do so

    def __repr__(self) -> str:
        return "<WebhookReceiver /sieve/[token]>"

    @property
    def path(self) -> str:
        """The path with the token; a push takes the public URL that leads to it."""
        return f"/sieve/{self._token.value}"

    def add_to(
        self, app: web.Application, *, access_log: logging.Logger | None = access_logger
    ) -> None:
        """Add the route to an application.

        Args:
            app: The application, before it starts.
            access_log: The access logger of the server, which writes paths: the token is redacted
                there. Pass the one that the server was given, if it is not aiohttp's own.
        """
        app.router.add_route("*", "/sieve/{token}", self._handle, expect_handler=_send_continue)
        app.on_cleanup.append(self._stop)
        if access_log is not None:
            access_log.addFilter(self._redact)

            async def remove_filter(_: web.Application) -> None:
                access_log.removeFilter(self._redact)

            app.on_cleanup.append(remove_filter)

    async def _handle(self, request: web.Request) -> web.Response:
        given, expected = request.match_info["token"], str(self._token.value)
        if not hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode()):
            raise web.HTTPNotFound
        body = await _read(request)
        job_id = _find_job_id(body)
        if job_id is not None:
            await self._on_event(job_id)
        return web.Response()

    async def _on_event(self, job_id: str) -> None:
        """Nudge a job, or once more later if it was just nudged: it may have ended since."""
        now = asyncio.get_running_loop().time()
        while self._nudged and now - next(iter(self._nudged.values())) >= _MIN_INTERVAL:
            self._nudged.popitem(last=False)
        if job_id in self._later:
            return
        if job_id not in self._nudged:
            await self._nudge_now(job_id)
            return
        self._later.add(job_id)
        delay = self._nudged[job_id] + _MIN_INTERVAL - now
        task = asyncio.create_task(self._nudge_later(job_id, delay))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _nudge_later(self, job_id: str, delay: float) -> None:
        await asyncio.sleep(delay)
        self._later.discard(job_id)
        await self._nudge_now(job_id)

    async def _stop(self, _: web.Application) -> None:
        self._later.clear()
        tasks = [*self._tasks]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _nudge_now(self, job_id: str) -> None:
        self._nudged[job_id] = asyncio.get_running_loop().time()
        self._nudged.move_to_end(job_id)
        try:
            result = self._nudge(job_id)
            if inspect.isawaitable(result):
                result = await result
        except Exception as error:  # noqa: BLE001 - the caller's; another answer would repeat it
            _LOG.warning("webhook of job %s: nudge failed: %r", job_id, error)
        else:
            if result is False:  # nothing waited for it: the next event is not a repetition
                self._nudged.pop(job_id, None)

    def _redact(self, record: logging.LogRecord) -> bool:
        token = str(self._token.value)
        for name, value in record.__dict__.items():
            record.__dict__[name] = _replace(value, token)
        return True


async def _send_continue(request: web.Request) -> None:
    """Ask for the body, whatever else a client expects: aiohttp would answer 417 to that."""
    if request.version >= HttpVersion11:
        await request.writer.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        request.writer.output_size = 0  # the response has not begun yet


def _is_token(token: object) -> bool:
    return isinstance(token, str) and _TOKEN.fullmatch(token) is not None


async def _read(request: web.Request) -> bytes:
    """The body, or what could be read of it."""
    body = bytearray()
    try:
        async with asyncio.timeout(_READ_TIMEOUT):
            while len(body) < _MAX_BODY and not request.content.at_eof():
                body += await request.content.read(_MAX_BODY - len(body))
    except Exception as error:  # noqa: BLE001 - broken bodies are answered like others
        _LOG.debug("webhook: body cannot be read: %r", error)
    return bytes(body)


def _find_job_id(body: bytes) -> str | None:
    """The job that an event is about; None if it names none."""
    try:
        return check_job_id(parse_webhook(body).job_id)
    except InvalidArgumentError:
        found = _JOB_ID.search(body) if len(body) == _MAX_BODY else None
    if found is None:
        return None
    try:
        return check_job_id(found[1].decode("ascii", "replace"))
    except InvalidArgumentError:
        return None


def _replace(value: object, token: str) -> object:
    if isinstance(value, str):
        return value.replace(token, "[token]")
    if isinstance(value, dict):
        return {name: _replace(item, token) for name, item in value.items()}
    if isinstance(value, tuple):
        return tuple(_replace(item, token) for item in value)
    return value
