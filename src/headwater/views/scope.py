"""Which names mean what in one statement: the places after FROM, their fields, and what of them is used.

A name is looked for among the fields themselves first, by wire name or Python name, then among what is known of every
record (`_time`), then inside nested values: `city` finds `address.city`, and `item_price` the price of every element of
`items`, which is *repeated*: an event has many of it. More than one match is an error that lists them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from sqlglot import exp

from headwater.views.statements import Statement
from headwater.views.types import ListOf, Member, SqlType, StructOf

Names = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Step:
    """One more name on the way into a value. Arguments: wire; of_list: whether what it is a field of are the elements
    of the list that the way has come to."""

    wire: str
    of_list: bool = False


@dataclass(frozen=True, slots=True)
class Found:
    """What a name means.

    Arguments: place; path: from the column on, wire names; type: of the value at its end.
    """

    place: Place
    path: tuple[Step, ...]
    type: SqlType

    @property
    def chain(self) -> tuple[Names, ...]:
        """The lists that it is in, outermost first, each as the path to it. Empty: there is one value per row."""
        return tuple(tuple(step.wire for step in self.path[:end]) for end, step in enumerate(self.path) if step.of_list)

    @property
    def shown(self) -> str:
        """The path as one would write it."""
        return ".".join((self.place.shown, *(step.wire for step in self.path)))

    def access(self, variable: str | None = None) -> exp.Expr:
        """The expression of its value. Arguments: variable: the element of the innermost list that it is in."""
        start = max((end for end, step in enumerate(self.path) if step.of_list), default=0)
        names = [step.wire for step in self.path[start:]]
        if variable is not None:
            return fields_of(exp.column(exp.to_identifier(variable, quoted=True)), names)
        return self.place.access(names)


PLACE_IN_LOG = ("_partition", "_offset")


@dataclass(slots=True, eq=False)
class Place:
    """Something after FROM that has fields.

    Arguments: alias: ours (`r0`, `u0`, `win`); shown: the name in the statement; members; metadata; item: whether it is
    the elements of a list, whose fields are inside one column; list_of: those elements' list; used: of each column
    the paths inside it that are used; touched: whether anything is; outputs: of a view that is read as the topic that
    it reads, what its columns are; repeated: those of a view's columns that are in it once per element of a list.
    """

    alias: str
    shown: str
    members: tuple[Member, ...]
    metadata: tuple[Member, ...] = ()
    item: SqlType | None = None
    list_of: Found | None = None
    used: dict[str, set[Names]] = field(default_factory=dict)
    touched: bool = False
    outputs: Mapping[str, exp.Expr] | None = None
    repeated: frozenset[str] = frozenset()

    def access(self, names: Sequence[str]) -> exp.Expr:
        """The expression of a value in it. Arguments: names: the way to it, from its column on."""
        if self.outputs is not None:
            return fields_of(exp.paren(self.outputs[names[0]]), names[1:])
        if self.item is not None:
            return fields_of(column(self.alias, "item"), names)
        return fields_of(column(self.alias, names[0]), names[1:])

    @property
    def ties(self) -> tuple[str, ...]:
        """The columns that tell where a record stands; none: its rows are not rows of a topic."""
        of_topic = self.outputs is not None or any(one.wire == "_offset" for one in self.metadata)
        return PLACE_IN_LOG if of_topic else ()

    def place_in_log(self, name: str) -> exp.Expr:
        """One of `ties`, also of a view that is read as its topic: that has it, whether it shows it or not."""
        self.used.setdefault(name, set()).add(())
        return column(self.alias, name)


def column(alias: str, name: str) -> exp.Column:
    return exp.column(exp.to_identifier(name, quoted=True), exp.to_identifier(alias, quoted=True))


def fields_of(base: exp.Expr, names: Iterable[str]) -> exp.Expr:
    for name in names:
        base = exp.Dot(this=base, expression=exp.to_identifier(name, quoted=True))
    return base


class Scope:
    """The places of a statement. Arguments: statement: for messages."""

    def __init__(self, statement: Statement) -> None:
        self.statement = statement
        self.places: list[Place] = []

    def place(self, name: str) -> Place | None:
        """The place with a name in the statement, without regard to case."""
        return next((one for one in self.places if one.shown.lower() == name.lower()), None)

    def find(self, node: exp.Expr, names: Names) -> Found:
        """What a name means, and notes that it is used.

        Arguments: node: where it stands, for messages; names: its parts, `o.address.city`. Raises: BadStatement.
        """
        found = self.look(node, names)
        self.note(found)
        return found

    def look(self, node: exp.Expr, names: Names) -> Found:
        """What a name means."""
        candidates = list(dict.fromkeys(self.candidates(names)))
        if not candidates:
            raise self.statement.error(f"there is no {'.'.join(names)} in {self.described(names)}", node)
        if len(candidates) > 1:
            ways = " or ".join(sorted(one.shown for one in candidates))
            raise self.statement.error(f"{'.'.join(names)} may be {ways}: write which one", node)
        return candidates[0]

    def note(self, found: Found) -> None:
        """Notes that a value is used, and the list where it is an element of one."""
        outer = found.place.list_of
        found.place.touched = True
        if outer is not None:
            self.note(Found(outer.place, (*outer.path, *found.path), found.type))
            return
        head, *inside = (step.wire for step in found.path)
        found.place.used.setdefault(head, set()).add(tuple(inside))

    def candidates(self, names: Names) -> list[Found]:
        """All that a name may mean, of the first kind that gives any. The columns of a window go before fields of the
        same names, which can be named with their relation."""
        window = next((one for one in self.places if one.alias == "win"), None)
        if window is not None and len(names) == 1 and matching(window.members, names[0]):
            return list(search(window, names, nested=False))
        place = self.place(names[0])
        if place is not None and len(names) > 1:
            found = list(search(place, names[1:], nested=False)) or list(search(place, names[1:], nested=True))
            if found:
                return found
        found = [one for each in self.places for one in search(each, names, nested=False)]
        if not found and place is not None and len(names) == 1 and place.item is not None:
            return [Found(place, (), place.item)]
        return found or [one for each in self.places for one in search(each, names, nested=True)]

    def described(self, names: Names) -> str:
        place = self.place(names[0]) if len(names) > 1 else None
        places = [place] if place is not None else self.places
        return "; ".join(f"{one.shown} ({', '.join(member.wire for member in one.members)})" for one in places)


def search(place: Place, names: Names, nested: bool) -> Iterator[Found]:
    """What a name may mean in one place. Arguments: nested: inside its values, and not itself."""
    if not nested:
        matches = matching(place.members, names[0]) or matching(place.metadata, names[0])
        for member in matches:
            yield from descend(place, (Step(member.wire),), member.type, names[1:])
        return
    for member in place.members:
        yield from inside(place, (Step(member.wire),), member.type, names)


def inside(place: Place, path: tuple[Step, ...], kind: SqlType, names: Names) -> Iterator[Found]:
    """Looks into a value, and into what is inside it."""
    of_list = isinstance(kind, ListOf)
    element = kind.of if isinstance(kind, ListOf) else kind
    if not isinstance(element, StructOf):
        return
    here = matching(element.members, names[0])
    for member in here:
        yield from descend(place, (*path, Step(member.wire, of_list)), member.type, names[1:])
    if not here:
        for member in element.members:
            yield from inside(place, (*path, Step(member.wire, of_list)), member.type, names)


def descend(place: Place, path: tuple[Step, ...], kind: SqlType, names: Names) -> Iterator[Found]:
    """Follows the names that come after a dot; an element's field may be named without saying which element."""
    if not names:
        yield Found(place, path, kind)
        return
    of_list = isinstance(kind, ListOf)
    element = kind.of if isinstance(kind, ListOf) else kind
    if isinstance(element, StructOf):
        for member in matching(element.members, names[0]):
            yield from descend(place, (*path, Step(member.wire, of_list)), member.type, names[1:])


def matching(members: Sequence[Member], name: str) -> list[Member]:
    """The members of a name: wire name or Python name, otherwise either without regard to case."""
    exact = [one for one in members if name in (one.wire, one.python)]
    return exact or [one for one in members if name.lower() in (one.wire.lower(), one.python.lower())]


def cut(kind: SqlType, used: set[Names]) -> SqlType:
    """A type without the fields that nobody uses. Arguments: used: paths into it, () for all of it."""
    if () in used:
        return kind
    if isinstance(kind, ListOf):
        return ListOf(cut(kind.of, used))
    if isinstance(kind, StructOf):
        return StructOf(
            tuple(
                Member(one.wire, one.python, cut(one.type, {path[1:] for path in used if path[0] == one.wire}))
                for one in kind.members
                if any(path[0] == one.wire for path in used)
            )
        )
    return kind
