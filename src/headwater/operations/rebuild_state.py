"""What is known of a rebuild: its phase, and who works on it. A row in the store, so that every process sees it.

    (no row) -> beginning -> building -> built -> switched -> (no row)
                                           ^----------'

Who works on it holds a lease: nobody else builds, switches or drops meanwhile. Each transaction of the work loads the
row and says that its holder lives, so a holder who was taken for dead writes nothing any more. The lease of a killed
process ends at once where its machine is asked, and elsewhere when it has been silent for long.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from functools import partial
from typing import Literal, NamedTuple

import msgspec

from headwater.environment import Environment
from headwater.errors import HeadwaterError, Misuse, Unavailable
from headwater.stores.port import Loading, bookkeeping_table
from headwater.stores.switching import SwitchingStore

LEASE_S = 30.0
"""A holder that has said nothing for so long has lost its lease, whatever became of it."""

OPERATOR = "hw-rebuilds"
"""Under which name the rows are kept: they are of the store, not of one read model's runner."""

Phase = Literal["beginning", "building", "built", "switched"]


class Holder(msgspec.Struct, frozen=True):
    """A process that works on a rebuild. Arguments: place: "host/pid/id"; who: the name of the person's account; since,
    heartbeat: when it began, and when it was last heard of (UTC)."""

    place: str
    who: str
    since: datetime
    heartbeat: datetime

    @property
    def text(self) -> str:
        host, _, rest = self.place.partition("/")
        return f"{self.who} on {host}, process {rest.partition('/')[0]}, since {self.since:%Y-%m-%d %H:%M:%S} UTC"


class Earlier(msgspec.Struct, frozen=True):
    """What a name showed before the switch. Arguments: runner: who fills it."""

    version: int
    runner: str


class Rebuild(msgspec.Struct):
    """A rebuild.

    Arguments: runner: of the read model; phase: what the rows beside are: leftovers, being made, made, or those of
    before the switch; begun; holder: who works on it (None: nobody); pause: whether it is asked to stop; failure: why
    it stopped, if something did that; before: what the names showed before the switch.
    """

    runner: str
    phase: Phase
    begun: datetime
    holder: Holder | None = None
    pause: bool = False
    failure: str | None = None
    before: dict[str, Earlier] = {}


REBUILDS = bookkeeping_table("rebuild", OPERATOR, Rebuild, ("runner",))


class Lost(Unavailable):
    """The lease was taken over by another process, which goes on from the progress. Nothing was written."""


class NotNow(Misuse):
    """What is asked for does not fit what there is. Arguments: first: what to do before."""

    def __init__(self, text: str, first: Literal["build", "drop", "status"]) -> None:
        super().__init__(text)
        self.first = first


class Who(NamedTuple):
    """Who is at work here. Arguments: place: "host/pid/id"; name: of the person's account."""

    place: str
    name: str


def this_process(name: str, environment: Environment) -> Who:
    """Arguments: name: of the person's account."""
    return Who(f"{socket.gethostname()}/{os.getpid()}/{environment.new_id()[-12:]}", name)


def lives(holder: Holder, now: datetime) -> bool:
    """Whether a holder still has its lease. A process of this machine that is gone has not."""
    return (now - holder.heartbeat).total_seconds() <= LEASE_S and not is_gone(holder)


def is_gone(holder: Holder) -> bool:
    """Whether a holder was a process of this machine that is there no more."""
    host, _, rest = holder.place.partition("/")
    pid = rest.partition("/")[0]
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


def find(store: SwitchingStore, runner: str) -> Rebuild | None:
    """The rebuild of a read model. Changes nothing."""
    if store.shown(REBUILDS.name) is None:
        return None
    return store.row(REBUILDS, (runner,))


class Lease:
    """The right to work on a rebuild. Arguments: runner, title: of the read model; environment: the clock."""

    def __init__(self, store: SwitchingStore, runner: str, title: str, who: Who, environment: Environment) -> None:
        self._store, self._runner, self._title = store, runner, title
        self._who, self._environment = who, environment

    @contextmanager
    def held(self, begin: Callable[[Rebuild | None], Rebuild]) -> Iterator[Rebuild]:
        """Holds it, and says at the end what went wrong, if anything did.

        Arguments: begin: gives the row to go on with from the one that there is, or refuses with an error.
        Raises: Unavailable: somebody else has it. Whatever `begin` raises; then nothing was changed.
        """
        row = self._take(begin)
        try:
            yield row
        except BaseException as error:
            failure = f"{type(error).__name__}: {error}" if isinstance(error, HeadwaterError) else None
            with suppress(Unavailable):  # it may be the very reason; the lease ends by itself
                self.change(partial(_freed, failure=failure))
            raise
        self.change(partial(_freed, failure=None))

    def hold(self, loading: Loading, change: Callable[[Rebuild], None] | None = None) -> Rebuild:
        """In a transaction of the work: says that the holder lives, and changes the row. Raises: Lost."""
        row = loading.load(REBUILDS, [(self._runner,)]).get((self._runner,))
        if row is None or row.holder is None or row.holder.place != self._who.place:
            raise self.lost()
        row.holder = msgspec.structs.replace(row.holder, heartbeat=self._environment.now())
        if change is not None:
            change(row)
        loading.save(REBUILDS, [row])
        return row

    def lost(self) -> Lost:
        """The error of who has lost it."""
        return Lost(f"the rebuild of {self._title} is not this process's any more: another one has taken it over")

    def end(self, loading: Loading) -> None:
        """In a transaction of the work: ends the rebuild; its row is removed. Raises: Lost."""
        self.hold(loading)
        loading.delete(REBUILDS, [(self._runner,)])

    def change(self, change: Callable[[Rebuild], None]) -> None:
        """Changes the row, if it is still there, in a transaction of its own. Raises: Lost."""

        def work(loading: Loading) -> None:
            if loading.load(REBUILDS, [(self._runner,)]):
                self.hold(loading, change)

        self._store.apply(OPERATOR, {}, {}, work)

    def _take(self, begin: Callable[[Rebuild | None], Rebuild]) -> Rebuild:
        self._store.open_tables(OPERATOR, [REBUILDS])
        taken: list[Rebuild] = []

        def work(loading: Loading) -> None:
            row, now = loading.load(REBUILDS, [(self._runner,)]).get((self._runner,)), self._environment.now()
            if row is not None and row.holder is not None and lives(row.holder, now):
                raise Unavailable(f"{self._title} is being rebuilt by {row.holder.text}")
            row = begin(row)
            row.holder = Holder(self._who.place, self._who.name, now, now)
            row.pause, row.failure = False, None
            loading.save(REBUILDS, [row])
            taken[:] = [row]

        self._store.apply(OPERATOR, {}, {}, work)
        return taken[0]


def _freed(row: Rebuild, failure: str | None) -> None:
    row.holder, row.pause, row.failure = None, False, failure


def ask_to_pause(store: SwitchingStore, runner: str, title: str, environment: Environment) -> Holder | None:
    """Asks whoever works on a rebuild to stop after its batch. Returns who that is; None: nobody does.

    Raises: Misuse: nothing is being rebuilt.
    """
    asked: list[Holder | None] = []

    def work(loading: Loading) -> None:
        row = loading.load(REBUILDS, [(runner,)]).get((runner,))
        if row is None:
            raise nothing_beside(title)
        live = row.holder is not None and lives(row.holder, environment.now())
        asked[:] = [row.holder if live else None]
        if live:
            row.pause = True
            loading.save(REBUILDS, [row])

    if store.shown(REBUILDS.name) is None:
        raise nothing_beside(title)
    store.apply(OPERATOR, {}, {}, work)
    return asked[0]


def nothing_beside(title: str) -> NotNow:
    """The error of who asks for rows that nobody has made."""
    return NotNow(f"nothing is being rebuilt of {title}", "build")
