"""Which columns of a view are there once per element of a list, and so more often than what they are of.

    CREATE VIEW lines AS SELECT orderId, total, item.sku FROM order-events, UNNEST(items) AS item

has the `total` of an order once per item, and a sum of it would count it as often.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypeAlias

import sqlglot
from sqlglot import exp

from headwater.views.plan import Unnest, View

Name: TypeAlias = tuple[str, str]
"""An alias and a column."""


def once_per_element(view: View) -> frozenset[str]:
    """The columns of a view that say nothing of the element that their row is made of. Of groups there are none: what
    is in their keys is there once per group."""
    if view.grouping is not None:
        return frozenset()
    lists = [step for step in view.steps if isinstance(step, Unnest)]
    parents = {one.alias: alias_in(one.of) for one in lists}
    leaves = [alias for alias in parents if alias not in parents.values()]
    inner = {(one.alias, name) for one in view.relations if one.view is not None for name in once_per_element(one.view)}
    found = {one.name: list(names_in_sql(one.expression)) for one in view.output}
    return frozenset(
        name
        for name, names in found.items()
        if any(is_above(names, leaf, parents) for leaf in leaves) or is_of(names, inner)
    )


def is_above(names: Sequence[Name], leaf: str, parents: Mapping[str, str]) -> bool:
    """Whether names are of what has a list, and none of its elements. Arguments: leaf: their alias."""
    above, alias = set(), leaf
    while (alias := parents.get(alias, "")) != "":
        above.add(alias)
    used = {alias for alias, _ in names}
    return bool(used & above) and leaf not in used


def is_of(names: Sequence[Name], repeated: set[Name]) -> bool:
    """Whether all names of one relation are of columns that are repeated there."""
    aliases = {alias for alias, _ in repeated}
    return any(
        all(one in repeated for one in names if one[0] == alias) for alias in {alias for alias, _ in names} & aliases
    )


def names_in_sql(text: str) -> Iterator[Name]:
    """The columns that an expression of a plan reads."""
    for node in sqlglot.parse_one(text, read="duckdb").find_all(exp.Column):
        alias, name, *_ = (part.name for part in (*node.parts, node.this))
        yield alias, name


def alias_in(text: str) -> str:
    """The relation or list that an expression of a list is of."""
    return next(names_in_sql(text))[0]
