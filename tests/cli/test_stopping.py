"""`hw run` is told to stop while a handler does not come back: it says where, and ends all the same."""

from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import pytest

from headwater.testing.waiting import eventually
from tests.cli.conftest import BANK_APP, Shell
from tests.cli.test_mistakes import WAITING
from tests.cli.test_run import Process
from tests.cli.test_run import started as started  # a fixture

INTERRUPTED = 130

HANGING_APP = BANK_APP.replace(
    "import headwater", "import threading\nfrom pathlib import Path\n\nimport headwater"
).replace(
    "        self.balance +=",
    """\
        if Path("hang").exists():
            Path("hangs").touch()
            threading.Event().wait()
        self.balance +=""",
)


@pytest.fixture
def hanging(shell: Shell, project: Path, started: list[Process]) -> Process:
    """A process in a handler that does not come back."""
    (project / "hanging.py").write_text(HANGING_APP)
    (project / "hang").touch()
    started.append(process := Process("hanging:app"))
    process.said()
    assert shell("""send Deposit '{"accountId":"1","amount":"1"}'""").one["version"] == 1
    eventually((project / "hangs").exists, saying="the handler is at work")
    return process


def test_it_ends_in_time_says_which_reader_is_where_and_loses_nothing(
    hanging: Process, shell: Shell, project: Path, started: list[Process]
) -> None:
    begun_s = time.monotonic()
    assert hanging.stop(signal.SIGTERM) == WAITING
    assert 9 < time.monotonic() - begun_s < 20
    still = hanging.told("still: bank-balance-v1")
    where = (
        r"at a batch, since [\d:]{8} UTC; it waits for the handler Balance\.deposited \(hanging\.py:\d+\); its thread"
    )
    assert re.search(where, still)
    assert "not stopped within 10 s" in hanging.told("error: ")
    (project / "hang").unlink()
    started.append(again := Process("hanging:app"))
    again.said()
    rows = eventually(lambda: shell("query 'SELECT balance FROM balance'").rows, saying="the row is made")
    assert [row["balance"] for row in rows] == ["1"]
    assert again.stop(signal.SIGTERM) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_second_signal_ends_it_at_once(number: int, hanging: Process) -> None:
    hanging.popen.send_signal(signal.SIGTERM)
    begun_s = time.monotonic()
    while hanging.popen.poll() is None:  # two that are not told apart are one signal
        assert time.monotonic() - begun_s < 5
        hanging.popen.send_signal(number)
    assert hanging.popen.returncode == INTERRUPTED
