"""Carrying out what operators ask for: a dead letter is tried again or discarded, and what waits behind it follows.

    asked (a row of an operator) ─► the dead letter and all held records of its key, in order ─► one transaction:
    rows of the read model, what is still held, the audit, and the request is gone

Only the owner of the partition does it, from its own thread, between two batches: so nothing newer of the entity comes
in between. What succeeds is held no more, so asking twice does nothing. What fails again stays at the front of its key.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import datetime
from functools import partial

from msgspec.structs import replace

from headwater.environment import Environment
from headwater.failures.held import Asked, HeldRecord
from headwater.failures.outcome import outcome_of
from headwater.failures.parking import Parking, place_of_row
from headwater.log.port import Aborted, Positions, TopicPartition
from headwater.projections.applying import Applying
from headwater.projections.read_model import ReadModel
from headwater.projections.shelving import Shelving
from headwater.stores.port import Loading, StaleRunner, Store

logger = logging.getLogger("headwater.failures")

LOOK_S = 0.5
"""How often a runner looks whether something is asked for."""

WORK_S = 0.25
"""How long it is at that before it reads on."""


class Retrying:
    """Arguments: model; store; applying; shelving: what is set aside, told of each change."""

    def __init__(
        self, model: ReadModel, store: Store, applying: Applying, shelving: Shelving, environment: Environment
    ) -> None:
        self._model, self._store, self._environment = model, store, environment
        self._applying, self._shelving, self._tables = applying, shelving, shelving.tables
        self._looked_s = environment.monotonic_s()
        self._exchanged: datetime | None = None

    def look(self, positions: Positions) -> None:
        """Carries out what is asked for in these partitions, now and then. Reads again what is set aside where it was
        exchanged. Raises: Unavailable."""
        now_s = self._environment.monotonic_s()
        if now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        read_again: set[TopicPartition] = set()
        for asked in self._store.rows(self._tables.asked, order=["asked"]):
            if asked.action == "reload":
                if self._exchanged != asked.asked:
                    self._shelving.exchanged(list(positions))
                    self._exchanged = asked.asked
                continue
            tp = TopicPartition(asked.topic, asked.partition)
            if tp not in positions:
                continue
            if tp not in read_again:  # a server that died may have lost what was carried out last
                self._shelving.read_again(tp)
                read_again.add(tp)
            try:
                self._carry_out(asked, positions)
            except Aborted as error:  # another runner did it, or owns the partition: the next batch tells
                logger.debug("%s: %s", self._model.runner, error)
                return
            if self._environment.monotonic_s() - now_s > WORK_S:
                self._looked_s = now_s - LOOK_S
                return

    def _carry_out(self, asked: Asked, positions: Positions) -> None:
        tp = TopicPartition(asked.topic, asked.partition)
        at = {tp: positions[tp]}
        letter = self._row(tp, asked.record_offset)
        if letter is None or not letter.failed:
            self._applying.again(at, [], partial(self._settle, asked, None, []))
            return
        rows = [letter, *self._behind(letter)]
        if asked.edited:
            rows[0] = replace(letter, value=asked.value)
        tried = rows if asked.action == "retry" else rows[1:]
        applied = self._applying.again(at, tried, partial(self._settle, asked, letter, rows))
        self._shelving.applied(applied, rows)

    def _behind(self, letter: HeldRecord) -> list[HeldRecord]:
        """The records that wait for a dead letter, in order."""
        if letter.held_key is None:
            return []
        known = self._shelving.shelves[letter.tp].offsets(letter.held_key)
        found = [self._row(letter.tp, offset) for offset in known if offset > letter.record_offset]
        return [row for row in found if row is not None]

    def _row(self, tp: TopicPartition, offset: int) -> HeldRecord | None:
        return self._store.row(self._tables.held, (*tp, offset))

    def _settle(
        self, asked: Asked, letter: HeldRecord | None, rows: Sequence[HeldRecord], loading: Loading, parking: Parking
    ) -> None:
        """The last part of the transaction. Raises: StaleRunner: somebody else has carried it out."""
        if (asked.id,) not in loading.load(self._tables.asked, [(asked.id,)]):
            raise StaleRunner(f"another runner of {self._model.runner} has carried out what was asked ({asked.id})")
        loading.delete(self._tables.held, [place for place in map(place_of_row, rows) if place not in parking.rows])
        loading.delete(self._tables.asked, [(asked.id,)])
        loading.save(self._tables.audit, [outcome_of(asked, letter, rows, parking, self._environment.now())])
