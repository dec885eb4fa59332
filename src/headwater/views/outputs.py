"""The columns of a SELECT with their names, and the expressions of its GROUP BY."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TypeAlias

from sqlglot import exp

from headwater.views.aggregates import aggregates_in
from headwater.views.scope import Scope
from headwater.views.statements import Statement

Named: TypeAlias = Mapping[str, exp.Expr]


def named_outputs(statement: Statement, select: exp.Select, scope: Scope) -> list[tuple[str, exp.Expr]]:
    """Name and expression of each column. Raises: BadStatement: it has no name, or two have the same."""
    found: list[tuple[str, exp.Expr]] = []
    for one in select.expressions:
        for name, tree in expanded(statement, one, scope):
            if name.lower() in {known.lower() for known, _ in found}:
                raise statement.error(f"there are two columns {name}: give one another name, … AS …", one)
            found.append((name, written_out(tree, found, scope)))
    return found


def written_out(tree: exp.Expr, outputs: list[tuple[str, exp.Expr]], scope: Scope) -> exp.Expr:
    """An expression with the names of outputs replaced by what they stand for, where no field has that name."""
    names = {name.lower(): meant for name, meant in outputs}
    root = exp.Paren(this=tree.copy())
    for node in list(root.find_all(exp.Column)):
        if not node.table and node.name.lower() in names and not scope.candidates((node.name,)):
            node.replace(exp.paren(names[node.name.lower()]))
    found: exp.Expr = root.this
    return found


def expanded(statement: Statement, node: exp.Expr, scope: Scope) -> Iterator[tuple[str, exp.Expr]]:
    """One output; of a star each field."""
    star = node if isinstance(node, exp.Star) else node.this if isinstance(node, exp.Column) else None
    if isinstance(star, exp.Star):
        if any(star.args.values()):
            raise statement.error("write the columns out: * EXCLUDE, REPLACE and RENAME are not part of views", node)
        table = node.table if isinstance(node, exp.Column) else ""
        places = [one for one in scope.places if not table or one.shown.lower() == table.lower()]
        if not places:
            raise statement.error(f"there is no {table} after FROM", node)
        for place in places:
            for wire in dict.fromkeys(member.wire for member in place.members):
                yield (
                    wire,
                    exp.column(exp.to_identifier(wire, quoted=True), exp.to_identifier(place.shown, quoted=True)),
                )
        return
    stars = [one for one in node.find_all(exp.Star) if not isinstance(one.parent, exp.Count)]
    if stars:
        raise statement.error("a star stands by itself, or in COUNT(*)", node)
    if isinstance(node, exp.Alias):
        yield node.alias, node.this
    elif isinstance(node, exp.Column):
        yield node.name, node
    else:
        raise statement.error(f"give it a name: {node.sql('duckdb')} AS …", node)


def group_expressions(
    statement: Statement, group: exp.Group | None, outputs: list[tuple[str, exp.Expr]], scope: Scope
) -> list[exp.Expr]:
    """The expressions of GROUP BY, with numbers and names of outputs replaced by what they stand for.
    Raises: BadStatement."""
    if group is None:
        return []
    for one in group.expressions:
        if isinstance(one, (exp.Cube, exp.Rollup, exp.GroupingSets)):
            raise statement.error("CUBE, ROLLUP and GROUPING SETS are several views: one for each grouping", one)
    if group.args.get("all"):
        return [tree for _, tree in outputs if not aggregates_in(tree)]
    return [meant(statement, one, outputs, scope) for one in group.expressions]


def meant(statement: Statement, node: exp.Expr, outputs: list[tuple[str, exp.Expr]], scope: Scope) -> exp.Expr:
    if isinstance(node, exp.Literal) and not node.is_string:
        place = int(node.name)
        if not 1 <= place <= len(outputs):
            raise statement.error(f"there are {len(outputs)} columns, so there is no column {place}", node)
        return outputs[place - 1][1]
    if isinstance(node, exp.Column) and not node.table and not scope.candidates((node.name,)):
        for name, tree in outputs:
            if name.lower() == node.name.lower():
                return tree
    return node
