"""Metrics as Prometheus gets them: over HTTP, read by the parser of its own client library."""

from __future__ import annotations

import urllib.error
import urllib.request
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families

import headwater as hw
from headwater.environment import KeptTelemetry, System
from headwater.errors import Misuse, Unavailable
from headwater.telemetry.catalogue import METRICS
from headwater.telemetry.exposition import exposition
from headwater.telemetry.serving import MetricsServer, host_and_port
from headwater.testing.waiting import eventually
from tests.orders import Order, PlaceOrder

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def parsed(text: str) -> Samples:
    """Every sample, by name and labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def scraped(url: str) -> Samples:
    with urllib.request.urlopen(url, timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return parsed(answer.read().decode())


@pytest.fixture
def telemetry() -> KeptTelemetry:
    return KeptTelemetry()


@pytest.fixture
def server(telemetry: KeptTelemetry) -> Iterator[MetricsServer]:
    server = MetricsServer(telemetry, 0)
    yield server
    server.close()


def test_an_app_is_scraped(server: MetricsServer, telemetry: KeptTelemetry, tmp_path: Path) -> None:
    app = hw.App("shop", aggregates=[Order], partitions=1)
    with app.run(f"sqlite:///{tmp_path / 'log.db'}", environment=System(telemetry)) as shop:
        for number in range(5):
            shop.send(PlaceOrder(str(number), Decimal(1)))
        wanted = {  # they are told one after the other
            ("headwater_commands_total", (("entity", "order"), ("outcome", "accepted"))): 5,
            ("headwater_events_total", (("entity", "order"),)): 5,
            ("headwater_reader_up", (("group", "order-owners"),)): 1,
        }
        found: Samples = {}

        def told() -> bool:
            found.clear()
            found.update(scraped(server.url))
            return wanted.items() <= found.items()

        eventually(told, saying="the next look has told it")
    for name, labels in found:
        metric = METRICS[name]
        assert {label for label, _ in labels} == set(metric.labels), name


def test_alerts_are_metrics_too(server: MetricsServer, telemetry: KeptTelemetry) -> None:
    telemetry.alert("headwater_reader_stuck", {"group": "g"}, "it is stuck")
    key = "headwater_alert", (("alert", "headwater_reader_stuck"), ("group", "g"))
    assert scraped(server.url) == {key: 1.0}
    telemetry.alert("headwater_reader_stuck", {"group": "g"}, None)
    assert scraped(server.url) == {}


def test_only_metrics_are_there_and_only_to_be_read(server: MetricsServer) -> None:
    for request, code in (
        (urllib.request.Request(server.url.replace("/metrics", "/")), 404),
        (urllib.request.Request(server.url, b"x", method="POST"), 501),
    ):
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(request, timeout=60)
        assert refused.value.code == code
        refused.value.close()


def test_a_port_that_is_taken_is_said_at_once(server: MetricsServer, telemetry: KeptTelemetry) -> None:
    port = int(server.url.rpartition(":")[2].partition("/")[0])
    with pytest.raises(Unavailable, match=f"metrics cannot be served on 127.0.0.1:{port}"):
        MetricsServer(telemetry, port)


def test_where_it_listens() -> None:
    assert host_and_port("9464") == ("127.0.0.1", 9464)
    assert host_and_port("0.0.0.0:9464") == ("0.0.0.0", 9464)
    assert host_and_port("[::1]:9464") == ("::1", 9464)
    for wrong in ("", "http", "1:2:x", "99999"):
        with pytest.raises(Misuse, match="is no port"):
            host_and_port(wrong)


@given(
    st.dictionaries(
        st.tuples(st.sampled_from(["headwater_lag_events", "a_gauge"]), st.text(max_size=20)),
        st.floats(allow_nan=False),
        max_size=6,
    )
)
def test_what_is_written_is_read(values: dict[tuple[str, str], float]) -> None:
    telemetry = KeptTelemetry()
    for (name, text), value in values.items():
        telemetry.gauge(name, {"topic": text}, value)
    wanted = {(name, (("topic", text),)): value for (name, text), value in values.items()}
    assert parsed(exposition(telemetry)) == wanted
