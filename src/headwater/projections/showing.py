"""When a name goes over to a new version: once that has come as far as what the name shows, and never back by itself.

The tables of a new version are filled beside those of the old one, which queries find by the name meanwhile.
"""

from __future__ import annotations

import logging

from headwater.projections.read_model import ReadModel
from headwater.stores.port import Loading, Store
from headwater.stores.switching import Behind, Switch, SwitchingStore

logger = logging.getLogger("headwater.projections")


class Showing:
    """Lets names show the tables of a read model, which are open; another store shows what was opened last."""

    def __init__(self, model: ReadModel, store: Store) -> None:
        self._model = model
        self._store: SwitchingStore | None = store if isinstance(store, SwitchingStore) else None
        self._waits = False
        if self._store is None:
            return
        for table in model.tables:
            shown = self._store.shown(table.name)
            if shown is None or shown.version == table.version:
                continue
            if shown.version < table.version:
                self._waits = True
                continue
            logger.warning(
                "queries find version %d of %s, and this process maintains version %d: `hw rebuild %s --switch` lets "
                "them find it",
                shown.version,
                table.name,
                table.version,
                model.title,
            )

    def look(self) -> None:
        """Goes over to the new version, if it is time. Raises: Unavailable."""
        if self._waits and self._store is not None and self._as_far(self._store):
            try:
                self._store.switch(show_only(self._model), change_nothing)
            except Behind:  # the old version has moved on since
                return
            self._waits = False

    def _as_far(self, store: SwitchingStore) -> bool:
        """Whether it may be time: a look that keeps nobody from work."""
        mine, topics = store.positions(self._model.runner), {topic.name for topic in self._model.topics}
        for table in self._model.tables:
            shown = store.shown(table.name)
            theirs = {} if shown is None else store.positions(shown.runner)
            if any(tp.topic in topics and mine.get(tp, 0) < position for tp, position in theirs.items()):
                return False
        return True


def show_only(model: ReadModel) -> Switch:
    """The switch that lets the names of a read model show its versions."""
    shown = {table.name: table.version for table in model.tables}
    return Switch(model.runner, model.runner, (), shown, frozenset(topic.name for topic in model.topics))


def change_nothing(loading: Loading) -> None:
    """What a switch does besides, where there is nothing to do."""
