"""Spans for an OpenTelemetry collector, where the operator names one: route, status and ids of a request, no more."""

from __future__ import annotations

from collections.abc import Mapping

from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import Span, SpanKind, Status, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from service import __version__

TRACE_HEADERS = ("traceparent", "tracestate")  # W3C Trace Context


class Traces:
    """A span for each request, as part of the caller's trace where the request says so."""

    def __init__(self, collector: str) -> None:
        resource = Resource({"service.name": "coding-assist", "service.version": __version__})
        self._provider = TracerProvider(resource=resource, shutdown_on_exit=True)
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter(f"{collector}/v1/traces")))
        self._tracer = self._provider.get_tracer(__name__)

    def begin(self, headers: Mapping[str, str]) -> Span:
        """A span that lasts until `end`; of the headers only the place in the trace is read."""
        carried = {name: headers[name] for name in TRACE_HEADERS if name in headers}
        return self._tracer.start_span(
            "request", context=TraceContextTextMapPropagator().extract(carried), kind=SpanKind.SERVER
        )

    def end(self, span: Span, route: str, method: str, status: int, request_id: str) -> None:
        """`route` is the template of the address."""
        span.update_name(f"{method} {route}")
        span.set_attributes(
            {
                "http.request.method": method,
                "http.route": route,
                "http.response.status_code": status,
                "coding_assist.request_id": request_id,
            }
        )
        if status >= 500:
            span.set_status(Status(StatusCode.ERROR))
        span.end()

    def close(self) -> None:
        """Send what waits, and nothing after it."""
        self._provider.shutdown()
