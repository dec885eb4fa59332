"""The tables of what is told, the code that tells it, the rules for Prometheus and the page: they must agree."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from headwater.environment import KeptTelemetry
from headwater.telemetry.catalogue import ALERTS, EVENTS, METRICS
from headwater.telemetry.exposition import exposition
from headwater.telemetry.rules import rules_file
from tests.cli.conftest import refuse_unknown_command

ROOT = Path(__file__).parents[2]
SOURCES = [path for path in (ROOT / "src" / "headwater").rglob("*.py") if path.parent.name != "telemetry"]
PAGE = (ROOT / "docs" / "telemetry.md").read_text()
KNOWN = METRICS.keys() | ALERTS.keys()


def named_in_code(pattern: str) -> set[str]:
    return {name for path in SOURCES for name in re.findall(pattern, path.read_text())}


def test_every_metric_and_alert_that_the_code_names_is_in_the_tables() -> None:
    named = named_in_code('"(headwater_[a-z_]+)"') - {"headwater_stage"}  # the name of a context variable
    assert named == KNOWN - {"headwater_alert"}


def test_every_event_that_the_code_names_is_in_the_table() -> None:
    logged = named_in_code(r'logged\(\s*"([a-z_]+)"') | named_in_code(r'_log_(?:state|partitions)\("([a-z_]+)"')
    logged |= {"reader_retrying", "reader_failed", "alert_raised", "alert_over", "log"}  # made of parts
    assert logged == set(EVENTS)


def rows_of(heading: str) -> dict[str, str]:
    """The rows of the table below a heading, by the name in the first column."""
    part = PAGE.partition(f"\n## {heading}\n")[2].partition("\n## ")[0]
    return {row[0]: row[1] for row in re.findall(r"^\| `([a-z_]+)` \|(.*)\|$", part, re.M)}


def test_the_page_has_every_metric_with_its_labels() -> None:
    rows = rows_of("Metrics")
    assert rows.keys() == METRICS.keys()
    for name, metric in METRICS.items():
        kind, labels, *_ = (cell.strip() for cell in rows[name].split("|"))
        assert (kind, labels) == (metric.kind, " ".join(f"`{label}`" for label in metric.labels)), name


def test_the_page_has_every_alert_with_its_limit() -> None:
    rows = rows_of("Alerts")
    assert rows.keys() == ALERTS.keys()
    for name, alert in ALERTS.items():
        labels, limit, todo = (cell.strip() for cell in rows[name].split("|"))
        assert labels == " ".join(f"`{label}`" for label in alert.labels), name
        assert (limit, todo) == (alert.limit, alert.todo)


def test_the_page_has_every_event_with_its_fields() -> None:
    rows = rows_of("Logs")
    assert rows.keys() == EVENTS.keys()
    for name, event in EVENTS.items():
        level, fields, meaning = (cell.strip() for cell in rows[name].split("|"))
        assert (level, meaning) == (event.level, event.meaning), name
        assert fields == " ".join(f"`{field}`" for field in event.fields)


def test_the_rules_are_a_rules_file_about_metrics_that_there_are() -> None:
    (group,) = yaml.safe_load(rules_file())["groups"]
    assert group["name"] == "headwater"
    names = [rule["alert"] for rule in group["rules"]]
    assert len(set(names)) == len(names)
    for rule in group["rules"]:
        assert rule.keys() == {"alert", "expr", "for", "labels", "annotations"}
        mentioned = set(re.findall(r"headwater_[a-z_]+", rule["expr"]))
        used = mentioned - ALERTS.keys()
        assert used
        assert used <= METRICS.keys(), rule["alert"]
        assert re.fullmatch(r"[0-9]+[smh]", rule["for"])
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert {"summary", "description"} <= rule["annotations"].keys()


def test_whatever_is_told_is_described() -> None:
    telemetry = KeptTelemetry()
    for name, metric in METRICS.items():
        (telemetry.count if metric.kind == "counter" else telemetry.gauge)(name, dict.fromkeys(metric.labels, "x"), 1)
    text = exposition(telemetry)
    assert "# TYPE headwater_lag_events gauge" in text
    assert "# TYPE headwater_records_total counter" in text
    assert "untyped" not in text


def test_the_page_s_own_telemetry_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", PAGE, re.S) if "class Pager" in block)
    given: dict[str, Any] = {}
    exec(code, given)
    telemetry = given["environment"].telemetry
    telemetry.gauge("seconds", {"topic": "a"}, 1.0)
    telemetry.count("records_total", {}, 2)
    telemetry.alert("held", {"topic": "a"}, "held")
    assert capsys.readouterr().out == "seconds {'topic': 'a'} 1.0\nrecords_total {} 2 more\nheld\n"


def test_the_page_s_commands_exist() -> None:
    lines = re.findall(r"^(hw [^#\n]*?)(?: +#.*| > .*)?$", PAGE, re.M)
    assert len(lines) == 2
    for line in lines:
        refuse_unknown_command(line)
