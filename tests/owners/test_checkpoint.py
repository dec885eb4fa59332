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
from headwater.owners.checkpoint import Binding, Checkpoint, InUse, Marks
from headwater.owners.states import StatesOnDisk

ROOT = Path(__file__).resolve().parents[2]
BINDING = Binding("log", "topic", 0, 3, "schema")


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
        states = StatesOnDisk(opened(tmp_path))
        states.take([state(4, b"a", "x"), broken, state(6, b"c", "x")], 7)
        assert (states.position, states.get(b"c")) == (5, None)
        assert states.bad is not None
        assert "not a state record" in states.bad
        states.close()


def test_a_record_that_came_back_before_it_was_kept_does_not_stay_in_memory(tmp_path: Path) -> None:
    states = StatesOnDisk(opened(tmp_path))
    early, late = state(4, b"a", "early"), state(5, b"b", "late")
    states.take([early], 5)
    states.keep(b"a", early.value or b"")
    states.keep(b"b", late.value or b"")
    states.take([late], 6)
    states.take([], 7)
    assert states.kept_bytes == 0
    assert [states.get(key) for key in (b"a", b"b")] == [early.value, late.value]
    states.close()


@pytest.mark.parametrize("seed", range(8))
def test_what_an_owner_reads_is_its_newest_work_wherever_it_is_killed(tmp_path: Path, seed: int) -> None:
    """Commits in turn with what comes back of them; after a kill there is what the log has, and all of it."""
    print("seed", seed)
    chance = random.Random(seed)
    written: list[StoredRecord] = []
    states, came_back = StatesOnDisk(opened(tmp_path)), 0
    for _ in range(200):
        newest = {record.key: record.value for record in written}
        match chance.choice(["commit", "commit", "read on", "look", "kill"]):
            case "commit":
                record = state(len(written), b"k%d" % chance.randrange(8), chance.choice("xyz"))
                written.append(record)
                if chance.random() < 0.2:
                    states.take(written[came_back:], len(written))
                    came_back = len(written)
                states.keep(record.key or b"", record.value or b"")
            case "read on":
                until = chance.randint(came_back, len(written))
                states.take(written[came_back:until], until)
                came_back = until
            case "look":
                key = b"k%d" % chance.randrange(9)
                assert states.get(key) == newest.get(key)
            case "kill":
                states.close()
                states = StatesOnDisk(opened(tmp_path))
                assert states.position == came_back
                states.take(written[came_back:], len(written))
                came_back = len(written)
                assert states.marks.commands == max((record.offset for record in written), default=0)
                assert {key: states.get(key or b"") for key in newest} == newest
    states.take(written[came_back:], len(written))
    states.take([], len(written))
    assert states.kept_bytes == 0
    states.close()


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
        writer.wait(10)
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
