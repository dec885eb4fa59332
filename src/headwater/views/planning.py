"""From a statement to the plan of its view.

`plan_views` takes all statements of an app and gives the views in an order in which each one reads only those before
it. What cannot be maintained by changes is refused here, with the reason and with what to write instead; nothing has
run by then.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from sqlglot import exp

from headwater.log.limits import why_no_topic
from headwater.views.binding import Binder
from headwater.views.plan import View
from headwater.views.query import plan_query
from headwater.views.refusing import refuse_functions, refuse_parts
from headwater.views.routes import routes_of
from headwater.views.sources import Catalogue, source_of_declaration, source_of_view
from headwater.views.statements import TOO_DEEP, Statement, names_in, read_statements
from headwater.views.texts import Text


def plan_views(texts: Iterable[Text], catalogue: Catalogue) -> list[View]:
    """The views of all texts, each one after those that it reads.

    Arguments: texts: of files; catalogue: the topics that are known; the views are added to it.
    Raises: BadStatement: with file, line and column.
    """
    with Binder() as binder:
        return plan_with(binder, list(texts), catalogue)


def plan_with(binder: Binder, texts: Sequence[Text], catalogue: Catalogue) -> list[View]:
    """The same with a binder that goes on to be used."""
    names = {*catalogue, *(name for text in texts for name in names_in(text))}
    statements = [one for text in texts for one in read_statements(text, names, binder)]
    refuse_twice(statements, catalogue)
    for one in statements:
        refuse_topic(one)
        if one.query is None:
            catalogue.add(source_of_declaration(one))
    views = []
    for one in in_order([one for one in statements if one.query is not None]):
        view = plan_view(one, catalogue, binder)
        refuse_topic_of_its_own(one, view)
        catalogue.add(source_of_view(view))
        views.append(view)
    return views


def plan_view(statement: Statement, catalogue: Catalogue, binder: Binder) -> View:
    """The plan of one statement. Raises: BadStatement."""
    query = statement.query
    assert query is not None, "a declaration has no plan"
    select = refuse_parts(statement, query)
    refuse_functions(statement, binder)
    try:
        return plan_query(statement, select, catalogue, binder)
    except RecursionError:
        raise statement.error(TOO_DEEP, select) from None


def refuse_topic(statement: Statement) -> None:
    """Raises BadStatement for a topic that cannot be: of a stream, or of what others write."""
    if statement.kind == "table" and statement.query is not None:
        return
    why = why_no_topic(str(statement.options.get("topic", statement.name)))
    if why is not None:
        place = "topic" if "topic" in statement.options else ""
        raise statement.error_at(place, why if place else f"{why}, or WITH (topic = 'name')")


def refuse_topic_of_its_own(statement: Statement, view: View) -> None:
    """Raises BadStatement for a shared view whose name cannot be in that of the topic that brings its records
    together."""
    why = why_no_topic(view.name)
    if why is not None and view.shared and routes_of(view):
        raise statement.error_at("", f"a topic of its own has the view's name, and {why}")


def refuse_twice(statements: Sequence[Statement], catalogue: Catalogue) -> None:
    """Raises BadStatement where a name is taken."""
    seen: set[str] = set()
    for one in statements:
        if one.name.lower() in seen:
            raise one.error_at("", f"there are two statements of the name {one.name}")
        if one.query is not None and catalogue.find(one.name) is not None:
            raise one.error_at("", f"{one.name} is the name of a topic: give the view another one")
        seen.add(one.name.lower())


def in_order(statements: Sequence[Statement]) -> Iterator[Statement]:
    """The statements, each after those that it reads. Raises: BadStatement: they read each other in a circle."""
    waiting = {one.name.lower(): one for one in statements}
    while waiting:
        ready = [one for one in waiting.values() if not any(name in waiting for name in read_by(one))]
        if not ready:
            first = next(iter(waiting.values()))
            names = ", ".join(one.name for one in waiting.values())
            raise first.error_at("", f"{names} read each other in a circle")
        for one in ready:
            yield one
            del waiting[one.name.lower()]


def read_by(statement: Statement) -> set[str]:
    """The names that stand after FROM, in lower case."""
    assert statement.query is not None
    return {".".join(part.name for part in table.parts).lower() for table in statement.query.find_all(exp.Table)}
