"""Expressions with names resolved, and repeated fields inside an aggregate folded within their event.

`SUM(item_price)` over `items` becomes the sum of `list_sum([v0."item_price" for v0 in r0."items"])`: the list is folded
inside its event, so the event stays one row. Without an aggregate around it a repeated field has no one value: it
needs `UNNEST(items)` after FROM.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import cast

from sqlglot import exp

from headwater.views.scope import Found, Names, Place, Scope, fields_of
from headwater.views.types import ListOf, StructOf, quoted


@dataclass(frozen=True, slots=True)
class Resolved:
    """An expression in which every column has its alias.

    Arguments: sql: for a repeated one, the list of its values per row; repeated: whether it is one; filter: of the
    rows, None: all (in a repeated one it is in the list); found: what it names.
    """

    sql: str
    repeated: bool
    filter: str | None
    found: tuple[Found, ...]


def names_in(tree: exp.Expr) -> Iterator[exp.Column]:
    """The columns of an expression, without what its own lambdas and comprehensions bind."""
    for node in list(tree.find_all(exp.Column)):
        if not bound_inside(node):
            yield node


def bound_inside(node: exp.Column) -> bool:
    first = node.parts[0].name
    above = node.parent
    while above is not None:
        if isinstance(above, exp.Comprehension) and above.expression is not None:
            bound = [one.name for one in above.expression.find_all(exp.Identifier)]
            if first in bound:
                return True
        above = above.parent
    return False


def resolve(scope: Scope, tree: exp.Expr) -> exp.Expr:
    """The same expression with every name resolved; repeated ones are refused. Raises: BadStatement."""
    root = exp.Paren(this=tree.copy())
    for node in names_in(root):
        found = scope.find(node, names_of(node))
        if found.chain:
            raise scope.statement.error(needs_unnest(found), node)
        replace(scope, node, found, found.access())
    return cast(exp.Expr, root.this)


def fold(scope: Scope, tree: exp.Expr, filter: exp.Expr | None = None) -> Resolved:
    """An aggregate's argument with every name resolved.

    Arguments: filter: of the aggregate, where it may look at the elements; it is part of a repeated argument's list.
    Raises: BadStatement: it mixes elements of two lists, or counts once per element what the event has once.
    """
    root = exp.Tuple(expressions=[tree.copy(), exp.true() if filter is None else filter.copy()])
    nodes = [(node, scope.find(node, names_of(node))) for node in names_in(root)]
    chain = longest_chain(scope, nodes)
    argument, condition = root.expressions
    if chain:
        refuse_once_per_element(scope, argument, nodes, chain)
    for node, found in nodes:
        variable = element(len(found.chain) - 1) if found.chain else None
        replace(scope, node, found, found.access(variable))
    argument, condition = root.expressions
    named = tuple(one for _, one in nodes)
    if not chain:
        return Resolved(argument.sql("duckdb"), False, None if filter is None else condition.sql("duckdb"), named)
    first = next(one for one in named if one.chain == chain)
    listed = comprehension(first.place, chain, argument, None if filter is None else condition)
    return Resolved(listed, True, None, named)


def names_of(node: exp.Column) -> Names:
    return tuple(part.name for part in node.parts)


def replace(scope: Scope, node: exp.Column, found: Found, access: exp.Expr) -> None:
    """Puts the resolved name in its place, and the wire names of fields that are taken of it."""
    above = node.parent
    translated = access
    kind = found.type
    node.replace(translated)
    while isinstance(above, (exp.Bracket, exp.Paren, exp.Dot)):
        if isinstance(above, exp.Bracket):
            if not isinstance(kind, ListOf) or isinstance(above.expressions[0], exp.Slice):
                return
            kind = kind.of
        elif isinstance(above, exp.Dot):
            if not isinstance(kind, StructOf):
                return
            name = above.expression.name
            member = next((one for one in kind.members if name in (one.wire, one.python)), None)
            if member is None:
                return
            above.set("expression", exp.to_identifier(member.wire, quoted=True))
            kind = member.type
        above = above.parent


def longest_chain(scope: Scope, nodes: list[tuple[exp.Column, Found]]) -> tuple[Names, ...]:
    """The lists whose elements an expression is about; the others must be around them. Raises: BadStatement."""
    repeated = [(node, found) for node, found in nodes if found.chain]
    if not repeated:
        return ()
    _, deepest = max(repeated, key=lambda one: len(one[1].chain))
    for node, found in repeated:
        if found.place is not deepest.place or found.chain != deepest.chain[: len(found.chain)]:
            raise scope.statement.error(
                f"{found.shown} and {deepest.shown} are in two lists, whose elements do not belong to each other: "
                "aggregate them one by one",
                node,
            )
    return deepest.chain


def refuse_once_per_element(
    scope: Scope, argument: exp.Expr, nodes: list[tuple[exp.Column, Found]], chain: tuple[Names, ...]
) -> None:
    """Raises BadStatement for a term that every element would add again, though its event has it once."""
    founds = {id(node): found for node, found in nodes}
    for term in terms(argument):
        inside = [node for node in term.find_all(exp.Column) if id(node) in founds]
        if inside and not any(founds[id(node)].chain == chain for node in inside):
            outer, listed = founds[id(inside[0])], ".".join(chain[-1])
            raise scope.statement.error(
                f"{outer.shown} would count once per element of {listed}: aggregate it by itself, SUM(…) + SUM(…)",
                inside[0],
            )


def terms(tree: exp.Expr) -> Iterator[exp.Expr]:
    """The parts of an expression that are added, or one of which is taken."""
    if isinstance(tree, exp.Case):
        for branch in tree.args["ifs"]:
            yield from terms(branch.args["true"])
        if tree.args.get("default") is not None:
            yield from terms(tree.args["default"])
    elif isinstance(tree, (exp.Add, exp.Sub)):
        yield from terms(tree.this)
        yield from terms(tree.expression)
    elif isinstance(tree, (exp.Neg, exp.Paren)):
        yield from terms(tree.this)
    else:
        yield tree


def comprehension(place: Place, chain: tuple[Names, ...], argument: exp.Expr, filter: exp.Expr | None) -> str:
    """The list of an expression's values over all elements of nested lists."""
    text = argument.sql("duckdb")
    condition = "" if filter is None else f" IF {filter.sql('duckdb')}"
    for level in reversed(range(len(chain))):
        if level:
            names = chain[level][len(chain[level - 1]) :]
            of = fields_of(exp.to_identifier(element(level - 1), quoted=True), names)
        else:
            of = place.access(chain[0])
        listed = f"[{text} FOR {quoted(element(level))} IN {of.sql('duckdb')}{condition}]"
        text = listed if level == len(chain) - 1 else f"flatten({listed})"
        condition = ""
    return text


def element(level: int) -> str:
    """What an element of nested lists is called: as no field is."""
    return f"hw v{level}"


def needs_unnest(found: Found) -> str:
    """What to write where a repeated field stands by itself."""
    listed = ".".join(found.chain[0])
    return (
        f"{found.shown} has a value for each element of {listed}, so it has no one value here: "
        f"write FROM …, UNNEST({listed}) AS item, which makes a row of each, and item.{found.path[-1].wire}"
    )
