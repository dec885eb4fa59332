"""An archiver may be killed at any step: nothing half-done is believed, and the next run goes on."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

from headwater.environment import SYSTEM
from headwater.log.archive import Archive, ArchivedLog
from headwater.log.port import TopicPartition
from headwater.log.sqlite import SqliteLog
from headwater.operations.archive_checking import Checked, check_archive, left_over
from tests.archive.run_archiving import STEPS
from tests.archive.trail import TOPIC, archive_all, archive_at, everything, fill

ROOT = Path(__file__).parents[2]


def test_killed_at_any_step_it_goes_on(tmp_path: Path) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print("seed", seed)
    chance = random.Random(seed)
    with closing(SqliteLog(tmp_path / "log.db")) as log:
        fill(log, 200)
        original = everything(log)
        for step in chance.sample(STEPS, len(STEPS)):
            die(tmp_path, step, chance.randint(1, 4))
            no_faults(archive_at(tmp_path / "archive"), log)
        archive = archive_at(tmp_path / "archive")
        archived = {TopicPartition(TOPIC, done.partition): done.end for done in archive_all(log, archive)}
        assert sum(found.records for found in no_faults(archive, log)) == 200
        # One file was placed and has no entry, twice: killed right behind it, and before its entry.
        assert len(left_over(archive, archive.topics()[0])) <= 2
        assert list((tmp_path / "archive").rglob(".writing/*.parquet")) == []
        log.delete_before(archived)
        assert everything(ArchivedLog(log, archive)) == original


def die(tmp_path: Path, step: str, count: int) -> None:
    """Runs an archiver that must kill itself there."""
    arguments = [str(tmp_path / "log.db"), (tmp_path / "archive").as_uri(), step, str(count)]
    child = subprocess.run(
        [sys.executable, "-m", "tests.archive.run_archiving", *arguments], cwd=ROOT, timeout=200, capture_output=True
    )
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()


def no_faults(archive: Archive, log: SqliteLog) -> list[Checked]:
    found = list(check_archive(archive, archive.topics(), log, SYSTEM))
    assert [checked.faults for checked in found if checked.faults] == []
    return found
