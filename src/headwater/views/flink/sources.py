"""A topic as a table of Flink: the fields that a view uses, and metadata from headers, as `Meta` has them.

Transactions that came to nothing are not read. A tombstone is no row. What is no JSON, or has another type of value,
ends the job: Flink has no dead letters.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, Final, NamedTuple

from msgspec import NODEFAULT

from headwater.messages.upcasts import functions_of
from headwater.views.flink.expressions import Untranslatable
from headwater.views.flink.types import WHOLE, flink_type, text, ticked
from headwater.views.plan import Relation
from headwater.views.types import METADATA, VARCHAR

ROWTIME: Final = "_rowtime"
HEADERS: Final = "hw_headers"
KEY: Final = "hw_key"
TYPE: Final = "eventType"
TIME: Final = "timestamp"


class Watermark(NamedTuple):
    """How late records may be. Arguments: delay_us: microseconds."""

    delay_us: int


def header(name: str) -> str:
    return f"CAST({ticked(HEADERS)}[{text(name)}] AS STRING)"


def time_of(said: str) -> str:
    """The time in a text that ends with Z."""
    plain = f"REPLACE(REPLACE({said}, 'T', ' '), 'Z', '')"
    return f"CAST(CAST({plain} AS TIMESTAMP(6)) AS TIMESTAMP_LTZ(6))"


STARTUP: Final = "scan.startup.mode"
PLACE: Final = "CONCAT(`_topic`, '-', CAST(`_partition` AS STRING), '-', CAST(`_offset` AS STRING))"
OF_RECORDS: Final = {
    "_topic": "STRING NOT NULL METADATA FROM 'topic' VIRTUAL",
    "_partition": "INT NOT NULL METADATA FROM 'partition' VIRTUAL",
    "_offset": "BIGINT NOT NULL METADATA FROM 'offset' VIRTUAL",
}
COMPUTED: Final = {
    "_key": f"COALESCE({header('ce_subject')}, {ticked(KEY)}, '')",
    "_entity_id": f"COALESCE({header('ce_subject')}, {ticked(KEY)}, '')",
    "_id": f"COALESCE({header('ce_id')}, {PLACE})",
    "_time": f"COALESCE({time_of(header('ce_time'))}, {time_of(ticked(TIME))}, `_record_time`)",
    "_recorded": time_of(header("hw_recorded")),
    "_entity_version": f"CAST({header('ce_entityversion')} AS BIGINT)",
    "_command_id": header("ce_commandid"),
    "_causation_id": header("ce_causationid"),
    "_correlation_id": header("ce_correlationid"),
    "_actor": header("ce_authid"),
}
NEEDED: Final = {"_id": ("_topic", "_partition", "_offset")}


def source(name: str, relation: Relation, bootstrap: str, watermark: Watermark | None) -> str:
    """The statement that makes a topic a table.

    Arguments: name: of the table; bootstrap: servers; watermark: where windows need one. Raises: Untranslatable.
    """
    refuse_what_is_read(relation)
    used = {one.name for one in relation.columns} | ({"_time"} if watermark is not None else set())
    used |= {more for one in list(used) for more in NEEDED.get(one, ())}
    lines = [f"{ticked(one)} {kind}" for one, kind in fields(relation)]
    if "_time" in used:
        lines += [
            f"{ticked(TIME)} STRING",
            "`_record_time` TIMESTAMP_LTZ(3) NOT NULL METADATA FROM 'timestamp' VIRTUAL",
        ]
    keyed = bool(used & {"_key", "_entity_id"})
    if keyed:
        lines.append(f"{ticked(KEY)} STRING")
    if used & COMPUTED.keys():
        lines.append(f"{ticked(HEADERS)} MAP<STRING, BYTES> METADATA FROM 'headers' VIRTUAL")
    lines += [f"{ticked(one)} {kind}" for one, kind in OF_RECORDS.items() if one in used]
    lines += [f"{ticked(one)} AS {expression}" for one, expression in COMPUTED.items() if one in used]
    if watermark is not None:
        lines.append(f"{ticked(ROWTIME)} AS CAST({COMPUTED['_time']} AS TIMESTAMP_LTZ(3))")
        lines.append(f"WATERMARK FOR {ticked(ROWTIME)} AS {ticked(ROWTIME)} - {interval(watermark.delay_us)}")
    options = {
        "connector": "kafka",
        "topic": relation.name,
        "properties.bootstrap.servers": bootstrap,
        "properties.isolation.level": "read_committed",
        STARTUP: "earliest-offset",
        "value.format": "json",
        "value.json.timestamp-format.standard": "ISO-8601",
    }
    if relation.key:
        lines.append(f"PRIMARY KEY ({', '.join(map(ticked, relation.key))}) NOT ENFORCED")
        options = keyed_by(relation, {name: value for name, value in options.items() if name != STARTUP})
    elif keyed:
        options |= {"key.format": "raw", "key.fields": KEY, "value.fields-include": "EXCEPT_KEY"}
    if watermark is not None:
        options["scan.watermark.emit.strategy"] = "on-event"
    return created(name, lines, options, notes(relation))


def keyed_by(relation: Relation, options: dict[str, str]) -> dict[str, str]:
    """The options of a table of which the key of a record says whose row it is. Raises: Untranslatable."""
    types = {one.name: one.type for one in relation.columns}
    if {one.name for one in relation.columns} & {"_key", "_entity_id"}:
        raise Untranslatable(f"the key of {relation.name} is its PRIMARY KEY in Flink: name that in place of _key")
    if len(relation.key) > 1 or types[relation.key[0]] not in (VARCHAR, *WHOLE):
        raise Untranslatable(
            f"the key of {relation.name} does not translate to Flink SQL: a text or a whole number does"
        )
    form = "raw" if types[relation.key[0]] == VARCHAR else "csv"
    return {**options, "connector": "upsert-kafka", "key.format": form}


def created(name: str, lines: Iterable[str], options: dict[str, str], comments: Iterable[str] = ()) -> str:
    """A CREATE TABLE."""
    said = "".join(f"-- {one}\n" for one in comments)
    columns = ",\n".join(f"  {line}" for line in lines)
    listed = ",\n".join(f"  {text(key)} = {text(value)}" for key, value in options.items())
    return f"{said}CREATE TABLE {ticked(name)} (\n{columns}\n) WITH (\n{listed}\n)"


def fields(relation: Relation) -> Iterator[tuple[str, str]]:
    """The columns that are read from the values of records. Raises: Untranslatable."""
    if relation.origin == "events":
        yield TYPE, "STRING"
    for column in relation.columns:
        if column.name in METADATA:
            continue
        kind = flink_type(column.type)
        if kind is None:
            raise Untranslatable(f"{column.name} is {column.type.sql}, which does not translate to Flink SQL")
        yield column.name, kind


def condition(relation: Relation, alias: str) -> str | None:
    """Which records of the topic are meant; None: all."""
    if relation.origin != "events":
        return None
    names = ", ".join(text(one.name) for one in relation.types)
    return f"{ticked(alias)}.{ticked(TYPE)} IN ({names})"


def refuse_what_is_read(relation: Relation) -> None:
    """Raises: Untranslatable: records that Flink would read in another way."""
    if relation.origin == "states":
        raise Untranslatable(
            f"{relation.name} has states of entities, which methods in Python fold from events: Flink has none of them"
        )
    classes = [kind.cls for kind in relation.types if kind.cls is not None]
    if functions_of(classes):
        names = ", ".join(one.__name__ for one in classes)
        raise Untranslatable(
            f"old events of {relation.name} ({names}) are read by functions in Python, which Flink does not have"
        )


def notes(relation: Relation) -> Iterator[str]:
    """What is not quite the same: fields that a record may leave out, since their class has a default."""
    for kind in relation.types:
        defaults = {} if kind.cls is None else defaults_of(kind.cls)
        for field in kind.fields:
            if field.wire in defaults:
                yield (
                    f"{field.wire} is NULL where a record of {kind.name} leaves it out; headwater reads "
                    f"{defaults[field.wire]!r} then"
                )


def defaults_of(cls: type[Any]) -> dict[str, object]:
    """The fields of a class that have a default other than None, by wire name."""
    names = cls.__struct_encode_fields__
    values = cls.__struct_defaults__
    last = dict(zip(names[len(names) - len(values) :], values, strict=True))
    return {name: value for name, value in last.items() if value is not None and value is not NODEFAULT}


def interval(span_us: int) -> str:
    """A span of time as a literal. Raises: Untranslatable: parts of a millisecond."""
    milliseconds, rest = divmod(span_us, 1000)
    if rest:
        raise Untranslatable("windows of parts of a millisecond do not translate to Flink SQL")
    seconds, thousandths = divmod(milliseconds, 1000)
    minutes, second = divmod(seconds, 60)
    hours, minute = divmod(minutes, 60)
    days, hour = divmod(hours, 24)
    digits = max(len(str(days)), 2)
    return f"INTERVAL '{days} {hour:02}:{minute:02}:{second:02}.{thousandths:03}' DAY({digits}) TO SECOND(3)"
