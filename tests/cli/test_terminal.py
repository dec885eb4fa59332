"""What only people see: questions, tables, bars. Each runs at a terminal of its own."""

from __future__ import annotations

import codecs
import json
import os
import pty
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from headwater.client.shop import Shop
from tests.bank import Account, Deposit, Open
from tests.cli.test_run import ROOT

HW = (sys.executable, "-c", "from headwater.cli import main; main()")


class Terminal:
    """Runs a command line at a pseudo-terminal, and types when something is asked.

    Arguments: program: what the words of a command line follow; environment: more of it.
    """

    def __init__(self, *program: str, **environment: str) -> None:
        self._program = program or HW
        self._environment = {"PYTHONPATH": str(ROOT), "TERM": "xterm", "COLUMNS": "100", **environment}

    def __call__(self, *words: str, asked: str = "\0", answer: str = "") -> tuple[int, str]:
        """Returns the exit code and all that was on the screen."""
        master, slave = pty.openpty()
        process = subprocess.Popen(
            [*self._program, *words],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**os.environ, **self._environment},
        )
        os.close(slave)
        screen, decode = "", codecs.getincrementaldecoder("utf-8")().decode  # a read may end within a character
        while True:
            try:
                seen = os.read(master, 4096)
            except OSError:  # the other end is closed
                break
            if not seen:
                break
            screen += decode(seen)
            if asked in screen:
                os.write(master, answer.encode())
                asked = "\0"
        os.close(master)
        return process.wait(), screen


@pytest.fixture
def account(bank: Shop) -> Shop:
    bank.send(Open("1", "ann"))
    bank.send(Deposit("1", Decimal(10)))
    return bank


def test_a_revert_asks_and_takes_no_for_an_answer(account: Shop) -> None:
    words = ("revert", "account", "1", "--to-version", "1")
    code, screen = Terminal()(*words, asked="Restore version 1 as version 3?", answer="n\n")
    assert "balance" in screen.partition("Restore")[0], "the difference comes first"
    assert code == 1
    assert account.version(Account, "1") == 2
    code, _ = Terminal()(*words, asked="Restore version 1 as version 3?", answer="y\n")
    assert code == 0
    assert account.version(Account, "1") == 3


def test_a_terminal_gets_a_table(account: Shop) -> None:
    _, screen = Terminal()("history", "account", "1")
    assert "version" in screen
    assert "{" not in screen.splitlines()[0]
    assert "Deposited" in screen


def test_no_colour_where_none_is_wanted(account: Shop) -> None:
    assert "\x1b[" not in Terminal(NO_COLOR="1")("history", "account", "1")[1]


def test_an_import_shows_how_far_it_is(account: Shop, project: Path) -> None:
    line = json.dumps({"commandType": "Deposit", "accountId": "1", "amount": "1"})
    (project / "in.ndjson").write_text(f"{line}\n" * 200)
    code, screen = Terminal()("import", "in.ndjson")
    assert code == 0
    assert "200/200" in screen
