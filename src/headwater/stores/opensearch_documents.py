"""Reading documents as they are committed.

A document says which transaction wrote it, as `number/session/runner`, and what it was before. Whether the transaction
is committed says the runner's document: its session has come to that number, or is no longer listed, since only
sessions that may have left something uncommitted are. If it is not, the document counts as what it was before.

What is learnt of a session holds for ever: a number that is committed stays so, a session that is closed commits
nothing more, one that was listed once and is not any more has left nothing.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from headwater.stores.opensearch_connection import Connection, path_of, refusal
from headwater.stores.opensearch_state import MISSING, RunnerDoc, State, Version, runner_name
from headwater.stores.opensearch_tables import Found, Hit, SearchTable

MOST_READ = 5_000


class Transaction(NamedTuple):
    """Which one. Arguments: number: within its session; session; runner."""

    number: int
    session: str
    runner: str

    @classmethod
    def named(cls, name: str) -> Transaction:
        number, session, runner = name.split("/", 2)
        return cls(int(number), session, runner)

    @property
    def name(self) -> str:
        return f"{self.number}/{self.session}/{self.runner}"


class Known(NamedTuple):
    """One document as it is committed.

    Arguments: version: of the document that is there (None: there is none); row: its columns (None: no row); kept: the
    same for the next document.
    """

    version: Version | None
    row: Any | None
    kept: bytes | None


NOTHING = Known(None, None, None)
_VERSIONS = msgspec.json.Decoder(Found[Any])


class Verdicts:
    """What is known of sessions. Arguments: state."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._committed: dict[str, int] = {}
        self._closed: set[str] = set()
        self._gone: set[str] = set()

    def committed(self, name: str) -> bool | None:
        """Whether a transaction is, as far as it is known; None: it may be under way."""
        number, session, _ = Transaction.named(name)
        if session in self._gone or number <= self._committed.get(session, 0):
            return True
        return False if session in self._closed else None

    def learn(self, found: RunnerDoc | None, asked: Collection[str] = ()) -> None:
        """Takes in a runner's document. Arguments: asked: sessions of documents that were read before it was."""
        sessions = {} if found is None else found.sessions
        for name, session in sessions.items():
            self._committed[name] = max(session.committed, self._committed.get(name, 0))
            if session.closed:
                self._closed.add(name)
        self._gone.update(set(asked).difference(sessions))

    def look(self, names: Collection[str]) -> None:
        """Asks the server about transactions, whose documents have been read."""
        asked: dict[str, set[str]] = {}
        for name in names:
            _, session, runner = Transaction.named(name)
            asked.setdefault(runner, set()).add(session)
        for runner, sessions in asked.items():
            self.learn(self._state.read(runner_name(runner), RunnerDoc)[0], sessions)


class Documents:
    """The documents of all tables. Arguments: connection; verdicts."""

    def __init__(self, connection: Connection, verdicts: Verdicts) -> None:
        self._connection, self._verdicts = connection, verdicts

    def read(self, table: SearchTable, ids: Sequence[str]) -> tuple[dict[str, Known], dict[str, str]]:
        """Looks documents up by their ids.

        Returns: those that are settled; for the others, the transaction that is under way.
        """
        hits = [
            hit for begin in range(0, len(ids), MOST_READ) for hit in self._get(table, ids[begin : begin + MOST_READ])
        ]
        self._look_at(hits)
        known: dict[str, Known] = {}
        waiting: dict[str, str] = {}
        for hit in hits:
            name = written_by(hit)
            verdict = True if name is None else self._verdicts.committed(name)
            if name is not None and verdict is None:
                waiting[hit.id] = name
            else:
                known[hit.id] = settled(table, hit, committed=verdict is not False)
        return known, waiting

    def found(self, hits: Sequence[Hit[Any]]) -> list[Any]:
        """The columns of what a search has found, as they are committed: it sees what is written, committed or not."""
        self._look_at(hits)
        rows: list[Any] = []
        for hit in hits:
            name = written_by(hit)
            committed = name is None or self._verdicts.committed(name) is True
            row = hit.source if committed or hit.source is None else hit.source.hw.before
            if row is not None:
                rows.append(row)
        return rows

    def look(self, table: SearchTable, id: str) -> Any | None:
        """The columns of one row as it is committed now, or None."""
        known, waiting = self.read(table, [id])
        if not waiting:
            return known[id].row
        [hit] = self._get(table, [id])
        name = written_by(hit)
        if name is not None and self._verdicts.committed(name) is None:
            self._verdicts.look([name])
        return settled(table, hit, committed=name is None or self._verdicts.committed(name) is True).row

    def unchanged(self, table: SearchTable, read: Mapping[str, Known]) -> bool:
        """Whether documents are still those that were read."""
        ids = list(read)
        for begin in range(0, len(ids), MOST_READ):
            body = {"ids": ids[begin : begin + MOST_READ]}
            reply = self._connection.ask("POST", f"{path_of(table.index, '_mget')}?_source=false", body)
            for hit in _VERSIONS.decode(reply.body).docs:
                version, row, _ = read[hit.id]
                now = None if hit.seq_no < 0 else Version(hit.seq_no, hit.term)
                if now != version and (now, row) != (None, None):  # what stood for no row may be removed
                    return False
        return True

    def _look_at(self, hits: Sequence[Hit[Any]]) -> None:
        """Asks about transactions of which nothing is known; their documents have been read."""
        unknown = {name for hit in hits if (name := written_by(hit)) and self._verdicts.committed(name) is None}
        if unknown:
            self._verdicts.look(unknown)

    def _get(self, table: SearchTable, ids: Sequence[str]) -> list[Hit[Any]]:
        reply = self._connection.ask("POST", path_of(table.index, "_mget"), {"ids": ids})
        found: list[Hit[Any]] = table.found.decode(reply.body).docs
        for hit in found:
            if hit.error is not None:
                raise refusal(MISSING, hit.error, self._connection.place)
        return found


def written_by(hit: Hit[Any]) -> str | None:
    """The transaction that wrote a document, if it is not committed for sure."""
    name: str | None = None if hit.source is None else hit.source.hw.txn
    return name


def settled(table: SearchTable, hit: Hit[Any], *, committed: bool) -> Known:
    if hit.source is None:
        return NOTHING
    mark = hit.source.hw
    row = (None if mark.deleted else hit.source) if committed else mark.before
    return Known(Version(hit.seq_no, hit.term), row, None if row is None else table.kept(row))
