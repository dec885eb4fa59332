"""Views whose partitions several processes share: WITH (shared = true). Pure.

    partitions of the topic ─► processes of the group, each with a file of its own ─► partials, by partition
    question ─► the partials of every partition, from the process that reads it ─► folded ─► rows

What a process keeps is told apart by the partition that it comes from, so a partition that goes to another process
takes nothing with it: there it is read from where that process left it, or from its beginning, and what is kept here
waits, and is not told, until it comes back. So does the clock of a partition, where windows have a grace (see `clock`);
which windows close would follow from the clocks of all, so none does (see `closing`). A group that has events in
several partitions, so perhaps in several processes, is folded when it is read, as what several batches have added is:
all that is kept can be folded.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

from headwater.views.kept import KeptTable
from headwater.views.plan import Key, Output, View
from headwater.views.routes import KINDS, join_of, pair_of, routes_of, why_not
from headwater.views.statements import Statement
from headwater.views.types import METADATA, SqlType, quoted

SHARED = "_partition"
"""The column of a relation that says in which process a row is kept."""

PARTITION = "hw partition"
"""The column of what is kept that says of which partition it is."""

VARIABLE = "hw_partition"
"""Of a connection: the partition of the topic of its own that the records of a batch are from, where a view has one."""


def tagged(view: View) -> View:
    """The view that a process maintains of a shared one: the same, by partition. Another one as it is."""
    if not view.shared:
        return view
    kind = METADATA[SHARED]
    partition = f"getvariable('{VARIABLE}')::{kind.sql}"
    if not routes_of(view):
        partition = f"{quoted(view.relation.alias)}.{quoted(SHARED)}"
    if view.grouping is None:
        return replace(view, output=(*view.output, Output(PARTITION, partition, kind)))
    keys = (*view.grouping.keys, Key(PARTITION, partition, kind))
    return replace(view, grouping=replace(view.grouping, keys=keys))


def parted(tables: Iterable[KeptTable]) -> list[KeptTable]:
    """Those that rows are made from; others are for what a process does itself, as the states of entities."""
    return [one for one in tables if quoted(PARTITION) in one.adds]


Types = Callable[[Sequence[str]], list[SqlType]]
"""The types of expressions."""


def shared_of(statement: Statement, view: View, types: Types) -> bool:
    """Whether processes share a view. Raises: BadStatement: they cannot."""
    if not statement.options.get("shared", False):
        return False
    why = refusal(view, types)
    if why is not None:
        found = re.search(r"\bshared\b", statement.sql, re.IGNORECASE)
        place = statement.start + (found.start() if found is not None else 0)
        raise statement.text.error(f"{view.name} cannot be shared: {why}", place)
    return True


def refusal(view: View, types: Types) -> str | None:
    """Why processes cannot share a view."""
    if view.target == "stream":
        return "a stream keeps nothing, and processes share its partitions as it is"
    if all(one.origin == "view" for one in view.relations):
        return "it reads views alone and is computed when it is read; share what it reads"
    join = join_of(view)
    if join is not None:
        pair = pair_of(view, join)
        if (why := why_not(view)) is not None or pair is None:
            return why
        left, right = types(pair)
        if left != right or left not in KINDS:
            return (
                f"what it joins is brought together by texts and whole numbers, and this is {left.sql} and {right.sql}"
            )
    if view.relation.origin == "view":
        return "its rows are those of another view: read the topic"
    if view.relation.origin == "records" and view.relation.key:
        return "a row of a table that others write may be replaced from another partition"
    if view.history:
        return "history = true is kept by one process; as_of = … reads the log"
    if view.sink is not None:
        return "a sink is fed by one process, which has the whole view"
    if view.graced and join is not None:
        return (
            "what comes too late for a WITHIN follows from the order of its topics' own partitions, and processes read "
            "what is joined from another topic: leave the grace out, or shared = true"
        )
    return None
