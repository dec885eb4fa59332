"""Exchanging rows in a search server, and what names show.

Tables and runners are found by way of one document, that of `SWITCH`, which says where they are if they are not in
their own places: so one write exchanges them, with their rows, positions and code, and that write is the commit of an
ordinary transaction (`opensearch_transactions`). Before it, the runners are frozen: their sessions are closed, so that
nobody commits what was begun, and none can be listed until the exchange is over or its time is.

Other programs read an alias, which is moved after the commit, all of them in one request of the server's. The document
says that this is still to be done, and whoever reads it then does it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import msgspec

from headwater.errors import Unavailable
from headwater.stores.opensearch_connection import Connection, path_of
from headwater.stores.opensearch_documents import Transaction
from headwater.stores.opensearch_finding import Finding, Moved, Names
from headwater.stores.opensearch_loading import SearchLoading
from headwater.stores.opensearch_sessions import Frozen, Own, Sessions
from headwater.stores.opensearch_state import MISSING, SWITCH, RunnerDoc, State, TableDoc, runner_name, table_name
from headwater.stores.opensearch_tables import HIDDEN
from headwater.stores.opensearch_transactions import Attempt, attempts
from headwater.stores.switching import Switch, refuse_behind


def switch(sessions: Sessions, finding: Finding, wanted: Switch, work: Callable[[SearchLoading], None]) -> None:
    """See `SwitchingStore.switch`."""

    def attempt(own: Own, names: Names) -> SwitchAttempt:
        return SwitchAttempt(sessions, own, finding, names, wanted, work)

    attempts(sessions, finding, SWITCH, attempt, lambda _: None)


class SwitchAttempt(Attempt):
    """An exchange. Arguments: wanted; work: what is changed with it."""

    def __init__(
        self,
        sessions: Sessions,
        own: Own,
        finding: Finding,
        names: Names,
        wanted: Switch,
        work: Callable[[SearchLoading], None],
    ) -> None:
        super().__init__(sessions, own, finding, names, SWITCH, {}, {})
        self._state, self._wanted, self._work = sessions.state, wanted, work
        self._as = ""
        self._shown: dict[str, int] = {}
        self._owners: dict[str, str] = {}
        self._frozen: list[str] = []

    def run(self, work: Callable[[SearchLoading], None], *, again: bool) -> set[str] | None:
        try:
            return super().run(self._work, again=again)
        finally:
            for place in self._frozen:
                with suppress(Unavailable):  # who needs it thaws it, as after a crash
                    self._all.thaw(place, self._as)

    def _begin(self) -> None:
        self._as = Transaction(self._own.committed + 1, self._own.id, SWITCH).name
        found, wanted = self._registration.found, self._wanted
        if found.exchanges != self._names.exchanges:
            raise Moved
        self._shown = dict(found.shown)
        names = self._finding.named(found, {})
        runners = {wanted.runner, wanted.other} if wanted.tables else set()
        for name, version in wanted.shown.items():
            runners.add(names.runner_of(name, version))
            now = names.shown(name)
            if now is not None:
                runners.add(now.runner)
        docs = {place: self._freeze(place) for place in sorted(map(names.place, runners))}
        if wanted.tables:
            both = (wanted.runner, wanted.other)
            self._owners = self._owned(names, [docs[names.place(runner)] for runner in both])
        refuse_behind(wanted, names.shown, names.runner_of, lambda runner: names.runner_doc(runner).stored)

    def _owned(self, names: Names, docs: Sequence[RunnerDoc | None]) -> dict[str, str]:
        """Whose each table of the two runners is after the exchange, by the name of its document: positions and rows go
        to the other one, and what is not in a pair stays where it is."""
        wanted = self._wanted
        keys = {key for doc in docs if doc is not None for key in doc.tables}
        keys |= names.owned(wanted.runner) | names.owned(wanted.other)
        tables = {key: self._state.read(key, TableDoc)[0] for key in keys}
        owners = {key: names.owner(key, table) for key, table in tables.items() if table is not None}
        for one, other in wanted.tables:
            owners[names.table_key(one.name, one.version)] = wanted.other
            owners[names.table_key(other.name, other.version)] = wanted.runner
        return owners

    def _freeze(self, place: str) -> RunnerDoc | None:
        def change(found: RunnerDoc | None) -> RunnerDoc:
            found = RunnerDoc() if found is None else found
            if found.frozen is not None and found.frozen != self._as:
                raise Frozen(place, found.frozen)
            if found.forgetting:
                raise Unavailable(f"the tables of {place} are being removed")
            found.frozen = self._as
            for session in found.sessions.values():
                session.closed = True
            return found

        found, _ = self._all.until_thawed(lambda: self._state.change(runner_name(place), RunnerDoc, change))
        self._frozen.append(place)
        if found is not None:
            self._all.verdicts.learn(found)
            self._all.settle(place, found)
        return found

    def _alter(self, found: RunnerDoc) -> bool:
        number, session, _ = Transaction.named(self._as)
        if (session, number) != (self._own.id, self._own.committed + 1):  # somebody has lost patience, and thawed
            return False
        if (found.exchanges, found.shown) != (self._names.exchanges, self._shown):
            return False
        wanted = self._wanted
        if wanted.tables:
            exchange(found.places, wanted.runner, wanted.other)
            found.owners.update(self._owners)
        for one, other in wanted.tables:
            exchange(found.moved, table_name(one.name, one.version), table_name(other.name, other.version))
            for table in (one, other):
                found.shown.setdefault(table.name, table.version)
        found.shown.update(wanted.shown)
        found.exchanges += 1
        found.pending = True
        return True


def exchange(places: dict[str, str], one: str, other: str) -> None:
    places[one], places[other] = places.get(other, other), places.get(one, one)


def forget_owner(state: State, runner: str) -> None:
    """Of a runner whose tables are removed."""

    def change(found: RunnerDoc | None) -> RunnerDoc | None:
        kept = {} if found is None else {key: owner for key, owner in found.owners.items() if owner != runner}
        if found is None or len(kept) == len(found.owners):
            return None
        found.owners = kept
        return found

    state.change(runner_name(SWITCH), RunnerDoc, change)


def show_first(state: State, finding: Finding, name: str, version: int) -> None:
    """Lets a name show a version, if it shows nothing."""

    def change(found: RunnerDoc | None) -> RunnerDoc | None:
        found = RunnerDoc() if found is None else found
        if finding.named(found, {}).shown(name) is not None:
            return None
        found.shown[name] = version
        found.pending = True
        return found

    state.change(runner_name(SWITCH), RunnerDoc, change)


def follow(connection: Connection, state: State, finding: Finding) -> None:
    """Lets other programs see what names show, if they do not yet."""
    found, _ = state.read(runner_name(SWITCH), RunnerDoc)
    while found is not None and found.pending:
        actions: list[Any] = []
        for name, version in found.shown.items():
            table = finding.named(found, {}).table_doc(name, version)
            alias = f"{connection.address.prefix}-{name}"
            reply = connection.ask("GET", path_of("_alias", alias), accept=[MISSING])
            now = [] if reply.status == MISSING else list(msgspec.json.decode(reply.body, type=dict[str, Any]))
            if table is None or now == [table.index]:
                continue
            connection.ask("POST", path_of(table.index, "_refresh"))
            actions += ({"remove": {"index": index, "alias": alias}} for index in now)
            actions.append({"add": {"index": table.index, "alias": alias, "filter": {"bool": {"must_not": HIDDEN}}}})
        if actions:
            connection.ask("POST", "/_aliases", {"actions": actions})
        seen = found.shown, found.moved

        def done(now: RunnerDoc | None, seen: tuple[dict[str, int], dict[str, str]] = seen) -> RunnerDoc | None:
            if now is None or (now.shown, now.moved) != seen:
                return None
            now.pending = False
            return now

        found, _ = state.change(runner_name(SWITCH), RunnerDoc, done)
