"""The receiver of webhooks: what it answers, what it nudges, and that events are only hints."""

import asyncio
import contextlib
import json
import logging
from collections.abc import AsyncIterator
from typing import Any, Literal

import aiohttp
import pytest
from aiohttp import web

from helpers.http_helpers import now
from helpers.leak_checks import KEY
from helpers.raw_server import ScriptedServer, job_until
from sieve_async import InvalidArgumentError, PollPolicy, SieveClient, WebhookReceiver
from sieve_async.testing import FakeSieve

_TOKEN = "t" * 40
_LIMIT = 64 * 1024
_ENDS: tuple[Literal["finished", "error", "cancelled"], ...] = ("finished", "error", "cancelled")


class Nudged(list[str]):
    """The ids that were nudged; a callable for a receiver."""

    def __call__(self, job_id: str) -> None:
        """Record one nudge."""
        self.append(job_id)


@contextlib.asynccontextmanager
async def serving(receiver: WebhookReceiver, **options: Any) -> AsyncIterator[str]:
    """Serve a receiver on loopback, and give its address without the path."""
    app = web.Application()
    receiver.add_to(app, **options)
    runner = web.AppRunner(app)
    await runner.setup()
    try:
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        host, port = runner.addresses[0][:2]
        yield f"http://{host}:{port}"
    finally:
        await runner.cleanup()
        await asyncio.sleep(0)  # its last connections close in this turn


async def post(url: str, data: object, **options: Any) -> int:
    """Post a body, JSON if it is a mapping; the status of the answer."""
    body = json.dumps(data).encode() if isinstance(data, dict) else data
    async with aiohttp.ClientSession() as session, session.post(url, data=body, **options) as got:
        return got.status


def event(job_id: object = "j1", kind: str = "job.complete", **members: object) -> dict[str, Any]:
    """Make an event."""
    return {"type": kind, "body": {"job_id": job_id, "status": "finished", **members}}


def test_tokens() -> None:
    """Each receiver has a long token of its own, which its repr does not show."""
    first, second = WebhookReceiver(print), WebhookReceiver(print)
    assert first.path != second.path
    assert len(first.path.removeprefix("/sieve/")) == 43  # 32 random bytes
    assert WebhookReceiver(print, token=_TOKEN).path == f"/sieve/{_TOKEN}"
    assert repr(first) == "<WebhookReceiver /sieve/[token]>"
    bad: list[Any] = ["", "short", "a/b" * 20, "ü" * 40, 7, "t" * 200]
    for token in bad:
        with pytest.raises(InvalidArgumentError, match="token must be 32 to 128") as caught:
            WebhookReceiver(print, token=token)
        assert str(token) not in str(caught.value) or not token
    no_functions: list[Any] = ["client", None]
    for nudge in no_functions:
        with pytest.raises(InvalidArgumentError, match="nudge"):
            WebhookReceiver(nudge)


async def test_every_event_nudges_its_job() -> None:
    """Events of all types nudge the job that they name; what is no event is accepted too.

    Another answer than 200 would only have it delivered again.
    """
    nudged = Nudged()
    receiver = WebhookReceiver(nudged)
    kinds = ["job.start", "job.complete", "job.new_output", "something.new"]
    async with serving(receiver) as address:
        for kind in kinds:
            assert await post(address + receiver.path, event(kind, kind)) == 200
        for body in (
            *(b"", b"\xff\x00\xfe", b"[" * 10_000, {"type": "job.complete"}, event(None), event(7)),
            *(event("../../v2/user"), {"body": {"job_id": "j1"}}),
        ):
            assert await post(address + receiver.path, body) == 200
    assert nudged == kinds


async def test_a_wrong_token_is_not_found() -> None:
    """Without the token there is 404, whatever else is right, and nothing is nudged."""
    nudged = Nudged()
    receiver = WebhookReceiver(nudged, token=_TOKEN)
    async with serving(receiver) as address:
        wrong = ["t" * 39, "t" * 41, "u" * 40, "%FF" * 40, _TOKEN.upper(), ""]
        answers = [await post(f"{address}/sieve/{token}", event()) for token in wrong]
    assert answers == [404] * len(wrong)
    assert nudged == []


async def test_broken_encodings_and_other_methods_are_accepted() -> None:
    """A body that cannot be decoded, and a request of another method, are answered with 200."""
    nudged = Nudged()
    receiver = WebhookReceiver(nudged)
    broken = {"Content-Encoding": "gzip"}
    async with serving(receiver) as address, aiohttp.ClientSession() as session:
        url = address + receiver.path
        assert await post(url, b"this is not gzip", headers=broken) == 200
        for method in ("GET", "PUT", "DELETE"):
            async with session.request(method, url) as answer:
                assert answer.status == 200
        assert nudged == []
        assert await post(url, event(), headers={"Expect": "100-continue"}) == 200
        assert await post(url, event("j2"), headers={"Expect": "the worst"}) == 200
        assert await post(f"{url}x", event("j3"), headers={"Expect": "the worst"}) == 404
    assert nudged == ["j1", "j2"]


async def test_a_large_event_still_names_its_job() -> None:
    """Of a body beyond 64 KiB the beginning is read, which may name the job."""
    nudged = Nudged()
    receiver = WebhookReceiver(nudged)
    outputs = [{"data": "x" * 200_000}]
    late = {"type": "job.complete", "body": {"outputs": outputs, "job_id": "j2"}}
    async with serving(receiver) as address:
        assert await post(address + receiver.path, event(outputs=outputs)) == 200
        assert await post(address + receiver.path, late) == 200
        assert await post(address + receiver.path, event("../x", outputs=outputs)) == 200
    assert nudged == ["j1"]


async def test_no_more_than_the_limit_is_read() -> None:
    """The answer comes when 64 KiB have arrived, whatever is announced."""
    nudged = Nudged()
    receiver = WebhookReceiver(nudged)
    async with serving(receiver) as address:
        start = json.dumps(event(outputs=["x" * _LIMIT])).encode()[:_LIMIT]
        assert await answer_to(address, receiver, start, announced=2 * _LIMIT) == b"HTTP/1.1 200 OK"
    assert nudged == ["j1"]


@pytest.mark.looptime
async def test_a_body_that_never_ends() -> None:
    """A body that stops in the middle is answered after 10 s."""
    loop = asyncio.get_running_loop()
    receiver = WebhookReceiver(print)
    async with serving(receiver) as address:
        started = loop.time()
        assert await answer_to(address, receiver, b"{", announced=10) == b"HTTP/1.1 200 OK"
        assert 10.0 <= loop.time() - started < 10.5


@pytest.mark.looptime
async def test_repetitions_are_nudged_once_in_half_a_second() -> None:
    """Each job is nudged at most once in 0.5 s, jobs independently of each other."""
    nudged = Nudged()
    receiver = WebhookReceiver(nudged)
    async with serving(receiver) as address:
        steps = [(0, "j1"), (0.1, "j1"), (0, "j2"), (0.3, "j1"), (0.15, "j1"), (0, "j2")]
        for pause, job_id in steps:
            await asyncio.sleep(pause)
            assert await post(address + receiver.path, event(job_id)) == 200
    assert nudged == ["j1", "j2", "j1"]


@pytest.mark.looptime
async def test_an_event_that_came_too_early_is_no_repetition() -> None:
    """Where nothing waits for a job yet, its next event nudges again."""
    answers = iter([False, True, True])
    calls = Nudged()

    def nudge(job_id: str) -> bool:
        calls(job_id)
        return next(answers)

    receiver = WebhookReceiver(nudge)
    async with serving(receiver) as address:
        for _ in range(3):
            assert await post(address + receiver.path, event()) == 200
    assert calls == ["j1", "j1"]


async def test_the_nudge_may_be_a_coroutine_function(caplog: pytest.LogCaptureFixture) -> None:
    """A coroutine function is awaited; what it raises is a warning, and not an answer."""
    nudged = Nudged()

    async def nudge(job_id: str) -> None:
        await asyncio.sleep(0)
        nudged(job_id)
        raise LookupError(job_id)

    receiver = WebhookReceiver(nudge)
    async with serving(receiver) as address:
        assert await post(address + receiver.path, event()) == 200
    assert nudged == ["j1"]
    warnings = [record for record in caplog.records if record.levelno == logging.WARNING]
    assert [record.getMessage() for record in warnings] == [
        "webhook of job j1: nudge failed: LookupError('j1')"
    ]


async def test_no_log_shows_the_token(caplog: pytest.LogCaptureFixture) -> None:
    """Access logs have the path without the token, in text and fields; None leaves all alone."""
    receiver = WebhookReceiver(print, token=_TOKEN)
    logger, own = logging.getLogger("aiohttp.access"), logging.getLogger("own.access")
    async with serving(receiver) as address:
        await post(address + receiver.path, event())
        await post(f"{address}{receiver.path}/deeper?x={_TOKEN}", event())
    lines = [record for record in caplog.records if record.name == logger.name]
    assert len(lines) == 2
    assert all("/sieve/[token]" in record.getMessage() for record in lines)
    async with serving(receiver, access_log=own):
        own.info('"POST %s HTTP/1.1" 200', receiver.path)
    async with serving(receiver, access_log=None):
        assert not logger.filters
    assert 'POST /sieve/[token] HTTP/1.1" 200' in caplog.text
    assert not any(_TOKEN in repr(record.__dict__) for record in caplog.records)
    assert not logger.filters


FAULTS: dict[str, list[dict[str, Any]]] = {
    "none": [],
    "lost": [{"lose": True}],
    "repeated": [{"repeats": 4}],
    "reordered": [
        {"delay": 7.0, "probability": 0.5, "seed": 3},
        {"delay": 2.0, "probability": 0.5, "seed": 4, "event": "job.start"},
    ],
    "forged": [{"fields": {"status": "cancelled", "error": "forged", "outputs": ["forged"]}}],
    "of another job": [{"fields": {"job_id": "some-other-job"}}],
}


@pytest.mark.looptime
async def test_events_change_nothing_but_the_time() -> None:
    """Lost, repeated, reordered and forged events lead to the results of plain polling."""
    plain = await _results([], with_webhooks=False)
    assert len(plain) == 6
    for faults in FAULTS.values():
        assert await _results(faults, with_webhooks=True) == plain


@pytest.mark.looptime
async def test_an_end_is_seen_when_its_event_comes() -> None:
    """With webhooks an outcome comes within moments of the end, although polls are rare."""
    async with _pushed_jobs([], with_webhooks=True, count=6) as (client, ids):
        delays = [
            outcome.elapsed - (1.0 + 3.0 + 1.7 * ids.index(outcome.job_id))
            async for outcome in client.as_completed(ids)
        ]
    assert sorted(delays)[3] < 0.05


async def _results(
    faults: list[dict[str, Any]], *, with_webhooks: bool
) -> dict[int, tuple[str, object]]:
    async with _pushed_jobs(faults, with_webhooks=with_webhooks, count=6) as (client, ids):
        return {
            ids.index(outcome.job_id): (outcome.status, outcome.job.data)
            async for outcome in client.as_completed(ids)
        }


@contextlib.asynccontextmanager
async def _pushed_jobs(
    faults: list[dict[str, Any]], *, with_webhooks: bool, count: int
) -> AsyncIterator[tuple[SieveClient, list[str]]]:
    """Push jobs of different lengths and ends, all with webhooks or none."""
    polling = PollPolicy(min_interval=0.5, growth=0.5, max_interval=60.0)
    async with (
        FakeSieve(api_key=KEY) as sieve,
        SieveClient(KEY, base_url=sieve.url, polling=polling) as client,
    ):
        receiver = WebhookReceiver(client.nudge)
        async with serving(receiver) as address:
            for fault in faults:
                sieve.webhook_fault(**fault)
            types = ("job.start", "job.new_output", "job.complete") if with_webhooks else ()
            webhooks = [{"type": kind, "url": address + receiver.path} for kind in types]
            ids = []
            for number in range(count):
                status = _ENDS[number % 3]
                sieve.script_function(
                    f"me/f{number}",
                    queued=1,
                    processing=3 + 1.7 * number,
                    outputs=[number] if status == "finished" else [],
                    status=status,
                )
                ids.append(await _push(sieve, f"me/f{number}", webhooks))
            yield client, ids


async def _push(sieve: FakeSieve, function: str, webhooks: list[dict[str, str]]) -> str:
    body = {"function": function, "inputs": {}, "webhooks": webhooks}
    async with (
        aiohttp.ClientSession(sieve.url, headers={"X-API-Key": sieve.api_key}) as session,
        session.post("/v2/push", json=body) as answer,
    ):
        return str((await answer.json())["id"])


async def answer_to(
    address: str, receiver: WebhookReceiver, body: bytes, *, announced: int
) -> bytes:
    """Send the beginning of a body, and the rest after the answer, whose first line it gives."""
    host, _, port = address.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    head = f"POST {receiver.path} HTTP/1.1\r\nHost: x\r\nContent-Length: {announced}\r\n\r\n"
    writer.write(head.encode() + body)
    try:
        line = (await reader.readline()).strip()
        writer.write(b" " * (announced - len(body)))
        await writer.drain()
        return line
    finally:
        writer.close()
        await writer.wait_closed()


@pytest.mark.looptime
async def test_an_event_right_after_another_one_is_not_lost() -> None:
    """A job may have ended since the poll that an event half a second ago led to."""
    ends_at = now() + 5
    async with (
        ScriptedServer(lambda asked: job_until(ends_at, asked.job_id)) as server,
        server.client(polling=PollPolicy(min_interval=60, max_interval=60)) as client,
    ):
        receiver = WebhookReceiver(client.nudge)
        async with serving(receiver) as address:
            wait = asyncio.create_task(client.wait_for_job("j1"))
            await asyncio.sleep(4.8)
            await post(address + receiver.path, event(kind="job.new_output"))
            await asyncio.sleep(0.3)
            await post(address + receiver.path, event())
            assert (await wait).succeeded
            assert now() < ends_at + 1
            await post(address + receiver.path, event())
            await post(address + receiver.path, event())  # the server stops before its turn


@pytest.mark.looptime
async def test_clean_up_ends_late_nudges() -> None:
    """A late nudge that takes long is ended with the application, not left behind."""
    begun: list[str] = []
    ended: list[str] = []

    async def nudge(job_id: str) -> None:
        begun.append(job_id)
        try:
            await asyncio.sleep(60 if len(begun) > 1 else 0)
        finally:
            ended.append(job_id)

    receiver = WebhookReceiver(nudge)
    started = now()
    async with serving(receiver) as address:
        for _ in range(2):
            await post(address + receiver.path, event())
        await asyncio.sleep(1)
    assert begun == ended == ["j1", "j1"]
    assert now() - started < 30


@pytest.mark.looptime
async def test_one_nudge_in_half_a_second() -> None:
    """An event while a late nudge is due is part of it, whatever the nudge before has said."""
    times: list[float] = []

    async def nudge(_: str) -> bool:
        times.append(now())
        await asyncio.sleep(0.3)
        return len(times) > 1  # nothing waited for the job at first

    receiver = WebhookReceiver(nudge)

    async def send(after: float) -> None:
        await asyncio.sleep(after)
        await post(address + receiver.path, event())

    async with serving(receiver) as address:
        await asyncio.gather(send(0), send(0.1), send(0.4))
        await asyncio.sleep(2)
    first, second = times
    assert second - first >= 0.45
