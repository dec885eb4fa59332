"""Rebuilding a read model without stopping: its rows are made anew beside those that queries find, compared, exchanged.

A *version* is what the code declares; what is rebuilt is the version of the code at hand, whichever one queries find
now. So one way fits both a new version and changed code of the same one:

    build -> compare -> switch -> (roll back) -> drop

Until the switch nobody who reads notices anything. It is one transaction, in which the new rows must have come at least
as far as the old ones: names never show earlier rows than before. The rows of before are kept until they are dropped.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Collection
from functools import partial
from typing import NamedTuple

from headwater.environment import Environment
from headwater.errors import Misuse, Unavailable
from headwater.failures.held import HeldRecord, tables_of
from headwater.log.port import Log
from headwater.operations.rebuild_building import Builder, Tell, Throttle, dead_letters, partitions_of
from headwater.operations.rebuild_comparing import Comparison, compare
from headwater.operations.rebuild_exchange import exchange
from headwater.operations.rebuild_state import (
    OPERATOR,
    Earlier,
    Holder,
    Lease,
    NotNow,
    Phase,
    Rebuild,
    Who,
    ask_to_pause,
    find,
    lives,
    nothing_beside,
)
from headwater.projections.read_model import ReadModel
from headwater.projections.showing import change_nothing, show_only
from headwater.projections.waiting import health
from headwater.projections.worker_code import workers_of_other_code
from headwater.stores.port import Loading, Store
from headwater.stores.switching import Behind, Switch, SwitchingStore, beside_runner

LOOK_S, LOOKS = 0.1, 100
"""How often it is looked whether rows that others maintain are as far as those that queries find."""


class OtherCode(Unavailable):
    """Processes of other code than the one at hand would maintain its rows. Nothing was changed."""


class Status(NamedTuple):
    """A read model and what is beside it.

    Arguments: name; version: that the code declares, of a view the fingerprint of its statement; shown: that queries
    find, by table (None: none yet); same_code: whether the code at hand began the rows that they find; state: of what
    is beside ("": nothing is), one of building, paused, failed, built, switched; done, total: positions of the log;
    holder: who works on it; failure: what stopped it, or why the first of the dead letters beside is one; dead_letters:
    how many there are beside.
    """

    name: str
    version: int | str
    shown: dict[str, int | None] | dict[str, str | None]
    same_code: bool
    state: str
    done: int
    total: int
    holder: Holder | None
    failure: str | None
    dead_letters: int


class Rebuilding:
    """Rebuilds one read model. Arguments: model: as the code at hand declares it; store; log; who: works here.

    Raises: Misuse: in such a store rows cannot be exchanged yet.
    """

    def __init__(self, model: ReadModel, store: Store, log: Log, who: Who, environment: Environment) -> None:
        if not isinstance(store, SwitchingStore):
            raise Misuse(
                f"{type(store).__name__} cannot exchange tables, as a rebuild does (see headwater.stores.switching): "
                "declare a new version, which is filled beside the old one"
            )
        self._model, self._store, self._log, self._environment = model, store, log, environment
        self._lease = Lease(store, model.runner, model.title, who, environment)
        store.bind(log.id)

    def status(self) -> Status:
        """How it is. Changes nothing."""
        model, store, row = self._model, self._store, find(self._store, self._model.runner)
        shown = {table.name: store.shown(table.name) for table in model.tables}
        now = self._environment.now()
        holder = row.holder if row is not None and row.holder is not None and lives(row.holder, now) else None
        partitions = partitions_of(model, self._log)
        begins, ends = self._log.begins(partitions), self._log.ends(partitions)
        positions = store.positions(beside_runner(model.runner)) if row is not None else {}
        letters = dead_letters(model, store) if row is not None else []
        failure = None if row is None else row.failure
        return Status(
            model.title,
            max(table.version for table in model.tables),
            {name: None if one is None else one.version for name, one in shown.items()},
            all(one is not None and one.code == model.code for one in shown.values()),
            _state(row, holder),
            sum(positions.get(tp, begins[tp]) - begins[tp] for tp in partitions),
            sum(ends[tp] - begins[tp] for tp in partitions),
            holder,
            failure or next((told(letter) for letter in letters), None),
            len(letters),
        )

    def build(self, tell: Tell, stop: threading.Event, per_second: int | None = None) -> bool:
        """Makes the rows beside, or goes on with them. Returns False where it was asked to stop.

        Arguments: stop: set by who wants it to end; per_second: of records, at most.
        Raises: BadData, Failed: an event cannot be applied. Misuse: the rows beside are of other code, or were replaced
        by a switch. Unavailable: somebody else is at it; or store or log.
        """
        if self._model.sinks:
            raise Misuse(
                f"handlers of {self._model.title} write beside its rows (hw.Sink), and would do so again for every "
                "event: keep them in a projection of their own, and rebuild the others"
            )
        with self._lease.held(self._begin) as row:
            builder = self._builder(stop, per_second)
            if row.phase == "beginning":
                self._store.forget(beside_runner(self._model.runner))
            self._refuse_other_code(builder.open())
            self._lease.change(partial(_now, phase="building"))
            whole = builder.run(tell) and builder.run(tell)  # once more: what came meanwhile
            if whole:
                self._lease.change(partial(_now, phase="built"))
        return whole

    def compare(self) -> list[Comparison]:
        """Compares what queries find with the rows beside. Raises: Misuse: there are none."""
        if find(self._store, self._model.runner) is None:
            raise nothing_beside(self._model.title)
        return compare(self._model, self._store)

    def pause(self) -> Holder | None:
        """Asks whoever builds to stop. Returns who; None: nobody does. Raises: Misuse: there is nothing."""
        return ask_to_pause(self._store, self._model.runner, self._model.title, self._environment)

    def switch(self, tell: Tell) -> None:
        """Lets queries find the rows beside, after these have come as far as those that they find now.

        Raises: Misuse: there are none, or they are not made yet. Unavailable: the rows that queries find move on
        faster. OtherCode.
        """
        model, names = self._model, {table.name: table.version for table in self._model.tables}
        with self._lease.held(lambda row: _expect(row, "built", self._model.title)):
            other = workers_of_other_code(model, self._store, self._environment)
            if other:
                raise OtherCode(
                    f"{model.title} is maintained by processes of other code than yours ({'; '.join(other)}), which "
                    "would go on with your rows: deploy your code there first"
                )
            shown = {name: self._store.shown(name) for name in names}
            before = {name: Earlier(one.version, one.runner) for name, one in shown.items() if one is not None}
            self._exchange(names, before, "switched", tell)

    def show(self) -> None:
        """Lets queries find the version of the code at hand, which somebody has filled. Raises: Unavailable: it is not
        there, or not as far as what they find now."""
        self._show(show_only(self._model), change_nothing, {self._model.runner})

    def roll_back(self, tell: Tell) -> None:
        """Lets queries find again what they found before the switch. Rows of the same version go on with the events
        that came meanwhile; another version must have been maintained by its own processes.

        Raises: Misuse: nothing was switched, or queries found no rows before. Unavailable: the other version is not as
        far.
        """
        model = self._model
        names = {table.name: table.version for table in model.tables}
        with self._lease.held(lambda row: _expect_earlier(row, self._model.title)) as row:
            earlier = {name: one.version for name, one in row.before.items()}
            if earlier == names:
                self._exchange(names, {}, "built", tell)
                return
            runners = {one.runner for one in row.before.values()}
            topics = frozenset(tp.topic for runner in runners for tp in self._store.positions(runner))
            self._show(Switch(model.runner, model.runner, (), earlier, topics), self._lease.end, runners)

    def drop(self) -> None:
        """Removes what is beside: rows that are being made, or those of before the switch, with the tables of an older
        version. Raises: Misuse: there is nothing. Unavailable: processes still maintain the older version."""
        model, store = self._model, self._store
        with self._lease.held(partial(_there, title=model.title)) as row:
            older = {one.runner for one in row.before.values()} - {model.runner}
            for runner in older:
                if health(store.notes(runner), None, self._environment)[0] == "running":
                    raise Unavailable(
                        f"processes still maintain the older rows of {model.title}: stop those of {runner}"
                    )
            for runner in (beside_runner(model.runner), *older):
                store.forget(runner)
            store.apply(OPERATOR, {}, {}, self._lease.end)

    def _exchange(self, names: dict[str, int], before: dict[str, Earlier], phase: Phase, tell: Tell) -> None:
        builder = self._builder(threading.Event(), None)
        kept = tables_of(self._model.runner)
        own = [table for table, _ in builder.pairs]
        self._store.open_tables(self._model.runner, [*own, kept.asked, kept.audit], self._model.code)
        begun_by = builder.open()
        if phase == "switched":
            self._refuse_other_code(begun_by)
        change = partial(_now, phase=phase, before=before)
        exchange(self._model, self._store, self._lease, builder, names, change, tell, self._environment)

    def _show(self, switch: Switch, work: Callable[[Loading], None], runners: Collection[str]) -> None:
        """Lets names show rows that others maintain. Two versions read the same events, each in its own time: so it
        waits a while until they are as far. Arguments: runners: of those rows. Raises: Unavailable: they are not."""
        pause = threading.Event()
        for left in reversed(range(LOOKS)):
            try:
                self._store.switch(switch, work)
                return
            except Behind as error:
                states = [health(self._store.notes(runner), None, self._environment)[0] for runner in runners]
                if not left or "running" not in states:
                    raise Unavailable(f"{error}; start the processes of that version, and let them catch up") from error
            pause.wait(LOOK_S)

    def _refuse_other_code(self, begun_by: str) -> None:
        if begun_by != self._model.code:
            raise NotNow(
                f"the rows that are being made of {self._model.title} were begun by other code than yours: "
                "drop them and begin again, or go on with that code",
                "drop",
            )

    def _builder(self, stop: threading.Event, per_second: int | None) -> Builder:
        throttle = Throttle(per_second, self._environment.monotonic_s())
        return Builder(self._model, self._store, self._log, self._lease, self._environment, throttle, stop)

    def _begin(self, row: Rebuild | None) -> Rebuild:
        if row is None:
            return Rebuild(self._model.runner, "beginning", self._environment.now())
        if row.phase == "switched":
            text = f"the rows of {self._model.title} from before the last switch are still there: drop them first"
            raise NotNow(text, "drop")
        return row


def _now(row: Rebuild, phase: Phase, before: dict[str, Earlier] | None = None) -> None:
    row.phase, row.before = phase, row.before if before is None else before


def _there(row: Rebuild | None, title: str) -> Rebuild:
    if row is None:
        raise nothing_beside(title)
    return row


def _expect(row: Rebuild | None, phase: Phase, title: str) -> Rebuild:
    row = _there(row, title)
    if row.phase == phase:
        return row
    if phase == "switched":
        raise NotNow(f"nothing of {title} was switched: there is no way back", "status")
    if row.phase == "switched":
        raise NotNow(f"queries find the new rows of {title} already", "status")
    raise NotNow(f"the new rows of {title} are not all made yet", "build")


def _expect_earlier(row: Rebuild | None, title: str) -> Rebuild:
    """Rows of before a switch."""
    row = _expect(row, "switched", title)
    if not row.before:
        raise NotNow(f"queries found no rows of {title} before the switch: there is nothing to go back to", "status")
    return row


def told(letter: HeldRecord) -> str:
    """A dead letter in words."""
    place = f"topic {letter.topic}, partition {letter.partition}, offset {letter.record_offset}"
    return f"{letter.handler or letter.stage} failed at {place}: {letter.error}: {letter.message}"


def _state(row: Rebuild | None, holder: Holder | None) -> str:
    if row is None:
        return ""
    if row.phase in ("built", "switched"):
        return row.phase
    return "building" if holder is not None else "failed" if row.failure else "paused"
