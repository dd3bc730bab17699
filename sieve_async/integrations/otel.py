"""OpenTelemetry: a span for each wait, and metrics of a client.

Needs the extra ``sieve-async[otel]``.
"""

import functools
import importlib
import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from contextvars import Context
from typing import Any, Literal, ParamSpec, TypeAlias
from urllib.parse import urlsplit

from opentelemetry import context, metrics, trace
from opentelemetry.metrics import CallbackOptions, MeterProvider, Observation
from opentelemetry.trace import SpanKind, Status, StatusCode, TracerProvider

from sieve_async.client import SieveClient, Stats
from sieve_async.config import __version__, check_choice
from sieve_async.errors import InvalidArgumentError
from sieve_async.models import FunctionVersion, Job
from sieve_async.observer import FinishedWait, FinishedWatch, WaitObserver
from sieve_async.outcomes import JobOutcome

Attributes: TypeAlias = dict[str, str | int]

_LOG = logging.getLogger("sieve_async")
_NAME = "sieve_async"
# From half a second to a day, in seconds.
_BUCKETS = (0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800, 3600, 7200, 14400, 43200, 86400)
_MAX_DESCRIPTION = 200


def instrument(
    client: SieveClient,
    *,
    tracer_provider: TracerProvider | None = None,
    meter_provider: MeterProvider | None = None,
    spans: Literal["waits", "jobs", "none"] = "waits",
    polls: Literal["quiet", "traced"] = "quiet",
) -> Callable[[], None]:
    """Report the waits of a client as spans, and what it does as metrics.

    Args:
        client: The client; best before its first wait.
        tracer_provider: Makes the spans; the global one if not given.
        meter_provider: Makes the metrics; the global one if not given.
        spans: ``waits``: one span for each call that waits, also for a watch of many jobs.
            ``jobs``: one more for each job of a watch. ``none``: only metrics.
        polls: ``quiet`` keeps an instrumented aiohttp from making a span of every poll.

    Returns:
        A function that undoes this.

    Raises:
        InvalidArgumentError: An argument is invalid, or the client is instrumented already.
    """
    if not isinstance(client, SieveClient):
        raise InvalidArgumentError(f"client must be a SieveClient, got {client!r}")
    check_choice("spans", spans, ("waits", "jobs", "none"))
    check_choice("polls", polls, ("quiet", "traced"))
    tracer = trace.get_tracer(_NAME, __version__, tracer_provider)
    meters = _meters_of(meter_provider or metrics.get_meter_provider())
    client.observe(_Observer(client, tracer, meters, spans=spans, is_quiet=polls == "quiet"))
    meters.add(client)

    def uninstrument() -> None:
        client.observe(None)
        meters.remove(client)

    return uninstrument


_P = ParamSpec("_P")


def _logging_errors(method: Callable[_P, None]) -> Callable[_P, None]:
    """Log what a span processor or a metric reader of the user's raises: no wait may end by it."""

    @functools.wraps(method)
    def call(*args: _P.args, **kwargs: _P.kwargs) -> None:
        try:
            method(*args, **kwargs)
        except Exception:  # noqa: BLE001 - whatever the exporter raises
            _LOG.exception("telemetry failed")

    return call


class _Observer(WaitObserver):
    """Makes spans and measures durations."""

    def __init__(
        self,
        client: SieveClient,
        tracer: trace.Tracer,
        meters: "_Meters",
        *,
        spans: str,
        is_quiet: bool,
    ) -> None:
        self._tracer = tracer
        self._duration = meters.duration
        self._address = _address_of(client)
        self._has_spans = spans != "none"
        self._has_job_spans = spans == "jobs"
        self._quiet = _find_suppression() if is_quiet else nullcontext
        self._before = context.Context()

    def attach(self, background: Context) -> None:
        background.run(self._suppress_from_now_on)

    def detach(self, background: Context) -> None:
        background.run(context.attach, self._before)

    def _suppress_from_now_on(self) -> None:
        self._before = context.get_current()
        with self._quiet():
            suppressed = context.get_current()
        context.attach(suppressed)

    def polling(self) -> AbstractContextManager[object]:
        return self._quiet()

    @_logging_errors
    def on_wait(self, wait: FinishedWait) -> None:
        is_version = "/" in wait.target
        attributes = _attributes_of(wait.last, wait.error)
        self._measure("version" if is_version else "job", attributes, wait.elapsed)
        if not self._has_spans:
            return
        attributes["sieve.wait.polls"] = wait.polls
        attributes["sieve.function" if is_version else "sieve.job.id"] = wait.target
        name = "sieve.wait_until_ready" if is_version else "sieve.wait_for_job"
        self._span(name, attributes, wait.elapsed, wait.error)

    @_logging_errors
    def on_outcome(self, outcome: JobOutcome) -> None:
        attributes = _attributes_of(outcome.job, outcome.error)
        self._measure("job", attributes, outcome.elapsed)
        if self._has_job_spans:
            attributes["sieve.wait.polls"] = outcome.polls
            attributes["sieve.job.id"] = outcome.job_id
            self._span("sieve.job", attributes, outcome.elapsed, outcome.error)

    @_logging_errors
    def on_watch(self, watch: FinishedWatch) -> None:
        if self._has_spans:
            counts: Attributes = {
                "sieve.watch.outcomes": watch.outcomes,
                "sieve.watch.pending": watch.pending,
            }
            self._span("sieve.watch", counts, watch.elapsed, None)

    def _measure(self, kind: str, attributes: Attributes, elapsed: float) -> None:
        # Never an id or the name of a function: metrics need few distinct attributes.
        names = attributes.keys() & {"sieve.job.status", "sieve.build.status", "error.type"}
        of_metric = {name: attributes[name] for name in names}
        of_metric |= {"sieve.wait.kind": kind, "server.address": self._address}
        self._duration.record(elapsed, of_metric)

    def _span(
        self, name: str, attributes: Attributes, elapsed: float, error: BaseException | None
    ) -> None:
        """Make a span of what has just ended; its parent is the caller's current span."""
        attributes["server.address"] = self._address
        end = time.time_ns()
        start = end - int(elapsed * 1e9)
        span = self._tracer.start_span(
            name, kind=SpanKind.INTERNAL, attributes=attributes, start_time=start
        )
        if isinstance(error, Exception):  # not a cancellation
            span.set_status(Status(StatusCode.ERROR, str(error)[:_MAX_DESCRIPTION]))
        span.end(end)


class _Meters:
    """The instruments of one provider, for all clients: equal names would replace each other."""

    def __init__(self, provider: MeterProvider) -> None:
        meter = provider.get_meter(_NAME, __version__)
        self._lock = threading.Lock()  # readers collect in threads of their own
        self._clients: dict[SieveClient, Stats] = {}  # with what was counted already
        self._totals: dict[str, dict[str, int]] = {}  # by name and address
        self.duration = meter.create_histogram(
            "sieve.wait.duration",
            unit="s",
            description="How long waits took.",
            explicit_bucket_boundaries_advisory=_BUCKETS,
        )
        for name, field, unit, text in (
            ("sieve.client.requests", "requests", "{request}", "Requests sent, with retries."),
            ("sieve.client.retries", "retries", "{request}", "Requests that were retries."),
            ("sieve.client.received", "bytes_received", "By", "Bytes of response bodies."),
        ):
            count = functools.partial(self._count, field)
            meter.create_observable_counter(name, [count], unit=unit, description=text)
        for name, field, unit, text in (
            ("sieve.client.waits", "waits", "{wait}", "Active waits; each job of a watch."),
            ("sieve.client.queued", "queued", "{request}", "Requests that wait for a slot."),
        ):
            gauge = functools.partial(self._gauge, field)
            meter.create_observable_up_down_counter(name, [gauge], unit=unit, description=text)

    def add(self, client: SieveClient) -> None:
        """Include a client from now on."""
        with self._lock:
            self._clients[client] = client.stats

    def remove(self, client: SieveClient) -> None:
        """Include what it did so far, and no more."""
        with self._lock:
            self._add_to_totals(client)
            self._clients.pop(client, None)

    def _add_to_totals(self, client: SieveClient) -> None:
        before, now = self._clients.get(client), client.stats
        if before is None:
            return
        address = _address_of(client)
        for field in ("requests", "retries", "bytes_received"):
            by_address = self._totals.setdefault(field, {})
            grown = getattr(now, field) - getattr(before, field)
            by_address[address] = by_address.get(address, 0) + grown
        self._clients[client] = now

    def _count(self, field: str, _: CallbackOptions) -> Iterable[Observation]:
        with self._lock:
            for client in list(self._clients):
                self._add_to_totals(client)
                if client.closed:  # nothing will be added
                    del self._clients[client]
            return _observations(self._totals.get(field, {}))

    def _gauge(self, field: str, _: CallbackOptions) -> Iterable[Observation]:
        with self._lock:
            by_address = dict.fromkeys(self._totals.get("requests", ()), 0)
            for client in self._clients:
                address = _address_of(client)
                by_address[address] = by_address.get(address, 0) + getattr(client.stats, field)
            return _observations(by_address)


_METERS: "weakref.WeakKeyDictionary[MeterProvider, _Meters]" = weakref.WeakKeyDictionary()


def _find_suppression() -> Callable[[], AbstractContextManager[object]]:
    """What keeps an instrumented HTTP library quiet; a part of all such instrumentations."""
    try:
        utils = importlib.import_module("opentelemetry.instrumentation.utils")
    except ModuleNotFoundError:  # then no HTTP library is instrumented
        return nullcontext
    suppress: Callable[[], AbstractContextManager[object]] = utils.suppress_http_instrumentation
    return suppress


def _meters_of(provider: MeterProvider) -> _Meters:
    meters = _METERS.get(provider)
    if meters is None:
        meters = _METERS[provider] = _Meters(provider)
    return meters


def _observations(values: Mapping[str, int]) -> list[Observation]:
    return [Observation(value, {"server.address": address}) for address, value in values.items()]


def _address_of(client: SieveClient) -> str:
    return urlsplit(client.base_url).hostname or ""


def _attributes_of(last: Any, error: BaseException | None) -> Attributes:
    attributes: Attributes = {}
    if isinstance(last, Job):
        # Unknown words would make a metric for each.
        attributes["sieve.job.status"] = str(last.status) if last.status.is_known else "_OTHER"
        function = last.function
        if function is not None and function.owner_name and function.name:
            attributes["sieve.function"] = f"{function.owner_name}/{function.name}"
    elif isinstance(last, FunctionVersion):
        status = last.build_status
        attributes["sieve.build.status"] = str(status) if status.is_known else "_OTHER"
    if error is not None:
        attributes["error.type"] = type(error).__name__
    return attributes
