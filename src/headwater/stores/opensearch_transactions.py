"""Transactions in a search server, which has none: rows and positions of a batch count together or not at all.

The server changes one document at a time, on condition that it is still what was read. That is enough:

1. The rows that a batch needs are read, with their versions, or remembered (`opensearch_remembered`).
2. Each changed row is written in bulk on condition of its version. The new document names the transaction and keeps the
   row as it was before; until the transaction is committed, whoever looks at the document sees that
   (`opensearch_documents`).
3. Rows that were read and not written are looked at once more: had one changed, the batch would not be as if it had
   been alone (the order of 2 and 3 makes sure of that: of two runners one sees what the other has written).
4. One write of the runner's document, on condition of *its* version, moves the positions and says that the transaction
   is committed. It is the only step that counts: before it nothing has happened, after it everything has.

Where a row has changed since 1, another runner was there: what was written is taken back and the work is done
again. After that the runner asks for its turn, and others of the same name wait until it has committed. Who meets a row
of a transaction that is under way waits for its end: nobody waits while it has rows of its own written, so nobody waits
in a circle.

A runner may die between 2 and 4. Transactions are numbered within a *session*, which is listed in the runner's document
before it writes a row. Who takes a partition over closes the sessions that had to do with it, and takes back what they
had written; nothing that an old process still sends can commit after that. Who waits longer than `PATIENCE_S` for a
transaction of other partitions closes its session as well. A session that ends well takes itself off the list; the
others stay, some 100 bytes each, because an old request of theirs may still be on its way.

Where rows are exchanged meanwhile (`opensearch_switching`), a transaction commits before that, or is done again with
what is there afterwards: see `opensearch_registering`.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Sequence

from headwater.errors import Unavailable
from headwater.log.port import Positions
from headwater.stores.opensearch_bulk import Done, Write, bulk
from headwater.stores.opensearch_documents import Known, Transaction
from headwater.stores.opensearch_finding import Finding, Moved, Names
from headwater.stores.opensearch_loading import Change, SearchLoading
from headwater.stores.opensearch_registering import FIRST_LOOK_S, LAST_LOOK_S, Registration
from headwater.stores.opensearch_sessions import PATIENCE_S, Own, Sessions
from headwater.stores.opensearch_settling import take_back
from headwater.stores.opensearch_state import RunnerDoc
from headwater.stores.opensearch_tables import SearchTable, writing, written
from headwater.stores.port import StaleRunner

ATTEMPTS = 100


def apply(
    sessions: Sessions,
    finding: Finding,
    runner: str,
    start: Positions,
    to: Positions,
    work: Callable[[SearchLoading], None],
) -> set[str]:
    """See `Store.apply`. Returns: the indices that were written."""

    def attempt(own: Own, names: Names) -> Attempt:
        return Attempt(sessions, own, finding, names, runner, start, to)

    return attempts(sessions, finding, runner, attempt, work)


def attempts(
    sessions: Sessions,
    finding: Finding,
    runner: str,
    attempt: Callable[[Own, Names], Attempt],
    work: Callable[[SearchLoading], None],
) -> set[str]:
    """Makes attempts until nobody is in the way."""
    with sessions.of_this_process(runner):  # threads take turns: they would only be in each other's way
        for number in range(ATTEMPTS):
            names = finding.now
            with sessions.take(names.place(runner)) as own:
                written = attempt(own, names).run(work, again=number > 0)
            if written is not None:
                return written
            finding.look_up()
            time.sleep(random.uniform(0, min(0.01 * 2**number, 0.2)))
    where = sessions.connection.place
    raise Unavailable(f"{where}: others changed the same rows first {ATTEMPTS} times; it is tried again")


class Attempt:
    """One way through the steps.

    Arguments: sessions; own: the one to use; finding; names: by which it goes; runner; start, to: see `Store.apply`.
    """

    def __init__(
        self,
        sessions: Sessions,
        own: Own,
        finding: Finding,
        names: Names,
        runner: str,
        start: Positions,
        to: Positions,
    ) -> None:
        self._all, self._own, self._finding, self._names, self._to = sessions, own, finding, names, to
        self._connection = sessions.connection
        self._place = names.place(runner)
        self._registration = Registration(sessions, own, finding, names, self._place, start, to)

    def run(self, work: Callable[[SearchLoading], None], *, again: bool) -> set[str] | None:
        """Returns: the indices that were written; None: somebody was in the way, and nothing is left of it.

        Arguments: again: somebody was before.
        """
        try:
            return self._run(work, again)
        except Moved:
            return None

    def _run(self, work: Callable[[SearchLoading], None], again: bool) -> set[str] | None:
        self._registration.read()
        self._registration.ensure(())
        self._registration.wait_for_turn(again)
        loading = SearchLoading(self._names.table, self._known)
        try:
            self._begin()
            work(loading)
            changes = loading.changes()
        except Exception as error:
            # What it has seen of two batches of others, half of each, is no reason to fail.
            if not isinstance(error, Unavailable) and not self._unchanged(loading.read(only=False)):
                self._distrust(loading)
                return None
            self._registration.give_turn_back()
            raise
        indices = self._write(changes, loading.read(only=True))
        if indices is None:
            self._distrust(loading)
        return indices

    def _distrust(self, loading: SearchLoading) -> None:
        self._all.remembered.distrust({table.index for table, _ in loading.read(only=False)})

    def _unchanged(self, read: Sequence[tuple[SearchTable, dict[str, Known]]]) -> bool:
        return all(self._all.documents.unchanged(table, known) for table, known in read)

    def _begin(self) -> None:
        """What comes before the work."""

    def _alter(self, found: RunnerDoc) -> bool:
        """What is changed in the runner's document with the commit. Returns False: it must not be committed."""
        found.move(self._to)
        return True

    def _known(self, table: SearchTable, ids: Sequence[str]) -> dict[str, Known]:
        """Documents as this process knows them, or as they are committed."""
        known = self._all.remembered.look(table.index, ids)
        rows = table.read([one.kept for one in known.values() if one.kept is not None])
        known = {id: Known(one.version, row, one.kept) for (id, one), row in zip(known.items(), rows, strict=True)}
        missing = [id for id in ids if id not in known] if known else ids
        return known | self._committed(table, missing) if missing else known

    def _committed(self, table: SearchTable, ids: Sequence[str]) -> dict[str, Known]:
        """Documents as they are committed. Waits for transactions that are under way."""
        known, waiting = self._all.documents.read(table, ids)
        deadline_s, pause_s = time.monotonic() + PATIENCE_S, FIRST_LOOK_S
        while waiting:
            if time.monotonic() > deadline_s:
                for name in set(waiting.values()):
                    self._all.end(Transaction.named(name))
            time.sleep(pause_s)
            pause_s = min(2 * pause_s, LAST_LOOK_S)
            more, waiting = self._all.documents.read(table, list(waiting))
            known |= more
        return known

    def _write(
        self, changes: Sequence[Change], read: Sequence[tuple[SearchTable, dict[str, Known]]]
    ) -> set[str] | None:
        own = self._own
        indices = {change.table.index for change in changes}
        tables = {change.table for change in changes}.union(table for table, _ in read)
        self._registration.ensure(indices)
        transaction = Transaction(own.committed + 1, own.id, self._place)
        name = transaction.name
        writes = [
            Write(writing(table.index), id, known.version, written(kept, name, known.kept))
            for table, id, known, kept in changes
        ]
        own.doubtful = True
        done = bulk(self._connection, [*writes, *own.buried])
        refused, committed = done.refused, False
        fresh = refused is None and not done.conflicts and self._unchanged(read)
        if fresh and any(
            table.runner != self._place for table in tables
        ):  # those could be exchanged without our notice
            fresh = self._finding.look_up().exchanges == self._names.exchanges
        if fresh:
            try:
                committed = self._registration.commit(transaction.number, self._alter)
            except StaleRunner as error:
                refused = error
        if not committed:
            self._take_back(changes, writes, done)
            own.ended = fresh and refused is None
        else:
            own.committed = transaction.number
            self._remember(changes, done)
            own.buried = [
                writes[place]._replace(version=done.versions[place], source=None, lenient=True)
                for place, change in enumerate(changes)
                if change.kept is None
            ]
        own.doubtful = False
        if refused is not None:
            self._registration.give_turn_back()
            raise refused
        return indices if committed else None

    def _remember(self, changes: Sequence[Change], done: Done) -> None:
        by_index: dict[str, list[tuple[str, Known]]] = {}
        for place, change in enumerate(changes):
            known = Known(done.versions[place], None, change.kept)
            by_index.setdefault(change.table.index, []).append((change.id, known))
        for index, written_there in by_index.items():
            self._all.remembered.put(index, written_there)

    def _take_back(self, changes: Sequence[Change], writes: Sequence[Write], done: Done) -> None:
        """Restores what was written. Raises: Unavailable."""
        places = [place for place in done.versions if place < len(writes)]
        kept = [changes[place].known.kept for place in places]
        take_back(
            self._connection,
            [
                writes[place]._replace(version=done.versions[place], source=before, lenient=True)
                for place, before in zip(places, kept, strict=True)
            ],
        )
