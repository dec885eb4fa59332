"""What is archived is what the log has, and archive and log are read as one sequence."""

from __future__ import annotations

import contextlib
import random
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

import headwater as hw
from headwater.environment import SYSTEM
from headwater.errors import Misuse, Unavailable
from headwater.log.archive import Archive, ArchivedLog
from headwater.log.archive.archive import Topic
from headwater.log.archive.manifest import NAME
from headwater.log.port import Log, NewRecord, Record, TopicPartition, TopicSpec
from headwater.log.sqlite import SqliteLog
from headwater.operations.archive_checking import Checked, check_archive, left_over
from headwater.operations.archive_restoring import restore_topic
from headwater.operations.archiving import LIMITS, archive_topic
from headwater.readers.spans import batches_between
from headwater.testing.conformance.log.waiting import attempts, eventually, settled_ends
from tests.archive.trail import (
    PATIENCE_S,
    TOPIC,
    archive_all,
    archive_at,
    everything,
    fill,
    partitions,
    plain,
    without_offsets,
)
from tests.bank import Account, Deposit, Deposited, Open
from tests.logs import EMBEDDED

one_log = pytest.mark.parametrize("open_again", ["sqlite"], indirect=True)
"""For what is the archive's alone."""


class Balance(hw.Projection):
    account_id: hw.Key[str]
    balance: Decimal = Decimal(0)

    @hw.on(Deposited)
    def deposited(self, event: Deposited, meta: hw.Meta) -> None:
        self.balance += event.amount


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    return archive_at(tmp_path / "archive")


def check(archive: Archive, log: Log | None) -> list[Checked]:
    return list(check_archive(archive, archive.topics(), log, SYSTEM))


def faults(archive: Archive, log: Log | None = None) -> list[str]:
    return [fault for checked in check(archive, log) for fault in checked.faults]


def test_every_byte_is_archived_and_compared_with_the_log(log: Log, archive: Archive) -> None:
    fill(log, 100)
    first = archive_all(log, archive)
    fill(log, 30, 100)
    second = archive_all(log, archive)
    assert sum(done.records for done in first + second) == 130
    ends = settled_ends(log, TOPIC, PATIENCE_S)
    for before, after in zip(first, second, strict=True):
        assert (before.begin, before.end, after.end) == (0, after.begin, ends[TopicPartition(TOPIC, after.partition)])
    checked = check(archive, log)
    assert [found.faults for found in checked] == [[], []]
    assert sum(found.records for found in checked) == sum(found.compared for found in checked) == 130
    assert [found.begin for found in checked] == [0, 0]
    assert left_over(archive, archive.topics()[0]) == []


@one_log
def test_what_is_archived_is_not_archived_again(log: Log, archive: Archive) -> None:
    fill(log, 40)
    archive_all(log, archive)
    before = archive.manifest(archive.topics()[0])
    assert [done.files for done in archive_all(log, archive)] == [0, 0]
    assert archive.manifest(archive.topics()[0]) == before


def test_archive_and_log_are_one_sequence_wherever_the_log_begins(log: Log, archive: Archive) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print("seed", seed)
    chance = random.Random(seed)
    fill(log, 120)
    archive_all(log, archive)
    fill(log, 40, 120)
    archive_all(log, archive)
    fill(log, 40, 160)
    original = everything(log)
    both = ArchivedLog(log, archive)
    archived = {done.partition: done.end for done in archive_all(log, archive)}
    at_a_time = both.positions_at(partitions(), 1_000_000_000_500)
    keyed = {tp: plain(log.keyed(tp, b"a")) for tp in partitions()}
    assert any(keyed.values())
    for _ in range(4):
        log.delete_before({tp: chance.randint(log.begins([tp])[tp], archived[tp.partition]) for tp in partitions()})
        assert everything(both) == original
        assert both.begins(partitions()) == dict.fromkeys(partitions(), 0)
        assert both.positions_at(partitions(), 1_000_000_000_500) == at_a_time
        assert {tp: plain(both.keyed(tp, b"a")) for tp in partitions()} == keyed
    log.delete_before(archived_positions(archived))
    assert everything(both) == original
    assert faults(archive, log) == []
    fill(log, 20, 200)
    assert [record for record in everything(both) if record in original] == original
    assert len(everything(both)) == 220


def archived_positions(archived: dict[int, int]) -> dict[TopicPartition, int]:
    return {TopicPartition(TOPIC, partition): end for partition, end in archived.items()}


def test_reading_may_begin_anywhere(log: Log, archive: Archive) -> None:
    fill(log, 60)
    original = everything(log)
    archived = {done.partition: done.end for done in archive_all(log, archive)}
    log.delete_before(archived_positions(archived))
    fill(log, 10, 60)
    both, tp = ArchivedLog(log, archive), TopicPartition(TOPIC, 0)
    end = both.ends([tp])[tp]
    for start in range(end + 1):
        batches = batches_between(both, {tp: start}, {tp: end}, "reading", SYSTEM)
        found = [record for batch in batches for record in batch.records]
        assert [record.offset for record in found] == sorted({record.offset for record in found})
        assert [one for one in plain(found) if one in original] == [
            one for one in original if one[1] == 0 and one[2] >= start
        ]
    read = [
        (record.offset, record.key, record.value)
        for batch in batches_between(both, {tp: 0}, {tp: end}, "reading", SYSTEM, envelopes=False)
        for record in batch.records
    ]
    assert read[: len(original) // 2] == [(one[2], one[3], one[4]) for one in original if one[1] == 0]


def test_a_member_reads_the_archive_first_and_may_go_back(log: Log, archive: Archive) -> None:
    fill(log, 80)
    archived = {done.partition: done.end for done in archive_all(log, archive)}
    fill(log, 20, 80)
    original = everything(log)
    log.delete_before(archived_positions(archived))
    both = ArchivedLog(log, archive)
    member = both.member("readers", [TOPIC], name="reader")
    got: dict[int, list[int]] = {0: [], 1: []}
    reached: dict[TopicPartition, int] = {}
    ends, went_back = both.ends(partitions()), False
    deadline_s = SYSTEM.monotonic_s() + PATIENCE_S
    while any(reached.get(tp, 0) < end for tp, end in ends.items()):
        assert SYSTEM.monotonic_s() < deadline_s
        batch = member.read(6, 0.1)
        if batch.assigned:
            member.start({tp: reached.get(tp, 0) for tp in batch.assigned})  # also again, where it was lost
        for record in batch.records:
            got[record.partition].append(record.offset)
        reached.update(batch.reached)
        if not went_back and any(at > archived[tp.partition] for tp, at in reached.items()):
            went_back = True  # as after an aborted transaction, over the seam
            tp = next(tp for tp, at in reached.items() if at > archived[tp.partition])
            again = got[tp.partition][3]
            got[tp.partition] = got[tp.partition][:3]
            reached[tp] = again
            member.start({tp: again})
    member.close()
    assert went_back
    assert got == {p: [one[2] for one in original if one[1] == p] for p in (0, 1)}


@pytest.mark.parametrize("first", ["a key", "a later record"])
def test_what_another_process_archived_and_deleted_is_found_at_once(
    log: Log, archive: Archive, tmp_path: Path, first: str
) -> None:
    fill(log, 40)
    both, tp = ArchivedLog(log, archive_at(tmp_path / "archive")), TopicPartition(TOPIC, 0)
    for count in (40, 60):  # the second time, this process knows the manifest of the first
        last = [one for one in everything(log) if one[1] == 0][-1]
        log.delete_before({TopicPartition(TOPIC, done.partition): done.end for done in archive_all(log, archive)})
        if first == "a key":
            assert both.keyed(tp, b"a")[-1].offset <= last[2]
        else:
            end = both.ends([tp])[tp]
            batches = batches_between(both, {tp: last[2]}, {tp: end}, "reading", SYSTEM)
            assert plain([record for batch in batches for record in batch.records]) == [last]
        assert len(everything(both)) == count
        fill(log, 20, count)


@pytest.mark.parametrize("open_again", EMBEDDED, indirect=True)
def test_a_member_that_is_overtaken_finds_the_rest_when_it_joins_again(log: Log, archive: Archive) -> None:
    """Kafka's client would not notice: it has read ahead."""
    fill(log, 60)
    original = everything(log)
    both, got = ArchivedLog(log, archive), list[Record]()
    reached = dict.fromkeys(partitions(), 0)
    for overtaken in (True, False):
        with closing(both.member("readers", [TOPIC], name="reader")) as member:
            for _ in attempts(PATIENCE_S, "all was read", pause_s=0):
                try:
                    batch = member.read(3, 0.1)
                except Unavailable:
                    break
                member.start({tp: reached[tp] for tp in batch.assigned})
                got += batch.records
                reached.update(batch.reached)
                if overtaken and got:
                    done = archive_all(log, archive)
                    log.delete_before({TopicPartition(TOPIC, one.partition): one.end for one in done})
                if len(got) == len(original):
                    break
    assert plain(got) == original


def test_a_hole_between_archive_and_log_is_told_and_never_skipped(log: Log, archive: Archive) -> None:
    fill(log, 40)
    archived = {done.partition: done.end for done in archive_all(log, archive)}
    fill(log, 40, 40)
    ends = settled_ends(log, TOPIC, PATIENCE_S)
    log.delete_before(ends)
    both, tp = ArchivedLog(log, archive), TopicPartition(TOPIC, 0)
    assert both.begins([tp]) == {tp: 0}
    lost = f"offsets {archived[0]} to {ends[tp] - 1} of {TOPIC}/0 are neither in the archive"
    with pytest.raises(Unavailable, match=lost):
        for _ in batches_between(both, {tp: 0}, ends, "reading", SYSTEM):
            pass
    with pytest.raises(Unavailable, match=lost):
        both.keyed(tp, b"a")
    fill(log, 20, 80)
    again = archive_all(log, archive)
    assert [(done.lost.begin, done.lost.end) for done in again if done.lost] == [
        (archived[p], ends[TopicPartition(TOPIC, p)]) for p in (0, 1)
    ]
    assert [fault.partition(":")[0] for fault in faults(archive, log)] == [
        f"offsets {archived[p]} to {ends[TopicPartition(TOPIC, p)] - 1} are missing" for p in (0, 1)
    ]


@one_log
def test_a_flipped_byte_is_found(log: Log, archive: Archive, tmp_path: Path) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print("seed", seed)
    chance = random.Random(seed)
    fill(log, 60)
    archive_all(log, archive)
    path = chance.choice(sorted((tmp_path / "archive").rglob("*.parquet")))
    content = bytearray(path.read_bytes())
    at = chance.randrange(len(content))
    content[at] ^= 1 << chance.randrange(8)
    path.write_bytes(content)
    (fault,) = faults(archive)
    assert path.name in fault
    assert "SHA-256" in fault


@one_log
def test_a_missing_file_is_found_and_a_reader_says_which(log: Log, archive: Archive, tmp_path: Path) -> None:
    fill(log, 60)
    archived = {done.partition: done.end for done in archive_all(log, archive)}
    path = sorted((tmp_path / "archive").rglob("partition=0/*.parquet"))[1]
    path.unlink()
    (fault,) = faults(archive, log)
    assert path.name in fault
    log.delete_before(archived_positions(archived))
    with pytest.raises(Unavailable, match=path.name):
        everything(ArchivedLog(log, archive))


@one_log
@pytest.mark.parametrize("change", ["an entry is gone", "the last entry is gone", "an entry was changed", "half of it"])
def test_a_changed_manifest_is_found(log: Log, archive: Archive, tmp_path: Path, change: str) -> None:
    fill(log, 60)
    archive_all(log, archive)
    (path,) = (tmp_path / "archive").rglob(NAME)
    text = path.read_text()
    entries = text.split("  {\n")
    if change == "an entry is gone":
        text = "  {\n".join([*entries[:2], *entries[3:]])
    elif change == "the last entry is gone":
        text = "  {\n".join(entries[:-1]).rstrip().rstrip(",") + '\n ],\n "format": 1\n}\n'
    elif change == "an entry was changed":
        text = text.replace('"begin": 0', '"begin": 1', 1)
    else:
        text = text[: len(text) // 2]
    path.write_text(text)
    with pytest.raises(Unavailable, match="damaged"):
        archive.manifest(archive.topics()[0])
    (fault,) = faults(archive)
    assert "damaged" in fault


@one_log
def test_a_damaged_page_is_not_read(log: Log, archive: Archive, tmp_path: Path) -> None:
    fill(log, 60)
    archived = {done.partition: done.end for done in archive_all(log, archive)}
    log.delete_before(archived_positions(archived))
    path = sorted((tmp_path / "archive").rglob("partition=0/*.parquet"))[1]
    content = bytearray(path.read_bytes())
    content[len(content) // 4] ^= 0x10
    path.write_bytes(content)
    with pytest.raises(Unavailable, match=path.name):
        everything(ArchivedLog(log, archive))


@one_log
def test_a_compacted_topic_is_not_archived(log: Log, archive: Archive) -> None:
    log.create_topics([TopicSpec("latest", 1, compacted=True)])
    with pytest.raises(Misuse, match="compacted"):
        list(archive_topic(log, archive, "latest", SYSTEM))
    with pytest.raises(Misuse, match="nothing-here"):
        list(archive_topic(log, archive, "nothing-here", SYSTEM))


@one_log
def test_two_archive_one_topic_only_in_turn(log: Log, archive: Archive, tmp_path: Path) -> None:
    fill(log, 40)
    folder = Topic(TOPIC, log.topics([TOPIC])[TOPIC].id).folder
    with archive.place.workshop(folder), pytest.raises(Unavailable, match="another process archives"):
        archive_all(log, archive_at(tmp_path / "archive"))


def test_an_archive_is_restored_into_a_log_that_has_nothing(log: Log, archive: Archive, tmp_path: Path) -> None:
    fill(log, 60)
    archive_all(log, archive)
    original = everything(log)
    (topic,) = archive.topics()
    with closing(SqliteLog(tmp_path / "restored.db")) as other:
        done = list(restore_topic(archive, topic, other, SYSTEM))
        assert sum(one.written for one in done) == len(original)
        assert without_offsets(everything(other)) == without_offsets(original)
        again = list(restore_topic(archive, topic, other, SYSTEM))
        assert [(one.found, one.written) for one in again] == [(one.written, 0) for one in done]
        fill(log, 20, 60)
        archive_all(log, archive)
        more = list(restore_topic(archive, topic, other, SYSTEM))
        assert [one.found for one in more] == [one.written for one in done]
        assert without_offsets(everything(other)) == without_offsets(everything(log))
        fill(other, 5, 500)
        with pytest.raises(Misuse, match="records of its own"):
            list(restore_topic(archive, topic, other, SYSTEM))
    with pytest.raises(Misuse, match="the one that was archived"):
        list(restore_topic(archive, topic, log, SYSTEM))


@pytest.mark.slow
@one_log
def test_a_restore_goes_on_behind_a_file_that_ends_with_a_gap(log: Log, archive: Archive, tmp_path: Path) -> None:
    """The mark of a transaction takes an offset, so a file may cover more than its records."""
    with closing(SqliteLog(tmp_path / "restored.db")) as other:
        for begin in (0, 5):
            fill(log, 5, begin)  # in one transaction
            archive_all(log, archive)
            (topic,) = archive.topics()
            list(restore_topic(archive, topic, other, SYSTEM))
            assert without_offsets(everything(other)) == without_offsets(everything(log))


def test_a_restore_that_is_ended_between_any_two_transactions_goes_on(
    log: Log, archive: Archive, tmp_path: Path
) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print("seed", seed)
    chance = random.Random(seed)
    with closing(SqliteLog(tmp_path / "original.db")) as original:
        original.create_topics([TopicSpec(TOPIC, 2)])
        original.append([NewRecord(TOPIC, n % 2, b"%d" % (n % 100), b"%d" % n) for n in range(26_000)])
        list(archive_topic(original, archive, TOPIC, SYSTEM))
        (topic,) = archive.topics()
        transactions = 0
        for left in (chance.randint(1, 2), chance.randint(1, 2), 100):
            restoring = EndsAfter(left)
            with contextlib.suppress(Ended):
                list(restore_topic(archive, topic, log, SYSTEM, progress=restoring))
            transactions += restoring.done
        assert transactions == 6, "nothing is written twice"
        assert without_offsets(everything(log)) == without_offsets(everything(original))


class Ended(Exception):
    pass


class EndsAfter:
    """Ends what it is told the progress of, after so many steps."""

    def __init__(self, left: int) -> None:
        self._left, self.done = left, 0

    def __call__(self, so_far: object) -> None:
        self.done += 1
        if self.done == self._left:
            raise Ended


def test_files_are_full_at_a_million_records_or_64_megabytes() -> None:
    assert LIMITS == (1_000_000, 64_000_000)


def test_an_app_goes_on_over_the_seam(log: Log, archive: Archive) -> None:
    app = hw.App("bank", aggregates=[Account], projections=[Balance], partitions=2)
    with app.run(log, store="memory://") as shop:
        for number in range(30):
            shop.send(Open(f"a{number % 5}", "ann") if number < 5 else Deposit(f"a{number % 5}", Decimal(number)))
        history = shop.history(Account, "a3")
        then = history[3].meta.time
        earlier = shop.get(Account, "a3", as_of=then)
        states = shop.replay(Account)
    topic = "account-events"
    done = list(archive_topic(log, archive, topic, SYSTEM))
    both = ArchivedLog(log, archive)
    with app.run(both, store="memory://") as shop:
        shop.send(Deposit("a3", Decimal(1000)))
    log.delete_before({TopicPartition(topic, one.partition): one.end for one in done})
    with app.run(both, store="memory://") as shop:
        receipt = shop.send(Deposit("a3", Decimal(2000)))
        assert [one.meta for one in shop.history(Account, "a3")][: len(history)] == [one.meta for one in history]
        assert shop.get(Account, "a3", as_of=then) == earlier
        balance = states["a3"].balance + 3000
        assert shop.get(Account, "a3").balance == shop.replay(Account)["a3"].balance == balance
        row = shop.row(Balance, "a3", after=receipt)
        assert row is not None
        assert row.balance == balance
        eventually(lambda: shop.lag()["balance"] == 0, PATIENCE_S, "the other partition is read, too")
        assert len(shop.rows(Balance)) == 5
