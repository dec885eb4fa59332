"""What is kept in this process, in the text format that Prometheus reads (version 0.0.4). Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping

from headwater.environment import KeptTelemetry, Series
from headwater.telemetry.catalogue import METRICS, Metric

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

ALERT = "headwater_alert"


def exposition(telemetry: KeptTelemetry) -> str:
    """All gauges, counts and alerts, sorted by name."""
    values: dict[Series, float] = {**telemetry.gauges, **telemetry.counts}
    for name, labels in telemetry.alerts:
        values[ALERT, (("alert", name), *labels)] = 1.0
    families: dict[str, dict[Series, float]] = {}
    for series, value in sorted(values.items()):
        families.setdefault(series[0], {})[series] = value
    return "".join(line + "\n" for name in families for line in _family(name, families[name]))


def _family(name: str, values: Mapping[Series, float]) -> Iterable[str]:
    metric = METRICS.get(name, Metric("untyped", (), "Not of headwater's own."))
    yield f"# HELP {name} {_escaped(metric.help)}"
    yield f"# TYPE {name} {metric.kind}"
    for (_, labels), value in values.items():
        pairs = ",".join(f'{label}="{_quoted(text)}"' for label, text in labels)
        yield f"{name}{{{pairs}}} {_number(value)}" if pairs else f"{name} {_number(value)}"


def _number(value: float) -> str:
    if math.isinf(value):
        return "+Inf" if value > 0 else "-Inf"
    return "NaN" if math.isnan(value) else repr(float(value))


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")


def _quoted(text: str) -> str:
    return _escaped(text).replace('"', '\\"')
