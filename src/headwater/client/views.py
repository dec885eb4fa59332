"""The views of an app as a client sees them: who has their file, how far they are, and their answers.

The process that maintains views has their file and answers from it; every other process on the machine asks that one.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import NoReturn

import duckdb

from headwater.client.past_views import PastViews
from headwater.client.shared_answers import SharedAnswers
from headwater.client.shared_views import SharedLetters, SharedViews, files_beside
from headwater.environment import Environment
from headwater.errors import HeadwaterError, Misuse, Unavailable
from headwater.log.port import Log
from headwater.projections.read_model import ReadModel
from headwater.projections.waiting import Progress, Watched
from headwater.readers.foreign import group_now
from headwater.readers.loop import ReadingLoop, Status
from headwater.readers.relaying import Relaying
from headwater.schemas.topics import Codecs
from headwater.stores.port import Answer
from headwater.views.asking import answer
from headwater.views.changing import Changing
from headwater.views.file import MEMORY, ViewFile
from headwater.views.file_tables import stored_positions
from headwater.views.following import Follower, Places, Steps
from headwater.views.letters import FarLetters, Letters
from headwater.views.moments import Moment
from headwater.views.places import is_store, shown
from headwater.views.plan import View
from headwater.views.questions import Questions, no_table
from headwater.views.reading import Statements
from headwater.views.repartitioning import Repartitioning
from headwater.views.runner import Shared, ViewRunner
from headwater.views.serving import RemoteViews, Serving
from headwater.views.shares import Told
from headwater.views.streaming import StreamRunner
from headwater.views.types import quoted
from headwater.views.versions import Shown, Versions, behind
from headwater.views.whole import query_of, reads_views_only
from headwater.views.wire import Part

OPEN_S = 10.0
"""How long somebody who asks waits for the file to be opened, in the process that is to open it."""

LOOK_S = 0.1


class Views:
    """Arguments: app: its name; statements: its views; log; place: of their file, or a store; environment; codecs.

    Raises: Misuse: a view has a part that cannot be maintained, or is shared and not kept in files.
    """

    def __init__(
        self, app: str, statements: Statements, log: Log, place: str, environment: Environment, codecs: Codecs
    ) -> None:
        self._path, self.log, self.environment = shown(place), log, environment
        self.past = PastViews(self, log, codecs, environment)
        self._shared = Shared(place, log.id, self._has_file, failed=self._has_no_file)
        self._part = Shared(place, log.id, self._has_part, files_beside(place)) if place != MEMORY else self._shared
        plans = [plan for plan in statements.plans if plan.target == "table"]
        if place == MEMORY:  # no other process can be asked
            plans = [replace(plan, shared=False) for plan in plans]
        for plan in plans:
            if plan.shared and is_store(place):
                raise Misuse(
                    f"view {plan.name}: with shared = true each process keeps its part in a file of DuckDB: leave out "
                    "shared, or the store of views"
                )
        self._streams = [
            StreamRunner(app, plan, log, environment, codecs) for plan in statements.plans if plan.target == "stream"
        ]
        maintained = [plan for plan in plans if not reads_views_only(plan)]
        self._runners = [
            ViewRunner(app, plan, log, self._file_of(plan), environment, codecs, statements.sources)
            for plan in maintained
        ]
        self._repartitioned = [
            Repartitioning(view, topic, log, environment, codecs)
            for view, topic in [
                *((one.view, one.repartition) for one in self._runners),
                *((one.view, one.repartition) for one in self._streams),
            ]
            if topic is not None
        ]
        whole = [runner for runner in self._runners if not runner.view.shared]
        self._changing = Changing(app, whole, statements, log, self._shared, environment, codecs)
        self._computed = {plan.name.lower(): (plan, query_of(plan)) for plan in plans if reads_views_only(plan)}
        """Views over views, each after those that it reads: name in lower case -> its plan, the query that it is."""
        self._by_name = {runner.view.name.lower(): runner for runner in self._runners}
        self._maintained = self._closed = False
        self._places = Places()
        self._serving: list[Serving] = []
        self._refusing: Serving | None = None
        """Answers while the file cannot be opened, with why."""
        self._why = ""
        self._questions = Questions(self._by_name.keys() | self._computed.keys())
        advice = f"`hw run` maintains them, with views among its parts (app {app})"
        self._remote = RemoteViews(self._path, {model.runner: model.title for model in self.models}, advice)
        self._sharing = SharedViews(
            place, [runner for runner in self._runners if runner.view.shared], log, environment, advice
        )
        self._shared_answers = SharedAnswers(self, self._sharing, self._places.closed, environment)

    @property
    def models(self) -> list[ReadModel]:
        return [runner.model for runner in self._runners]

    @property
    def names(self) -> list[str]:
        """Of all views, those among them that are computed from others, as they are written."""
        return [runner.view.name for runner in self._runners] + [plan.name for plan, _ in self._computed.values()]

    @property
    def families(self) -> set[str]:
        """The entity types whose events become streams."""
        return {family for stream in self._streams for family in stream.families}

    def streams(self, worker: str) -> list[tuple[Relaying, ReadingLoop]]:
        """What writes streams and the topics of views in this process, and what reads for it, not yet started."""
        streams = [stream.begin(worker) for stream in self._streams]
        return streams + [one.begin(worker) for one in self._repartitioned]

    @property
    def notices(self) -> list[str]:
        return [text for runner in self._runners for text in runner.notices]

    def named_in(self, sql: str, is_stored: Callable[[str], bool] = no_table) -> list[ReadModel]:
        """The views that are maintained and that a question needs; none: it is not for views. Arguments: of
        `Questions.views_in`."""
        return [runner.model for runner in self._runners_in(sql, is_stored)]

    def _runners_in(self, sql: str, is_stored: Callable[[str], bool] = no_table) -> list[ViewRunner]:
        tables = self._read_for(self._questions.views_in(sql, is_stored))
        return [runner for name, runner in self._by_name.items() if name in tables]

    def _read_for(self, tables: set[str]) -> set[str]:
        """The names of tables, and of all that those among them that are computed from views are computed from."""
        for name, (plan, _) in reversed(self._computed.items()):
            if name in tables:
                tables |= {relation.name.lower() for relation in plan.relations}
        return tables

    def loops(self, worker: str) -> list[ReadingLoop]:
        """The loops that maintain the views in this process, not yet started."""
        self._maintained = True
        self._changing.begin(worker)
        return [loop for runner in self._runners for loop in runner.begin(worker)]

    def model_of(self, name: str) -> ReadModel:
        """Of a view that is maintained. Arguments: name: in lower case."""
        return self._by_name[name].model

    def watched(self, model: ReadModel) -> tuple[Watched, Progress | None, Status | None]:
        """What tells how far a view is; and of its reader, if this process maintains it, what wakes and what it says.
        Raises: Unavailable: nobody on this machine has the file."""
        runner = self._runner(model)
        if runner.view.shared:
            return self._sharing, None, runner.loop.status if self._maintained else None
        file = self._file(runner)
        return (self._remote, None, None) if file is None else (self._shown(runner, file), *self._tells(runner))

    def refuse_waiting(self, model: ReadModel) -> None:
        """Before somebody waits for a view. Raises: Unavailable: a process that lives has all of its partitions, and
        makes it in a file of its own, so that here nothing comes."""
        runner = self._runner(model)
        if not self._maintained or runner.loop.status.owned:
            return
        try:
            runner.refuse_shared()
        except Unavailable:
            if any(group_now(self.log, model.runner).members.values()):
                raise

    def letters(self, model: ReadModel) -> Letters | FarLetters | SharedLetters:
        """What the reader of a view has set aside. Raises: Unavailable: nobody on this machine has the file."""
        runner = self._runner(model)
        if runner.view.shared:
            return self._sharing.letters(runner.runner)
        file = self._file(runner)
        return self._remote.letters(model.runner) if file is None else self._shown(runner, file).letters

    def answer(self, sql: str, arguments: Sequence[object], timeout_s: float | None) -> Answer:
        """Carries out a question. Raises: Misuse: it is none, or not allowed. Unavailable: nobody can answer, or it
        took longer than `timeout_s`, in seconds."""
        named = self._runners_in(sql)
        if any(runner.view.shared for runner in named):
            return self._shared_answers.answer(sql, arguments, timeout_s)
        if any(self._file(runner) is None for runner in named):
            return self._remote.answer(sql, arguments, timeout_s)
        return self._answer_here(sql, arguments, timeout_s)

    def past_answer(self, sql: str, arguments: Sequence[object], timeout_s: float | None, moment: Moment) -> Answer:
        """As `answer`, from the history that all views keep that the question needs."""
        for runner in self._runners_in(sql):
            if self._file(runner) is None:
                return self._remote.past_answer(sql, arguments, timeout_s, moment)
        return self._answer_here(sql, arguments, timeout_s, moment)

    def follow(self, sql: str, arguments: Sequence[object], timeout_s: float | None) -> Steps:
        """Begins to follow a question. Raises: as `answer`; Unavailable: there are too many who follow; the app has
        ended."""
        if self._closed:
            raise Misuse("the app has ended, and with it what followed its views")
        named = self._runners_in(sql)
        if not named and not self.needed(sql):
            raise never_changes()
        if any(runner.view.shared for runner in named):
            return self._shared_answers.follow(sql, arguments, timeout_s)
        if any(self._file(runner) is None for runner in named):
            return self._remote.follow(sql, arguments, timeout_s)
        return self._follow_here(sql, arguments, timeout_s)

    def close(self) -> None:
        self._closed = True
        self._places.closed.set()
        for serving in self._serving:
            serving.close()
        self._changing.close()
        for runner in self._runners:
            runner.close()
        for stream in self._streams:
            stream.close()
        for one in self._repartitioned:
            one.close()
        self._close_refusing()
        self._shared.close()
        self._part.close()
        self._questions.close()

    def _answer_here(
        self, sql: str, arguments: Sequence[object], timeout_s: float | None, moment: Moment | None = None
    ) -> Answer:
        file = self._shared.file
        if file is None:
            raise Unavailable(f"the views in {self._path} are not open yet")
        with file.aside() as connection:
            for runner in self._opened(connection, sql).values():
                runner.refuse_shared()
                if moment is not None:
                    self._show_past(connection, runner, moment)
            return answer(connection, sql, arguments, timeout_s)

    def _show_past(self, connection: duckdb.DuckDBPyConnection, runner: ViewRunner, moment: Moment) -> None:
        """Lets questions on this connection find a view as it was. Raises: Misuse: it keeps no history here.
        Unavailable: queries find the rows of another version of it; it is not as far."""
        view, versions = runner.view, self._shared.versions
        assert versions is not None, "it was opened with the file"
        shown = versions.in_state(view.name, "shown")
        if not view.history:
            raise Misuse(f"view {view.name} keeps no history in the process that has the views")
        if shown is None or shown.runner != runner.runner:
            raise Unavailable(f"view {view.name} is being made anew, with its history: ask when it is shown")
        if moment.positions is not None:
            stands = stored_positions(connection, runner.runner)
            late = behind(moment.positions[view.name.lower()], stands)
            if late is not None:
                raise Unavailable(f"view {view.name} has read {late} up to {stands.get(late, 0)}: it is not as far")
        connection.execute(f"CREATE OR REPLACE TEMP VIEW {quoted(view.name)} AS {runner.rows_at(moment)}")

    def _follow_here(self, sql: str, arguments: Sequence[object], timeout_s: float | None) -> Follower:
        file = self._shared.file
        if file is None:
            raise Unavailable(f"the views in {self._path} are not open yet")
        connection = file.database.cursor()
        try:
            views = self._opened(connection, sql)
            if not views:
                raise never_changes()
            followed = {name: self._changing.followed(runner) for name, runner in views.items()}
            return Follower(self._path, connection, sql, arguments, followed, self._places, timeout_s)
        except BaseException:
            connection.close()
            raise

    def _opened(self, connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, ViewRunner]:
        """As `prepare`, once the readers of these views have opened them. Raises: Unavailable: they do not."""
        needed = self.needed(sql).values()
        refuse_shared(needed)
        for runner in needed:
            if self._file(runner) is None:
                raise Unavailable(f"view {runner.view.name} is not open yet: its reader waits for the log")
        return self.prepare(connection, sql)

    def needed(self, sql: str) -> dict[str, ViewRunner]:
        """The views that are maintained and that a question needs, by name in lower case. Raises: Misuse: it is no
        question, or not allowed."""
        tables = self._questions.tables_in(sql)
        strange = tables - self._by_name.keys() - self._computed.keys()
        if strange:
            names = ", ".join(sorted([*self._by_name, *self._computed]))
            raise Misuse(f"{', '.join(sorted(strange))} is no view here, and a question reads views alone: {names}")
        wanted = self._read_for(tables)
        return {name: runner for name, runner in self._by_name.items() if name in wanted}

    def prepare(self, connection: duckdb.DuckDBPyConnection, sql: str) -> dict[str, ViewRunner]:
        """As `needed`, and defines what is computed from views on this connection, which has to have these."""
        needed = self.needed(sql)
        wanted = self._read_for(self._questions.tables_in(sql))
        for name, (plan, query) in self._computed.items():
            if name in wanted:
                connection.execute(f"CREATE OR REPLACE TEMP VIEW {quoted(plan.name)} AS {query}")
        return needed

    def _file(self, runner: ViewRunner) -> ViewFile | None:
        """The file, as a view's runner has it; None: another process has it.

        Raises: Unavailable: its reader has failed, or does not open it in time.
        """
        if not self._maintained:
            return None
        deadline_s, status = self.environment.monotonic_s() + OPEN_S, runner.loop.status
        while runner.file is None:
            rounds = runner.progress.rounds
            if status.state == "retrying" and runner.shared.file is None:
                return None
            if status.state == "retrying":
                raise Unavailable(f"view {runner.view.name} waits: {status.last_failure}")
            if status.state in ("failed", "stopped") or self.environment.monotonic_s() > deadline_s:
                raise Unavailable(
                    f"view {runner.view.name} is not maintained here: {status.last_failure or 'no answer'}"
                )
            runner.progress.wait(rounds, LOOK_S)
        return runner.file

    def _has_file(self, versions: Versions) -> None:
        self._changing.opened(versions)
        if self._path != MEMORY:
            self._close_refusing()
            self._serving.append(self._served(self._path))

    def _has_no_file(self, error: HeadwaterError) -> None:
        """Lets processes that ask know why nobody answers: else they would be told to start this one."""
        self._why = str(error)
        if self._refusing is None and not (self._closed or self._path == MEMORY or is_store(self._path)):
            self._refusing = Serving(self._path, *[self._refuse] * 5)

    def _refuse(self, *_: object) -> NoReturn:
        raise Unavailable(f"the process that maintains the views cannot open them: {self._why}")

    def _close_refusing(self) -> None:
        if self._refusing is not None:
            self._refusing.close()
            self._refusing = None

    def _has_part(self, versions: Versions) -> None:
        """The file of what this process has of shared views: what it holds of others is nobody's any more."""
        versions.keep({runner.runner for runner in self._runners})
        self._serving.append(self._served(self._part.path))

    def _served(self, path: str) -> Serving:
        return Serving(
            path, self._store_of, self._answer_here, self._follow_here, self._changing.carry_out, self._told_of
        )

    def _told_of(self, part: Part) -> Told:
        """What this process has of a view that is shared. Raises: Unavailable: nothing, or of another statement."""
        for runner in self._runners:
            if runner.runner == part.runner and runner.view.shared:
                return runner.told(rows=part.rows)
        raise Unavailable(f"view {part.view} is of another statement here, or not shared")

    def _file_of(self, plan: View) -> Shared:
        return self._part if plan.shared else self._shared

    def _shown(self, runner: ViewRunner, file: ViewFile) -> Shown:
        """How far the rows are that queries find of a view."""
        assert runner.shared.versions is not None, "it was opened with the file"
        return Shown(file, runner.shared.versions, runner.view.name, runner.model.runner)

    def _tells(self, runner: ViewRunner) -> tuple[Progress | None, Status | None]:
        """What wakes who waits for a view, and what its reader says. Where queries find the rows of another reader,
        nothing: who waits looks again by himself."""
        assert self._shared.versions is not None, "it was opened with the file"
        shown = self._shared.versions.in_state(runner.view.name, "shown")
        if shown is not None and shown.runner != runner.model.runner:
            return None, None
        return runner.progress, runner.loop.status

    def _store_of(self, view: str) -> Shown:
        for one in self._runners:
            if one.view.name == view and (file := self._file(one)) is not None:
                return self._shown(one, file)
        raise Unavailable(f"no view {view} is maintained by the process that has {self._path}")

    def _runner(self, model: ReadModel) -> ViewRunner:
        return next(runner for runner in self._runners if runner.model is model)


def never_changes() -> Misuse:
    return Misuse("a question that is followed reads a view: this one cannot change")


def refuse_shared(runners: Iterable[ViewRunner]) -> None:
    """Raises: Misuse: one of these views is in several processes, and what is wanted is done where all of it is."""
    for runner in runners:
        if runner.view.shared:
            raise Misuse(f"view {runner.view.name} is shared, and one process has a part of it")
