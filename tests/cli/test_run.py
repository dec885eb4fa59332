"""`hw run` as its users start it: a process of its own, stopped by signals."""

from __future__ import annotations

import json
import os
import queue
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import IO, Any

import pytest

from headwater.log.opening import open_log
from headwater.log.port import NewRecord
from headwater.stores.opening import open_store
from headwater.testing.waiting import eventually
from tests.cli.conftest import Shell, an_app, at_work, refuse_unknown_command

ROOT = Path(__file__).parents[2]
DEADLINE_S = 60

FAILING_APP = """
import headwater as hw
from tests.bank import Account, Deposited


class Broken(hw.Projection, on_failure=hw.stop()):
    account_id: hw.Key[str]

    @hw.on(Deposited)
    def deposited(self, event: Deposited, meta: hw.Meta) -> None:
        raise ZeroDivisionError("broken on purpose")


app = hw.App("bank", aggregates=[Account], projections=[Broken])
"""


class Process:
    """A `hw run`, or another verb, under way; its lines are read as they come."""

    def __init__(self, *words: str, verb: str = "run") -> None:
        command = [sys.executable, "-c", "from headwater.cli import main; main()", verb, *words]
        self.popen = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONFAULTHANDLER": "1"},
        )
        assert self.popen.stdout is not None
        assert self.popen.stderr is not None
        self._reading: list[threading.Thread] = []
        self.out, self.err = self._lines(self.popen.stdout), self._lines(self.popen.stderr)

    def _lines(self, stream: IO[str]) -> queue.Queue[str]:
        found: queue.Queue[str] = queue.Queue()

        def read() -> None:
            for line in stream:
                found.put(line)

        self._reading.append(threading.Thread(target=read, daemon=True))
        self._reading[-1].start()
        return found

    def told(self, start: str) -> str:
        """The next line on standard error that begins so: who tells what first is not certain."""
        lines: list[str] = []
        try:
            while not lines or not lines[-1].startswith(start):
                lines.append(self.err.get(timeout=DEADLINE_S))
        except queue.Empty:
            raise AssertionError(f"nothing was told that begins with {start!r}; on standard error: {lines}") from None
        return lines[-1]

    def said(self) -> dict[str, Any]:
        """The next line on standard output."""
        try:
            said: dict[str, Any] = json.loads(self.out.get(timeout=DEADLINE_S))
        except queue.Empty:
            raise AssertionError(f"it said nothing; on standard error: {list(self.err.queue)}") from None
        return said

    def stop(self, number: int) -> int:
        """Returns its exit code, when all that it wrote is in `out` and `err`."""
        self.popen.send_signal(number)
        try:
            code = self.popen.wait(DEADLINE_S)
            for thread in self._reading:
                thread.join(DEADLINE_S)
            return code
        except subprocess.TimeoutExpired:
            self.popen.send_signal(signal.SIGABRT)  # tells on standard error where each of its threads is
            self.popen.wait(DEADLINE_S)
            lines = "\n".join([*self.out.queue, *self.err.queue])
            raise AssertionError(f"it did not stop within {DEADLINE_S} s:\n{lines}") from None


@pytest.fixture
def started() -> Iterator[list[Process]]:
    processes: list[Process] = []
    yield processes
    for process in processes:
        process.popen.kill()
        process.popen.wait()


def test_a_standby_on_one_file_is_told_that_there_is_nothing_to_follow(project: Path, started: list[Process]) -> None:
    started.append(process := Process("--standby"))
    assert "--standby is for Kafka: on sqlite:///bank.db there is nothing to follow" in process.told("note: ")
    process.said()
    assert process.stop(signal.SIGTERM) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_it_says_when_it_is_ready_and_stops_cleanly(
    number: int, shell: Shell, project: Path, started: list[Process]
) -> None:
    started.append(process := Process())
    ready = process.said()
    assert (ready["state"], ready["app"], ready["on"]) == ("running", "bank", "sqlite:///bank.db")
    assert ready["pid"] == process.popen.pid
    assert shell("""send Open '{"accountId":"1","owner":"ann"}'""").one["version"] == 1
    assert process.stop(number) == 0
    assert process.said() == {"state": "stopped", "app": "bank"}
    assert process.err.empty()
    assert shell("groups").rows == [] or all(row["member"] is None for row in shell("groups").rows)


def test_a_part_that_fails_is_told_while_the_others_go_on(shell: Shell, project: Path, started: list[Process]) -> None:
    (project / "failing.py").write_text(FAILING_APP)
    started.append(process := Process("failing:app"))
    process.said()
    shell("""send Deposit '{"accountId":"1","amount":"1"}'""")
    assert "ZeroDivisionError: broken on purpose" in process.told("failed: ")
    assert shell("""send Deposit '{"accountId":"1","amount":"1"}'""").one["version"] == 2, "commands go on"
    (broken,) = (row for row in shell("lag --app failing:app").rows if row.get("readModel") == "broken")
    assert broken["runner"] == "failed"
    assert "broken on purpose" in broken["lastFailure"]
    assert process.stop(signal.SIGTERM) == 4
    assert not [line for line in process.err.queue if "Traceback" in line]


@pytest.mark.parametrize("line", ["run", "query 'SELECT * FROM balance'"])
def test_a_store_of_another_log_is_refused_with_a_store_to_name(line: str, shell: Shell, project: Path) -> None:
    with at_work(an_app(project), store="memory://"):
        pass
    with closing(open_store("sqlite:///bank.models.db")) as store:
        store.bind("another log")
    ended = shell(line)
    assert ended.code == 2
    assert "bank.models.db were made from the log another log" in ended.error
    assert ended.next == "hw run bankapp:app --on sqlite:///bank.db --store sqlite:///bank-2.models.db"
    refuse_unknown_command(ended.next)


def test_only_some_parts_run(shell: Shell, project: Path, started: list[Process]) -> None:
    started.append(process := Process("--only", "projections"))
    assert process.said()["parts"] == "projections"
    ended = shell("""send Open '{"accountId":"1","owner":"ann"}'""")
    assert ended.code == 3
    assert "no live owner of 'account'" in ended.error


def test_a_killed_one_is_missed_at_once_and_the_next_one_goes_on_at_once(
    shell: Shell, project: Path, started: list[Process]
) -> None:
    started.append(first := Process())
    first.said()
    assert shell("""send Open '{"accountId":"1","owner":"ann"}'""").one["version"] == 1
    assert first.stop(signal.SIGKILL) == -signal.SIGKILL
    assert not [row for row in shell("groups").rows if row["member"]]
    ended = shell("""send Deposit '{"accountId":"1","amount":"5"}'""")
    assert ended.code == 3
    assert "no live owner of 'account'" in ended.error
    started.append(second := Process())
    second.said()
    assert shell("""send Deposit '{"accountId":"1","amount":"5"}'""").one["version"] == 2
    assert second.stop(signal.SIGTERM) == 0
    assert not list(project.glob("*-alive-*"))


def test_two_processes_share_the_work_and_one_takes_over(shell: Shell, project: Path, started: list[Process]) -> None:
    started.append(first := Process())
    first.said()
    started.append(second := Process())
    second.said()

    def members() -> list[str]:
        return [row["member"] for row in shell("groups").rows if row["group"] == "account-owners" and row["member"]]

    eventually(lambda: len(members()) == 2, saying="both are seen")
    assert first.stop(signal.SIGTERM) == 0
    assert shell("""send Open '{"accountId":"1","owner":"ann"}'""").one["version"] == 1
    assert second.stop(signal.SIGTERM) == 0


def test_it_tells_a_log_in_memory_too(project: Path, started: list[Process]) -> None:
    started.append(process := Process("--on", "memory://"))
    assert process.said()["on"] == "memory://"
    assert process.stop(signal.SIGINT) == 0


def test_a_foreign_record_is_told_with_its_place(shell: Shell, project: Path, started: list[Process]) -> None:
    started.append(process := Process())
    process.said()
    log = open_log("sqlite:///bank.db")
    (offset,) = log.append([NewRecord("account-commands", 3, b"1", b"not ours")])
    log.close()
    assert f"topic account-commands, partition 3, offset {offset}" in process.told("stopped: ")


def test_what_somebody_should_look_at_is_told(shell: Shell, project: Path, started: list[Process]) -> None:
    (project / "failing.py").write_text(FAILING_APP.replace(", on_failure=hw.stop()", ""))
    started.append(process := Process("failing:app"))
    process.said()
    shell("""send Deposit '{"accountId":"1","amount":"1"}'""")
    assert process.told("alert: bank-broken-v1: account-events/").endswith("hw deadletters list\n")
