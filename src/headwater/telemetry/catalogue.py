"""Every metric, alert and event that headwater tells, in one place: for the help texts, the page and the tests.

The code that tells something names it by a constant of its own; a test compares these constants with the tables here,
and `docs/telemetry.md` with both.
"""

from __future__ import annotations

from typing import Literal, NamedTuple


class Metric(NamedTuple):
    """Arguments: labels: that it always has; help: what it is, for people."""

    kind: Literal["gauge", "counter", "untyped"]
    labels: tuple[str, ...]
    help: str


class AlertKind(NamedTuple):
    """Arguments: labels; limit: when it is raised; todo: what to do then."""

    labels: tuple[str, ...]
    limit: str
    todo: str


class EventKind(NamedTuple):
    """A line in the log. Arguments: level; fields: beside those of every line; meaning."""

    level: Literal["info", "warning", "error"]
    fields: tuple[str, ...]
    meaning: str


_PARTITION = ("group", "topic", "partition")
_LOG_PARTITION = ("log", "topic", "partition")

METRICS: dict[str, Metric] = {
    "headwater_reader_up": Metric(
        "gauge", ("group",), "1 while the reader of this process runs and gets on, and the log answers, else 0."
    ),
    "headwater_lag_events": Metric(
        "gauge", _PARTITION, "Positions between the reader and the end of what can be read, gaps of the log included."
    ),
    "headwater_lag_seconds": Metric(
        "gauge",
        _PARTITION,
        "For how long what the reader reads next has been there, to within 3 s; of what was there before this process: "
        "how old the newest record is that it has handled.",
    ),
    "headwater_partition_stalled_seconds": Metric(
        "gauge", _PARTITION, "For how long the reader has not moved though there is more to read; 0 when it does."
    ),
    "headwater_records_total": Metric("counter", ("group",), "Records that the reader has handled."),
    "headwater_batches_total": Metric("counter", ("group",), "Batches that the reader has handled."),
    "headwater_busy_seconds_total": Metric("counter", ("group",), "Seconds that the reader was at batches."),
    "headwater_reader_failures_total": Metric(
        "counter", ("group",), "Rounds of the reader that failed or were aborted; each is done again, or ends it."
    ),
    "headwater_failures_total": Metric(
        "counter",
        ("group", "stage"),
        "Records that cannot be read (stage decode, upcast), at which a handler fails (key, apply, decide), or that "
        "are too late for a window (late).",
    ),
    "headwater_dead_letters": Metric("gauge", _PARTITION, "Records that failed and wait to be retried or discarded."),
    "headwater_held_records": Metric("gauge", _PARTITION, "Dead letters, and what waits behind them."),
    "headwater_held_bytes": Metric("gauge", _PARTITION, "What these records have together."),
    "headwater_duplicate_records": Metric("gauge", _PARTITION, "Copies that were recognised (`dedupe=`)."),
    "headwater_missing_records": Metric("gauge", _PARTITION, "Gaps in the sequences of a topic that others write."),
    "headwater_late_records": Metric(
        "gauge", _PARTITION, "Records that came too late for a window of a view, since the view was made."
    ),
    "headwater_commands_total": Metric("counter", ("entity", "outcome"), "Commands that were answered."),
    "headwater_events_total": Metric("counter", ("entity",), "Events that were written by owners."),
    "headwater_last_stable_offset_held_seconds": Metric(
        "gauge", _LOG_PARTITION, "For how long a transaction has held the partition back at one offset; 0: none does."
    ),
    "headwater_last_stable_offset_behind": Metric(
        "gauge", _LOG_PARTITION, "Positions that were written and cannot be read yet, behind an open transaction."
    ),
    "headwater_rebuild_left_events": Metric(
        "gauge", ("read_model",), "Positions that a rebuild of the read model still has to apply."
    ),
    "headwater_rebuild_events": Metric("gauge", ("read_model",), "Positions that the rebuild has to apply in all."),
    "headwater_log_silent_seconds": Metric("gauge", ("log",), "Since when the log has not answered this process."),
    "headwater_alert": Metric("gauge", ("alert",), "1 for each alert that is on, with the alert's own labels."),
    "headwater_info": Metric("gauge", ("app", "version"), "1; what this process runs."),
}

ALERTS: dict[str, AlertKind] = {
    "headwater_reader_stuck": AlertKind(
        ("group",),
        "a reader has ended by a failure: within 3 s; or has not got on for more than 20 s, since its rounds fail or "
        "one does not end; it is over when a batch is committed, or after 10 s without trouble if there is nothing to "
        "read",
        "the text says with which failure, or what it waits for (the store, the log, a handler), at what step, and "
        "where its thread is",
    ),
    "headwater_partition_stalled": AlertKind(
        _PARTITION,
        "a reader goes on but has not moved in a partition for more than 20 s, though there is more to read",
        "`hw lag` says more; see stopped.md where an owner has left the partition",
    ),
    "headwater_partition_paused": AlertKind(
        _PARTITION,
        "as much is set aside in a partition as may be (10,000 records or 64 MB, unless declared otherwise), or a "
        "record waits for newer code",
        "`hw deadletters list`; see failures.md",
    ),
    "headwater_dead_letters_waiting": AlertKind(
        _PARTITION, "there is a dead letter", "`hw deadletters list`; see failures.md"
    ),
    "headwater_read_model_divided": AlertKind(
        ("group",),
        "processes of one group keep a read model in different stores, each a part of the rows, for more than 12 s",
        "start all processes of the app with one `--store`; it is filled from where its rows are",
    ),
    "headwater_rebuild_stuck": AlertKind(
        ("read_model",),
        "a rebuild has not got on for more than 20 s",
        "the text says what it waits for: a handler, the store, the log; it is safe to end it, and it goes on later",
    ),
    "headwater_owner_stuck": AlertKind(
        ("entity",),
        "commands of callers in this process have been carried out for more than 20 s",
        "the text says where the thread is: most often in a `@decides` or `@evolves` method that waits",
    ),
    "headwater_log_silent": AlertKind(
        ("log",), "the log has not answered for more than 20 s", "look after the cluster: `hw doctor`"
    ),
    "headwater_last_stable_offset_held": AlertKind(
        _LOG_PARTITION,
        "a transaction has been open for longer than the transaction time-out (12 s)",
        "`hw doctor` says whose it is and how to end it",
    ),
}

EVENTS: dict[str, EventKind] = {
    "process_started": EventKind("info", ("on", "parts"), "`hw run` is ready"),
    "process_stopped": EventKind("info", (), "`hw run` has stopped in order"),
    "process_ended": EventKind(
        "error",
        ("text",),
        "`hw run` was told to stop and has not within 10 s: it is ended; which reader is where, and since when",
    ),
    "noticed": EventKind(
        "warning",
        ("text",),
        "what a part that goes on has met: a group that another tool has reset (see reset.md), a view of which another "
        "process has some partitions (see views.md)",
    ),
    "metrics_served": EventKind("info", ("url",), "metrics can be scraped"),
    "reader_running": EventKind("info", ("reader",), "a reader runs, for the first time or again"),
    "reader_retrying": EventKind(
        "error", ("reader", "error", "reason"), "a reader waits for something that is unavailable, and tries again"
    ),
    "reader_failed": EventKind("error", ("reader", "error", "reason"), "a reader has ended by a failure"),
    "reader_stopped": EventKind("info", ("reader",), "a reader has ended because it was told to"),
    "partitions_assigned": EventKind("info", ("reader", "group", "partitions"), "a reader has got partitions"),
    "partitions_revoked": EventKind("info", ("reader", "group", "partitions"), "a reader has lost partitions"),
    "partition_stopped": EventKind(
        "error", ("entity", "partition"), "an owner leaves a partition where it is, see stopped.md"
    ),
    "dead_letter": EventKind(
        "error",
        ("group", "topic", "partition", "offset", "stage", "handler", "error", "count"),
        "a record is set aside; of several in a batch the first, and how many",
    ),
    "alert_raised": EventKind("error", ("alert", "labels", "text"), "an alert is on from now"),
    "alert_over": EventKind("info", ("alert", "labels", "text"), "it is over"),
    "log": EventKind("info", ("text",), "any other line of the log, of whatever level"),
}
