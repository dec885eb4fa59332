"""Traces by OpenTelemetry: spans of its API, in the contexts that `traceparent` headers carry.

The only module that imports it. The API without an SDK does nothing; `hw run --traces` sets up the SDK, a program may
do so as it likes.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from importlib.metadata import entry_points

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from headwater.environment import Span, SpanKind
from headwater.errors import Misuse

KINDS = {"producer": trace.SpanKind.PRODUCER, "consumer": trace.SpanKind.CONSUMER}
PROPAGATOR = TraceContextTextMapPropagator()


class OpenTelemetryTracing:
    """A `Tracing`. Arguments: provider: None: the process's own (`opentelemetry.trace.set_tracer_provider`)."""

    def __init__(self, provider: trace.TracerProvider | None = None) -> None:
        self._tracer = trace.get_tracer("headwater", tracer_provider=provider)

    def begin(
        self, name: str, kind: SpanKind, causes: Sequence[bytes] | None, attributes: Mapping[str, str | int]
    ) -> Span:
        """See `Tracing.begin`."""
        context, links = None, []
        if causes is not None:
            contexts = [context_of(cause) for cause in causes]
            context = contexts[0] if len(contexts) == 1 else Context()
            if len(contexts) > 1:
                links = [trace.Link(trace.get_current_span(one).get_span_context()) for one in contexts]
        span = self._tracer.start_span(name, context, KINDS[kind], dict(attributes), links)
        return _Followed(span)


class _Followed:
    def __init__(self, span: trace.Span) -> None:
        self._span = span

    @property
    def traceparent(self) -> bytes | None:
        """See `Span.traceparent`."""
        carrier: dict[str, str] = {}
        PROPAGATOR.inject(carrier, trace.set_span_in_context(self._span, Context()))
        return carrier["traceparent"].encode() if carrier else None

    def current(self) -> AbstractContextManager[object]:
        """See `Span.current`."""
        # Whatever is raised in it may say what data said.
        return trace.use_span(self._span, record_exception=False, set_status_on_exception=False)

    def end(self, outcome: str, *, failed: bool = False) -> None:
        """See `Span.end`."""
        self._span.set_attribute("headwater.outcome", outcome)
        if failed:
            self._span.set_status(trace.StatusCode.ERROR, outcome)
        self._span.end()


def context_of(traceparent: bytes) -> Context:
    """Of a header; the empty one where it cannot be read."""
    return PROPAGATOR.extract({"traceparent": traceparent.decode("ascii", "replace")}, Context())


def provider_of_environment(service: str) -> tuple[trace.TracerProvider, Callable[[], None]]:
    """The process's own provider, where a program or `opentelemetry-instrument` has set one; else one of the SDK, with
    the exporter that OTEL_TRACES_EXPORTER names (otlp by default) and what other OTEL_ variables say.

    Arguments: service: its name, unless OTEL_SERVICE_NAME gives one. Returns: the provider, and what ends it.
    Raises: Misuse: the exporter is not installed.
    """
    given = trace.get_tracer_provider()
    if not isinstance(given, trace.ProxyTracerProvider):
        return given, lambda: None
    name = os.environ.get("OTEL_TRACES_EXPORTER", "otlp")
    found = next(iter(entry_points(group="opentelemetry_traces_exporter", name=name)), None)
    if found is None:
        raise Misuse(
            f"no exporter of traces called {name!r} is installed (OTEL_TRACES_EXPORTER): "
            "pip install opentelemetry-exporter-otlp-proto-http"
        )
    exporter: SpanExporter = found.load()()
    provider = TracerProvider(resource=Resource.create({"service.name": os.environ.get("OTEL_SERVICE_NAME", service)}))
    provider.add_span_processor(BatchSpanProcessor(exporter))
    return provider, provider.shutdown
