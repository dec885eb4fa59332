"""Standard output that is closed, full, or a pipe that nobody reads any more. Each command line is a process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest

from headwater.client.shop import Shop
from tests.bank import Account, Deposit, Open
from tests.cli.conftest import Shell
from tests.cli.test_run import ROOT

SHOWING = {
    "help": ["--help"],
    "help of a verb": ["history", "--help"],
    "nothing typed": [],
    "lines": ["history", "account", "1"],
    "a document": ["history", "account", "1", "--output", "json"],
    "a table": ["history", "account", "1", "--output", "table"],
    "a note that there is nothing": ["query", "SELECT 1 WHERE 0", "--output", "table"],
}


@pytest.fixture
def account(bank: Shop) -> Shop:
    bank.send(Open("1", "ann"))
    for _ in range(3):
        bank.send(Deposit("1", Decimal(10)))
    return bank


def hw(
    *words: str | bytes, buffered: bool = True, redirected: str = "", **variables: str
) -> subprocess.CompletedProcess[str]:
    """`hw` in a shell of its own. Arguments: redirected: as for the shell, such as ">&-"."""
    line = f'exec "$0" -m headwater "$@" {redirected}'
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "" if buffered else "1", **variables}
    return subprocess.run(
        ["sh", "-c", line, sys.executable, *words], capture_output=True, text=True, env=environment, timeout=200
    )


@pytest.mark.parametrize("words", SHOWING.values(), ids=list(SHOWING))
@pytest.mark.parametrize("buffered", [True, False])
def test_a_reader_that_has_seen_enough_is_no_error(words: list[str], buffered: bool, account: Shop) -> None:
    gone, ours = os.pipe()
    os.close(gone)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "" if buffered else "1"}
    command = [sys.executable, "-m", "headwater", *words]
    ended = subprocess.run(command, stdout=ours, stderr=subprocess.PIPE, text=True, env=environment, timeout=200)
    os.close(ours)
    assert (ended.returncode, ended.stderr) == (0, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="only Linux has a device that is always full")
@pytest.mark.parametrize("words", SHOWING.values(), ids=list(SHOWING))
@pytest.mark.parametrize("buffered", [True, False])
def test_a_full_disk_under_the_output_is_told(words: list[str], buffered: bool, account: Shop) -> None:
    ended = hw(*words, buffered=buffered, redirected=">/dev/full")
    assert ended.returncode == 3
    why = "standard output cannot be written: No space left on device; what was asked for may have been done"
    assert ended.stderr == f"error: {why}\n"


def test_closed_streams_are_as_good_as_nowhere(account: Shop) -> None:
    ended = hw("send", "Deposit", '{"accountId":"1","amount":"1"}', redirected="<&- >&-")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert account.version(Account, "1") == 5
    assert hw("send", "Deposit", "-", redirected="<&- >&- 2>&-").returncode == 2, "nothing is no JSON"
    assert hw("history", "account", "1", "--output", "table", redirected=">&-").returncode == 0


def test_an_error_that_nobody_reads_keeps_its_exit_code(project: Path) -> None:
    gone, ours = os.pipe()
    os.close(gone)
    command = [sys.executable, "-m", "headwater", "topics"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    ended = subprocess.run(command, stdout=subprocess.PIPE, stderr=ours, env=environment, timeout=200)
    os.close(ours)
    assert (ended.returncode, ended.stdout) == (3, b"")


def test_bytes_that_are_no_text_are_refused(project: Path) -> None:
    ended = hw("get", "account", b"a\xff")
    assert ended.returncode == 2
    assert ended.stderr == "error: b'a\\xff' is no text: these bytes are no UTF-8\nnext: hw get --help\n"


def test_characters_that_standard_output_does_not_have_are_escaped(bank: Shop) -> None:
    name = "ü€\N{SLIGHTLY SMILING FACE}"
    bank.send(Open("1", name))
    document = hw("get", "account", "1", PYTHONIOENCODING="ascii")
    assert json.loads(document.stdout)["owner"] == name, document
    table = hw("get", "account", "1", "--output", "table", PYTHONIOENCODING="ascii")
    assert r"\u00fc\u20ac\ud83d\ude42" in table.stdout, table
    latin = hw("get", "account", "1", "--output", "table", PYTHONIOENCODING="latin-1", redirected="| iconv -f latin1")
    assert r"ü\u20ac" in latin.stdout, "what it has is written as it is"


def test_without_a_verb_the_help_is_shown(shell: Shell) -> None:
    ended = shell("")
    assert ended.code == 2, "a script that forgot the verb has gone wrong"
    assert ended.out == shell("--help").out
    assert ended.err == ""
