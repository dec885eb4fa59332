"""The whole program: settings, sources, views in order, sinks, and what fills them."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Final

from headwater.schemas.topics import PLAIN, Codecs
from headwater.views.flink.expressions import Untranslatable
from headwater.views.flink.query import Query
from headwater.views.flink.sources import created, source
from headwater.views.flink.types import flink_type, ticked
from headwater.views.plan import Join, View
from headwater.views.types import VARCHAR

SETTINGS: Final = {
    "table.local-time-zone": "UTC",
    "execution.checkpointing.interval": "10 s",
}


def script(views: Sequence[View], names: Collection[str], bootstrap: str, codecs: Codecs = PLAIN) -> str:
    """The program that keeps views in topics.

    Arguments: views: all of an app, each after those that it reads; names: of those that are wanted; bootstrap: of the
    cluster that has the topics; codecs: of the topics. Raises: Untranslatable: one of them does not mean the same in
    Flink, and why.
    """
    needed = set(names)
    for view in reversed(views):
        if view.name in needed:
            needed |= {one.name for one in view.relations if one.origin == "view"}
    parts = [f"SET '{name}' = '{value}'" for name, value in SETTINGS.items()]
    inserts = []
    for view in views:
        if view.name not in needed:
            continue
        try:
            if view.target == "stream":
                raise Untranslatable("CREATE STREAM does not translate to Flink SQL; a view that reads it does")
            parts += definition(view, bootstrap, codecs)
            if view.name in names:
                parts.append(sink(view, bootstrap))
                inserts.append(insert(view))
        except Untranslatable as error:
            raise Untranslatable(f"view {view.name}: {error}") from error
    text = "".join(f"{part};\n\n" for part in parts)
    if len(inserts) == 1:
        return f"{text}{inserts[0]};\n"
    listed = "".join(f"  {one};\n" for one in inserts)
    return f"{text}EXECUTE STATEMENT SET\nBEGIN\n{listed}END;\n"


def definition(view: View, bootstrap: str, codecs: Codecs) -> list[str]:
    """The sources of a view, unless they are other views, and the view."""
    parts, tables = [], {}
    for relation in view.relations:
        tables[relation.alias] = relation.name
        if relation.origin != "view":
            suffix = "" if relation is view.relation else f"_{relation.alias}"
            tables[relation.alias] = f"{view.name}_source{suffix}"
    query = Query(view, tables)
    for relation in view.relations:
        if relation.origin != "view":
            if codecs.format_of(relation.name) != "json":
                raise Untranslatable(
                    f"the values of {relation.name} are {codecs.format_of(relation.name)}, only JSON does"
                )
            watermark = query.rows.watermark if relation is view.relation else None
            parts.append(source(tables[relation.alias], relation, bootstrap, watermark))
        elif query.rows.watermark is not None:
            raise Untranslatable("windows over a view do not translate to Flink SQL: its rows have no watermark")
    sql = query.sql()
    return [*parts, *query.before, f"CREATE TEMPORARY VIEW {ticked(view.name)} AS\n{sql}"]


def changes(view: View) -> bool:
    """Whether rows of a view can change or go again, in Flink, too."""
    outer = any(isinstance(step, Join) and step.side != "inner" for step in view.steps)
    return view.retracts or outer or any(one.view is not None and changes(one.view) for one in view.relations)


def insert(view: View) -> str:
    """What fills the topic of a view. Where a column may be NULL for a moment, as until the right side of a join has
    come, a key that is NULL must not end the job."""
    only = " AND ".join(f"{ticked(one)} IS NOT NULL" for one in view.key) if is_unsettled(view) else ""
    where = f" WHERE {only}" if only else ""
    return f"INSERT INTO {ticked(sink_name(view))} SELECT * FROM {ticked(view.name)}{where}"


def is_unsettled(view: View) -> bool:
    """Whether Flink joins rows with NULL first, and with what there is later: in it, or in a view that it reads."""
    outer = any(isinstance(step, Join) and step.side != "inner" for step in view.steps)
    best = view.grouping is not None and any(one.by is not None for one in view.grouping.partials)
    return outer or best or any(one.view is not None and is_unsettled(one.view) for one in view.relations)


def sink_name(view: View) -> str:
    return f"{view.name}_sink"


def sink(view: View, bootstrap: str) -> str:
    """The topic that the rows go to: of a view that changes one record per key, the latest counts, and none is a
    tombstone."""
    columns = []
    for one in view.output:
        columns.append(f"{ticked(one.name)} {flink_type(one.type)}")
    options = {
        "connector": "upsert-kafka" if changes(view) else "kafka",
        "topic": view.topic or view.name,
        "properties.bootstrap.servers": bootstrap,
        "sink.delivery-guarantee": "exactly-once",
        "sink.transactional-id-prefix": f"flink-{view.name}",
        "properties.transaction.timeout.ms": "900000",
        "value.format": "json",
        "value.json.timestamp-format.standard": "ISO-8601",
        "value.json.encode.decimal-as-plain-number": "true",
    }
    comments = ["a group whose key is NULL has no row in the topic"] if view.key and is_unsettled(view) else []
    comments += [] if view.sink is None else ["its store, WITH (sink = …), is not fed: read the topic from there"]
    if not changes(view):
        return created(sink_name(view), columns, options, comments)
    if not view.key:
        raise Untranslatable("its rows change and have no key in a topic: SELECT all that it is grouped by")
    columns.append(f"PRIMARY KEY ({', '.join(map(ticked, view.key))}) NOT ENFORCED")
    only = next(one for one in view.output if one.name == view.key[0])
    options["key.format"] = "raw" if len(view.key) == 1 and only.type == VARCHAR else "json"
    if options["key.format"] == "json":
        options["key.json.timestamp-format.standard"] = "ISO-8601"
    return created(
        sink_name(view),
        columns,
        options,
        ["the topic is to be compacted: a later row takes the place of an earlier one", *comments],
    )
