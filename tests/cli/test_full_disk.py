"""An app on a disk that is full: it says so, nothing that was accepted is lost, and it goes on when there is room."""

from __future__ import annotations

import json
import signal
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from headwater.cli.disk import looked_at
from headwater.cli.ending import code_of, line_of, next_of
from headwater.errors import Unknown
from tests.cli.conftest import Ended, Shell
from tests.cli.test_importing import depositing, opening, write
from tests.cli.test_run import Process
from tests.disks import SmallDisk, small_disk

LINES = 6000
AGAIN = "hw import in.ndjson"
DEADLINE_S = 150


@pytest.fixture
def disk(directory: Path) -> Iterator[SmallDisk]:
    """A disk with the log of the bank, and the lines that do not fit on it while it is filled."""
    with small_disk(directory / "small", 40_000_000) as made:
        (directory / "headwater.toml").write_text('app = "bankapp:app"\non = "sqlite:///small/bank.db"\n')
        write(directory / "in.ndjson", opening(1), *[depositing(1, "1") for _ in range(LINES - 1)])
        yield made


@pytest.fixture
def running(disk: SmallDisk) -> Iterator[Process]:
    process = Process()
    process.said()
    yield process
    process.popen.kill()
    process.popen.wait()


def until(met: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while not met():
        assert time.monotonic() < deadline, f"not within {DEADLINE_S} s: {what}"


def accepted(shell: Shell) -> int:
    """How many lines became events, as the log says while nobody may write; none, where not even one batch fitted."""
    ended = shell("history account 1")
    if ended.code == 0:
        return len(ended.rows)
    assert "there is no account" in ended.error
    return 0


def test_who_looks_at_the_disk_twice_tells_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("headwater.cli.disk.free_bytes", lambda _: 0)
    file = tmp_path / "bank.db"
    with pytest.raises(Unknown) as caught, looked_at(file, "hw topics"), looked_at(file, "hw send"):
        raise Unknown("01", 10)
    assert line_of(caught.value, code_of(caught.value)).count("is full") == 1
    assert next_of(caught.value) == "hw send"


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_an_import_onto_a_full_disk_stops_and_goes_on_when_there_is_room(
    shell: Shell, disk: SmallDisk, running: Process
) -> None:
    receipt = shell("""send Open '{"accountId":"2","owner":"ann"}'""").one
    disk.fill(left_bytes=1_000_000)

    ended = shell("import in.ndjson --timeout 10")
    assert ended.code == 3
    assert "the disk is full" in ended.error or "the disk under small/bank.db is full" in ended.error
    assert ended.next == AGAIN
    full = "the disk is full and nothing of this was written: make room"
    while full not in running.err.get(timeout=DEADLINE_S):
        pass  # what readers say of their own files
    there = accepted(shell)
    assert there < LINES

    until(lambda: not any(row["member"] for row in shell("groups").rows), "the owner cannot write its heartbeats")
    sent = shell("""send Open '{"accountId":"3","owner":"ann"}' --id three""")
    assert sent.code == 3
    assert "the disk under small/bank.db is full, so an owner that lives cannot write: make room" in sent.error
    assert sent.error.count("the disk under") == 1
    assert sent.next.startswith("hw send Open")
    assert "is full" in shell("import in.ndjson --timeout 10").error

    disk.make_room()
    ended = all_imported(shell)
    counts = json.loads(ended.out)
    assert counts["imported"] + counts["repeated"] == LINES
    assert counts["repeated"] >= there, "what was accepted is not imported again"
    assert shell("get account 1").one["balance"] == str(LINES - 1)
    assert shell("get account 2").one["version"] == receipt["version"]
    assert shell(sent.next.removeprefix("hw ")).one["version"] == 1, "it can be sent as it was told"
    assert running.stop(signal.SIGTERM) == 0


def all_imported(shell: Shell) -> Ended:
    """Imports again until the owner has come back."""
    last: list[Ended] = []

    def tried() -> bool:
        last.append(shell("import in.ndjson --timeout 10"))
        return last[-1].code == 0

    until(tried, "an import that ends")
    return last[-1]
