"""Answers that come slowly, or not as a whole: what HTTP libraries will not send by themselves."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from http import HTTPStatus
from typing import NoReturn

from aiohttp import web

from sieve_async.testing.answers import Answer
from sieve_async.testing.faults import Drop

JSON = {"Content-Type": "application/json; charset=utf-8"}
# HTTP has no body with these.
BODILESS = frozenset({204, 304})
# How many pieces a dripping body comes in.
PIECES = 10


def all_headers(reply: Answer) -> Mapping[str, str]:
    """Add the headers that every answer has."""
    return {**JSON, **reply.headers} if reply.headers else JSON


def body_of(request: web.BaseRequest, reply: Answer) -> bytes:
    """What is sent of a body: nothing where HTTP has none."""
    return b"" if request.method == "HEAD" or reply.status in BODILESS else reply.body


async def send_slowly(
    request: web.BaseRequest,
    reply: Answer,
    span: tuple[float, float],
    sleep_until: Callable[[float], Awaitable[None]],
) -> web.StreamResponse:
    """Send an answer whose body comes in pieces, between two moments of the server's clock."""
    headers = {**all_headers(reply), "Content-Length": str(len(reply.body))}
    response = web.StreamResponse(status=reply.status, headers=headers)
    await response.prepare(request)
    body = body_of(request, reply)
    begins, ends = span
    starts = range(0, len(body), max(1, -(-len(body) // PIECES)))
    for number, start in enumerate(starts, 1):
        # Moments and not pauses: time that is put forward by hand may pass several at once.
        await sleep_until(begins + (ends - begins) * number / len(starts))
        await response.write(body[start : start + starts.step])
    await response.write_eof()
    return response


async def send_broken(request: web.BaseRequest, reply: Answer, drop: Drop) -> NoReturn:
    """Send only the beginning of an answer, and close the connection."""
    transport = request.transport
    if transport:  # pragma: no branch - whoever hangs up has this cancelled, a turn later at most
        transport.write(_beginning(reply, drop))
        transport.close()
    cancelled_by_closing: asyncio.Future[NoReturn] = asyncio.get_running_loop().create_future()
    await cancelled_by_closing


def _beginning(reply: Answer, drop: Drop) -> bytes:
    if drop == "before":
        return b""
    headers = {**all_headers(reply), "Content-Length": str(len(reply.body))}
    phrase = HTTPStatus(reply.status).phrase if reply.status in set(HTTPStatus) else ""
    lines = [f"HTTP/1.1 {reply.status} {phrase}", *(f"{name}: {headers[name]}" for name in headers)]
    head = "\r\n".join([*lines, "", ""]).encode()
    # Without its last bytes, which end the headers, or with half of the body.
    return head[:-4] if drop == "headers" else head + reply.body[: len(reply.body) // 2]
