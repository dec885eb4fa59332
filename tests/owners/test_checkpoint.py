"""A checkpoint is a copy of the first part of the state topic, whole and of this topic, or it is no checkpoint."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

import headwater as hw
from headwater.log.port import StoredRecord
from headwater.owners.checkpoint import LOOKED_UP, Binding, Checkpoint, InUse, Marks
from headwater.owners.states import StatesOnDisk

ROOT = Path(__file__).resolve().parents[2]
BINDING = Binding("log", "topic", 0, 3, "schema")

LITTLE, MUCH = 20_000, 1 << 20
"""Bytes: an empty file has 16,384."""


def opened(path: Path, binding: Binding = BINDING) -> Checkpoint:
    return Checkpoint(path / "0-0.db", binding)


def filled(path: Path) -> None:
    checkpoint = opened(path)
    checkpoint.take({b"a": b"one", b"b": b"two"}, 7, Marks(5, 3, 1))
    checkpoint.take({b"b": b"three"}, 9, Marks(6, 4, 1))
    checkpoint.close()


def test_it_has_the_newest_of_each_entity_and_says_how_far_it_reaches(tmp_path: Path) -> None:
    filled(tmp_path)
    checkpoint = opened(tmp_path)
    assert (checkpoint.position, checkpoint.marks) == (9, Marks(6, 4, 1))
    assert [checkpoint.get(key) for key in (b"a", b"b", b"c")] == [b"one", b"three", None]
    checkpoint.close()


@pytest.mark.parametrize(
    "changed", [{"log": "another"}, {"topic": "another"}, {"partition": 1}, {"count": 4}, {"schema": "another"}]
)
def test_one_of_something_else_is_not_used(
    tmp_path: Path, changed: dict[str, object], caplog: pytest.LogCaptureFixture
) -> None:
    filled(tmp_path)
    checkpoint = opened(tmp_path, msgspec.structs.replace(BINDING, **changed))
    assert (checkpoint.position, checkpoint.get(b"a")) == (0, None)
    checkpoint.close()
    assert "is thrown away and read anew from the log: it belongs to" in caplog.text


def test_as_many_as_are_wanted_are_looked_up_at_once(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path)
    rows = {b"%d" % number: b"state %d" % number for number in range(3 * LOOKED_UP)}
    checkpoint.take(rows, 7, Marks())
    for count in (0, 1, 14, 15, 16, 31, 100, 200, LOOKED_UP, 2 * LOOKED_UP + 1, len(rows)):
        wanted = list(rows)[:count]
        assert checkpoint.get_all([*wanted, b"not here"]) == {key: rows[key] for key in wanted}
    checkpoint.close()


def damage_everything(file: Path) -> None:
    file.with_name(f"{file.name}-wal").unlink()
    file.write_bytes(random.Random(1).randbytes(20_000))


def damage_a_value(file: Path) -> None:
    rows = sqlite3.connect(file)
    rows.execute("UPDATE states SET value = ? WHERE key = ?", (b"other", b"a"))
    rows.commit()
    rows.close()


def test_one_that_is_no_database_is_made_anew(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    filled(tmp_path)
    damage_everything(tmp_path / "0-0.db")
    checkpoint = opened(tmp_path)
    assert (checkpoint.position, checkpoint.get(b"a")) == (0, None)
    checkpoint.close()
    assert "is thrown away and read anew from the log: it is damaged" in caplog.text


def test_one_that_turns_out_to_be_damaged_is_made_anew_when_it_is_opened_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    filled(tmp_path)
    damage_a_value(tmp_path / "0-0.db")
    checkpoint = opened(tmp_path)
    assert checkpoint.get(b"b") == b"three"
    with pytest.raises(hw.Unavailable, match="the sum of b'a' is wrong"):
        checkpoint.get(b"a")
    checkpoint.close()
    assert "is thrown away and read anew from the log: it is damaged: the sum of b'a' is wrong" in caplog.text
    checkpoint = opened(tmp_path)
    assert (checkpoint.position, checkpoint.get(b"b")) == (0, None)
    checkpoint.close()


def test_a_second_user_of_a_file_is_told(tmp_path: Path) -> None:
    checkpoint = opened(tmp_path)
    with pytest.raises(InUse):
        opened(tmp_path)
    checkpoint.close()
    opened(tmp_path).close()


def test_a_place_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(hw.Unavailable, match=r"0-0\.db cannot be used: .*another place with\s+index_directory"):
        opened(tmp_path / "file")


# --- states: a checkpoint and what is not in it yet


def state(offset: int, key: bytes, text: str) -> StoredRecord:
    value = f'{{"version":{offset},"events":{offset},"commands":{offset},"text":"{text}"}}'.encode()
    return StoredRecord("bank-state", 0, offset, key, value, (), 0)


def test_what_is_no_state_record_is_never_passed(tmp_path: Path) -> None:
    broken = StoredRecord("bank-state", 0, 5, b"b", b"none", (), 0)
    for _ in range(2):
        states = StatesOnDisk(opened(tmp_path), MUCH)
        states.hold()
        states.take([state(4, b"a", "x"), broken, state(6, b"c", "x")], 7)
        assert (states.position, states.get(b"c")) == (5, None)
        assert states.bad is not None
        assert "not a state record" in states.bad
        states.close()


def committed(states: StatesOnDisk, *records: StoredRecord) -> None:
    """A transaction of the owner."""
    for record in records:
        states.keep({record.key or b"": record.value or b""})
    last = records[-1].offset
    states.kept_before(records[0].offset, Marks(last, last, last, {"mine"}))


def test_what_cannot_be_saved_is_kept_and_newer_work_with_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states = StatesOnDisk(opened(tmp_path), MUCH)
    committed(states, state(0, b"a", "old"), state(1, b"b", "old"))

    def full(rows: object, position: int, marks: Marks) -> None:
        states.keep({b"a": b"new"})  # by the owner's thread, just then
        assert [states.get(key) for key in (b"a", b"b")] == [b"new", state(1, b"b", "old").value]
        raise hw.Unavailable("the disk is full")

    monkeypatch.setattr(Checkpoint, "take", lambda self, *given: full(*given))
    with pytest.raises(hw.Unavailable):
        states.save()
    assert states.kept_bytes == len(b"new") + len(state(1, b"b", "old").value or b"")
    monkeypatch.undo()
    states.save()
    assert states.kept_bytes == 0
    assert [states.get(key) for key in (b"a", b"b")] == [b"new", state(1, b"b", "old").value]
    states.close()


@pytest.mark.parametrize("seed", range(8))
def test_what_an_owner_reads_is_its_newest_work_wherever_it_is_killed(tmp_path: Path, seed: int) -> None:
    """Commits in turn with saving; after a kill there is what the log has, and all of it: from the file or
    from memory."""
    print("seed", seed)
    chance = random.Random(seed)
    written: list[StoredRecord] = []
    small_bytes = chance.choice([0, MUCH])
    states, saved = StatesOnDisk(opened(tmp_path), small_bytes), 0
    states.hold()
    for _ in range(300):
        newest = {record.key: record.value for record in written}
        match chance.choice(["commit", "commit", "commit", "save", "look", "look", "kill"]):
            case "commit":
                first = len(written)
                for _ in range(chance.randint(1, 3)):
                    written.append(state(len(written), b"k%d" % chance.randrange(8), chance.choice("xyz")))
                if chance.random() < 0.1:  # the log did not tell where
                    for record in written[first:]:
                        states.keep({record.key or b"": record.value or b""})
                else:
                    committed(states, *written[first:])
            case "save":
                states.save()
                saved = max(saved, states.position)
                assert states.kept_bytes == 0
            case "look":
                key = b"k%d" % chance.randrange(9)
                assert states.get(key) == newest.get(key)
                assert states.get_all([key, *filter(None, newest), b"never"]) == newest
                assert dict(states.items()) == newest
            case "kill":
                states.close()
                states = StatesOnDisk(opened(tmp_path), small_bytes)
                states.hold()
                assert states.position == saved
                states.take(written[saved:], len(written))
                saved = len(written)
                assert states.marks.commands == max((record.offset for record in written), default=0)
                assert {key: states.get(key or b"") for key in newest} == newest
    states.close()


def test_a_small_one_is_asked_in_memory_until_it_is_too_much(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    states = StatesOnDisk(opened(tmp_path), LITTLE)
    committed(states, state(0, b"a", "x"))
    states.save()
    states.hold()
    committed(states, state(1, b"b", "x"))
    states.save()
    with monkeypatch.context() as patch:
        patch.setattr(Checkpoint, "get", no_question)
        patch.setattr(Checkpoint, "get_all", no_question)
        values = {key: state(offset, key, "x").value for offset, key in enumerate((b"a", b"b"))}
        assert states.get_all([b"a", b"b", b"c"]) == values
        assert [states.get(key) for key in (b"a", b"b", b"c")] == [*values.values(), None]
        committed(states, state(2, b"c", "x" * LITTLE))
        states.save()
        with pytest.raises(AssertionError, match="the file is asked"):
            states.get(b"a")
    assert states.get_all([b"a", b"b"]) == values
    states.close()


def no_question(*given: object) -> None:
    raise AssertionError("the file is asked")


WRITER = """
import sys
from pathlib import Path
from headwater.owners.checkpoint import Binding, Checkpoint, Marks
checkpoint = Checkpoint(Path(sys.argv[1]) / "0-0.db", Binding("log", "topic", 0, 3, "schema"))
while True:
    n = checkpoint.position + 1
    checkpoint.take({b"k%d" % (n * step % 1009): b"%d" % n for step in range(1, 40)}, n, Marks(n))
    print(n, flush=True)
"""


def test_after_a_kill_in_the_midst_of_writing_it_is_what_was_written_to_a_position(tmp_path: Path) -> None:
    chance, told = random.Random(3), 0
    for _ in range(3):
        writer = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
        )
        assert writer.stdout is not None
        until = told + chance.randint(1, 400)
        while told < until:
            told = int(writer.stdout.readline())
        os.kill(writer.pid, signal.SIGKILL)
        writer.wait(60)
        told = max([told, *map(int, writer.stdout.read().split())])
        writer.stdout.close()
        checkpoint = opened(tmp_path)
        position = checkpoint.position
        assert position in (told, told + 1)
        expected = {b"k%d" % (n * step % 1009): b"%d" % n for n in range(1, position + 1) for step in range(1, 40)}
        assert {b"k%d" % k: checkpoint.get(b"k%d" % k) for k in range(1009)} == {
            b"k%d" % k: expected.get(b"k%d" % k) for k in range(1009)
        }
        checkpoint.close()
        told = position
