"""The audit itself: every check in turn, on what all of them share."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from headwater.testing.audit.answers import check_answers, check_unknown
from headwater.testing.audit.commits import check_commands, check_transactions
from headwater.testing.audit.conflicts import check_winners
from headwater.testing.audit.contents import Contents, ModelRows
from headwater.testing.audit.effects import check_acknowledged, check_refused, check_unasked, of_calls
from headwater.testing.audit.events import event_log
from headwater.testing.audit.folding import RowsFold, StateFold
from headwater.testing.audit.history import History
from headwater.testing.audit.positions import check_positions
from headwater.testing.audit.reactions import check_reactions
from headwater.testing.audit.read_models import check_read_models
from headwater.testing.audit.reads import check_read_states, check_reads
from headwater.testing.audit.replies import check_covered, check_replies, keys_of_commands
from headwater.testing.audit.scans import check_scans
from headwater.testing.audit.states import check_beside, check_remembered, check_states, states_of
from headwater.testing.audit.takeovers import check_owners
from headwater.testing.audit.versions import check_event_ids, check_versions
from headwater.testing.audit.violations import Violation


def audit(
    history: History,
    contents: Contents,
    *,
    states: Mapping[str, StateFold] | None = None,
    models: Sequence[ModelRows] = (),
    rows: Mapping[str, RowsFold] | None = None,
    scans: Sequence[Contents] = (),
) -> list[Violation]:
    """Every violation of an invariant that a run shows. What follows from another violation is left out where
    that can be told.

    Arguments: history: what the clients asked and were told; contents: the topics when all was done; states: what
    states should be, by entity type; models: rows of read models; rows: what they should be, by read model; scans:
    what other readers found in the topics.
    Raises: BadData: an envelope or a state record that cannot be read at all.
    """
    return list(_checked(history, contents, states or {}, models, rows or {}, scans))


def _checked(
    history: History,
    contents: Contents,
    folds: Mapping[str, StateFold],
    models: Sequence[ModelRows],
    rows: Mapping[str, RowsFold],
    scans: Sequence[Contents],
) -> Iterator[Violation]:
    events = event_log(contents)
    broken = list(check_versions(events))
    yield from broken
    events = events.without((one.entity or "", one.id or "") for one in broken)
    yield from check_event_ids(events)
    yield from check_commands(events)
    yield from check_transactions(events, contents)
    yield from check_owners(events, partitions_return=history.partitions_return)

    records = states_of(contents)
    torn = list(check_beside(records, events))
    yield from torn
    yield from check_remembered(history.commands, records, events, [(one.entity or "", one.id or "") for one in torn])
    yield from check_states(records, events, folds)
    yield from check_covered(contents, records)
    yield from check_replies(contents, events)
    yield from check_reactions(contents)

    sent = keys_of_commands(contents)
    yield from check_acknowledged(of_calls(history.commands), events)
    yield from check_refused(history.commands, events, sent)
    if history.complete:
        yield from check_unasked(history.commands, events, sent)
    yield from check_answers(history.commands)
    yield from check_unknown(history, events)
    yield from check_winners(history.commands, events)

    yield from check_reads(history, events)
    yield from check_read_states(history, events, folds)
    yield from check_read_models(models, contents, rows)
    yield from check_positions(history.samples)
    yield from check_scans(contents, scans)
