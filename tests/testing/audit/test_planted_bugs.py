"""The auditor can fail: a run that was right is broken in one way, and it reports exactly the invariant that broke.

Each bug is a function from the run to the broken run, named after what went wrong.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from headwater.log.memory import MemoryLog
from headwater.testing.audit import Invariant
from headwater.testing.audit.contents import KeptRecord
from headwater.testing.audit.history import QuestionCall
from tests.testing.audit import editing
from tests.testing.audit.editing import At, events_of, header, records, with_header
from tests.testing.audit.runs import Run, a_run

EVENTS, STATE, REPLIES = "account-events", "account-state", "account-replies"
Bug = Callable[[Run], Run]
BUGS: list[tuple[Invariant, Bug]] = []


def breaks(invariant: Invariant) -> Callable[[Bug], Bug]:
    def planted(bug: Bug) -> Bug:
        BUGS.append((invariant, bug))
        return bug

    return planted


@pytest.fixture(scope="module")
def run() -> Run:
    """A correct run, on a log without gaps."""
    return a_run(MemoryLog().again)


def test_the_run_is_clean_without_a_bug(run: Run) -> None:
    assert run.audited() == []


def test_every_invariant_has_a_bug() -> None:
    elsewhere = {Invariant.REACTIONS}  # in test_reactions
    assert {invariant for invariant, _ in BUGS} | elsewhere == set(Invariant)


# --- what clients were told


@breaks(Invariant.ACKNOWLEDGED)
def an_acknowledged_transaction_is_lost(run: Run) -> Run:
    for topic in (EVENTS, STATE):
        run = records(run, topic, lambda _: None, key="c")
    return run


@breaks(Invariant.ACKNOWLEDGED)
def a_receipt_tells_another_version(run: Run) -> Run:
    return editing.call(run, "c2", version=3)


@breaks(Invariant.ACKNOWLEDGED)
def a_receipt_tells_a_position_before_the_event(run: Run) -> Run:
    return editing.call(run, "c2", next_offset=events_of(run, "c")[1].offset)


@breaks(Invariant.ACKNOWLEDGED)
def a_receipt_tells_that_nothing_happened(run: Run) -> Run:
    return editing.call(run, "c2", events=0)


@breaks(Invariant.REFUSED)
def a_failed_command_is_carried_out(run: Run) -> Run:
    return editing.call(run, "c2", outcome="failed")


@breaks(Invariant.REFUSED)
def a_conflict_is_carried_out(run: Run) -> Run:
    return editing.call(run, "c2", outcome="conflict", actual=1, expected_version=0)


@breaks(Invariant.REFUSED)
def a_command_is_refused_at_its_repetition_and_carried_out(run: Run) -> Run:
    """The answer to the first attempt, for which nobody waited, is taken for the second one's."""
    run = editing.call(run, "unknown", outcome="unknown")
    return editing.call(run, "unknown", repetition=True, outcome="conflict", expected_version=7, actual=0)


@breaks(Invariant.UNASKED)
def an_event_of_nobodys_command(run: Run) -> Run:
    return editing.without_calls(run, "c2")


@breaks(Invariant.ONE_EFFECT)
def a_command_is_carried_out_twice(run: Run) -> Run:
    """The second one under another entry of the state, as after a fail-over that forgot the first."""

    def again(event: KeptRecord) -> KeptRecord:
        return with_header(with_header(event, "ce_commandid", "c1"), "hw_commit", "c1;0;1")

    run = records(run, EVENTS, At(2, again), key="c")
    run = records(run, STATE, lambda one: one._replace(value=(one.value or b"").replace(b'"c2"', b'"c1"')), key="c")
    return editing.without_calls(run, "c2")


@breaks(Invariant.ONE_ANSWER)
def a_repetition_is_answered_with_another_version(run: Run) -> Run:
    return editing.call(run, "deposit", repetition=True, version=3)


@breaks(Invariant.ONE_ANSWER)
def a_repetition_is_not_recognised(run: Run) -> Run:
    first = run.history.commands[editing.index_of(run, "deposit", 0)]
    return editing.call(run, "deposit", repetition=True, duplicate=False, next_offset=first.next_offset)


@breaks(Invariant.ONE_ANSWER)
def a_repetition_is_refused_by_its_expected_version(run: Run) -> Run:
    return editing.call(run, "deposit", repetition=True, outcome="conflict", events=0)


@breaks(Invariant.ONE_ANSWER)
def a_repetition_is_refused_for_another_reason(run: Run) -> Run:
    return editing.call(run, "refused", repetition=True, detail='{"rejected":"AlreadyOpen","text":"","fields":{}}')


@breaks(Invariant.ONE_ANSWER)
def a_refused_command_is_accepted_at_its_repetition(run: Run) -> Run:
    return editing.call(run, "refused", repetition=True, outcome="accepted", version=4, detail="")


@breaks(Invariant.REMEMBERED)
def an_answered_command_is_not_in_the_state(run: Run) -> Run:
    return records(run, STATE, forgetful, key="c")


@breaks(Invariant.REMEMBERED)
def a_refusal_is_not_in_the_state(run: Run) -> Run:
    return records(
        run, STATE, lambda one: one._replace(value=(one.value or b"").replace(b'"refused"', b'"r"')), key="a"
    )


def forgetful(record: KeptRecord) -> KeptRecord:
    value = record.value or b""
    recent = value.index(b'"recent":[') + len(b'"recent":[')
    return record._replace(value=value[:recent] + value[value.index(b'],"sources"') :])


@breaks(Invariant.UNKNOWN)
def nobody_finds_out(run: Run) -> Run:
    run = editing.call(run, "unknown", outcome="unknown")
    run = editing.call(run, "unknown", repetition=True, outcome="unknown")
    return editing.with_questions(run, lambda asked: [one for one in asked if one.command_id != "unknown"])


@breaks(Invariant.UNKNOWN)
def somebody_is_told_that_it_was_never_carried_out(run: Run) -> Run:
    return editing.with_questions(run, lambda asked: [_unknown(one, "there", outcome="absent") for one in asked])


@breaks(Invariant.UNKNOWN)
def two_are_told_two_versions(run: Run) -> Run:
    return editing.with_questions(run, lambda asked: [_unknown(one, "there", version=7) for one in asked])


def _unknown(one: QuestionCall, client: str, **fields: Any) -> QuestionCall:
    return replace(one, **fields) if (one.command_id, one.client) == ("unknown", client) else one


@breaks(Invariant.ONE_WINNER)
def two_win_at_one_expected_version(run: Run) -> Run:
    return editing.call(editing.call(run, "c1", expected_version=0), "c2", expected_version=0)


@breaks(Invariant.ONE_WINNER)
def an_update_is_lost(run: Run) -> Run:
    return editing.call(run, "c2", expected_version=0)


@breaks(Invariant.ONE_WINNER)
def a_conflict_with_the_version_that_was_expected(run: Run) -> Run:
    conflict = next(one for one in run.history.commands if one.outcome == "conflict")
    return editing.call(run, conflict.command_id, actual=conflict.expected_version)


# --- what the log has


@breaks(Invariant.VERSIONS)
def a_version_is_left_out(run: Run) -> Run:
    return records(run, EVENTS, At(2, lambda event: with_header(event, "ce_entityversion", "3")), key="c")


@breaks(Invariant.VERSIONS)
def a_version_is_there_twice(run: Run) -> Run:
    return records(run, EVENTS, At(2, lambda event: with_header(event, "ce_entityversion", "1")), key="c")


@breaks(Invariant.VERSIONS)
def two_events_have_changed_places(run: Run) -> Run:
    first, second = events_of(run, "c")
    places = header(first, "hw_txn"), header(second, "hw_txn")  # which stay as they are
    earlier = with_header(second._replace(offset=first.offset), "hw_txn", places[0])
    later = with_header(first._replace(offset=second.offset), "hw_txn", places[1])
    run = records(run, EVENTS, At(1, lambda _: earlier), key="c")
    return records(run, EVENTS, At(2, lambda _: later), key="c")


@breaks(Invariant.HOME)
def an_entity_is_in_another_partition(run: Run) -> Run:
    moved = events_of(run, "c")
    home, away = moved[0].partition, 1 - moved[0].partition
    partitions = []
    for partition in run.contents.partitions:
        if partition.topic == EVENTS and partition.number == home:
            partition = replace(partition, records=tuple(one for one in partition.records if one.key != b"c"))
        elif partition.topic == EVENTS:
            moved = [
                with_header(one._replace(partition=away, offset=partition.end + index), "hw_txn", _in(one, away))
                for index, one in enumerate(moved)
            ]
            partition = replace(partition, records=(*partition.records, *moved), end=partition.end + len(moved))
        partitions.append(partition)
    return replace(run, contents=replace(run.contents, partitions=tuple(partitions)), scans=[]).refolded()


def _in(event: KeptRecord, partition: int) -> str:
    return header(event, "hw_txn").replace(f";{event.partition}=", f";{partition}=")


@breaks(Invariant.EVENT_IDS)
def two_events_have_one_id(run: Run) -> Run:
    id = header(events_of(run, "c")[0], "ce_id")
    return records(run, EVENTS, At(2, lambda event: with_header(event, "ce_id", id)), key="c")


@breaks(Invariant.OWNERS)
def an_old_owner_writes_after_a_new_one(run: Run) -> Run:
    return records(run, EVENTS, At(2, by_another_owner), key="a")


@breaks(Invariant.OWNERS)
def an_old_owner_writes_what_it_had_decided_before(run: Run) -> Run:
    """Partitions may go back in this run, so being there again is no proof; the time of the decision is."""
    run = replace(run, history=replace(run.history, partitions_return=True))
    run = records(run, EVENTS, At(2, by_another_owner), key="a")
    early = header(events_of(run, "a")[0], "hw_recorded")
    return records(run, EVENTS, At(3, lambda event: with_header(event, "hw_recorded", early)), key="a")


@breaks(Invariant.OWNERS)
def a_late_transaction_lands_behind_a_later_one(run: Run) -> Run:
    first, second = (header(event, "hw_txn") for event in events_of(run, "c"))
    run = records(run, EVENTS, At(1, lambda event: with_header(event, "hw_txn", second)), key="c")
    return records(run, EVENTS, At(2, lambda event: with_header(event, "hw_txn", first)), key="c")


def by_another_owner(event: KeptRecord) -> KeptRecord:
    return with_header(event, "hw_txn", "account-owners-other;1;" + header(event, "hw_txn").rsplit(";", 1)[1])


@breaks(Invariant.WHOLE_COMMAND)
def a_command_has_fewer_events_than_it_should(run: Run) -> Run:
    return records(run, EVENTS, At(2, lambda event: with_header(event, "hw_commit", "c2;0;2")), key="c")


@breaks(Invariant.WHOLE_COMMAND)
def a_command_stands_around_another_one(run: Run) -> Run:
    """The second event of "two" has changed places, but for its version, with the one after it."""
    third, fourth, fifth = events_of(run, "a")[2:5]
    assert [header(one, "ce_commandid") for one in (third, fourth, fifth)] == ["two", "two", "a1"]
    swapped = {4: with_its_place(fifth, fourth), 5: with_its_place(fourth, fifth)}
    for number, event in swapped.items():
        run = records(run, EVENTS, At(number, lambda _, event=event: event), key="a")  # type: ignore[misc] # called at once
    for id, version, place in (("two", 5, fifth), ("a1", 4, fourth)):
        for repetition in (False, True):
            run = editing.call(run, id, repetition=repetition, version=version, next_offset=place.offset + 1)
    without_replies = records(run, REPLIES, lambda _: None)
    return as_never_sent(without_replies)


def with_its_place(event: KeptRecord, place: KeptRecord) -> KeptRecord:
    event = with_header(event, "ce_entityversion", header(place, "ce_entityversion"))
    return with_header(event._replace(offset=place.offset), "hw_txn", header(place, "hw_txn"))


def as_never_sent(run: Run) -> Run:
    """Without the records of commands that travelled, so that nobody waits for their replies."""
    return records(run, "account-commands", lambda _: None)


@breaks(Invariant.WHOLE_TRANSACTION)
def a_transaction_has_fewer_events_than_it_says(run: Run) -> Run:
    def more(event: KeptRecord) -> KeptRecord:
        return with_header(event, "hw_txn", header(event, "hw_txn").replace("=1", "=2"))

    return records(run, EVENTS, At(2, more), key="c")


@breaks(Invariant.WHOLE_TRANSACTION)
def a_transaction_is_missing_in_another_partition(run: Run) -> Run:
    def more(event: KeptRecord) -> KeptRecord:
        return with_header(event, "hw_txn", f"{header(event, 'hw_txn')},{1 - event.partition}=1")

    return records(run, EVENTS, At(2, more), key="c")


# --- what stands beside the events


@breaks(Invariant.STATE_BESIDE)
def events_are_written_without_their_state(run: Run) -> Run:
    return records(run, STATE, lambda _: None, key="c")


@breaks(Invariant.REPLY_BESIDE)
def a_consumed_command_has_no_reply(run: Run) -> Run:
    return records(run, REPLIES, lambda one: None if b'"deposit"' in (one.value or b"") else one)


@breaks(Invariant.REPLY_BESIDE)
def a_reply_is_written_without_its_events(run: Run) -> Run:
    """As if the events of "deposit" had been those of another command."""

    def of_nobody(record: KeptRecord) -> KeptRecord:
        return record._replace(value=(record.value or b"").replace(b'"events":2', b'"events":3'))

    return records(run, REPLIES, of_nobody)


@breaks(Invariant.POSITION_BESIDE)
def the_consumed_position_does_not_move(run: Run) -> Run:
    back = tuple(replace(one, position=max(one.position - 1, 0)) for one in run.contents.committed)
    return replace(run, contents=replace(run.contents, committed=back))


@breaks(Invariant.STATE)
def a_state_is_not_the_fold(run: Run) -> Run:
    def richer(record: KeptRecord) -> KeptRecord:
        return record._replace(value=(record.value or b"").replace(b'"balance":"2"', b'"balance":"3"'))

    return records(run, STATE, richer, key="c")


@breaks(Invariant.STATE)
def a_state_has_another_version(run: Run) -> Run:
    def later(record: KeptRecord) -> KeptRecord:
        return record._replace(
            value=(record.value or b"").replace(b'{"id":"c","version":2', b'{"id":"c","version":3', 1)
        )

    return records(run, STATE, later, key="c")


# --- what was read


@breaks(Invariant.READS)
def an_owner_answers_with_an_older_state(run: Run) -> Run:
    return editing.read(run, lambda one: (one.how, one.id, one.state) == ("owner", "a", None), version=3)


@breaks(Invariant.READS)
def somebody_does_not_read_their_own_events(run: Run) -> Run:
    return editing.read(run, lambda one: one.how == "events" and one.client == "here", version=1)


@breaks(Invariant.READS)
def a_row_is_older_than_its_receipt(run: Run) -> Run:
    return editing.read(run, lambda one: one.how == "row", version=0, state=None)


@breaks(Invariant.READS)
def somebody_reads_what_the_log_does_not_have(run: Run) -> Run:
    return editing.read(run, lambda one: one.how == "owner" and one.id == "nobody", version=1)


@breaks(Invariant.READ_STATES)
def a_state_was_read_that_never_was(run: Run) -> Run:
    state = next(one.state for one in run.history.reads if one.how == "owner" and one.state) or b""
    assert b'"balance":"12"' in state
    other = state.replace(b'"balance":"12"', b'"balance":"13"')
    return editing.read(run, lambda one: one.how == "owner" and one.state is not None, state=other)


@breaks(Invariant.READ_MODELS)
def a_row_counts_an_event_twice(run: Run) -> Run:
    models = [
        replace(one, rows={key: row.replace(b'"total":"2"', b'"total":"3"') for key, row in one.rows.items()})
        for one in run.models
    ]
    assert models != run.models
    return replace(run, models=models)


@breaks(Invariant.READ_MODELS)
def a_position_is_behind_its_rows(run: Run) -> Run:
    last = events_of(run, "c")[1]
    models = [
        replace(one, positions=tuple((t, p, last.offset if p == last.partition else n) for t, p, n in one.positions))
        for one in run.models
    ]
    return replace(run, models=models)


@breaks(Invariant.POSITIONS)
def a_position_goes_back(run: Run) -> Run:
    samples = list(run.history.samples)
    assert max(one.position for one in samples[:-2] if one.partition == samples[-2].partition) > 1
    samples[-2] = replace(samples[-2], position=1)
    return replace(run, history=replace(run.history, samples=tuple(samples)))


@breaks(Invariant.SCANS)
def another_reader_sees_another_record(run: Run) -> Run:
    scan = editing.changed(run.scans[0], EVENTS, At(2, lambda event: event._replace(value=b"{}")), "c")
    return replace(run, scans=[scan])


@breaks(Invariant.SCANS)
def another_reader_misses_a_record(run: Run) -> Run:
    return replace(run, scans=[editing.changed(run.scans[0], EVENTS, At(1, lambda _: None), "c")])


@pytest.mark.parametrize(("invariant", "bug"), [pytest.param(i, bug, id=bug.__name__) for i, bug in BUGS])
def test_exactly_the_broken_invariant_is_reported(run: Run, invariant: Invariant, bug: Bug) -> None:
    found = bug(run).audited()
    assert {one.invariant for one in found} == {invariant}, list(map(str, found))
    assert all(str(one).startswith(f"{invariant.value}: ") for one in found)
