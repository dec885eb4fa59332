"""From one SELECT to a plan: outputs, groups, conditions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

import duckdb
from sqlglot import exp

from headwater.log.topology import events_topic
from headwater.views.aggregates import Partials, aggregates_in, is_aggregate, too_fine
from headwater.views.binding import Binder
from headwater.views.errors import BadStatement
from headwater.views.failing import always_fails, place_in
from headwater.views.folding import resolve
from headwater.views.from_clause import FromClause
from headwater.views.history import READ
from headwater.views.join_checks import TIMES, check_joins
from headwater.views.nesting import leaves
from headwater.views.outputs import group_expressions, named_outputs, written_out
from headwater.views.plan import Grouping, Key, Output, Partial, Unnest, View, Window
from headwater.views.record_values import is_key, is_written
from headwater.views.relations import Needs, relation_of, step_of
from headwater.views.sharing import SHARED, shared_of
from headwater.views.sinks import sink_of
from headwater.views.sources import Catalogue
from headwater.views.statements import Statement
from headwater.views.stream_joins import joined_refusal
from headwater.views.topics import topic_of
from headwater.views.types import BIGINT, SqlType
from headwater.views.unbuilt import unbuilt_in
from headwater.views.windows import is_window, late_of, placed, refuse_early_sessions, window_of

TAKEN: Final = ("eventType", "eventVersion", "timestamp")
"""What the record of a stream says of itself beside its columns."""

OWNED: Final = ("-commands", "-replies", "-state", "-held", "-deadletters")


def plan_query(statement: Statement, select: exp.Select, catalogue: Catalogue, binder: Binder) -> View:
    """The plan of a statement's query. Raises: BadStatement."""
    return QueryPlan(statement, select, catalogue, binder).view()


class QueryPlan:
    """Makes one plan. Arguments: as `plan_query`."""

    def __init__(self, statement: Statement, select: exp.Select, catalogue: Catalogue, binder: Binder) -> None:
        self.statement, self.select, self.binder, self.catalogue = statement, select, binder, catalogue
        self.clause = FromClause(statement, select, catalogue, binder)
        self.scope = self.clause.scope
        self.outputs = named_outputs(statement, select, self.scope)
        self.window: Window | Unnest | None = None
        self.written_window: exp.Expr = exp.Null()
        self.keys: dict[str, tuple[str, exp.Expr]] = {}
        """The text of each key -> its name, and the expression."""
        self.partials = Partials(self.scope)

    def view(self) -> View:
        condition = self.select.args.get("where")
        grouped = self.is_grouped()
        if grouped:
            self.read_keys()
        wheres = [self.clause.inlined.where] if self.clause.inlined is not None and self.clause.inlined.where else []
        if condition is not None:
            wheres.append(self.condition(written_out(condition.this, self.outputs, self.scope)))
        where = " AND ".join(f"({one})" for one in wheres) if len(wheres) > 1 else next(iter(wheres), None)
        if grouped:
            trees = [(name, self.over_groups(tree)) for name, tree in self.outputs]
            having = self.having()
            needs = Needs([tree for _, tree in self.keys.values()], self.partials)
        else:
            trees = [(name, resolve(self.scope, tree)) for name, tree in self.outputs]
            having = None
            needs = Needs([tree for _, tree in trees], None)
        first = self.clause.reads[0].place
        for name in READ if self.statement.options.get("history") and first.ties else ():
            first.place_in_log(name)
        if self.statement.options.get("shared") and first.ties:
            first.place_in_log(SHARED)
        relations = {
            id(one): relation_of(self.statement, one, self.clause, needs, self.retracts) for one in self.clause.reads
        }
        steps = [step_of(one, relations) for one in self.clause.steps]
        if self.window is not None:
            steps.append(self.window)
        tables = self.tables()
        check_joins(self.statement, self.clause.reads, lambda asked: self.types(tables, list(asked)))
        self.check_window(tables)
        grouping = None
        if grouped:
            grouping = self.grouping(tables, having)
            tables = [("g", groups_as_columns(grouping))]
        types = self.types(
            tables, [(written, sql_of(tree)) for (_, written), (_, tree) in zip(self.outputs, trees, strict=True)]
        )
        output = tuple(Output(name, sql_of(tree), kind) for (name, tree), kind in zip(trees, types, strict=True))
        view = View(
            name=self.statement.name,
            target=self.statement.kind,
            relation=placed(relations[id(self.clause.reads[0])], self.window),
            steps=tuple(steps),
            where=where,
            grouping=grouping,
            output=output,
            key=self.key(output, grouping),
            topic=self.topic(),
            history=bool(self.statement.options.get("history", False)),
            sql=self.statement.sql,
            record_key=self.record_key(output),
        )
        self.refuse_wrong_target(view)
        self.refuse_unbuilt(view)
        refuse_early_sessions(self.statement, view)
        view = replace(view, late=late_of(self.statement, view.graced), sink=sink_of(self.statement, view))
        return replace(view, shared=shared_of(self.statement, view, self.types_of))

    def types_of(self, expressions: Sequence[str]) -> list[SqlType]:
        """The types of expressions over what is read. Raises: BadStatement."""
        return self.types(self.tables(), [(self.select, one) for one in expressions])

    def check_window(self, tables: list[tuple[str, Mapping[str, SqlType]]]) -> None:
        """Raises: BadStatement: its time is none."""
        window = self.window.window if isinstance(self.window, Unnest) else self.window
        if window is None:
            return
        [kind] = self.types(tables, [(self.written_window, window.time)])
        if kind not in TIMES:
            raise self.statement.error(f"a window takes a time, and this is {kind.sql}", self.written_window)

    def is_grouped(self) -> bool:
        """Whether rows are gathered. Raises: BadStatement: twice."""
        group, having = self.select.args.get("group"), self.select.args.get("having")
        distinct = self.select.args.get("distinct")
        gathered = bool(group) or bool(having) or any(aggregates_in(tree) for _, tree in self.outputs)
        if gathered and distinct is not None:
            raise self.statement.error("DISTINCT over groups: make a view of the groups first", distinct)
        return gathered or distinct is not None

    def read_keys(self) -> None:
        """The expressions of GROUP BY, or of a DISTINCT: of all outputs. Raises: BadStatement."""
        group = self.select.args.get("group")
        trees = [tree for _, tree in self.outputs] if group is None and not self.select.args.get("having") else []
        if self.select.args.get("distinct") is None:
            trees = group_expressions(self.statement, group, self.outputs, self.scope)
        self.read_window(trees)  # first: the others may name its columns, wherever they stand
        for tree in trees:
            of_window = [exp.column("window_start"), exp.column("window_end")] if is_window(tree) else [tree]
            for one in of_window:
                self.add_key(resolve(self.scope, one), tree)

    def read_window(self, trees: Sequence[exp.Expr]) -> None:
        """The window of GROUP BY, whose columns become known. Raises: BadStatement: there are two."""
        for tree in filter(is_window, trees):
            if self.window is not None:
                raise self.statement.error("a view has one window: a row would be in several of both", tree)
            self.window = window_of(self.statement, self.scope, tree, self.binder)
            self.written_window = tree

    def add_key(self, tree: exp.Expr, written: exp.Expr) -> None:
        if aggregates_in(written):
            raise self.statement.error("an aggregate cannot be what groups are made by", written)
        self.keys.setdefault(sql_of(tree), (f"k{len(self.keys)}", tree))

    def condition(self, tree: exp.Expr) -> str:
        """The WHERE. Raises: BadStatement."""
        aggregate = next((node for node in tree.walk() if is_aggregate(node)), None)
        if aggregate is not None:
            raise self.statement.error("an aggregate is not known yet in WHERE: write it in HAVING", aggregate)
        resolved = resolve(self.scope, tree)
        self.types(self.tables(), [(tree, f"CAST({sql_of(resolved)} AS BOOLEAN)")])
        return sql_of(resolved)

    def having(self) -> str | None:
        having = self.select.args.get("having")
        if having is None:
            return None
        names = {name.lower(): tree for name, tree in self.outputs}
        root = exp.Paren(this=having.this.copy())
        for node in list(root.find_all(exp.Column)):
            if not node.table and node.name.lower() in names and not inside_aggregate(node):
                node.replace(exp.paren(names[node.name.lower()]))
        return sql_of(self.over_groups(root.this))

    def over_groups(self, tree: exp.Expr) -> exp.Expr:
        """An expression over keys and partials. Raises: BadStatement."""
        root = exp.Paren(this=tree.copy())
        self.replace_groups(root.this)
        found: exp.Expr = root.this
        return found

    def replace_groups(self, node: exp.Expr) -> None:
        if is_aggregate(node) or (isinstance(node, exp.Filter) and is_aggregate(node.this)):
            node.replace(self.partials.value(node))
            return
        if not aggregates_in(node) and any(node.find_all(exp.Column)):
            key = self.keys.get(sql_of(resolve(self.scope, node)))
            if key is not None:
                node.replace(exp.column(exp.to_identifier(key[0], quoted=True)))
                return
        if isinstance(node, exp.Column):
            raise self.statement.error(
                f"{node.sql()} has many values in a group: add it to GROUP BY, or take one, LATEST({node.sql()})",
                node,
            )
        for child in list(node.iter_expressions()):
            self.replace_groups(child)

    def tables(self) -> list[tuple[str, Mapping[str, SqlType]]]:
        """The places with the types of their columns, for DuckDB."""
        found: list[tuple[str, Mapping[str, SqlType]]] = list(self.clause.tables)
        for place in self.scope.places:
            if place.outputs is not None:
                continue
            if place.item is not None:
                found.append((place.alias, {"item": place.item}))
            else:
                found.append((place.alias, {one.wire: one.type for one in (*place.metadata, *place.members)}))
        return found

    def types(
        self, tables: list[tuple[str, Mapping[str, SqlType]]], expressions: list[tuple[exp.Expr, str]]
    ) -> list[SqlType]:
        """The types of expressions; each with what stood for it in the statement. Raises: BadStatement."""
        if not expressions:
            return []
        try:
            found = self.binder.types(tables, [sql for _, sql in expressions])
        except duckdb.Error as reason:
            for written, sql in expressions:
                try:
                    self.binder.types(tables, [sql])
                except duckdb.Error as exact:
                    raise self.statement.error(in_words(exact), written) from exact
            raise self.statement.error(in_words(reason)) from reason
        for written, sql in expressions:
            failing = always_fails(sql, self.binder, lambda parts: self.binder.types(tables, parts))
            if failing is not None:
                part, why = failing
                raise self.statement.error(f"no record goes with this: {in_words(why)}", place_in(written, part, why))
        return found

    def grouping(self, tables: list[tuple[str, Mapping[str, SqlType]]], having: str | None) -> Grouping:
        trees = list(self.keys.values())
        kinds = self.types(tables, [(tree, sql_of(tree)) for _, tree in trees])
        keys = tuple(Key(name, sql_of(tree), kind) for (name, tree), kind in zip(trees, kinds, strict=True))
        partials = tuple(self.typed(tables, one) for one in self.partials.found)
        grouping = Grouping(keys, partials, having)
        if having is not None:
            self.types(
                [("g", groups_as_columns(grouping))], [(self.select.args["having"], f"CAST({having} AS BOOLEAN)")]
            )
        return grouping

    def typed(self, tables: list[tuple[str, Mapping[str, SqlType]]], partial: Partial) -> Partial:
        """A partial with the type of what is stored of it. Raises: BadStatement."""
        written = self.partials.written[partial.name]
        if partial.kind == "count":
            counted = [(written, partial.argument)] if partial.argument is not None else []
            self.types(tables, counted + self.filter_of(written, partial))
            return replace(partial, type=BIGINT)
        value = partial.argument if not partial.repeated else f"({partial.argument})[1]"
        stored = f"sum({value})" if partial.kind == "sum" else str(value)
        questions = [(written, stored), *self.filter_of(written, partial)]
        if partial.by is not None:
            questions.append((written, partial.by))
        kinds = [self.types(tables, [one])[0] for one in questions]
        why = too_fine(written, kinds[0]) if partial.kind == "sum" else None
        if why is not None:
            raise self.statement.error(why, written)
        by = kinds[-1] if partial.by is not None else None
        bag = partial.kind == "distinct" or (partial.kind not in ("sum", "count") and self.retracts)
        return replace(partial, type=kinds[0], by_type=by, bag=bag)

    def filter_of(self, written: exp.Expr, partial: Partial) -> list[tuple[exp.Expr, str]]:
        return [] if partial.filter is None else [(written, f"CAST({partial.filter} AS BOOLEAN)")]

    @property
    def retracts(self) -> bool:
        """Whether rows can go again before they are gathered."""
        outer = any(one.join is not None and one.join.side != "inner" for one in self.clause.reads)
        return outer or any(one.source.retracts for one in self.clause.reads)

    def key(self, output: tuple[Output, ...], grouping: Grouping | None) -> tuple[str, ...]:
        """The columns of the output that identify a row."""
        if grouping is None:
            return ()
        names = {one.expression: one.name for one in reversed(output)}
        found = tuple(names[f'"{key.name}"'] for key in grouping.keys if f'"{key.name}"' in names)
        return found if len(found) == len(grouping.keys) else ()

    def topic(self) -> str | None:
        topic = self.statement.options.get("topic")
        if self.statement.kind == "stream":
            return str(topic or self.statement.name)
        if topic is not None:
            raise self.statement.error_at(
                "topic", "topic = … is for CREATE STREAM, or for what others write: a table's rows change"
            )
        return None

    def record_key(self, output: tuple[Output, ...]) -> str | None:
        """The column that a stream names as the key of its records. Raises: BadStatement: there is none, or its values
        make no key; or a column that cannot stand in a record."""
        if self.statement.kind != "stream":
            return None
        for one, (_, written) in zip(output, self.outputs, strict=True):
            if one.name in TAKEN:
                raise self.statement.error(f"a record has its own {one.name}: give the column another name", written)
            if not is_written(one.type):
                raise self.statement.error(
                    f"{one.name} is {one.type.sql}, which a record does not hold: CAST it", written
                )
        name = self.statement.options.get("key")
        if name is None:
            return None
        found = next((one for one in output if one.name == name), None)
        if found is None:
            raise self.statement.error_at("key", f"key = '{name}' names no column of the stream")
        if not is_key(found.type):
            raise self.statement.error_at(
                "key", f"key = '{name}': {found.type.sql} is no key; a text or a whole number is"
            )
        return found.name

    def refuse_wrong_target(self, view: View) -> None:
        """Raises BadStatement for a stream whose rows would have to be taken back, and for the other kind's options."""
        key = self.statement.options.get("key")
        if view.target == "table":
            if key is not None:
                raise self.statement.error_at(
                    "key", "key = … is for CREATE STREAM; a table's key is what it is grouped by"
                )
            return
        if view.relation.key or view.relation.retracts or view.grouping is not None:
            raise self.statement.error(
                "these rows can change later, and what is in a topic stays: CREATE TABLE", self.what_changes()
            )
        refused = joined_refusal(view, {one.place.alias: one.place.shown for one in self.clause.reads}, self.types_of)
        if refused is not None:
            relation, why = refused
            read = next(one for one in self.clause.reads if one.place.alias == relation.alias)
            raise self.statement.error(why, read.written)
        if view.history:
            raise self.statement.error_at("history", "history = true is for tables: a stream is its own history")
        if view.topic in {topic_of(one)[0] for one in leaves(view)}:
            raise self.topic_error(f"it would read what it writes: give it another topic than {view.topic}")
        if str(view.topic).endswith(OWNED) or view.topic in self.owned():
            raise self.topic_error(f"{view.topic} is written by its entity's owner alone: give it another topic")

    def topic_error(self, reason: str) -> BadStatement:
        """What is wrong with where the rows of a stream go."""
        return self.statement.error_at("topic" if "topic" in self.statement.options else "", reason)

    def what_changes(self) -> exp.Expr:
        """What gathers rows, else what is read, whose rows change."""
        gathering = [self.select.args.get(name) for name in ("group", "distinct", "having")]
        of_outputs = (tree for _, tree in self.outputs if aggregates_in(tree))
        found: exp.Expr = next((one for one in (*gathering, *of_outputs) if one), self.clause.reads[0].written)
        return found

    def refuse_unbuilt(self, view: View) -> None:
        """Raises BadStatement for what is understood and is not maintained."""
        found = unbuilt_in(view)
        if found is None:
            return
        if found.part is None:
            raise self.statement.error_at("history", found.reason)
        if isinstance(found.part, Window):
            raise self.statement.error(found.reason, self.written_window)
        alias = found.part.alias
        read = next(one for one in self.clause.reads if one.place.alias == alias)
        raise self.statement.error(found.reason, read.written)

    def owned(self) -> set[str]:
        """The topics of events of which there is an aggregate, which only its owner writes."""
        states = [one for one in self.catalogue.sources.values() if one.origin == "states"]
        return {events_topic(one.name.removesuffix("-state")) for one in states}


def inside_aggregate(node: exp.Expr) -> bool:
    above = node.parent
    while above is not None and not is_aggregate(above):
        above = above.parent
    return above is not None


def sql_of(tree: exp.Expr) -> str:
    return tree.sql("duckdb")


def groups_as_columns(grouping: Grouping) -> dict[str, SqlType]:
    """The columns that outputs of groups are made from."""
    columns: dict[str, SqlType] = {"n": BIGINT}
    for key in grouping.keys:
        columns[key.name] = key.type
    for partial in grouping.partials:
        columns[partial.name] = BIGINT if partial.kind == "distinct" else partial.type
    return columns


def in_words(error: duckdb.Error) -> str:
    """What DuckDB says, without the text that it was given."""
    text = str(error).split("\n\nLINE", maxsplit=1)[0].split("\n\tCandidate", maxsplit=1)[0]
    return " ".join(text.split())
