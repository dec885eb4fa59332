"""Time windows, which stand in GROUP BY: TUMBLE, HOP and SESSION.

    GROUP BY customerId, TUMBLE(_time, INTERVAL 1 HOUR)
    GROUP BY sku, HOP(_time, INTERVAL 1 HOUR, INTERVAL 10 MINUTE, grace => INTERVAL 5 MINUTE)
    GROUP BY customerId, SESSION(_time, INTERVAL 30 MINUTE)

The columns `window_start` and `window_end` say which window it is; a session ends its pause after its last row. HOP's
third argument is how far apart the windows begin. Without `grace` nothing is ever late.

Windows begin at multiples of their size (of the advance, for HOP) since 1970-01-01 UTC, as in Kafka Streams and Flink.
Tumbling and hopping windows in which nothing is late are but the elements of a list, the windows that a row is in: they
are planned as an `Unnest`.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final, Literal, TypeGuard, cast, get_args

from sqlglot import exp

from headwater.views.aggregates import is_aggregate
from headwater.views.binding import Binder
from headwater.views.folding import resolve
from headwater.views.from_clause import interval_us
from headwater.views.plan import Column, Late, Relation, Unnest, View, Window
from headwater.views.scope import Place, Scope
from headwater.views.statements import Statement
from headwater.views.types import METADATA, TIMESTAMP, Member, StructOf

Kind = Literal["tumble", "hop", "session"]

FORMS: Final[dict[str, tuple[Kind, int, str]]] = {
    "TUMBLE": ("tumble", 2, "TUMBLE(time, INTERVAL size)"),
    "HOP": ("hop", 3, "HOP(time, INTERVAL size, INTERVAL advance)"),
    "SESSION": ("session", 2, "SESSION(time, INTERVAL gap)"),
}
MOST_WINDOWS: Final = 10_000
"""In so many windows a row may be: each of them is a row of its own, in memory at once."""
PLACE: Final = ("_partition", "_offset")
COLUMNS: Final = (Member("window_start", "window_start", TIMESTAMP), Member("window_end", "window_end", TIMESTAMP))


def is_window(node: exp.Expr) -> TypeGuard[exp.Anonymous]:
    """Whether an expression of GROUP BY is a window."""
    return isinstance(node, exp.Anonymous) and node.name.upper() in FORMS


def window_of(statement: Statement, scope: Scope, node: exp.Anonymous, binder: Binder) -> Window | Unnest:
    """The window that an expression of GROUP BY is (see `is_window`), whose columns become known.
    Raises: BadStatement."""
    kind, count, form = FORMS[node.name.upper()]
    grace, plain = None, []
    for one in node.expressions:
        if not isinstance(one, (exp.Kwarg, exp.PropertyEQ)):
            plain.append(one)
        elif one.this.name.lower() == "grace":
            grace = interval_us(statement, binder, one.expression, least_us=0)
        else:
            raise statement.error(f"there is no {one.this.name} in {form}, only grace => INTERVAL …", node)
    if len(plain) != count:
        raise statement.error(f"a window is written {form}", node)
    if scope.place("window") is not None:
        raise statement.error("window is the name of the windows here: give the other one another name", node)
    time = resolve(scope, plain[0]).sql("duckdb")
    size = interval_us(statement, binder, plain[1])
    advance = {"tumble": size, "session": 0}.get(kind) or 0
    if kind == "hop":
        advance = interval_us(statement, binder, plain[2])
        if advance > size:
            raise statement.error("windows that begin further apart than they are long would leave out rows", plain[2])
        count = -(-size // advance)
        if count > MOST_WINDOWS:
            raise statement.error(
                f"each row would be in {count:,} windows, and {MOST_WINDOWS:,} are possible: let them begin further "
                "apart, or be shorter",
                plain[2],
            )
    if kind != "session" and grace is None:
        scope.places.append(Place("win", "window", COLUMNS, item=StructOf(COLUMNS)))
        return Unnest("win", windows_of(time, size, advance), window=Window(kind, time, size, advance, None))
    scope.places.append(Place("win", "window", COLUMNS))
    return Window(kind, time, size, advance, grace)


def windows_of(time: str, size_us: int, advance_us: int) -> str:
    """The list of all windows that a time is in. Arguments: time: an expression; size_us, advance_us: microseconds."""
    at = f"epoch_us({time})"
    last = f"({at} - (({at} % {advance_us}) + {advance_us}) % {advance_us})"
    window = f"{{'window_start': make_timestamptz(s), 'window_end': make_timestamptz(s + {size_us})}}"
    return f"[{window} FOR s IN range({last}, {last} - {size_us}, -{advance_us}) IF s + {size_us} > {at}]"


def placed(relation: Relation, window: Window | Unnest | None) -> Relation:
    """A relation with the place of each record as columns, where it matters which came before which."""
    if not isinstance(window, Window) or window.grace_us is None:
        return relation
    known = {one.name for one in relation.columns}
    more = tuple(Column(name, METADATA[name]) for name in PLACE if name not in known)
    return replace(relation, columns=(*relation.columns, *more))


def late_of(statement: Statement, graced: bool) -> Late:
    """What becomes of late records. Arguments: graced: whether any can be. Raises: BadStatement: none is ever late, or
    there is no such word."""
    said = statement.options.get("late")
    if said is None:
        return "dead_letter"
    if not graced:
        raise statement.error_at(
            "late", "late = … is for a window or a WITHIN with a grace: nothing is late in this view"
        )
    if said not in get_args(Late):
        raise statement.error_at("late", f"late cannot be '{said}': write 'dead_letter' or 'drop'")
    return cast("Late", said)


def refuse_early_sessions(statement: Statement, view: View) -> None:
    """Raises BadStatement where a session is asked for its times before it is known which rows are in it."""
    if view.window is None or view.window.kind != "session" or view.grouping is None:
        return
    texts = [view.where, *(key.expression for key in view.grouping.keys)]
    texts = [one for one in texts if one not in ('"win"."window_start"', '"win"."window_end"')]
    for partial in view.grouping.partials:
        texts += [partial.argument, partial.by, partial.filter]
    if any(one is not None and '"win".' in one for one in texts):
        raise statement.error(
            "window_start and window_end of a session are known when its rows are gathered: write them in SELECT or "
            "HAVING",
            early_in(statement),
        )


def early_in(statement: Statement) -> exp.Expr | None:
    """Where a statement asks for the times of a session before they are known."""
    assert statement.query is not None, "it has a window"
    parts = [statement.query.args.get("where"), statement.query.args.get("group")]
    parts += [node for node in statement.query.walk() if is_aggregate(node)]
    names = (node for part in parts if part is not None for node in part.find_all(exp.Column))
    return next((node for node in names if node.name.lower() in ("window_start", "window_end")), None)
