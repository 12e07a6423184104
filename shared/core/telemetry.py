"""Traces and metrics over OTLP, if OTEL_EXPORTER_OTLP_ENDPOINT is set; otherwise nothing is exported or imported.

They hold ids, counts and times only, never content, nor an exception's message, which may quote content. Without an
endpoint, the caller's `traceparent` (W3C Trace Context) is still logged and forwarded unchanged.
"""

import asyncio
import re
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from threading import Thread
from typing import Any, Final

from shared.core.json import Json
from shared.core.settings import ProcessSettings

#: How long a stopping process waits for what was not exported yet.
_FLUSH_SECONDS: Final = 1.0
_TRACEPARENT = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}\Z")
_TRACESTATE = re.compile(r"[\x20-\x7e]{1,512}\Z")
_W3C: Final = (b"traceparent", b"tracestate")

#: Metrics by name: kind (counter, up_down_counter, histogram), unit, bounds of a histogram's buckets.
Metrics = Mapping[str, tuple[str, str, Sequence[float] | None]]
#: The trace headers of the request, unchanged.
_request_trace: ContextVar[Mapping[str, str]] = ContextVar("request_trace", default={})  # noqa: B039  # never written to


class _Exporter:
    """OpenTelemetry's SDK: its own threads send bounded queues, and drop what cannot be sent."""

    def __init__(self, function: str, endpoint: str, metrics: Metrics) -> None:
        from opentelemetry import trace
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
        from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

        # Each function is a service, whatever OTEL_SERVICE_NAME they share.
        resource = Resource.create({"service.name": function})
        self.trace: Any = trace
        self.w3c: Any = TraceContextTextMapPropagator()
        spans = TracerProvider(resource=resource, shutdown_on_exit=False)
        spans.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{endpoint}/v1/traces")))
        reader = PeriodicExportingMetricReader(OTLPMetricExporter(f"{endpoint}/v1/metrics"))
        meters = MeterProvider([reader], resource=resource, shutdown_on_exit=False)
        self.tracer: Any = spans.get_tracer("agent_functions")
        self.measure = _instruments(meters.get_meter("agent_functions"), metrics)
        self._shutdowns: list[Callable[[], object]] = [spans.shutdown, meters.shutdown]

    def begin(self, name: str, attributes: Json, kind: str, **options: Any) -> Any:
        kinds: Any = self.trace.SpanKind
        return self.tracer.start_span(name, kind=kinds[kind], attributes=attributes, **options)

    async def close(self) -> None:
        """Send what is queued, for a second at most."""
        with suppress(TimeoutError):
            async with asyncio.timeout(_FLUSH_SECONDS):
                await asyncio.gather(*map(_aside, self._shutdowns))


def _instruments(meter: Any, metrics: Metrics) -> dict[str, Callable[..., None]]:
    recorders: dict[str, Callable[..., None]] = {}
    for name, (kind, unit, bounds) in metrics.items():
        options = {"explicit_bucket_boundaries_advisory": bounds} if bounds else {}
        instrument = getattr(meter, f"create_{kind}")(name, unit=unit, **options)
        recorders[name] = instrument.record if bounds else instrument.add
    return recorders


async def _aside(work: Callable[[], object]) -> None:
    """Run blocking work in a thread that does not delay the process's exit."""
    loop, end = asyncio.get_running_loop(), asyncio.Event()

    def run() -> None:
        try:
            work()
        finally:
            # Once the loop is closed, nothing waits for it.
            with suppress(RuntimeError):
                loop.call_soon_threadsafe(end.set)

    Thread(target=run, daemon=True).start()
    await end.wait()


_exporter: _Exporter | None = None


@asynccontextmanager
async def exporting(
    function: str, settings: ProcessSettings, metrics: Metrics
) -> AsyncIterator[None]:
    """Export traces and metrics of this process until the block ends, if an endpoint is set."""
    global _exporter
    endpoint = settings.otel_exporter_otlp_endpoint.rstrip("/")
    if not endpoint:
        yield
        return
    # Importing the SDK and starting its threads takes a while.
    exporter = _exporter = await asyncio.to_thread(_Exporter, function, endpoint, metrics)
    try:
        yield
    finally:
        _exporter = None
        await exporter.close()


class Span:
    """A span of a trace; without an exporter, its methods do nothing."""

    def __init__(self, real: Any = None) -> None:
        self._real = real
        #: The error's code or type, if the span failed.
        self.failure: str | None = None

    def tell(self, attributes: Mapping[str, Any]) -> None:
        """Add attributes, except those that are None."""
        if self._real is not None:
            self._real.set_attributes({k: v for k, v in attributes.items() if v is not None})

    def fail(self, kind: str) -> None:
        """Mark the span as failed: `kind` is a code or a type, never a message."""
        self.failure = kind
        if self._real is not None and _exporter:
            self._real.set_attribute("error.type", kind)
            self._real.set_status(_exporter.trace.StatusCode.ERROR)

    def record_response(self, method: str, route: str | None, status: int) -> None:
        """Add a request's route and status."""
        if self._real is not None and route:
            self._real.update_name(f"{method} {route}")
        self.tell({"http.route": route, "http.response.status_code": status or None})
        if status >= 500 or not status:
            self.fail(str(status or "disconnected"))

    def end(self) -> None:
        if self._real is not None:
            self._real.end()


def begin(name: str, attributes: Json, kind: str) -> Span:
    """Start a span that the caller ends. It becomes no other span's parent."""
    return Span(_exporter and _exporter.begin(name, attributes, kind))


@contextmanager
def doing(
    name: str,
    attributes: Json,
    kind: str = "INTERNAL",
    *,
    link: str | None = None,
    parent: Any = None,
) -> Iterator[Span]:
    """A span around the block, and the parent of spans that start in it.

    `link`: the `traceparent` of a related trace.
    """
    if _exporter is None:
        yield Span()
        return
    links = _links(_exporter, link) if link else ()
    real = _exporter.begin(name, attributes, kind, context=parent, links=links)
    # Otherwise the SDK records an exception's message.
    with _exporter.trace.use_span(
        real, end_on_exit=True, record_exception=False, set_status_on_exception=False
    ):
        yield Span(real)


def _links(exporter: _Exporter, traceparent: str) -> list[Any]:
    trace = exporter.trace
    there = exporter.w3c.extract({"traceparent": traceparent})
    context, here = (trace.get_current_span(at).get_span_context() for at in (there, None))
    return [] if context.trace_id == here.trace_id else [trace.Link(context)]


def failed(kind: str) -> None:
    """Mark the current span as failed, with a code and never a message."""
    if _exporter:
        Span(_exporter.trace.get_current_span()).fail(kind)


def measure(name: str, value: float, attributes: Mapping[str, Any] | None = None) -> None:
    """Add to, or record in, one of the metrics. Attributes that are None are left out."""
    if _exporter:
        labels = {k: v for k, v in (attributes or {}).items() if v is not None}
        _exporter.measure[name](value, labels)


def is_exporting() -> bool:
    return _exporter is not None


@contextmanager
def serving(method: str, headers: Mapping[bytes, bytes]) -> Iterator[Span]:
    """A span for a request, in its sender's trace: that of its headers, or else of its CloudEvent."""
    token = _request_trace.set(_trace_of(headers, b"") or _trace_of(headers, b"ce-"))
    try:
        parent = _exporter and _exporter.w3c.extract(_request_trace.get())
        with doing(method, {"http.request.method": method}, "SERVER", parent=parent) as span:
            yield span
    finally:
        _request_trace.reset(token)


def _trace_of(headers: Mapping[bytes, bytes], prefix: bytes) -> dict[str, str]:
    parent, state = (headers.get(prefix + name, b"").decode("latin-1") for name in _W3C)
    if not _TRACEPARENT.match(parent):
        return {}
    return {"traceparent": parent, **({"tracestate": state} if _TRACESTATE.match(state) else {})}


def carried() -> dict[str, str]:
    """The headers with which an outgoing request continues this trace."""
    if _exporter is None:
        return dict(_request_trace.get())
    carrier: dict[str, str] = {}
    _exporter.w3c.inject(carrier)
    return carrier


def ids() -> dict[str, str]:
    """{trace_id, span_id} of the current span, as far as they exist."""
    if _exporter is None:
        match = _TRACEPARENT.match(_request_trace.get().get("traceparent", ""))
        return {"trace_id": match[1]} if match else {}
    context = _exporter.trace.get_current_span().get_span_context()
    if not context.is_valid:
        return {}
    return {"trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"}
