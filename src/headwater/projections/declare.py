"""How a projection is declared: a table with a key, and reactions that change one row.

    class Revenue(hw.Projection, version=1):
        day: hw.Key[date]
        revenue: Decimal = Decimal(0)

        @hw.on(OrderPlaced, key=lambda event, meta: meta.time.date())
        def placed(self, event: OrderPlaced, meta: hw.Meta) -> None:
            self.revenue += event.total

`version` counts shapes and rules: another version has another table, another position, and begins at the
log's beginning. `name` is the table's name (else the class's; see `table_called`). Projections with the same `group`
are read together and move together, so that one may look up and change rows of another. `dedupe` says how records are
recognised that another program has written twice (see `dedupe`), `on_failure` what happens at a record that cannot be
applied (see `failures.policy`). `indexes=["customer_id", ("shop", "day")]` names columns by which rows are often looked
for; it may change without a new version.
"""

from __future__ import annotations

import enum
import hashlib
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from headwater.errors import Misuse
from headwater.failures.policy import DEFAULT, FailurePolicy
from headwater.messages.declare import Event, State, StateMeta
from headwater.messages.info import Kind
from headwater.messages.reactions import Reaction, reactions_of
from headwater.projections.dedupe import Dedupe, refuse_no_dedupe
from headwater.stores.port import LONGEST_NAME, Key, TableSchema

P = TypeVar("P", bound="Projection")


class Deleted(enum.Enum):
    """What a reaction returns to remove its row."""

    DELETED = "deleted"


DELETED: Final = Deleted.DELETED


class ProjectionMeta(StateMeta):
    """The class of projection classes: takes `group` off the class statement and checks the reactions."""

    __hw_group__: str | None
    __hw_dedupe__: Dedupe | None
    __hw_on_failure__: FailurePolicy | None
    __hw_indexes__: tuple[tuple[str, ...], ...]
    __hw_table__: TableSchema[Any] | None

    def __new__(
        mcls,
        class_name: str,
        bases: tuple[type, ...],
        namespace: dict[str, Any],
        /,
        *,
        group: str | None = None,
        dedupe: Dedupe | None = None,
        on_failure: FailurePolicy | None = None,
        indexes: Sequence[str | tuple[str, ...]] = (),
        **options: Any,
    ) -> Any:
        cls = super().__new__(mcls, class_name, bases, namespace, **options)
        refuse_no_dedupe(class_name, dedupe)
        cls.__hw_group__, cls.__hw_dedupe__, cls.__hw_table__ = group, dedupe, None
        cls.__hw_on_failure__ = on_failure
        cls.__hw_indexes__ = tuple((one,) if isinstance(one, str) else tuple(one) for one in indexes)
        for reaction in reactions_of(cls):
            refuse_reaction(cls, reaction)
        return cls


class Projection(State, metaclass=ProjectionMeta, kind="state"):
    """A row of a read model. The subclass names the key (one or several fields of `hw.Key`) and adds columns,
    each with a default: a row that an event asks for and that does not exist is made from them."""

    if TYPE_CHECKING:

        def __init_subclass__(
            cls,
            *,
            name: str | None = None,
            version: int = 1,
            group: str | None = None,
            dedupe: Dedupe | None = None,
            on_failure: FailurePolicy | None = None,
            indexes: Sequence[str | tuple[str, ...]] = (),
            entity: str | None = None,
            kind: Kind | None = None,
        ) -> None: ...


def refuse_reaction(cls: Any, reaction: Reaction) -> None:
    """Raises: Misuse for a reaction that can never work in a projection."""
    where = f"{cls.__name__}.{reaction.function.__name__}"
    message = reaction.message_type
    if not issubclass(message, Event):
        raise Misuse(f"{where}: {message.__name__} is no event; a projection is made from events only")
    keys = cls.__hw__.key_fields
    if not keys:
        raise Misuse(f"{cls.__name__} has no key: declare the column that names a row, day: hw.Key[date]")
    if reaction.key is None and reaction.keys is None:
        own, wanted = message.__hw__.key_type, cls.__hw__.key_type
        if len(keys) > 1 or own is not wanted:
            raise Misuse(
                f"{where}: the key of {message.__name__} ({getattr(own, '__name__', own)}) does not name a row of "
                f"{cls.__name__} ({', '.join(keys)}): say which one, @hw.on({message.__name__}, key=lambda event, "
                "meta: …)"
            )


def table_of(projection: type[P]) -> TableSchema[P]:
    """The table of a projection. Raises: Misuse: it has no key, or one that cannot be."""
    cls = cast("ProjectionMeta", projection)
    if cls.__hw_table__ is None:
        info = cls.__hw__
        if not info.key_fields:
            raise Misuse(f"{projection.__name__} has no key: declare the column that names a row, day: hw.Key[date]")
        cls.__hw_table__ = TableSchema(
            table_called(info.wire_name), info.version, projection, info.key_fields, cls.__hw_indexes__
        )
    return cls.__hw_table__


def row_key(projection: type[Projection], key: object) -> Key:
    """The key of a row as stores take it: a tuple, also where the caller gives a single value.

    Raises: Misuse: too many or too few values.
    """
    values = key if isinstance(key, tuple) else (key,)
    names = projection.__hw__.key_fields
    if len(values) != len(names):
        raise Misuse(f"{key!r} names no row of {projection.__name__}: its key is ({', '.join(names)})")
    return values


def group_of(projection: type[Projection]) -> str:
    """The projections of a group share a position; one without `group=` is its own."""
    return cast("ProjectionMeta", projection).__hw_group__ or table_of(projection).name


def dedupe_of(group: str, projections: Sequence[type[Projection]]) -> Dedupe | None:
    """How projections that share a position recognise copies. Raises: Misuse: they say different things."""
    said = {cast("ProjectionMeta", one).__hw_dedupe__ for one in projections}
    if len(said) > 1:
        words = ", ".join(sorted("none" if one is None else one.words for one in said))
        raise Misuse(f"the projections of group {group!r} share a position: give all the same dedupe= ({words})")
    return said.pop()


def policy_of(group: str, projections: Sequence[type[Projection]]) -> FailurePolicy:
    """What happens at a record that one of them cannot apply. Raises: Misuse: they say different things."""
    said = {cast("ProjectionMeta", one).__hw_on_failure__: one for one in projections}
    said.pop(None, None)
    if len(said) > 1:
        first, second = sorted(one.__name__ for one in said.values())[:2]
        raise Misuse(f"{first} and {second} share the position of group {group!r}: give both the same on_failure=")
    return next(iter(said), None) or DEFAULT


def table_called(name: str) -> str:
    """What the table of a projection or of an entity type is called: its name in snake_case, _ for any other character.

    A name that a table cannot have gets one more _: in front where it begins with a digit, hw_ or sqlite_, at its end
    where it ends like the versions of tables (order-v2: order_v2_). Of a long one the beginning is kept, with a
    fingerprint of the whole.
    """
    table = re.sub(r"[^a-z0-9_]", "_", snake_case(name))
    if re.match(r"[0-9]|hw_|sqlite_", table):
        table = "_" + table
    if len(table) >= LONGEST_NAME:
        table = table[: LONGEST_NAME - 9] + "_" + hashlib.blake2b(name.encode(), digest_size=4).hexdigest()
    return table + "_" if re.search(r"_v[0-9]+$", table) else table


def snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
