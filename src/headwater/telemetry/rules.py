"""Alert rules for Prometheus, as the file that it loads: `hw rules > headwater.rules.yml`.

Headwater's own alerts are metrics, too (`headwater_alert`), so one rule passes all of them on. The other rules are
about what only a comparison over time or over processes tells.
"""

from __future__ import annotations

import json
from typing import Literal, NamedTuple


class Rule(NamedTuple):
    """Arguments: expr: in PromQL; lasts: for how long it must hold; severity: whether somebody should get up."""

    alert: str
    expr: str
    lasts: str
    severity: Literal["page", "ticket"]
    summary: str
    description: str


RULES: tuple[Rule, ...] = (
    Rule(
        "HeadwaterAlert",
        'headwater_alert{alert!="headwater_dead_letters_waiting"} == 1',
        "0s",
        "page",
        "{{ $labels.alert }}",
        "Headwater says that something stands still or is at a limit; its log, or the webhook, has the text. "
        "docs/telemetry.md says of each what to do.",
    ),
    Rule(
        "HeadwaterDeadLetters",
        "sum by (group, topic) (headwater_dead_letters) > 0",
        "0s",
        "ticket",
        "{{ $labels.group }} has {{ $value }} dead letters of {{ $labels.topic }}",
        "Later records of their entities wait behind them; all others go on: hw deadletters list.",
    ),
    Rule(
        "HeadwaterLagging",
        "max by (group, topic, partition) (headwater_lag_seconds) > 60",
        "5m",
        "page",
        "{{ $labels.group }} is {{ $value | humanizeDuration }} behind in {{ $labels.topic }}/{{ $labels.partition }}",
        "What it reads next has been there for more than a minute, and that for five minutes. If it moves, it needs "
        "more processes or partitions; if not, its own alert says why.",
    ),
    Rule(
        "HeadwaterLagGrows",
        "sum by (group) (headwater_lag_events) > 10000 and sum by (group) (deriv(headwater_lag_events[15m])) > 0",
        "15m",
        "ticket",
        "{{ $labels.group }} falls behind: {{ $value | humanize }} positions",
        "It reads less than is written. headwater_busy_seconds_total near 1 per second means that its handlers are the "
        "limit: start more processes.",
    ),
    Rule(
        "HeadwaterReaderDown",
        "headwater_reader_up == 0",
        "2m",
        "page",
        "the reader {{ $labels.group }} of {{ $labels.instance }} does not get on",
        "It has ended, waits for something that is unavailable, or hangs: hw lag, and the log of the process.",
    ),
    Rule(
        "HeadwaterReaderGone",
        "group by (group) (max_over_time(headwater_reader_up[1h])) unless group by (group) (headwater_reader_up)",
        "5m",
        "page",
        "no process reads for {{ $labels.group }} any more",
        "There was one within the last hour. Start it again: hw run.",
    ),
    Rule(
        "HeadwaterCommandsFail",
        'sum by (entity) (rate(headwater_commands_total{outcome="failed"}[5m])) > 0',
        "5m",
        "ticket",
        "commands of {{ $labels.entity }} fail in their handlers",
        "A @decides or @evolves method raises what is no refusal. Its callers were told; the author acts next.",
    ),
)


def rules_file() -> str:
    """The file. Texts are quoted as in JSON, which YAML reads as they are."""
    lines = ["groups:", "  - name: headwater", "    rules:"]
    for rule in RULES:
        lines += [
            f"      - alert: {rule.alert}",
            f"        expr: {json.dumps(rule.expr)}",
            f"        for: {rule.lasts}",
            "        labels:",
            f"          severity: {rule.severity}",
            "        annotations:",
            f"          summary: {json.dumps(rule.summary)}",
            f"          description: {json.dumps(rule.description)}",
        ]
    return "\n".join(lines) + "\n"
