"""The versions of views that run beside those that an app's statements declare, and what operators ask of versions.

Only the process that has the file can do any of it. When it opens the file it begins to maintain what it finds there:
the rows that queries find until those of a changed statement are as far, and those of before the last switch. Their
statements are in the file; where these come to something else by now, because events have changed, nobody can maintain
the rows: queries find them as they are.
"""

from __future__ import annotations

import getpass
import logging
import os
import socket
import threading
from collections.abc import Callable, Sequence
from typing import Literal

from headwater.environment import Environment
from headwater.errors import Misuse, Unavailable
from headwater.failures.held import HeldRecord, tables_of
from headwater.log.port import Log, Positions, TopicPartition
from headwater.schemas.topics import Codecs
from headwater.stores.switching import Behind
from headwater.views.comparing import Rows, difference
from headwater.views.errors import BadStatement
from headwater.views.file import ViewFile, translated
from headwater.views.file_tables import BookkeepingTable, stored_positions
from headwater.views.reading import Statements
from headwater.views.runner import Shared, ViewRunner, name_of
from headwater.views.versions import Version, Versions, behind
from headwater.views.wishes import (
    Compared,
    Copy,
    NotNow,
    OtherClasses,
    Outcome,
    Standing,
    Wish,
    nothing_beside,
    refuse_other_code,
)

logger = logging.getLogger("headwater.views")

ATTEMPTS = 5
"""So often rows are read again that were not of the same events."""

SWITCH_S, LOOK_S = 30.0, 0.05
"""How long a switch waits until the new rows are as far as those that move on meanwhile."""


class Followed:
    """A view as who follows it sees it: the version that queries find, whichever that is.

    Arguments: declared: the reader of what is declared; versions; reader: finds the reader of a version.
    """

    def __init__(self, declared: ViewRunner, versions: Versions, reader: Callable[[str], ViewRunner | None]) -> None:
        self._declared, self._versions, self._reader = declared, versions, reader
        self.progress = declared.progress

    @property
    def runner(self) -> str:
        """Of the version that queries find."""
        shown = self._versions.in_state(self._declared.view.name, "shown")
        return self._declared.model.runner if shown is None else shown.runner

    @property
    def commits(self) -> int:
        """How often its rows may have changed."""
        readers = [self._reader(one.runner) for one in self._versions.of(self._declared.view.name)]
        return self._versions.switches + sum(one.commits for one in readers if one is not None)

    def refuse_shared(self) -> None:
        """Raises: Unavailable: other processes have a part of the view."""
        self._declared.refuse_shared()


class Changing:
    """Arguments: app: its name; declared: the readers of what its statements declare, none: nothing runs here but what
    an operator asks for; statements; log; shared: the file; environment; codecs: of the topics."""

    def __init__(
        self,
        app: str,
        declared: Sequence[ViewRunner],
        statements: Statements,
        log: Log,
        shared: Shared,
        environment: Environment,
        codecs: Codecs,
    ) -> None:
        self._app, self._statements, self._log, self._shared = app, statements, log, shared
        self._environment, self._codecs, self._worker = environment, codecs, ""
        self._declared = {runner.model.runner: runner for runner in declared}
        self._views = {view.name for view in statements.kept if not view.shared}
        self._others: dict[str, ViewRunner] = {}
        self._made: set[str] = set()
        """Readers whose rows have been as far as those that queries find. They are made, also when a batch behind."""
        self._since = environment.now()

    def begin(self, worker: str) -> None:
        """Says what this process is called. Before the file is opened."""
        self._worker = worker

    def opened(self, versions: Versions) -> None:
        """Goes on with what is in the file beside what is declared."""
        for view in self._views:
            for version in [*versions.superseded(view), *versions.unfinished(view)]:
                if version.runner not in self._declared:
                    versions.drop(version.runner)
            self._go_on(view, versions)

    def carry_out(self, wish: Wish | Copy) -> Outcome:
        """Does what is asked of a view, or of the file. Raises: Misuse, Unavailable."""
        file, versions = self._shared.file, self._shared.versions
        if file is None or versions is None:
            raise Unavailable(f"the views in {self._shared.path} are not open yet")
        if isinstance(wish, Copy):
            file.snapshot(wish.target)
            return Outcome()
        if wish.view not in self._views and wish.action != "status":
            names = ", ".join(sorted(self._views))
            raise Misuse(f"the process that has the views maintains no {wish.view}, but {names}")
        try:
            return self._carried_out(wish, file, versions)
        except NotNow as error:
            return Outcome(not_now=str(error), first=error.first)
        except OtherClasses as error:
            return Outcome(other_classes=str(error))

    def _carried_out(self, wish: Wish, file: ViewFile, versions: Versions) -> Outcome:
        if wish.action == "status":
            return Outcome(standing=self._standing(wish.view, file, versions))
        if wish.action == "compare":
            return Outcome(compared=self._compare(wish.view, file, versions))
        if wish.action == "pause":
            self._pause(wish.view, versions)
        elif wish.action == "drop":
            self._drop(wish.view, versions)
        else:
            if not self._declared:
                self._go_on(wish.view, versions)
            if wish.action == "build":
                self._build(wish, versions)
            elif wish.action == "switch":
                self._switch(wish, file, versions)
            else:
                self._roll_back(wish.view, versions)
        return Outcome()

    def _go_on(self, view: str, versions: Versions) -> None:
        """Maintains what is in the file of a view and is not declared."""
        for version in versions.of(view):
            if self._reader(version.runner) is None and not self._run(version, versions):
                logger.warning(
                    "rows of view %s that were made of another statement (%s) stay as they are: events are read "
                    "otherwise by now",
                    view,
                    version.state,
                )

    def followed(self, runner: ViewRunner) -> Followed:
        """A view for who follows it. Arguments: runner: the reader of what is declared of it."""
        versions = self._shared.versions
        assert versions is not None, "it is followed where the file is open"
        return Followed(runner, versions, self._reader)

    def close(self) -> None:
        for runner in self._others.values():
            runner.stop()

    def _build(self, wish: Wish, versions: Versions) -> None:
        shown, beside = versions.in_state(wish.view, "shown"), versions.in_state(wish.view, "beside")
        if shown is not None and shown.code == wish.code:
            raise NotNow(
                f"queries find the rows of your statement of {wish.view} already; its rows follow from the log alone: "
                "where the file is doubtful, delete it, and all views are made again",
                "status",
            )
        if beside is not None and beside.code != wish.code:
            raise refuse_other_code(wish.view)
        if beside is None and versions.in_state(wish.view, "before") is not None:
            raise NotNow(
                f"the rows of {wish.view} from before the last switch are still there: drop them first", "drop"
            )
        if beside is not None and self._reader(beside.runner) is not None:
            return  # it is being built
        if beside is None:
            view = self._statements.of(wish.sources).find(wish.view)
            assert view is not None, "who asks has found it there"
            runner, code = name_of(self._app, view)
            if code != wish.code:
                raise OtherClasses(
                    f"the process that has the views reads the events of {wish.view} with other classes than yours: "
                    "deploy your code there first"
                )
            beside = Version(wish.view, runner, code, wish.sources, "", at_word=True)
        if not self._run(beside, versions):
            raise refuse_other_code(wish.view)

    def _pause(self, view: str, versions: Versions) -> None:
        beside = _there(versions, view, "beside")
        if beside.runner in self._declared:
            raise Misuse(
                f"{view} is built by the process whose statement it is: stop that, and it goes on when it starts"
            )
        self._stop(beside.runner)

    def _switch(self, wish: Wish, file: ViewFile, versions: Versions) -> None:
        beside = versions.in_state(wish.view, "beside")
        if beside is None:
            if versions.in_state(wish.view, "before") is not None:
                raise NotNow(f"queries find the new rows of {wish.view} already", "status")
            raise nothing_beside(wish.view)
        if beside.code != wish.code:
            raise refuse_other_code(wish.view)
        if self._standing(wish.view, file, versions).state != "built":
            raise NotNow(f"the new rows of {wish.view} are not all made yet", "build")
        self._show(beside, versions)

    def _roll_back(self, view: str, versions: Versions) -> None:
        before = versions.in_state(view, "before")
        if before is None:
            raise NotNow(f"nothing of {view} was switched: there is no way back", "status")
        self._show(before, versions)

    def _show(self, version: Version, versions: Versions) -> None:
        deadline_s, pause = self._environment.monotonic_s() + SWITCH_S, threading.Event()
        while True:
            try:
                versions.switch(version.runner)
                return
            except Behind as error:
                if self._reader(version.runner) is None:
                    raise Unavailable(f"{error}; nobody maintains them: events are read otherwise by now") from error
                if self._environment.monotonic_s() > deadline_s:
                    raise Unavailable(f"{error}, for {SWITCH_S:g} s; try again when fewer events come") from error
            pause.wait(LOOK_S)

    def _drop(self, view: str, versions: Versions) -> None:
        kept = [one for one in versions.of(view) if one.state == "before"]
        kept = kept or [one for one in versions.of(view) if one.state == "beside"]
        if not kept:
            raise nothing_beside(view)
        for one in kept:
            if one.runner in self._declared:
                raise Unavailable(
                    f"the process that has the views maintains these rows of {view}: its statement is theirs; start it "
                    "with the other one"
                )
        for one in kept:
            self._stop(one.runner)
            versions.drop(one.runner)

    def _compare(self, view: str, file: ViewFile, versions: Versions) -> Compared:
        shown = versions.in_state(view, "shown")
        other = versions.in_state(view, "beside") or versions.in_state(view, "before")
        if shown is None or other is None:
            raise nothing_beside(view)
        old, new = (shown, other) if other.state == "beside" else (other, shown)
        found = None
        for _ in range(ATTEMPTS):
            found = self._compared(file, old, new)
            if found.same_place:
                break
        assert found is not None
        return found

    def _compared(self, file: ViewFile, old: Version, new: Version) -> Compared:
        with file.aside() as connection, translated(file.path):
            connection.execute("BEGIN TRANSACTION READ ONLY")
            before, after = (stored_positions(connection, one.runner) for one in (old, new))
            keys = [runner.view.key if (runner := self._reader(one.runner)) is not None else () for one in (old, new)]
            found = difference(connection, Rows(old.rows, keys[0] or keys[1]), Rows(new.rows, keys[1] or keys[0]))
        return Compared(old.code, new.code, found, before == after)

    def _standing(self, view: str, file: ViewFile, versions: Versions) -> Standing:
        shown, beside = versions.in_state(view, "shown"), versions.in_state(view, "beside")
        before = versions.in_state(view, "before")
        done = total = letters = 0
        state, failure = "", None
        maintained = shown is not None and self._reader(shown.runner) is not None
        if beside is not None:
            reader = self._reader(beside.runner)
            with file.aside() as connection:
                stands = stored_positions(connection, beside.runner)
                shown_at = {} if shown is None else stored_positions(connection, shown.runner)
                held = BookkeepingTable(tables_of(beside.runner).held)
                rows = held.select(connection, {"failed": True}, (), None) if stands else []
            done, total = self._progress(reader, stands)
            letters, failure = len(rows), next((said(row) for row in rows), None)
            if reader is None:
                state = "paused"
            elif not reader.loop.status.alive:
                state, failure = "failed", reader.loop.status.last_failure
            else:
                as_far = maintained and behind(shown_at, stands) is None
                if done >= total or as_far:
                    self._made.add(beside.runner)
                state = "built" if beside.runner in self._made else "building"
        elif before is not None:
            state = "switched"
        return Standing(
            None if shown is None else shown.code,
            () if shown is None else shown.sources,
            maintained,
            next((one.code for one in (beside, before) if one is not None), None),
            state,
            done,
            total,
            failure,
            letters,
            f"{socket.gethostname()}/{os.getpid()}",
            _account(),
            self._since,
        )

    def _progress(self, reader: ViewRunner | None, stands: Positions) -> tuple[int, int]:
        """How far a version is, and how far it can be."""
        topics = {tp.topic for tp in stands} if reader is None else set(reader.loop.topics)
        found = self._log.topics(sorted(topics))
        partitions = [TopicPartition(one.name, p) for one in found.values() for p in range(one.partitions)]
        begins, ends = self._log.begins(partitions), self._log.ends(partitions)
        done = sum(max(0, stands.get(tp, begins[tp]) - begins[tp]) for tp in partitions)
        return done, sum(ends[tp] - begins[tp] for tp in partitions)

    def _reader(self, runner: str) -> ViewRunner | None:
        """The reader of a version in this process."""
        return self._declared.get(runner) or self._others.get(runner)

    def _run(self, version: Version, versions: Versions) -> bool:
        """Begins to maintain a version. Returns False where its statement comes to something else by now."""
        try:
            view = self._statements.of(version.sources).find(version.view)
        except BadStatement:
            return False
        if view is None or name_of(self._app, view) != (version.runner, version.code):
            return False
        runner = ViewRunner(
            self._app,
            view,
            self._log,
            self._shared,
            self._environment,
            self._codecs,
            version.sources,
            at_word=version.at_word,
        )
        versions.declare(runner.version)
        self._others[version.runner] = runner
        for loop in runner.begin(self._worker):
            loop.start()
        return True

    def _stop(self, runner: str) -> None:
        self._made.discard(runner)
        found = self._others.pop(runner, None)
        if found is not None:
            found.stop()


def _there(versions: Versions, view: str, state: Literal["beside", "before"]) -> Version:
    found = versions.in_state(view, state)
    if found is None:
        raise nothing_beside(view)
    return found


def said(letter: HeldRecord) -> str:
    """A dead letter in words."""
    place = f"topic {letter.topic}, partition {letter.partition}, offset {letter.record_offset}"
    return f"{letter.handler or letter.stage} failed at {place}: {letter.error}: {letter.message}"


def _account() -> str:
    """The name of the account that this process runs under."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # an account without a name, as in some containers
        return f"user {os.getuid()}"
