"""The reader of one view: it opens the file that the view lives in, and is then the runner of a read model like others.

Views share a file, and the file belongs to one process. A reader whose process cannot have it waits, as it does for a
log that is away, and takes over when the other process is gone.
"""

from __future__ import annotations

import hashlib
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from headwater.entities.code import code_of
from headwater.entities.schema import code_of_states
from headwater.environment import Environment
from headwater.errors import HeadwaterError, Misuse, Unavailable
from headwater.log.port import Batch, Fence, GroupDescription, Log, Positions, TopicPartition
from headwater.messages.json_codec import JsonCodec
from headwater.messages.upcasts import functions_of
from headwater.projections.gathering import Gather, Topic
from headwater.projections.read_model import ReadModel
from headwater.projections.runner import ProjectionRunner
from headwater.projections.waiting import Progress
from headwater.readers.foreign import group_now
from headwater.readers.loop import ReadingLoop
from headwater.readers.overlapping import Overlapping
from headwater.schemas.topics import PLAIN, Codecs
from headwater.views.file import Taken, ViewFile
from headwater.views.history import rows_at
from headwater.views.late import tell_late
from headwater.views.maintaining import ViewWork
from headwater.views.moments import Moment
from headwater.views.nesting import leaves
from headwater.views.outbox import forget_outbox
from headwater.views.places import shown
from headwater.views.plan import View
from headwater.views.portion import Portion
from headwater.views.routes import routes_of
from headwater.views.sending import Sending
from headwater.views.shares import Share, Told
from headwater.views.sharing import tagged
from headwater.views.sinks import plan_sink, recording
from headwater.views.state import Compiled, compile_view
from headwater.views.topics import topics_of
from headwater.views.versions import Version, Versions

BATCH_RECORDS = 100_000
"""Each statement of a batch is planned anew, which takes as long as some hundred records, and the two threads that work
on batches wait for each other once for each: with half as many, 1,000,000 events took a sixteenth longer, in 431 MB
instead of 575. The bytes of a batch are bounded by what the reader fetches ahead."""


class Shared:
    """The file of an app's views in the process that has it. Thread-safe.

    Arguments: place: of the file, or a store (see `places`); log_id: of the log that they are made from; opened: called
    once it is; paths: of files of which it is the first that no other process has; none: it is that one; failed: called
    with why it cannot be opened, though no other process has it.
    """

    def __init__(
        self,
        place: str,
        log_id: str,
        opened: Callable[[Versions], None],
        paths: Sequence[str] = (),
        failed: Callable[[HeadwaterError], None] | None = None,
    ) -> None:
        self.path, self._log_id, self._opened, self._failed = shown(place), log_id, opened, failed
        self._paths = paths or [place]
        self._lock = threading.Lock()
        self.turns: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)
        """By view, of who writes to its sink."""
        self.file: ViewFile | None = None
        self.versions: Versions | None = None

    def open(self) -> tuple[ViewFile, Versions]:
        """Raises: Unavailable: another process has it. Misuse: it is something else, or of another log."""
        with self._lock:
            if self.file is None or self.versions is None:
                file = self._first_free()
                try:
                    file.bind(self._log_id)
                    versions = Versions(file)
                    self.file, self.versions = file, versions  # who is answered from now on finds them
                    self._opened(versions)
                except BaseException:
                    self.file = self.versions = None
                    file.close()
                    raise
            return self.file, self.versions

    def _first_free(self) -> ViewFile:
        try:
            return self._free()
        except Taken:
            raise
        except HeadwaterError as error:
            if self._failed is not None:
                self._failed(error)
            raise

    def _free(self) -> ViewFile:
        taken: Taken | None = None
        for path in self._paths:
            try:
                file = ViewFile(path)
            except Taken as error:
                taken = error
                continue
            self.path = shown(path)
            return file
        assert taken is not None, "there is a path"
        raise taken

    def close(self) -> None:
        with self._lock:
            if self.file is not None:
                self.file.close()


class ViewRunner:
    """The handler behind the loop, which works on a batch while the next is read.

    Arguments: app: its name; view; log; shared: the file; environment; codecs: of the topics; sources: the texts that
    the view was planned from; at_word: whether it waits for an operator's word to be shown.

    Raises: Misuse: the view has a part that cannot be maintained.
    """

    def __init__(
        self,
        app: str,
        view: View,
        log: Log,
        shared: Shared,
        environment: Environment,
        codecs: Codecs = PLAIN,
        sources: Sequence[str] = (),
        *,
        at_word: bool = False,
    ) -> None:
        self.view = view
        runner, code = name_of(app, view)
        self._compiled = compile_view(tagged(view), runner)
        self.share = Share(log) if view.shared else None
        self.model = replace(model_of(view, runner, self._compiled), code=code)
        self.version = Version(view.name, runner, code, tuple(sources), self._compiled.rows, at_word=at_word)
        self._versions: Versions | None = None
        self._log, self.shared, self._environment, self._worker = log, shared, environment, ""
        self._runner: ProjectionRunner | None = None
        self._work: ViewWork | None = None
        self.file: ViewFile | None = None
        self.progress, self._codecs = Progress(), codecs
        self._portion = None if view.shared else Portion(view.name, self._group_now, environment.monotonic_s)
        self.repartition = repartition_of(app, view)
        """The topic of its own that it is read from; None: it has none."""
        topics = [topic.name for topic in self.model.topics]
        self._read = topics if self.repartition is None else [self.repartition]
        self._overlapping = Overlapping(self, self.model.runner, f"view {view.name}", environment)
        self.loop = ReadingLoop(
            log,
            self.model.runner,
            self._read,
            self._overlapping,
            name=self.model.runner,
            prepare=self._prepare,
            wake=self._round_ended,
            batch_records=BATCH_RECORDS,
            settled=self._overlapping.settled,
            environment=environment,
        )
        self._kept, self._sending = self._compiled, None
        if view.sink is not None:
            plan = plan_sink(view, runner, self._compiled)
            self._kept = recording(self._compiled, plan)
            self._sending = Sending(
                app,
                view,
                plan,
                runner,
                self.loop.topics,
                log,
                lambda: self.file,
                self._is_shown,
                self.progress,
                shared.turns[view.name],
                environment,
            )

    def begin(self, worker: str) -> list[ReadingLoop]:
        """The loops that maintain the view and bring its rows to its sink, not yet started. The first one maintains it.

        Arguments: worker: as of `ProjectionRunner`. Raises: Misuse: there is no such sink.
        """
        self._worker = worker
        return [self.loop, *([] if self._sending is None else [self._sending.begin()])]

    def stop(self) -> None:
        """Ends what `begin` has begun, and closes it."""
        loops = [self.loop, *([] if self._sending is None else [self._sending.loop])]
        for loop in loops:
            loop.ask_to_stop()
        for loop in loops:
            loop.stop()
        self.close()

    @property
    def notices(self) -> list[str]:
        of_portion = [] if self._portion is None else self._portion.notices
        return of_portion if self._runner is None else [*self._runner.notices, *of_portion]

    @property
    def runner(self) -> str:
        return self.model.runner

    def rows_at(self, moment: Moment) -> str:
        """SELECT of its rows as they were, where it keeps history."""
        return rows_at(self.view, self._compiled, moment)

    def told(self, *, rows: bool) -> Told:
        """What this process has of the view, which is shared. Arguments: rows: whether they are wanted. Raises:
        Unavailable: the file is not open yet."""
        if self.file is None or self.share is None:
            raise Unavailable(f"view {self.view.name} is not open yet")
        return self.share.told(self.file, self.runner, self._compiled, rows=rows)

    @property
    def commits(self) -> int:
        """How many transactions have changed the view in this process."""
        return 0 if self.file is None else self.file.commits

    @property
    def failures(self) -> Mapping[int, str]:
        return self._opened.failures

    def resumed(self) -> Positions:
        return self._opened.resumed()

    def assigned(self, partitions: Sequence[TopicPartition]) -> Positions:
        start = self._opened.assigned(partitions)
        if self.share is not None:
            self.share.assigned(partitions)
        self._tell_late(partitions)
        return start

    def revoked(self, partitions: Sequence[TopicPartition]) -> None:
        if self.share is not None:
            self.share.revoked(partitions)
        if self._runner is not None:
            self._runner.revoked(partitions)
        if self._compiled.clocks:
            tell_late(self._environment.telemetry, self.model.runner, dict.fromkeys(partitions))

    def prepare(self, batch: Batch) -> Gather | None:
        """None: a view that has a topic of its own gathers its partitions one by one."""
        return self._opened.prepare(batch) if self.repartition is None else None

    def work(self, batch: Batch, prepared: Gather | None) -> None:
        if self.repartition is None:
            self._opened.work(batch, prepared)
        else:
            self._work_by_partition(batch)
        self._tell_late()
        self._look()
        self._opened.round_ended()
        self.progress.wake()

    def _work_by_partition(self, batch: Batch) -> None:
        """A view that has a topic of its own keeps apart what each of its partitions comes to."""
        reached: dict[TopicPartition, int] = {}
        for tp, position in batch.reached.items():
            part = Batch([one for one in batch.records if one.partition == tp.partition], {tp: position})
            self._opened.work(part)
            reached.update(part.reached)
        batch.reached = reached

    def worked(self, fence: Fence) -> None:
        self._opened.worked(fence)
        self._look_at_portion()

    def idle(self, fence: Fence) -> None:
        self._opened.idle(fence)
        self._look()
        self._look_at_portion()

    def close(self) -> None:
        self._overlapping.close()
        if self._runner is not None:
            self._runner.close()
        if self._sending is not None:
            self._sending.end()

    @property
    def _opened(self) -> ProjectionRunner:
        assert self._runner is not None, "the group is joined after the file was opened"
        return self._runner

    def refuse_shared(self) -> None:
        """Raises: Unavailable: another process maintains the view, or a part of it, in its own file."""
        if self._portion is not None:
            self._portion.refuse(self.loop.status.owned)

    def _prepare(self, stopped: Callable[[], bool]) -> None:
        if self._runner is not None:
            return
        opened, versions = self.shared.open()
        file = opened.beside()
        self._refuse_ahead(file)
        versions.declare(self.version)
        work = ViewWork(self.view, self._kept, file, self.model.runner, self._codecs)
        model, worker = replace(self.model, work=work), f"{self._worker}/{self.view.name}"
        runner = ProjectionRunner(model, self._log, file, worker=worker, environment=self._environment)
        topics = self._log.topics(self._read)
        missing = [name for name in self._read if name not in topics]
        if missing:
            raise Unavailable(
                f"there is no topic {missing[0]}, which view {self.view.name} reads: who writes it makes it"
            )
        partitions = {name: description.partitions for name, description in topics.items()}
        if self._portion is not None:
            self._portion.opened([TopicPartition(name, p) for name, count in partitions.items() for p in range(count)])
        if self._sending is None:
            forget_outbox(file, self.model.runner)
        else:
            self._sending.opened(file.positions(self.model.runner))
        work.open(partitions)  # afterwards: the runner throws away what another statement has left
        versions.made(self.model.runner)
        runner.follow(self.loop.status)
        self._runner, self._work, self.file, self._versions = runner, work, file, versions

    def _refuse_ahead(self, file: ViewFile) -> None:
        """Raises: Misuse: the file has read more than there is, so it is of another log of the same name, or this one
        was put back to an earlier state; nobody is to be told what is in it."""
        stored = file.positions(self.model.runner)
        ends = self._log.ends(list(stored), committed=False) if stored else {}
        for tp, position in stored.items():
            if position > ends[tp]:
                raise Misuse(
                    f"view {self.view.name} has read {tp} up to {position}, but it ends at {ends[tp]}: what is kept of "
                    f"views in {self.shared.path} is ahead of the log. Delete it; it is made again from the log"
                )

    def _is_shown(self) -> bool:
        """Whether queries find this version of the view."""
        shown = None if self._versions is None else self._versions.in_state(self.view.name, "shown")
        return shown is not None and shown.runner == self.model.runner

    def _look(self) -> None:
        assert self._versions is not None, "the group is joined after the file was opened"
        self._versions.look(self.model.runner)

    def _group_now(self) -> GroupDescription:
        return group_now(self._log, self.model.runner)

    def _look_at_portion(self) -> None:
        if self._portion is not None:
            self._portion.look(self.loop.status.owned)

    def _tell_late(self, given: Sequence[TopicPartition] = ()) -> None:
        """Each partition is told by the process that has it. Arguments: given: what it is being given now."""
        late = None if self._work is None else self._work.late(again=bool(given))
        if late is not None:
            mine = self.loop.status.owned.union(given)
            told = {tp: count for tp, count in late.items() if tp in mine}
            tell_late(self._environment.telemetry, self.model.runner, told)

    def _round_ended(self) -> None:
        if self._overlapping.busy:
            return  # the end of its batch wakes them
        if self._runner is not None:
            self._runner.round_ended()
        self.progress.wake()


def name_of(app: str, view: View) -> tuple[str, str]:
    """The name of the reader of a view, and the fingerprint of what the view comes to, which is a part of it."""
    code = model_of(view, "", compile_view(tagged(view), "")).code
    return f"{app}-{view.name}-view-{code[:8]}", code


def repartition_of(app: str, view: View) -> str | None:
    """The topic of its own that a view is read from, which is the group that writes it, too; None: it has none."""
    if not view.shared or not routes_of(view):
        return None
    return f"{app}-{view.name}-repartition-{name_of(app, view)[1][:8]}"


def model_of(view: View, runner: str, compiled: Compiled) -> ReadModel:
    """The read model that a view is. Another statement, or another function that reads old events, throws its state
    away, and it is made again from the log."""
    read_topics = topics_of(view)
    topics = [Topic(one.entity, (), JsonCodec(one.events), name=one.name) for one in read_topics]
    read = [(one.name, [(kind.name, kind.fields) for kind in one.types]) for one in leaves(view)]
    upcasts = functions_of(event for one in read_topics for event in one.events)
    folds = [
        code_of_states(kind.cls) for one in leaves(view) if one.origin == "states" for kind in one.types if kind.cls
    ]
    made_by = (compiled, read, *([code_of(upcasts)] if upcasts else []), *folds)
    code = hashlib.blake2b(repr(made_by).encode(), digest_size=8).hexdigest()
    return ReadModel(view.name, runner, (), tuple(topics), code, remade=True)
