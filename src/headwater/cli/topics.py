"""`hw topics`: what a log holds."""

from __future__ import annotations

import click

from headwater.cli.output import Form, output_option, show_rows
from headwater.cli.project import Project, on_option

UNITS = (("d", 86_400_000), ("h", 3_600_000), ("min", 60_000), ("s", 1000))


@click.command("topics")
@on_option
@output_option
def command(on: str | None, form: Form) -> None:
    """List the topics of a log. `records` counts positions, of which some may be gaps."""
    from headwater.operations.topics import topic_reports

    with Project(None, on, verb="topics").log() as log:
        reports = topic_reports(log)
    rows = [
        {
            "topic": report.name,
            "partitions": report.partitions,
            "records": report.records,
            "retention": retention_text(report.retention_ms),
            "compacted": report.compacted,
            "retentionMs": report.retention_ms,
            "begins": report.begins,
            "ends": report.ends,
        }
        for report in reports
    ]
    show_rows(form, ["topic", "partitions", "records", "retention", "compacted"], rows, empty="no topics")


def retention_text(milliseconds: int | None) -> str:
    """How long records are kept, in the largest unit that fits."""
    if milliseconds is None:
        return "for ever"
    for name, size in UNITS:
        if milliseconds % size == 0:
            return f"{milliseconds // size} {name}"
    return f"{milliseconds} ms"
