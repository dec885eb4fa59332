"""A view as it was: its records are read again, up to a moment, into a file of their own.

    log, from its beginning ─► records before the moment ─► the same work as the view's reader does ─► rows

A moment is a position in each partition, or a time; then the log is read to its end, since what happened earlier may
have been written later. Records that cannot be applied are set aside as by the reader, and later ones of their key with
them; what an operator has done with those since is not in the log, and so not in this.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import replace
from functools import partial

from headwater.environment import Environment
from headwater.errors import Misuse
from headwater.failures.held import Shelves, tables_of
from headwater.log.port import Log, Positions, Record, TopicPartition
from headwater.messages.envelope import Meta
from headwater.projections.applying import Applying
from headwater.projections.runner import BATCH_RECORDS
from headwater.schemas.topics import Codecs
from headwater.views.file import ViewFile
from headwater.views.maintaining import ViewWork
from headwater.views.metadata import Envelopes
from headwater.views.moments import Moment
from headwater.views.plan import View
from headwater.views.runner import model_of
from headwater.views.state import compile_view
from headwater.views.topics import topics_of
from headwater.views.versions import show

READ_S = 0.2


def ends_of(view: View, log: Log, moment: Moment) -> dict[TopicPartition, int]:
    """Where a view's records are to be read to. Raises: Misuse: the moment is not one of all partitions, or it has not
    come yet."""
    topics = log.topics([one.name for one in topics_of(view)])
    partitions = [TopicPartition(one.name, p) for one in topics.values() for p in range(one.partitions)]
    ends = log.ends(partitions)
    if moment.positions is None:
        return ends
    wanted = moment.positions[view.name.lower()]
    missing = [tp for tp in partitions if tp not in wanted]
    if missing:
        raise Misuse(
            f"the position says nothing of {', '.join(map(str, missing))}, which view {view.name} reads: a receipt is "
            "of one partition; take a position that was told by a query that is followed, or a time"
        )
    late = [tp for tp in partitions if wanted[tp] > ends[tp]]
    if late:
        raise Misuse(f"{late[0]} ends at {ends[late[0]]}, and the position is {wanted[late[0]]}: it has not come yet")
    return {tp: wanted[tp] for tp in partitions}


def count_of(log: Log, ends: Positions) -> int:
    """How many records are read up to there, at most: positions have gaps. Raises: Misuse: the first are gone."""
    begins = log.begins(list(ends))
    for tp, begin in begins.items():
        if begin > 0:
            raise Misuse(f"the records of {tp} before {begin} are not in the log any more, so what was cannot be told")
    return sum(ends.values())


def replay(
    view: View, log: Log, file: ViewFile, moment: Moment, ends: Positions, codecs: Codecs, environment: Environment
) -> None:
    """Makes a view in a file as it was at a moment. Arguments: ends: as of `ends_of`. Raises: Unavailable: of the log;
    more is set aside than may be."""
    view, runner = replace(view, shared=False), f"{view.name}-past"  # its sources are read, and all of them here
    compiled = compile_view(view, runner)
    work = ViewWork(view, compiled, file, runner, codecs)
    model = replace(model_of(view, runner, compiled), work=work)
    held, shelves = tables_of(runner).held, Shelves()
    file.open_tables(runner, [held], model.code)
    work.open(Counter(tp.topic for tp in ends))
    with file.writing() as connection:
        show(connection, view.name, compiled.rows)
    apply = partial(file.apply, runner)
    applying = Applying(model, apply, apply, held, shelves, environment)
    chosen = chooser(moment, view, codecs)
    at: dict[TopicPartition, int] = {}
    left = {tp: 0 for tp, end in ends.items() if end > 0}
    with closing(log.reader()) as reader:
        reader.assign(left)
        while left:
            batch = reader.read(BATCH_RECORDS, READ_S)
            to = {tp: min(position, ends[tp]) for tp, position in batch.reached.items() if tp in left}
            records = [one for one in batch.records if one.offset < ends[TopicPartition(one.topic, one.partition)]]
            records = chosen(records)
            applied = applying.batch(at, records, to, model.gather(records))
            if applied.pauses:
                raise min(applied.pauses.items())[1].cause
            shelves.changed(applied.set_aside)
            at.update(applied.to)
            left.update(to)
            if done := [tp for tp, position in left.items() if position >= ends[tp]]:
                for tp in done:
                    del left[tp]
                reader.assign(left)


def chooser(moment: Moment, view: View, codecs: Codecs) -> Callable[[Sequence[Record]], list[Record]]:
    """Leaves out what came after the moment. What has no time that can be read stays: it is set aside."""
    if moment.positions is not None:
        return list
    envelopes = {one.name: Envelopes(codecs.of(one.name, one.events)) for one in topics_of(view)}

    def chosen(records: Sequence[Record]) -> list[Record]:
        return [
            one
            for one in records
            if not isinstance(meta := envelopes[one.topic].of(one), Meta) or moment.includes(meta)
        ]

    return chosen
