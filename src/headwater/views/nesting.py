"""Views inside of views: what a view reads together with a topic is maintained inside of it, under aliases of its own.

The plan of the inner view is the same but for its aliases, which begin with that of the relation that it is: `r0` of
the view that is `r1` becomes `r1.r0`. So all that is read has another alias, however deep it is.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import replace

from sqlglot.tokens import TokenType

from headwater.errors import Misuse
from headwater.views.names import ViewDialect
from headwater.views.plan import Grouping, Join, Key, Partial, Relation, Step, Unnest, View, Window
from headwater.views.types import quoted


def leaves(view: View) -> Iterator[Relation]:
    """All that a view is made from in the end: topics and states, with the aliases of their tables."""
    for relation in view.relations:
        if relation.origin == "view":
            yield from leaves(inner_view(relation))
        else:
            yield relation


def runner_inside(runner: str, alias: str) -> str:
    """Under which name the view, inside of another one or not, that reads a relation keeps its tables: each view adds
    its own alias. Arguments: runner: of the outermost; alias: of the relation."""
    parts = alias.split(".")[:-1]
    return "/".join([runner, *(".".join(parts[: i + 1]) for i in range(len(parts)))])


def inner_view(relation: Relation) -> View:
    """The view that a relation is, under aliases of its own."""
    assert relation.view is not None, "a relation that is a view has its plan"
    return Renaming(relation.view, f"{relation.alias}.").view()


class Renaming:
    """Puts something before all aliases of a plan. Arguments: view; before: it."""

    def __init__(self, view: View, before: str) -> None:
        self._view, self._before = view, before
        steps = (step.right.alias if isinstance(step, Join) else alias_of(step) for step in view.steps)
        self._aliases = {view.relation.alias, *steps}

    def view(self) -> View:
        view = self._view
        if view.grouping is None:
            output = tuple(replace(one, expression=self._text(one.expression)) for one in view.output)
        else:
            output = view.output
        return replace(
            view,
            relation=self._relation(view.relation),
            steps=tuple(map(self._step, view.steps)),
            where=self._optional(view.where),
            grouping=None if view.grouping is None else self._grouping(view.grouping),
            output=output,
        )

    def _grouping(self, grouping: Grouping) -> Grouping:
        return replace(
            grouping, keys=tuple(map(self._key, grouping.keys)), partials=tuple(map(self._partial, grouping.partials))
        )

    def _key(self, key: Key) -> Key:
        return replace(key, expression=self._text(key.expression))

    def _partial(self, partial: Partial) -> Partial:
        return replace(
            partial,
            argument=self._optional(partial.argument),
            by=self._optional(partial.by),
            ties=tuple(map(self._text, partial.ties)),
            filter=self._optional(partial.filter),
        )

    def _step(self, step: Step) -> Step:
        if isinstance(step, Unnest):
            return replace(step, alias=self._before + step.alias, of=self._text(step.of))
        if isinstance(step, Window):
            raise Misuse(
                f"view {self._view.name} has a {step.kind} window, so a view that reads a topic, too, cannot read it "
                "yet: read views alone"
            )
        equal = tuple((self._text(left), self._text(right)) for left, right in step.equal)
        near = step.within
        if near is not None and near.grace_us is not None:
            raise Misuse(
                f"view {self._view.name} has a WITHIN with a grace, so a view that reads a topic, too, cannot read it "
                "yet: read views alone"
            )
        if near is not None:
            near = replace(near, left=self._text(near.left), right=self._text(near.right))
        as_of = self._optional(step.as_of)
        right, on = self._relation(step.right), self._text(step.on)
        return replace(step, right=right, equal=equal, on=on, within=near, as_of=as_of)

    def _relation(self, relation: Relation) -> Relation:
        return replace(relation, alias=self._before + relation.alias)

    def _optional(self, text: str | None) -> str | None:
        return None if text is None else self._text(text)

    def _text(self, text: str) -> str:
        return "".join(renamed(text, self._aliases, self._before))


def alias_of(step: Unnest | Window) -> str:
    return step.alias if isinstance(step, Unnest) else "win"


def renamed(text: str, aliases: Collection[str], before: str) -> Iterator[str]:
    """An expression in parts, with something before each alias: a quoted name that begins a name with dots."""
    tokens, done = ViewDialect().tokenize(text), 0
    for i, token in enumerate(tokens):
        follows = i + 1 < len(tokens) and tokens[i + 1].token_type == TokenType.DOT
        inside = i > 0 and tokens[i - 1].token_type == TokenType.DOT
        if token.token_type == TokenType.IDENTIFIER and token.text in aliases and follows and not inside:
            yield text[done : token.start]
            yield quoted(before + token.text)
            done = token.end + 1
    yield text[done:]
