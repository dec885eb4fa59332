"""One command, followed by its trace to its event and to what becomes of that."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import format_span_id, format_trace_id

import headwater as hw
from headwater.environment import System
from headwater.log.opening import open_log
from headwater.log.port import Log, TopicPartition
from headwater.telemetry.spans import OpenTelemetryTracing
from headwater.testing.waiting import eventually
from tests.orders import Billing, Order, OrderPlaced, Payment, PlaceOrder


class Total(hw.Projection):
    order_id: hw.Key[str]
    total: Decimal = Decimal(0)

    @hw.on(OrderPlaced)
    def placed(self, event: OrderPlaced) -> None:
        self.total += event.total


app = hw.App("shop", aggregates=[Order, Payment], projections=[Total], processes=[Billing], partitions=2)


class Traces:
    """What was exported."""

    def __init__(self) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider()
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.environment = System(tracing=OpenTelemetryTracing(self.provider))

    def of(self, trace_id: int) -> list[ReadableSpan]:
        """The spans of a trace, in the order of their beginnings."""
        spans = [span for span in self._exporter.get_finished_spans() if span.context.trace_id == trace_id]
        return sorted(spans, key=lambda span: span.start_time or 0)

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.name == name]


@pytest.fixture
def traces() -> Traces:
    return Traces()


def only(spans: list[ReadableSpan]) -> ReadableSpan:
    (span,) = spans
    return span


def parent_of(span: ReadableSpan) -> int:
    assert span.parent is not None, span.name
    return span.parent.span_id


def test_a_command_is_followed_to_its_event_its_projection_and_what_a_process_does(
    log: Log,
    traces: Traces,
) -> None:
    tracer = traces.provider.get_tracer("a program of a user's")
    with app.run(log, store="memory://", environment=traces.environment) as shop:
        with tracer.start_as_current_span("a request") as request:
            receipt = shop.send(PlaceOrder("1", Decimal(3)))
        assert shop.row(Total, "1", after=receipt) is not None
        (placed,) = shop.history(Order, "1")
        trace_id = request.get_span_context().trace_id

        def spans() -> dict[str, ReadableSpan]:
            return {span.name: span for span in traces.of(trace_id)}

        # what a step has led to may be seen before the step itself has ended
        steps = {"send PlaceOrder", "project total"}
        steps |= {f"decide {one}" for one in ("PlaceOrder", "OrderPlaced", "RequestPayment", "RecordPayment")}
        eventually(lambda: steps <= spans().keys(), saying="all steps have ended, those of the process too")
        found = spans()
    send, decide = found["send PlaceOrder"], found["decide PlaceOrder"]
    assert parent_of(send) == request.get_span_context().span_id
    assert parent_of(decide) == send.context.span_id
    # the event carries the step that made it
    (record,) = log.keyed(TopicPartition("order-events", placed.meta.partition), b"1")
    header = dict(record.headers)["traceparent"].decode()
    assert header.startswith(f"00-{format_trace_id(trace_id)}-{format_span_id(decide.context.span_id)}-0")
    # and what reads the event is a step after it
    assert parent_of(found["project total"]) == decide.context.span_id
    assert parent_of(found["decide OrderPlaced"]) == decide.context.span_id, "of the process"
    assert parent_of(found["decide RequestPayment"]) == found["decide OrderPlaced"].context.span_id
    assert found["decide PlaceOrder"].attributes is not None
    assert found["decide PlaceOrder"].attributes["headwater.outcome"] == "accepted"


@pytest.fixture
def sqlite(tmp_path: Path) -> Iterator[Log]:
    with closing(open_log(f"sqlite:///{tmp_path / 'log.db'}")) as log:
        yield log


def test_a_batch_is_linked_to_all_that_it_is_about(sqlite: Log, traces: Traces) -> None:
    commands = [PlaceOrder(str(n), Decimal(n)) for n in range(1, 21)]
    with app.run(sqlite, only=["commands"], store="memory://", environment=traces.environment) as shop:
        assert all(isinstance(one, hw.Receipt) for one in shop.send_many(commands))
    decided = {span.context.span_id for span in traces.named("decide PlaceOrder")}
    assert len(decided) == 20
    with app.run(sqlite, only=["projections"], store="memory://", environment=traces.environment) as shop:
        eventually(lambda: len(shop.rows(Total)) == 20, saying="all orders are in")

    def causes() -> set[int]:
        batches = traces.named("project total")
        assert len(batches) < 20
        linked = {link.context.span_id for span in batches for link in span.links}
        return linked | {span.parent.span_id for span in batches if span.parent is not None}

    eventually(lambda: causes() == decided, saying="the steps of all batches have ended")


def test_what_fails_is_an_error_of_its_step_without_the_words_of_data(sqlite: Log, traces: Traces) -> None:
    class Broken(hw.Projection):
        order_id: hw.Key[str]

        @hw.on(OrderPlaced)
        def placed(self, event: OrderPlaced) -> None:
            raise ZeroDivisionError(f"secret {event.total}")

    shop_app = hw.App("shop", aggregates=[Order], projections=[Broken], partitions=1)
    with shop_app.run(sqlite, store="memory://", environment=traces.environment) as shop:
        shop.send(PlaceOrder("1", Decimal(3)))
        eventually(lambda: bool(traces.named("project broken")), saying="it was tried")
    span = traces.named("project broken")[0]
    assert "secret" not in span.to_json()


def test_a_header_goes_on_where_nothing_is_followed(sqlite: Log, traces: Traces) -> None:
    """The sender follows its commands, the owner's process does not: the reader of the event still can."""
    sender = app.connect(sqlite, store="memory://", environment=traces.environment)
    with app.run(sqlite, only=["commands"], store="memory://"), sender as shop:
        shop.send(PlaceOrder("1", Decimal(3)))
    send = only(traces.named("send PlaceOrder"))
    (record,) = sqlite.keyed(TopicPartition("order-events", app_partition(sqlite, "1")), b"1")
    assert format_span_id(send.context.span_id) in dict(record.headers)["traceparent"].decode()


def app_partition(log: Log, entity_id: str) -> int:
    from headwater.log.partitioning import partition_of

    return partition_of(entity_id.encode(), log.topics(["order-events"])["order-events"].partitions)


def test_headers_that_are_no_trace_are_no_failure() -> None:
    tracing = OpenTelemetryTracing(TracerProvider())
    for header in (b"", b"\xff\xfe", b"00-" + b"0" * 32 + b"-" + b"0" * 16 + b"-01", b"x" * 1000):
        span = tracing.begin("decide", "consumer", [header], {})
        assert span.traceparent is not None, "a new trace"
        span.end("done")


def test_without_an_sdk_nothing_is_followed() -> None:
    span = OpenTelemetryTracing(trace.NoOpTracerProvider()).begin("decide", "consumer", [], {})
    assert span.traceparent is None
    with span.current():
        span.end("done")
