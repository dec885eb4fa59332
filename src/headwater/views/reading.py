"""From the files of an app to the plans of its views."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from glob import glob
from pathlib import Path
from typing import Any

from headwater.entities.aggregate import Aggregate
from headwater.errors import Misuse
from headwater.messages.declare import Event
from headwater.views.plan import View
from headwater.views.planning import plan_views
from headwater.views.sources import catalogue_of
from headwater.views.texts import Text
from headwater.views.whole import reads_views_only


@dataclass(frozen=True)
class Statements:
    """The statements of an app.

    Arguments: texts: of the files; events: members of families that they may read; aggregates: entity types with their
    classes; plans: the views, each one after those that it reads.
    Raises: BadStatement: one is none or cannot be maintained, with file, line and column.
    """

    texts: tuple[Text, ...]
    events: tuple[type[Event], ...]
    aggregates: tuple[tuple[str, type[Aggregate[Any]]], ...]
    plans: list[View] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "plans", plan_views(self.texts, catalogue_of(self.events, self.aggregates)))

    @property
    def sources(self) -> tuple[str, ...]:
        """The texts alone, to be kept and planned again."""
        return tuple(text.sql for text in self.texts)

    @property
    def kept(self) -> list[View]:
        """The views that keep something in the file: no streams, and none that is computed from others."""
        return [view for view in self.plans if view.target == "table" and not reads_views_only(view)]

    def find(self, name: str) -> View | None:
        """The view of a name."""
        return next((one for one in self.plans if one.name == name), None)

    def of(self, sources: Sequence[str]) -> Statements:
        """Other texts over the same events. Raises: BadStatement."""
        return replace(self, texts=tuple(Text(sql) for sql in sources))


def statements_of(
    pattern: str, events: Iterable[type[Event]], aggregates: Sequence[tuple[str, type[Aggregate[Any]]]]
) -> Statements:
    """What stands in files.

    Arguments: pattern: of the files' names, from the current directory; events, aggregates: as of `Statements`.
    Raises: Misuse: no such file, or a statement that is none or cannot be maintained, with file, line and column.
    """
    files = sorted(glob(pattern, recursive=True))
    if not files:
        raise Misuse(f"views={pattern!r}: no file has such a name in {Path.cwd()}")
    texts = []
    for name in files:
        try:
            texts.append(Text(Path(name).read_text(encoding="utf-8-sig"), name))
        except (OSError, UnicodeDecodeError) as error:
            raise Misuse(f"views={pattern!r}: {name} cannot be read: {error}") from error
    return Statements(tuple(texts), tuple(events), tuple(aggregates))
