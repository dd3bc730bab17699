"""Webhook events of pushed jobs, as a receiver on loopback gets them."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, TypeAlias

import aiohttp
import pytest
from aiohttp import web

from sieve_async.testing import FakeSieve
from sieve_async.testing.webhooks import is_loopback

Push: TypeAlias = Callable[..., Awaitable[str]]
ALL = ("job.start", "job.new_output", "job.complete", "job.complete.no_output")


class Receiver:
    """A server that records events and when they came, and answers with the statuses given."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []
        self.times: list[float] = []
        self.statuses: list[int] = []
        self.headers: list[str] = []
        self.url = ""

    async def receive(self, request: web.BaseRequest) -> web.Response:
        """Record an event."""
        self.events.append(json.loads(await request.read()))
        self.times.append(asyncio.get_running_loop().time())
        self.headers.append(repr(request.raw_headers))
        return web.Response(status=self.statuses.pop(0) if self.statuses else 200)

    @property
    def types(self) -> list[str]:
        """The types of the events, in order."""
        return [event["type"] for event in self.events]


@pytest.fixture
async def receiver() -> AsyncIterator[Receiver]:
    """A receiver on loopback."""
    one = Receiver()
    runner = web.ServerRunner(web.Server(one.receive))
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    one.url = f"http://127.0.0.1:{runner.addresses[0][1]}/hook"
    yield one
    await runner.cleanup()


@pytest.fixture
def push(session: aiohttp.ClientSession, receiver: Receiver) -> Push:
    """Push a job of me/mine with webhooks to the receiver, and return its id."""

    async def call(*types: str, url: str = "") -> str:
        hooks = [{"type": each, "url": url or receiver.url} for each in types or ALL]
        body = {"function": "me/mine", "inputs": {}, "webhooks": hooks}
        async with session.post("/v2/push", json=body) as response:
            assert response.status == 200
            job_id: str = (await response.json())["id"]
            return job_id

    return call


async def settled(sieve: FakeSieve, events: int) -> None:
    """Wait until so many deliveries have been answered with 200."""
    async with asyncio.timeout(1000):
        while sum(each.is_delivered for each in sieve.deliveries) < events:  # noqa: ASYNC110 - the server has no event for this
            await asyncio.sleep(0.01)


@pytest.mark.looptime
async def test_events_of_a_job(sieve: FakeSieve, receiver: Receiver, push: Push) -> None:
    """Each event comes when it happens, with the documented body."""
    outputs = ["a", {"url": "https://x.test/a.mp4", "_path": None}, [{"data": 1}]]
    sieve.script_function("me/mine", queued=2, processing=6, outputs=outputs, streams=True)
    job_id = await push()
    await settled(sieve, 6)
    assert receiver.types[:4] == ["job.start", *["job.new_output"] * 3]
    assert sorted(receiver.types[4:]) == ["job.complete", "job.complete.no_output"]
    assert [round(time, 1) for time in receiver.times] == [2, 4, 6, 8, 8, 8]
    bodies = {event["type"]: event["body"] for event in receiver.events}
    first = receiver.events[1]["body"]
    start = {"job_id": job_id, "status": "processing", "error": "", "outputs": []}
    assert bodies["job.start"] == start
    assert (first["job_id"], json.loads(first["output"])["data"]) == (job_id, "a")
    assert bodies["job.complete.no_output"] == {"job_id": job_id, "status": "finished", "error": ""}
    assert [each["data"] for each in bodies["job.complete"]["outputs"]] == [
        "a",
        [{"Key": "url", "Value": "https://x.test/a.mp4"}, {"Key": "_path", "Value": None}],
        [{"data": 1}],
    ]
    assert all(sieve.api_key not in headers for headers in receiver.headers)


@pytest.mark.parametrize("status", ["error", "cancelled"])
async def test_other_ends(sieve: FakeSieve, receiver: Receiver, push: Push, status: str) -> None:
    """``job.complete`` stands for every terminal status; old types are sent as asked for."""
    sieve.script_function("me/mine", by="manual")
    job = sieve.job(await push("job_start", "job_complete"))
    job.start()
    await settled(sieve, 1)
    (job.fail if status == "error" else job.cancel)()
    await settled(sieve, 2)
    first, last = receiver.events
    assert (first["type"], last["type"]) == ("job_start", "job_complete")
    assert last["body"]["status"] == status
    assert last["body"]["error"].startswith("Traceback") is (status == "error")


async def test_jobs_by_hand(sieve: FakeSieve, receiver: Receiver, push: Push) -> None:
    """A job that a test moves reports each move, also those while the server was stopped."""
    sieve.script_function("me/mine", by="manual")
    job = sieve.job(await push("job.start", "job.new_output", "job.complete.no_output"))
    job.start()
    await settled(sieve, 1)
    job.yield_output(1)
    await settled(sieve, 2)
    await sieve.stop()
    job.restart()
    job.yield_output(2)
    assert len(sieve.deliveries) == 2
    await sieve.start()
    await settled(sieve, 3)
    job.finish()
    await settled(sieve, 4)
    assert receiver.types == ["job.start", *["job.new_output"] * 2, "job.complete.no_output"]
    outputs = [json.loads(event["body"]["output"])["data"] for event in receiver.events[1:3]]
    assert outputs == [1, 2]


@pytest.mark.looptime
async def test_cancelled_job(
    sieve: FakeSieve, receiver: Receiver, push: Push, session: aiohttp.ClientSession
) -> None:
    """A job that is cancelled reports its end once, not again when it would have ended."""
    sieve.script_function("me/mine", processing=5)
    job_id = await push("job.complete")
    async with session.delete(f"/v2/jobs/{job_id}") as response:
        assert response.status == 200
    await asyncio.sleep(10)
    assert [event["body"]["status"] for event in receiver.events] == ["cancelled"]


# Delivery


@pytest.mark.looptime
async def test_delivery_is_repeated_until_200(
    sieve: FakeSieve, receiver: Receiver, push: Push
) -> None:
    """Any other answer than exactly 200 leads to another try, after growing pauses."""
    sieve.script_function("me/mine")
    receiver.statuses = [500, 204, 404]
    await push("job.complete")
    await settled(sieve, 1)
    [delivery] = sieve.deliveries
    assert delivery.statuses == [500, 204, 404, 200]
    assert [round(time) for time in receiver.times] == [0, 1, 3, 7]
    assert receiver.events == [receiver.events[0]] * 4


@pytest.mark.looptime
async def test_delivery_ends_after_ten_attempts(
    sieve: FakeSieve, receiver: Receiver, push: Push
) -> None:
    """A receiver that refuses is not bothered any more."""
    sieve.script_function("me/mine")
    receiver.statuses = [503] * 11
    await push("job.complete")
    await asyncio.sleep(10_000)
    [delivery] = sieve.deliveries
    assert (delivery.statuses, delivery.is_delivered) == ([503] * 10, False)


def test_loopback_addresses() -> None:
    """Only literal loopback addresses and the name localhost are this machine."""
    here = ["http://127.0.0.1:8000/hook", "http://localhost:1/", "http://[::1]:1/"]
    others = ["https://127.0.0.1/", "http://x.test/hook", "http://localhost.x.test/"]
    others += ["http://10.0.0.1/", "http://127.0.0.1@x.test/", "hook", "http://[bad/", ""]
    assert [url for url in here + others if is_loopback(url)] == here


@pytest.mark.looptime
async def test_addresses(sieve: FakeSieve, receiver: Receiver, push: Push) -> None:
    """Other addresses and redirects are not followed; localhost is replaced, but for the header."""
    sieve.script_function("me/mine")
    sieve.fault(path="/hook", status=307, headers={"Location": "/elsewhere"})
    local = receiver.url.replace("127.0.0.1", "localhost")
    for url in ("https://x.test/hook", "http://127.0.0.1:1/hook", f"{sieve.url}/hook", local):
        await push("job.complete", url=url)
    await asyncio.sleep(0.5)
    statuses = [each.statuses for each in sieve.deliveries]
    assert statuses == [[], [0], [307], [200]]  # 0 is a refused connection
    assert [each.is_lost for each in sieve.deliveries] == [True, False, False, False]
    assert sieve.requests_for("/elsewhere") == 0
    assert "localhost" in receiver.headers[0]


@pytest.mark.looptime
async def test_events_of_an_outage_come_late(
    sieve: FakeSieve, receiver: Receiver, push: Push
) -> None:
    """What happens, or was to be repeated, while the server is stopped is sent when it starts."""
    sieve.script_function("me/mine", processing=10)
    receiver.statuses = [500]
    await push("job.start", "job.complete")
    await asyncio.sleep(0.5)
    await sieve.stop()
    assert not sieve._timers._pending
    await asyncio.sleep(60)
    before = receiver.types
    await sieve.start()
    await settled(sieve, 2)
    assert before == ["job.start"]
    assert sorted(receiver.types) == ["job.complete", "job.start", "job.start"]
    assert receiver.times[-1] == pytest.approx(60.5, abs=0.1)


async def test_manual_clock(receiver: Receiver) -> None:
    """Events come, in order, when a manual clock passes their moments, and retries as well."""
    receiver.statuses = [500]
    async with FakeSieve(clock="manual") as sieve:
        sieve.script_function("me/mine", queued=60, processing=3600)
        hooks = [{"type": each, "url": receiver.url} for each in ("job.start", "job.complete")]
        body = {"function": "me/mine", "inputs": {}, "webhooks": hooks}
        key = {"X-API-Key": sieve.api_key}
        async with aiohttp.request("POST", f"{sieve.url}/v2/push", json=body, headers=key):
            pass
        sieve.advance(59)
        before = sieve.deliveries
        sieve.advance(1)
        while not sieve.deliveries[0].statuses:  # noqa: ASYNC110 - the server has no event for this
            await asyncio.sleep(0.01)
        sieve.advance(1)
        await settled(sieve, 1)
        sieve.advance(3600)
        await settled(sieve, 2)
    assert before == []
    assert receiver.types == ["job.start", "job.start", "job.complete"]


@pytest.mark.looptime
async def test_removed_job_reports_nothing(sieve: FakeSieve, push: Push) -> None:
    """A job that was removed has no events any more, whatever takes its id."""
    sieve.script_function("me/mine", processing=10)
    job_id = await push()
    await settled(sieve, 1)
    sieve.remove_job(job_id)
    sieve.add_job(job_id, processing=20)
    await asyncio.sleep(100)
    assert [each.event for each in sieve.deliveries] == ["job.start"]


# Faults


@pytest.mark.looptime
async def test_faults(sieve: FakeSieve, receiver: Receiver, push: Push) -> None:
    """Events are lost, come late, more than once, or with a forged body."""
    sieve.script_function("me/mine", processing=1, outputs=["a", "b"], streams=True)
    lost = sieve.webhook_fault(event="job.complete", lose=True)
    sieve.webhook_fault(job="another", lose=True)
    sieve.webhook_fault(event="job.start", delay=5)
    sieve.webhook_fault(event="job.start", fields={"status": "finished", "new": [1]})
    sieve.webhook_fault(event="job.new_output", repeats=2, times=1)
    job_id = await push("job.start", "job.new_output", "job.complete")
    await asyncio.sleep(100)
    assert receiver.types == ["job.new_output"] * 4 + ["job.start"]
    assert [round(time, 1) for time in receiver.times] == [0.5, 0.5, 0.5, 1, 5]
    assert receiver.events[:3] == [receiver.events[0]] * 3
    body = receiver.events[4]["body"]
    assert (body["job_id"], body["status"], body["new"]) == (job_id, "finished", [1])
    assert (lost.hits, sum(each.is_lost for each in sieve.deliveries)) == (1, 1)
