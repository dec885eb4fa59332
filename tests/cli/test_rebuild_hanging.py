"""`hw rebuild` that gets nowhere: it says so every second, with what it waits for, and ends when it is told to."""

from __future__ import annotations

import os
import pty
import re
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import suppress
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from headwater.client.receipts import Receipt
from headwater.environment import KeptTelemetry, System
from headwater.operations.rebuild_building import Progress
from headwater.operations.rebuild_watching import ALERT, Look, Watching
from headwater.testing.redis import RedisServer
from headwater.testing.waiting import eventually
from tests.bank import Deposit, Open
from tests.cli.conftest import Shell, an_app, caught_up
from tests.cli.test_mistakes import WAITING
from tests.cli.test_run import ROOT, Process
from tests.cli.test_stopping import HANGING_APP, INTERRUPTED


def hang(project: Path) -> None:
    """An event, and code whose handler does not come back from it."""
    with an_app(project).run("sqlite:///bank.db") as bank:
        bank.send(Open("1", "ann"))
        bank.send(Deposit("1", Decimal(5)))
        caught_up(bank)
    (project / "hanging.py").write_text(HANGING_APP)
    (project / "hang").touch()


@pytest.fixture
def hanging(project: Path) -> Iterator[Process]:
    hang(project)
    builder = Process("balance", "--app", "hanging:app", "--output", "ndjson", verb="rebuild")
    try:
        eventually((project / "hangs").exists, saying="the handler is at work")
        yield builder
    finally:
        builder.popen.kill()
        builder.popen.wait()


def standing(builder: Process) -> dict[str, Any]:
    """The next line that says that it stands."""
    while True:
        line = builder.said()
        if line["standsSince"] is not None:
            return line


def test_it_says_every_second_that_it_stands_and_at_which_handler(hanging: Process) -> None:
    first = standing(hanging)
    begun_s = time.monotonic()
    lines = [hanging.said() for _ in range(3)]
    assert 2 < time.monotonic() - begun_s < 6
    for line in lines:
        assert line["state"] == "building"
        assert line["waitsFor"].startswith("the handler Balance.deposited (hanging.py:")
        assert line["standsSince"] == first["standsSince"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_signal_ends_it_within_seconds_and_the_next_one_goes_on(
    number: int, hanging: Process, shell: Shell, project: Path
) -> None:
    begun_s = time.monotonic()
    assert hanging.stop(number) == WAITING
    assert time.monotonic() - begun_s < 10
    assert "balance waits for the handler Balance.deposited (hanging.py:" in hanging.told("still: ")
    assert "hw rebuild balance --app hanging:app" in hanging.told("next: ")
    (project / "hang").unlink()
    status = shell("rebuild balance --status --app hanging:app").one
    assert (status["beside"], status["holder"]) == ("paused", None)
    assert shell("rebuild balance --app hanging:app").rows[-1]["state"] == "built"


def test_a_second_signal_ends_it_at_once(hanging: Process) -> None:
    begun_s = time.monotonic()
    while hanging.popen.poll() is None:  # two that are not told apart are one signal
        assert time.monotonic() - begun_s < 4
        hanging.popen.send_signal(signal.SIGTERM)
    assert hanging.popen.returncode == INTERRUPTED


@pytest.mark.parametrize("flag", ["--status", "--pause"])
def test_others_are_told_who_keeps_the_store_locked(flag: str, hanging: Process, shell: Shell) -> None:
    ended = shell(f"rebuild balance {flag} --app hanging:app")
    assert ended.code == WAITING
    who = rf"balance is being rebuilt by \S+ on {socket.gethostname()}, process {hanging.popen.pid}, since \d{{4}}-"
    assert re.search(who, ended.error)


def test_a_store_that_does_not_answer_is_told_every_second_and_a_signal_ends_it(
    redis_server: RedisServer, redis_url: str, shell: Shell, project: Path
) -> None:
    with an_app(project).run("sqlite:///bank.db", store=redis_url) as bank:
        bank.send(Open("1", "ann"))
        for outcome in bank.send_many(Deposit("1", Decimal(1)) for _ in range(300)):
            assert isinstance(outcome, Receipt), outcome
        caught_up(bank)
    store = ["--store", redis_url, "--output", "ndjson"]
    builder = Process("balance", "--throttle", "10", *store, verb="rebuild")
    try:
        while not builder.said()["done"]:
            pass
        os.kill(redis_server.pid, signal.SIGSTOP)
        standing(builder)
        begun_s = time.monotonic()
        lines = [builder.said() for _ in range(3)]
        assert 2 < time.monotonic() - begun_s < 6
        assert {line["waitsFor"] for line in lines} == {f"the store at {redis_url}"}
        begun_s = time.monotonic()
        assert builder.stop(signal.SIGTERM) == WAITING
        assert time.monotonic() - begun_s < 10
    finally:
        os.kill(redis_server.pid, signal.SIGCONT)
        builder.popen.kill()
        builder.popen.wait()
    status = shell("rebuild balance --status", *store).one
    assert status["beside"] == "paused"
    rows = shell("rebuild balance", *store).rows
    assert rows[0]["done"] >= status["done"] > 0
    assert rows[-1]["state"] == "built"


def test_a_rebuild_that_does_not_get_on_is_an_alert_until_it_does() -> None:
    now = [0.0]

    class Clock(System):
        def monotonic_s(self) -> float:
            return now[0]

    telemetry, looks = KeptTelemetry(), list[Look]()
    with Watching("revenue", {}, looks.append, Clock(telemetry)) as watching:
        watching.tell(Progress(1, 9, 1.0, 8.0))
        now[0] = 20.0
        watching.look()
        assert not telemetry.alerts
        now[0] = 21.0
        watching.look()
        [(key, alert)] = telemetry.alerts.items()
        assert key == (ALERT, (("read_model", "revenue"),))
        assert "the rebuild of revenue has not got on for more than 20 s; it waits for " in alert.text
        watching.tell(Progress(2, 9, 1.0, 7.0))
        watching.look()
        assert not telemetry.alerts
    assert not [thread for thread in threading.enumerate() if thread.name == "rebuild-progress"]


def test_a_terminal_shows_that_it_stands_and_has_its_cursor_again(project: Path) -> None:
    hang(project)
    ours, theirs = pty.openpty()
    words = ["rebuild", "balance", "--app", "hanging:app", "--output", "table"]
    command = [sys.executable, "-c", "from headwater.cli import main; main()", *words]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TERM": "xterm"}
    shown = ""
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, env=environment) as builder:
        os.close(theirs)
        try:
            while "stands since" not in shown:
                assert select.select([ours], [], [], 60)[0], shown
                shown += os.read(ours, 65536).decode(errors="replace")
            begun_s = time.monotonic()
            with suppress(OSError):  # the other end is closed, and all of it read
                while time.monotonic() - begun_s < 4:
                    builder.send_signal(signal.SIGINT)
                    if select.select([ours], [], [], 0.1)[0]:
                        shown += os.read(ours, 65536).decode(errors="replace")
            assert builder.wait(5) == INTERRUPTED
        finally:
            builder.kill()
            os.close(ours)
    assert shown.rpartition("\x1b[?25l")[2].count("\x1b[?25h") == 1
