"""Traced requests to whatever takes OTLP over HTTP. Needs the extra `telemetry`.

Spans are made when they are told, whole, and handed to the SDK's batch processor: a thread sends them, a full queue drops.
"""

import random
from typing import Any

from kedge.domain.tracing import TracedRequest
from kedge.errors import ConfigError

_SECONDS = 5


class OtlpTraces:
    """Sends requests as spans, with a child for each stage, to an OTLP/HTTP address such as http://HOST:4318/v1/traces."""

    def __init__(self, endpoint: str, *, version: str = "") -> None:
        try:
            from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
            from opentelemetry.sdk.resources import Resource
            from opentelemetry.sdk.trace.export import BatchSpanProcessor
            from opentelemetry.sdk.util.instrumentation import InstrumentationScope
        except ImportError as error:
            raise ConfigError(f"traces need OpenTelemetry ({error}): pip install 'kedge[telemetry]'") from error
        self._resource = Resource.create({"service.name": "kedge", "service.version": version})
        self._scope = InstrumentationScope("kedge.serving", version)
        self._processor = BatchSpanProcessor(OTLPSpanExporter(endpoint=endpoint, timeout=_SECONDS))

    def __call__(self, told: TracedRequest) -> None:
        """Hand one request over; the sending is another thread's."""
        from opentelemetry.trace import SpanContext, SpanKind, TraceFlags
        from opentelemetry.trace.status import Status, StatusCode

        flags = TraceFlags(TraceFlags.SAMPLED)
        parent = told.parent
        trace_id = parent.trace_id if parent else random.getrandbits(128) or 1
        above = SpanContext(trace_id, parent.span_id, is_remote=True, trace_flags=flags) if parent else None

        def end(name: str, *, start_time: int, end_time: int, **more: Any) -> SpanContext:
            own = SpanContext(trace_id, random.getrandbits(64) or 1, is_remote=False, trace_flags=flags)
            span = self._span(name, context=own, start_time=start_time, end_time=end_time, **more)
            self._processor.on_end(span)
            return own

        root = end(
            told.name,
            start_time=told.began,
            end_time=told.ended,
            parent=above,
            kind=SpanKind.SERVER,
            attributes=told.attributes,
            status=Status(StatusCode.ERROR if told.failed else StatusCode.UNSET),
        )
        for name, begin, until in told.stages:
            end(name, start_time=begin, end_time=until, parent=root)

    def close(self) -> None:
        """Send what waits, and end the thread."""
        self._processor.shutdown()  # type: ignore[no-untyped-call]

    def _span(self, name: str, **more: Any) -> Any:
        from opentelemetry.sdk.trace import ReadableSpan

        return ReadableSpan(name, resource=self._resource, instrumentation_scope=self._scope, **more)
