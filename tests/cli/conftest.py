"""A shell for the command line, in this process, and a bank for it to talk to."""

from __future__ import annotations

import importlib
import io
import json
import shlex
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import click
import pytest

from headwater.app import App
from headwater.cli import run
from headwater.cli.verbs import hw
from headwater.client.shop import Shop
from headwater.log.opening import sqlite_path
from headwater.log.sqlite import SqliteLog
from headwater.testing import broker_command
from headwater.testing.waiting import eventually

SESSION_S = 60.0
"""Of members in the process of a test: one that stands still for some seconds has not gone."""

BANK_APP = """
from decimal import Decimal

import headwater as hw
from tests.bank import Account, Deposited


class Balance(hw.Projection):
    account_id: hw.Key[str]
    balance: Decimal = Decimal(0)

    @hw.on(Deposited)
    def deposited(self, event: Deposited, meta: hw.Meta) -> None:
        self.balance += event.amount


app = hw.App("bank", aggregates=[Account], projections=[Balance])
no_app = 7
"""


class Ended(NamedTuple):
    """How a command line ended."""

    code: int
    out: str
    err: str

    @property
    def error(self) -> str:
        return self._line("error: ")

    @property
    def next(self) -> str:
        return self._line("next: ")

    @property
    def rows(self) -> list[dict[str, Any]]:
        assert self.code == 0, self
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def one(self) -> dict[str, Any]:
        (row,) = self.rows
        return row

    def _line(self, start: str) -> str:
        lines = [line for line in self.err.splitlines() if line.startswith(start)]
        assert len(lines) == 1, f"one line {start!r} wanted in:\n{self.err}"
        return lines[0].removeprefix(start)


class Shell:
    """Runs command lines in the current directory."""

    def __init__(self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
        self._capsys, self._monkeypatch = capsys, monkeypatch

    def __call__(self, line: str, *more: str, stdin: str = "") -> Ended:
        """Arguments: line: after `hw`, quoted as for a shell; more: words as they are."""
        self._capsys.readouterr()
        self._monkeypatch.setattr(sys, "stdin", io.StringIO(stdin))
        code = run([*shlex.split(line), *more])
        return Ended(code, *self._capsys.readouterr())


def refuse_unknown_command(line: str) -> None:
    """Fails unless a line is a command line of `hw`, or of brokers, whose verb, options and arguments exist."""
    program, *words = shlex.split(line)
    group: click.Group = hw
    if [program, *words[:2]] == ["python", "-m", "headwater.testing.broker_command"]:
        group, words = broker_command.command, words[2:]
    else:
        assert program == "hw", line
    if words == ["--help"]:
        return
    assert words[0] in group.list_commands(click.Context(group)), line
    command = group.get_command(click.Context(group), words[0])
    assert command is not None, line
    try:
        command.make_context(words[0], words[1:], parent=click.Context(group, info_name="hw"))
    except click.exceptions.Exit:
        return  # it printed its help


@pytest.fixture
def directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current directory, with an app in it. What was imported from it is forgotten afterwards."""
    monkeypatch.chdir(tmp_path)
    for name in ("HEADWATER_APP", "HEADWATER_URL"):
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "bankapp.py").write_text(BANK_APP)
    path = list(sys.path)
    yield tmp_path
    sys.path[:] = path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None) or "").startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.fixture
def shell(directory: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Shell:
    return Shell(capsys, monkeypatch)


@pytest.fixture
def project(directory: Path) -> Path:
    """The directory names its app and a log on SQLite."""
    (directory / "headwater.toml").write_text('app = "bankapp:app"\non = "sqlite:///bank.db"\n')
    return directory


@pytest.fixture
def bank(project: Path, shell: Shell) -> Iterator[Shop]:
    """The app of the directory at work, as another process would be."""
    with at_work(an_app(project)) as shop:
        yield shop


@contextmanager
def at_work(app: App, url: str = "sqlite:///bank.db", **how: Any) -> Iterator[Shop]:
    """`app.run`, for commands that look for who is at work. Arguments: how: as of `App.run`."""
    with closing(SqliteLog(sqlite_path(url), session_timeout_s=SESSION_S)) as log, app.run(log, **how) as shop:
        yield shop


def caught_up(shop: Shop) -> None:
    """Waits until its read models are at the end of the log, in every partition."""
    eventually(lambda: not any(shop.lag().values()), saying="the read models are at the end of the log")


def an_app(directory: Path, module: str = "bankapp") -> App:
    """The app in a module of the directory."""
    if str(directory) not in sys.path:
        sys.path.insert(0, str(directory))
    app: App = importlib.import_module(module).app
    return app
