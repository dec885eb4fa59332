"""Rebuilding a view: the same words as for a projection, carried out by the process that has the file of views.

    hw rebuild NAME ─► the process that has the file, or, where none has it, this one ─► `views.changing`

What a projection has as a version, a view has as its statement: rows of another statement are made beside, and
exchanged at a word.
"""

from __future__ import annotations

import threading
from pathlib import Path

from headwater.environment import Environment
from headwater.errors import Misuse, Unavailable
from headwater.log.port import Log
from headwater.operations.rebuild import OtherCode, Status
from headwater.operations.rebuild_building import Progress, Tell
from headwater.operations.rebuild_comparing import Comparison, Example, Side
from headwater.operations.rebuild_state import Holder, NotNow
from headwater.schemas.topics import Codecs
from headwater.views.changing import Changing
from headwater.views.places import is_store, shown
from headwater.views.plan import View
from headwater.views.reading import Statements
from headwater.views.runner import Shared, name_of
from headwater.views.serving import RemoteViews, socket_of
from headwater.views.wishes import Action, Compared, Copy, Outcome, Standing, Wish

LOOK_S = 0.1
SHOWN = 8
"""So many letters of a fingerprint are shown."""


class FileOfViews:
    """Who carries out wishes: the process that has the file of views, or this one as long as it is open.

    Arguments: app: its name; statements; log; place: of the file, or a store; environment; codecs: of the topics.
    """

    def __init__(
        self, app: str, statements: Statements, log: Log, place: str, environment: Environment, codecs: Codecs
    ) -> None:
        self._path = shown(place)
        self._remote = RemoteViews(self._path, {}, f"`hw run` maintains them (app {app})")
        self._shared = Shared(place, log.id, lambda versions: None)
        self._changing = Changing(app, (), statements, log, self._shared, environment, codecs)

    def carry_out(self, wish: Wish | Copy) -> Outcome:
        """Raises: Misuse, NotNow. Unavailable: nobody has made views yet, or it cannot be done now. OtherCode."""
        if self._shared.file is None and socket_of(self._path).exists():
            found = self._remote.change(wish)
        else:
            if not is_store(self._path) and not Path(self._path).exists():
                raise Unavailable(f"there are no views at {self._path}: no app has made them yet")
            self._shared.open()
            found = self._changing.carry_out(wish)
        if found.not_now is not None:
            raise NotNow(found.not_now, found.first)
        if found.other_classes is not None:
            raise OtherCode(found.other_classes)
        return found

    def close(self) -> None:
        self._changing.close()
        self._shared.close()


class ViewRebuilding:
    """Rebuilds one view. Methods: as of `Rebuilding`. Arguments: app: its name; view, statements: as they are here.

    Raises: Misuse: processes share the view, and no file has all of it.
    """

    def __init__(
        self, app: str, view: View, statements: Statements, file: FileOfViews, environment: Environment
    ) -> None:
        if view.shared:
            raise Misuse(of_shared(view))
        self._name, self._file, self._environment = view.name, file, environment
        self._code, self._sources = name_of(app, view)[1], statements.sources

    def status(self) -> Status:
        """How it is. Changes nothing."""
        found = self._standing()
        holder = Holder(f"{found.process}/", found.account, found.since, found.since) if found.beside else None
        return Status(
            self._name,
            self._code[:SHOWN],
            {self._name: None if found.shown is None else found.shown[:SHOWN]},
            found.shown == self._code,
            found.state,
            found.done,
            found.total,
            holder,
            found.failure,
            found.dead_letters,
        )

    def build(self, tell: Tell, stop: threading.Event, per_second: int | None = None) -> bool:
        """Has the rows made beside, or goes on with it, and waits. Returns False where it was asked to stop.

        Raises: as `FileOfViews.carry_out`; Unavailable: an event cannot be applied; Misuse: `per_second` is given.
        """
        if per_second is not None:
            raise Misuse(f"{self._name} is a view, which is built by the process that has it: --throttle is not for it")
        self._wish("build")
        begun_s, first = self._environment.monotonic_s(), None
        while True:
            found = self._standing()
            first = found if first is None else first
            took_s = self._environment.monotonic_s() - begun_s
            rate = (found.done - first.done) / took_s if took_s > 0 else 0.0
            tell(Progress(found.done, found.total, rate, (found.total - found.done) / rate if rate else None))
            if found.state == "failed":
                raise Unavailable(f"the new rows of {self._name} cannot be made: {found.failure}")
            if found.state != "building":
                return found.state == "built"
            if stop.wait(LOOK_S):
                self._wish("pause")
                return False

    def compare(self) -> list[Comparison]:
        """Compares what queries find with the rows beside. Raises: Misuse: there are none."""
        found = self._wish("compare").compared
        assert found is not None, "it answers what it was asked"
        return [comparison(self._name, found)]

    def pause(self) -> Holder | None:
        """Stops what is being made beside. Returns who did; None: nobody was at it. Raises: Misuse: there is
        nothing."""
        found = self.status()
        self._wish("pause")
        return found.holder if found.state == "building" else None

    def switch(self, tell: Tell) -> None:
        """Lets queries find the rows beside. Raises: as `FileOfViews.carry_out`."""
        self._wish("switch")

    def show(self) -> None:
        """There is nothing beside that could be shown. Raises: NotNow."""
        raise NotNow(f"the rows of your statement of {self._name} are not made", "build")

    def roll_back(self, tell: Tell) -> None:
        """Lets queries find again what they found before. Raises: as `FileOfViews.carry_out`."""
        self._wish("roll back")

    def drop(self) -> None:
        """Removes what is beside. Raises: as `FileOfViews.carry_out`."""
        self._wish("drop")

    def _standing(self) -> Standing:
        found = self._wish("status").standing
        assert found is not None, "it answers what it was asked"
        return found

    def _wish(self, action: Action) -> Outcome:
        return self._file.carry_out(Wish(self._name, action, self._code, self._sources))


def of_shared(view: View) -> str:
    """Why there is nothing to be done with old and new rows of a view that processes share."""
    return (
        f"{view.name} is shared: its processes make the rows of a changed statement from the log's beginning, and have "
        "none of before to compare with or to switch"
    )


def comparison(name: str, found: Compared) -> Comparison:
    """As it is told of every read model."""
    one = found.difference
    return Comparison(
        name,
        Side(found.old[:SHOWN], one.old_rows, one.old_hash),
        Side(found.new[:SHOWN], one.new_rows, one.new_hash),
        one.only_old,
        one.only_new,
        one.changed,
        [name for name, _ in one.gone],
        [name for name, _ in one.added],
        [Example(each.key, each.old, each.new) for each in one.examples],
        found.same_place,
    )
