"""A batch that was gathered, into the store: one transaction of rows, of what is set aside, and of positions.

    nothing fails, nothing is held (nearly always):  fold
    something cannot be read, or a key is held:      sift, then fold the rest
    a handler fails:                                 fold_carefully
    the store refuses a row:                         fold_carefully, saving after each record, to find which

Each attempt begins with the rows as they are stored: what a failed one has changed is rolled back.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from functools import partial
from typing import NamedTuple

from headwater.environment import Environment
from headwater.errors import Misuse
from headwater.failures.held import HeldRecord, Shelves
from headwater.failures.parking import Parking, Pause, place_of, trouble_of
from headwater.failures.policy import DEFAULT
from headwater.log.port import Positions, Record, TopicPartition
from headwater.projections.folding import Call, Stopped
from headwater.projections.gathering import Gathered
from headwater.projections.read_model import ReadModel
from headwater.stores.port import Loading, StaleRunner, TableSchema

Pauses = Mapping[TopicPartition, Pause]
Settle = Callable[[Loading, Parking], None]
Apply = Callable[[Positions, Positions, Callable[[Loading], None]], None]
"""As `Store.apply`, for one runner."""


class Applied(NamedTuple):
    """What was committed. Arguments: to: the positions; set_aside: rows; pauses: partitions that are left, where."""

    to: dict[TopicPartition, int]
    set_aside: Collection[HeldRecord]
    pauses: Pauses


class _Pausing(Exception):
    """A partition pauses before the position that was to be committed: all again."""


class Applying:
    """Arguments: model; apply: `Store.apply` of its runner, for a batch; apply_again: for what was in one before; held:
    the table of what is set aside; shelves: what of it is in memory, not changed here."""

    def __init__(
        self,
        model: ReadModel,
        apply: Apply,
        apply_again: Apply,
        held: TableSchema[HeldRecord],
        shelves: Shelves,
        environment: Environment,
    ) -> None:
        self._model, self._apply, self._apply_again, self._environment = model, apply, apply_again, environment
        self._held, self._shelves = held, shelves

    def batch(self, start: Positions, records: Sequence[Record], reached: Positions, gathered: Gathered) -> Applied:
        """Commits what can be committed of a batch. Arguments: start, reached: positions before and after it.

        Raises: StaleRunner, Unavailable, Misuse: of the store; nothing was committed.
        """
        parking, calls = self._parking({}), gathered.calls
        if gathered.troubles or self._shelves.holding(reached):
            parking.sift(records, gathered.troubles)
            calls = [call for call in calls if not parking.excludes(call[0])]
        to = stopped_at(reached, parking.pauses)
        try:
            self._apply(start, to, partial(self._quickly, calls, parking))
        except (Stopped, Misuse, _Pausing):
            return self._carefully(self._apply, start, records, reached, gathered)
        return Applied(to, parking.rows.values(), parking.pauses)

    def again(self, at: Positions, rows: Sequence[HeldRecord], settle: Settle) -> Applied:
        """Tries records again that were set aside. Arguments: at: where their partition stands, and stays; rows: in
        order; settle: the last part of the transaction. Raises: as `batch`, and what `settle` raises."""
        records = [row.record() for row in rows]
        gathered = self._model.gather(records)
        return self._carefully(self._apply_again, at, records, at, gathered, rows, settle)

    def _quickly(self, calls: Sequence[Call], parking: Parking, loading: Loading) -> None:
        known = dict(parking.pauses)
        self._model.fold(loading, calls, parking)
        if parking.pauses != known:
            raise _Pausing
        self._save(loading, parking)

    def _carefully(
        self,
        apply: Apply,
        start: Positions,
        records: Sequence[Record],
        reached: Positions,
        gathered: Gathered,
        again: Sequence[HeldRecord] = (),
        settle: Settle = lambda loading, parking: None,
    ) -> Applied:
        """As `batch`. Each way on from a failed attempt leads to one that knows more."""
        pauses: Pauses = {}
        saving = False
        while True:
            tried: list[Parking] = []
            to = stopped_at(reached, pauses)
            parked = partial(self._parking, pauses, again)
            work = partial(self._attempt, records, gathered, parked, saving, settle, tried)
            try:
                apply(start, to, work)
            except _Pausing:
                pauses = tried[-1].pauses
            except Stopped as stopped:
                gathered.troubles[place_of(stopped.record)] = trouble_of(stopped.cause)
            except Misuse:
                if saving:
                    raise
                saving = True
            else:
                return Applied(to, tried[-1].rows.values(), pauses)

    def _attempt(
        self,
        records: Sequence[Record],
        gathered: Gathered,
        make_parking: Callable[[], Parking],
        saving: bool,
        settle: Settle,
        tried: list[Parking],
        loading: Loading,
    ) -> None:
        """The work of a transaction. A store may run it again: everything begins anew then."""
        parking = make_parking()
        known = dict(parking.pauses)
        tried.append(parking)
        self._model.fold_carefully(loading, records, gathered, parking, saving=saving)
        if parking.pauses != known:
            raise _Pausing
        self._save(loading, parking)
        settle(loading, parking)

    def _save(self, loading: Loading, parking: Parking) -> None:
        """Writes what is set aside. Raises: StaleRunner: a key is held no more: somebody has exchanged the rows."""
        first = {(*tp, self._shelves[tp].offsets(key)[0]): None for tp, key in parking.believed}
        if len(loading.load(self._held, first)) < len(first):
            raise StaleRunner(f"what is set aside for {self._model.runner} has changed; it is read again")
        if parking.rows:
            loading.save(self._held, parking.rows.values())

    def _parking(self, pauses: Pauses, again: Sequence[HeldRecord] = ()) -> Parking:
        policy = self._model.on_failure if not again else DEFAULT  # what is set aside stays so if it fails again
        return Parking(policy, self._shelves, self._environment.now(), pauses, again)


def stopped_at(reached: Positions, pauses: Pauses) -> dict[TopicPartition, int]:
    """Positions that do not go past a pause."""
    return {tp: pauses[tp].offset if tp in pauses else position for tp, position in reached.items()}
