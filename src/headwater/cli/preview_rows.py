"""What a preview found, as rows: for programs, and as lines for people."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from headwater.cli.output import Row

if TYPE_CHECKING:
    from headwater.operations.preview import Change, EntityPreview, TablePreview


def entity_rows(one: EntityPreview) -> Iterator[Row]:
    entity = {"entity": one.entity}
    for name in one.added:
        yield {"kind": "newField", **entity, "field": name}
    for name in one.removed:
        yield {"kind": "removedField", **entity, "field": name}
    for unread in one.unread:
        kind = "unknown" if unread.kind in ("unknown_type", "unknown_version") else "unreadable"
        where = {"event": unread.first._asdict()}
        yield {"kind": kind, **entity, "type": unread.type, "events": unread.events, "reason": unread.reason, **where}
    for trouble in one.troubles:
        event = {"version": trouble.version, **trouble.place._asdict()}
        yield {"kind": "failure", **entity, "id": trouble.id, "error": trouble.error, "event": event}
    for wrong in one.differences:
        low, high = wrong.versions
        first = {"version": low, **wrong.first._asdict()} if wrong.first else None
        found: dict[str, Any] = {"kind": "difference", **entity, "id": wrong.id, "event": first}
        if first is None:
            found["betweenVersions"] = [low, high]
        yield {**found, "fields": _changes(wrong.fields), "now": _changes(wrong.now)}
    yield {
        "kind": "entity",
        **entity,
        "entities": one.entities,
        "events": one.events,
        "differing": one.differing,
        "failures": len(one.troubles),
        "notCompared": one.apart,
        "schema": one.schema,
        "comparedWith": sorted(one.stored),
        "seconds": round(one.seconds, 3),
        "largestPartitionSeconds": round(one.seconds * one.longest, 3),
    }


def table_rows(one: TablePreview) -> Iterator[Row]:
    table = {"table": one.table}
    for name in one.added:
        yield {"kind": "newField", **table, "field": name}
    for name in one.removed:
        yield {"kind": "removedField", **table, "field": name}
    for failure in one.failures:
        yield {"kind": "failure", **table, "error": failure}
    for wrong in one.differences:
        only = {} if wrong.only is None else {"only": wrong.only}
        yield {"kind": "difference", **table, "id": wrong.key, **only, "fields": _changes(wrong.fields)}
    counts = {"rows": one.rows, "differing": one.differing, "compared": one.compared}
    yield {"kind": "table", **table, **counts, "note": one.note, "seconds": round(one.seconds, 3)}


def _changes(changes: Mapping[str, Change]) -> dict[str, Any]:
    return {name: change._asdict() for name, change in changes.items()}


def for_people(row: Row) -> Row:
    """A line of the table."""
    name = row.get("entity") or row.get("table")
    event, kind = row.get("event"), row["kind"]
    place = f"{event['topic']}/{event['partition']}, offset {event['offset']}" if event else ""
    if event:
        place = f"{event['type']} (version {event['version']}), {place}" if "version" in event else place
    elif "betweenVersions" in row:
        place = "between versions {} and {}".format(*row["betweenVersions"])
    if kind == "difference":
        detail = "; ".join(f"{field}: {one['old']} → {one['new']}" for field, one in row["fields"].items())
        detail = detail or f"only in the {'new' if row['only'] == 'new' else 'old'} rows"
    elif kind == "entity":
        detail = "{differing} of {entities} differ, {failures} failures, {events} events in {seconds} s".format(**row)
        detail += f"; the largest partition takes {row['largestPartitionSeconds']} s of it"
    elif kind == "table":
        detail = "{differing} of {rows} rows differ, made in {seconds} s".format(**row)
        detail = detail if row["compared"] else "{rows} rows made in {seconds} s; nothing to compare with".format(**row)
        detail += f": {row['note']}" if row["note"] else ""
    elif kind in ("unknown", "unreadable"):
        detail = "{events} events: {reason}".format(**row)
    else:
        detail = str(row.get("error") or row.get("field"))
    return {"what": kind, "name": name, "id": row.get("id") or row.get("type"), "event": place, "detail": detail}
