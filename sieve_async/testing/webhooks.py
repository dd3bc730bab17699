"""Webhook delivery: the events of pushed jobs, sent to loopback addresses only."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from ipaddress import ip_address
from typing import Any, TypedDict

import aiohttp
import attrs
from yarl import URL

from sieve_async.testing.answers import (
    MAX_KEPT,
    Document,
    Occurrence,
    check_at_least,
    encode,
    input_output,
    raw_fields,
    write,
)
from sieve_async.testing.functions import Push, Webhook
from sieve_async.testing.jobs import FakeJob
from sieve_async.testing.store import JobStore

MAX_ATTEMPTS = 10
MAX_BACKOFF = 60.0
# Real seconds for one delivery.
TIMEOUT = aiohttp.ClientTimeout(total=10.0)


class WebhookFaultOptions(TypedDict, total=False):
    """The arguments of `WebhookFault`."""

    event: str | None
    job: str | None
    times: int | None
    probability: float
    seed: int
    lose: bool
    delay: float
    repeats: int
    fields: Mapping[str, object] | None


@attrs.define(eq=False, kw_only=True)
class WebhookFault(Occurrence):
    """What goes wrong with some events, until it is used up or removed."""

    event: str | None = None
    job: str | None = None
    lose: bool = False
    delay: float = 0.0
    repeats: int = 0
    fields: Mapping[str, Any] = attrs.field(converter=raw_fields, default=None)

    def __attrs_post_init__(self) -> None:
        super().__attrs_post_init__()
        check_at_least(0, delay=self.delay, repeats=self.repeats)
        if not (self.lose or self.delay or self.repeats or self.fields):
            raise ValueError("a fault must do something: lose, delay, repeat or change events")


@attrs.define(eq=False)
class Delivery:
    """One event on its way to one address: ``statuses`` has the answers so far, 0 for none."""

    url: str
    event: str
    job_id: str
    body: bytes = attrs.field(repr=False)
    due: float = attrs.field(repr=False)
    statuses: list[int] = attrs.field(factory=list)
    is_lost: bool = False

    @property
    def is_delivered(self) -> bool:
        """Whether the receiver has answered with exactly 200."""
        return self.statuses[-1:] == [200]


@attrs.define(eq=False)
class _Followed:
    """How much of a job its webhooks have reported."""

    job: FakeJob
    webhooks: tuple[Webhook, ...]
    cancel_timer: Callable[[], None] = lambda: None
    is_started: bool = False
    outputs: int = 0
    runs: int = 0


@attrs.define(eq=False)
class WebhookSender:
    """Reports what happens to pushed jobs; what happens while the server is stopped comes late."""

    jobs: JobStore
    deliveries: deque[Delivery] = attrs.field(factory=partial(deque, maxlen=MAX_KEPT), init=False)
    faults: list[WebhookFault] = attrs.field(factory=list, init=False)
    _followed: dict[str, _Followed] = attrs.field(factory=dict, init=False)
    _pending: dict[Delivery, asyncio.Task[None] | None] = attrs.field(factory=dict, init=False)
    # While the server runs.
    _session: aiohttp.ClientSession | None = attrs.field(default=None, init=False)

    def open(self) -> None:
        """Begin, or continue, to deliver."""
        # It keeps no cookies: by default those of addresses are not kept, and all hosts are that.
        self._session = session = aiohttp.ClientSession(timeout=TIMEOUT)
        for delivery in self._pending:
            self._start(delivery, session)
        for followed in [*self._followed.values()]:
            self._report(followed)

    async def close(self) -> None:
        """Stop to deliver for now."""
        session, self._session = self._session, None
        for followed in self._followed.values():
            followed.cancel_timer()
        tasks = [task for task in self._pending.values() if task]
        self._pending = dict.fromkeys(self._pending)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if session:
            await session.close()

    def follow(self, job: FakeJob, push: Push) -> None:
        """Report what happens to a pushed job, if the push asked for it."""
        if push.webhooks:
            self._followed[job.script.id] = followed = _Followed(job, push.webhooks)
            self._report(followed)

    def moved(self, job: FakeJob) -> None:
        """Report on a job that has moved otherwise than by the clock."""
        if followed := self._followed.get(job.script.id):
            self._report(followed)

    def _report(self, followed: _Followed) -> None:
        """Send the events since the last report, and come back at the next change."""
        job, now, session = followed.job, self.jobs.now(), self._session
        if not session:
            return
        followed.cancel_timer()
        if job.is_removed:
            del self._followed[job.script.id]
            return
        for event, body in self._events(followed, now):
            for webhook in followed.webhooks:
                if webhook.type.replace("_", ".") == event.replace("_", "."):
                    self._send(webhook, job.script.id, body, session)
        if job.is_terminal(now):
            del self._followed[job.script.id]
        elif (moment := job.shows_more_at(now)) < float("inf"):
            report = partial(self._report, followed)
            followed.cancel_timer = self.jobs.timers.call_at(moment, report)

    def _events(self, followed: _Followed, now: float) -> Iterator[tuple[str, Document]]:
        job = followed.job
        seen, outputs = job.progress.snapshot(now), job.outputs_at(now)
        state = {"job_id": job.script.id, "status": seen.statuses[-1], "error": ""}
        if not followed.is_started and seen.first("processing") is not None:
            followed.is_started = True
            yield "job.start", state | {"status": "processing", "outputs": []}
        runs = seen.statuses.count("processing")
        if runs != followed.runs:
            followed.runs, followed.outputs = runs, 0
        for output in outputs[followed.outputs :]:
            yield "job.new_output", {"job_id": job.script.id, "output": write(output)}
        followed.outputs = len(outputs)
        if job.is_terminal(now):
            state["error"] = job.script.error_at(seen.statuses[-1])
            yield "job.complete.no_output", state
            yield "job.complete", state | {"outputs": [_as_sent(output) for output in outputs]}

    def _send(
        self, webhook: Webhook, job_id: str, body: Document, session: aiohttp.ClientSession
    ) -> None:
        """Plan the deliveries of one event, which faults may change."""
        url, event = webhook.url, webhook.type
        lost, delay, copies = False, 0.0, 1
        self.faults = [fault for fault in self.faults if not fault.is_over]
        for fault in self.faults:
            of_event = fault.event in {None, event} and fault.job in {None, job_id}
            if of_event and fault.happens():
                lost = lost or fault.lose
                delay += fault.delay
                copies += fault.repeats
                body = {**body, **fault.fields}
        due, text = self.jobs.now() + delay, encode({"type": event, "body": body})
        for _ in range(copies):
            delivery = Delivery(url, event, job_id, text, due)
            delivery.is_lost = lost or not is_loopback(url)
            self.deliveries.append(delivery)
            if not delivery.is_lost:
                self._start(delivery, session)

    def _start(self, delivery: Delivery, session: aiohttp.ClientSession) -> None:
        deliver = self._deliver(delivery, session)
        self._pending[delivery] = asyncio.get_running_loop().create_task(deliver)

    async def _deliver(self, delivery: Delivery, session: aiohttp.ClientSession) -> None:
        while len(delivery.statuses) < MAX_ATTEMPTS and not delivery.is_delivered:
            await self.jobs.timers.sleep_until(delivery.due)
            delivery.statuses.append(await _post(delivery, session))
            pause = min(2.0 ** (len(delivery.statuses) - 1), MAX_BACKOFF)
            delivery.due = self.jobs.now() + pause
        del self._pending[delivery]


async def _post(delivery: Delivery, session: aiohttp.ClientSession) -> int:
    headers = {"Content-Type": "application/json"}
    # A name may lead anywhere: an address cannot.
    url = URL(delivery.url)
    if url.host == "localhost":
        headers["Host"] = url.authority
        url = url.with_host("127.0.0.1")
    with suppress(aiohttp.ClientError, TimeoutError, OSError):
        async with session.post(
            url, data=delivery.body, headers=headers, allow_redirects=False
        ) as response:
            return response.status
    return 0


def is_loopback(url: str) -> bool:
    """Whether a URL leads to this machine and nowhere else."""
    try:
        parts = URL(url)
        is_here = parts.host == "localhost" or ip_address(parts.host or "").is_loopback
    except ValueError:
        return False
    return parts.scheme == "http" and is_here


def _as_sent(output: Any) -> Document:
    """Return an output as webhooks show it: never nested, and a file as keys and values."""
    if isinstance(output, list):
        return input_output(output)
    data = output["data"]
    if isinstance(data, dict) and "url" in data:
        pairs = [{"Key": key, "Value": value} for key, value in data.items()]
        return {**output, "data": pairs}
    return {**output}
