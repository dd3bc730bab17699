"""OpenTelemetry: spans at the end of waits, metrics of a client, and no key or id too many."""

import asyncio
import gc
import logging
import weakref
from collections.abc import AsyncIterator
from typing import Any

import aiohttp
import pytest
from opentelemetry import context as otel_context
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, SpanProcessor, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanKind, StatusCode

from helpers.http_helpers import now
from helpers.leak_checks import KEY
from helpers.raw_server import ScriptedServer, running_job
from sieve_async import InvalidArgumentError, Job, NotFoundError, SieveClient, WaitTimeoutError
from sieve_async.integrations.otel import instrument
from sieve_async.observer import FinishedWatch, WaitObserver
from sieve_async.testing import FakeSieve

pytestmark = pytest.mark.looptime


class Telemetry:
    """Providers that keep what they get in memory."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.tracer_provider = TracerProvider()
        self.tracer_provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self.meter_provider = MeterProvider([self._reader])
        self.tracer = self.tracer_provider.get_tracer("test")

    @property
    def providers(self) -> dict[str, Any]:
        """The arguments of ``instrument``."""
        return {"tracer_provider": self.tracer_provider, "meter_provider": self.meter_provider}

    def spans(self) -> list[ReadableSpan]:
        """The spans that have ended."""
        return [*self._exporter.get_finished_spans()]

    def points(self) -> dict[str, list[Any]]:
        """The data points of each metric."""
        data = self._reader.get_metrics_data()
        return {
            metric.name: list(metric.data.data_points)
            for resource in (data.resource_metrics if data else [])
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }

    def shutdown(self) -> None:
        """End the threads of the providers."""
        self.tracer_provider.shutdown()
        self.meter_provider.shutdown()


@pytest.fixture
async def telemetry() -> AsyncIterator[Telemetry]:
    """Providers in memory."""
    made = Telemetry()
    yield made
    made.shutdown()


def attributes_of(span: ReadableSpan) -> dict[str, object]:
    """The attributes of a span as a plain dict."""
    return dict(span.attributes or {})


async def test_wait(sieve: FakeSieve, client: SieveClient, telemetry: Telemetry) -> None:
    """A wait makes one span at its end, which lasted as long as the wait."""
    instrument(client, **telemetry.providers)
    job_id = sieve.add_job(processing=10, status="error", error="boom")
    await client.wait_for_job(job_id)
    (span,) = telemetry.spans()
    assert (span.name, span.kind) == ("sieve.wait_for_job", SpanKind.INTERNAL)
    assert attributes_of(span) == {
        "sieve.job.id": job_id,
        "sieve.job.status": "error",
        "sieve.function": "sieve/demo",
        "sieve.wait.polls": sieve.requests_for(job_id),
        "server.address": "127.0.0.1",
    }
    assert span.start_time is not None
    assert span.end_time is not None
    assert 10.0 <= (span.end_time - span.start_time) / 1e9 < 11.5
    assert span.status.status_code is StatusCode.UNSET  # the job failed, the wait did not


@pytest.mark.parametrize("function", [{"name": "demo"}, {"owner_name": "sieve"}, {}])
async def test_function_without_a_name(
    sieve: FakeSieve, client: SieveClient, telemetry: Telemetry, function: dict[str, str]
) -> None:
    """A span names no function that the answer does not name."""
    instrument(client, **telemetry.providers)
    await client.wait_for_job(sieve.add_job(fields={"function": function}))
    (span,) = telemetry.spans()
    assert "sieve.function" not in attributes_of(span)


async def test_build(sieve: FakeSieve, client: SieveClient, telemetry: Telemetry) -> None:
    """A wait for a build names the function; an undocumented status word becomes `_OTHER`."""
    instrument(client, **telemetry.providers)
    sieve.add_version("me", "mine", building=5)
    job_id = sieve.add_job(status=None, fields={"status": "pondering"})
    await client.wait_until_ready("me/mine")
    with pytest.raises(WaitTimeoutError):
        await client.wait_for_job(job_id, timeout=1)
    span, unknown = telemetry.spans()
    assert span.name == "sieve.wait_until_ready"
    assert attributes_of(span)["sieve.function"] == "me/mine:latest"
    assert attributes_of(span)["sieve.build.status"] == "ready"
    assert "sieve.job.id" not in attributes_of(span)
    assert attributes_of(unknown)["sieve.job.status"] == "_OTHER"


async def test_failed_waits(sieve: FakeSieve, client: SieveClient, telemetry: Telemetry) -> None:
    """A deadline and a rejection are errors, a cancellation is not."""
    instrument(client, **telemetry.providers)
    endless = sieve.add_job(status=None)
    with pytest.raises(WaitTimeoutError):
        await client.wait_for_job(endless, timeout=5)
    with pytest.raises(NotFoundError):
        await client.wait_for_job("unknown")
    task = asyncio.create_task(client.wait_for_job(endless))
    await asyncio.sleep(3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    found = [
        (span.status.status_code, attributes_of(span)["error.type"]) for span in telemetry.spans()
    ]
    assert found == [
        (StatusCode.ERROR, "WaitTimeoutError"),
        (StatusCode.ERROR, "NotFoundError"),
        (StatusCode.UNSET, "CancelledError"),
    ]
    deadline, missing, cancelled = (attributes_of(span) for span in telemetry.spans())
    assert deadline["sieve.job.status"] == cancelled["sieve.job.status"] == "processing"
    assert "sieve.job.status" not in missing


async def test_parents(sieve: FakeSieve, client: SieveClient, telemetry: Telemetry) -> None:
    """Of two callers with shared jobs, each has spans of its own, and its context stays."""
    instrument(client, **telemetry.providers, spans="jobs")
    ids = [sieve.add_job(processing=number) for number in (3, 5, 7)]

    async def call(name: str) -> None:
        with telemetry.tracer.start_as_current_span(name) as span:
            before = otel_context.get_current()
            await client.wait_for_job(ids[0])
            await client.wait_for_jobs(ids)
            assert otel_context.get_current() == before
            assert trace.get_current_span() is span

    await asyncio.gather(call("first"), call("second"))
    callers = {
        span.context.span_id: span.name
        for span in telemetry.spans()
        if span.name in {"first", "second"} and span.context
    }
    children = sorted(
        (callers[span.parent.span_id], span.name) for span in telemetry.spans() if span.parent
    )
    expected = ["sieve.job"] * 3 + ["sieve.wait_for_job", "sieve.watch"]
    assert children == [(name, child) for name in ("first", "second") for child in expected]


@pytest.mark.parametrize(
    ("spans", "names"),
    [("waits", {"sieve.watch": 1}), ("jobs", {"sieve.watch": 1, "sieve.job": 4}), ("none", {})],
)
async def test_spans_of_a_watch(
    sieve: FakeSieve, client: SieveClient, telemetry: Telemetry, spans: Any, names: dict[str, int]
) -> None:
    """A watch is one span, or also one for each job, or none; durations are measured anyway."""
    instrument(client, **telemetry.providers, spans=spans)
    ids = [sieve.add_job(processing=number) for number in range(3)]
    async with client.as_completed([*ids, "unknown"]) as watch:
        outcomes = {outcome.job_id: outcome async for outcome in watch}
    made = telemetry.spans()
    assert {span.name: sum(each.name == span.name for each in made) for span in made} == names
    for span in made:
        attributes = attributes_of(span)
        if span.name == "sieve.watch":
            assert attributes["sieve.watch.outcomes"] == 4
            assert attributes["sieve.watch.pending"] == 0
        else:
            outcome = outcomes[str(attributes["sieve.job.id"])]
            assert attributes["sieve.wait.polls"] == outcome.polls
            is_error = span.status.status_code is StatusCode.ERROR
            assert is_error == (outcome.error is not None)
    durations = telemetry.points()["sieve.wait.duration"]
    assert sum(point.count for point in durations) == 4


async def test_metrics(sieve: FakeSieve, client: SieveClient, telemetry: Telemetry) -> None:
    """Counters and gauges come from the statistics; no attribute names a job."""
    instrument(client, **telemetry.providers)
    ids = [sieve.add_job(processing=2), sieve.add_job(status=None)]
    sieve.fault(job=ids[0], status=503, times=1)
    await asyncio.sleep(100)
    started = now()
    task = asyncio.create_task(client.wait_for_job(ids[1]))
    await client.wait_for_job(ids[0])
    points = telemetry.points()
    values = {
        name: [point.value for point in found]
        for name, found in points.items()
        if name != "sieve.wait.duration"
    }
    assert values == {
        "sieve.client.requests": [client.stats.requests],
        "sieve.client.retries": [1],
        "sieve.client.received": [client.stats.bytes_received],
        "sieve.client.waits": [1],
        "sieve.client.queued": [0],
    }
    (duration,) = points["sieve.wait.duration"]
    assert dict(duration.attributes) == {
        "sieve.wait.kind": "job",
        "sieve.job.status": "finished",
        "server.address": "127.0.0.1",
    }
    assert duration.sum == pytest.approx(now() - started)
    everything = str([point for found in points.values() for point in found])
    assert not [job_id for job_id in ids if job_id in everything]
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def test_a_closed_client_is_not_kept(sieve: FakeSieve, telemetry: Telemetry) -> None:
    """What closed clients did still counts, once; nothing keeps them in memory."""
    job_id = sieve.add_job()
    for expected in (1, 2, 3):
        async with SieveClient(KEY, base_url=sieve.url) as one:
            instrument(one, **telemetry.providers)
            await one.wait_for_job(job_id)
        kept = weakref.ref(one)
        del one
        points = telemetry.points()
        assert points["sieve.client.requests"][0].value == expected
        assert points["sieve.client.waits"][0].value == 0
        gc.collect()
        assert kept() is None


async def test_uninstrument(sieve: FakeSieve, client: SieveClient, telemetry: Telemetry) -> None:
    """Afterwards nothing is reported, and the client can be instrumented again."""
    job_id = sieve.add_job()
    uninstrument = instrument(client, **telemetry.providers)
    with pytest.raises(InvalidArgumentError, match="observer already"):
        instrument(client, **telemetry.providers)
    await client.wait_for_job(job_id)
    uninstrument()
    await client.wait_for_job(job_id)
    await client.wait_for_jobs([job_id])
    assert len(telemetry.spans()) == 1
    assert [point.value for point in telemetry.points()["sieve.client.requests"]] == [1]
    instrument(client, **telemetry.providers)
    await client.wait_for_job(job_id)
    assert len(telemetry.spans()) == 2


async def test_polls_are_quiet_where_they_run(sieve: FakeSieve, telemetry: Telemetry) -> None:
    """Requests of waits run with HTTP instrumentation suppressed, those of the caller do not."""
    utils = pytest.importorskip("opentelemetry.instrumentation.utils")
    seen: list[tuple[str, bool]] = []

    async def on_request_start(
        _: object, __: object, params: aiohttp.TraceRequestStartParams
    ) -> None:
        seen.append((params.url.path, utils.is_http_instrumentation_enabled()))

    tracing = aiohttp.TraceConfig()
    tracing.on_request_start.append(on_request_start)
    ids = [sieve.add_job(processing=2), sieve.add_job(processing=2)]
    during_updates: list[bool] = []

    def on_update(_: object) -> None:
        during_updates.append(utils.is_http_instrumentation_enabled())

    async with (
        aiohttp.ClientSession(trace_configs=[tracing]) as session,
        SieveClient(KEY, base_url=sieve.url, session=session) as client,
    ):
        uninstrument = instrument(client, **telemetry.providers)
        await client.wait_for_job(ids[0], on_update=on_update)
        await client.wait_for_jobs(ids, on_update=on_update)
        assert {is_enabled for _, is_enabled in seen} == {False}
        assert set(during_updates) == {True}
        seen.clear()
        await client.get_job(ids[0])
        uninstrument()
        await client.wait_for_jobs(ids)
        assert {is_enabled for _, is_enabled in seen} == {True}
        seen.clear()
        instrument(client, **telemetry.providers, polls="traced")
        await client.wait_for_jobs(ids)
        assert {is_enabled for _, is_enabled in seen} == {True}


async def test_no_key_anywhere(sieve: FakeSieve, client: SieveClient, telemetry: Telemetry) -> None:
    """Neither spans nor metrics hold the API key, also when the server repeats it."""
    instrument(client, **telemetry.providers, spans="jobs")
    job_id = sieve.add_job()
    sieve.fault(job=job_id, status=403, body={"detail": f"the key {KEY} may not see this"})
    await client.wait_for_jobs([job_id])
    with pytest.raises(Exception, match="403"):
        await client.wait_for_job(job_id)
    spans = telemetry.spans()
    assert [span.status.status_code for span in spans if span.name != "sieve.watch"] == [
        StatusCode.ERROR
    ] * 2
    assert not [span for span in spans if KEY in span.to_json()]
    assert KEY not in str(telemetry.points())


class _Broken(SpanProcessor):
    def on_end(self, span: ReadableSpan) -> None:
        raise LookupError(span.name)


async def test_a_broken_exporter_ends_no_wait(
    sieve: FakeSieve, client: SieveClient, caplog: pytest.LogCaptureFixture
) -> None:
    """What a span processor raises is logged, and the wait returns its job."""
    broken = TracerProvider()
    broken.add_span_processor(_Broken())
    instrument(client, tracer_provider=broken)
    job = await client.wait_for_job(sieve.add_job())
    assert job.succeeded
    assert [
        record.levelno for record in caplog.records if record.message == "telemetry failed"
    ] == [logging.ERROR]
    broken.shutdown()


async def test_invalid_arguments(client: SieveClient) -> None:
    """Invalid arguments raise before anything is installed."""
    with pytest.raises(InvalidArgumentError, match="client must be a SieveClient"):
        instrument("client")  # type: ignore[arg-type]  # on purpose
    with pytest.raises(InvalidArgumentError, match="spans"):
        instrument(client, spans="all")  # type: ignore[arg-type]  # on purpose
    with pytest.raises(InvalidArgumentError, match="polls"):
        instrument(client, polls="loud")  # type: ignore[arg-type]  # on purpose
    instrument(client)()


class _Watches(WaitObserver):
    """Keeps how watches ended."""

    def __init__(self) -> None:
        self.ended: list[FinishedWatch] = []

    def on_watch(self, watch: FinishedWatch) -> None:
        """Keep it."""
        self.ended.append(watch)


async def test_pending_jobs_of_a_watch_that_failed() -> None:
    """A watch that a callback has ended is reported with what was pending then."""
    observer = _Watches()

    def fail(job: Job) -> None:
        if job.id == "j2":
            raise LookupError

    async with (
        ScriptedServer(lambda asked: running_job(asked.job_id)) as server,
        server.client() as client,
    ):
        client.observe(observer)
        with pytest.raises(LookupError):
            await client.wait_for_jobs(["j0", "j1", "j2"], on_update=fail)
    assert [(watch.outcomes, watch.pending) for watch in observer.ended] == [(0, 3)]
