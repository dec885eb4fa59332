"""`hw doctor`: what it says, what it advises, and how it ends."""

from __future__ import annotations

import json
import re
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from headwater.client.shop import Shop
from headwater.testing.waiting import eventually
from tests.bank import Open
from tests.cli.conftest import Shell, an_app, at_work, refuse_unknown_command
from tests.cli.test_run import ROOT

PAGE = (ROOT / "docs" / "doctor.md").read_text()


def test_a_log_that_is_well(shell: Shell, bank: Shop) -> None:
    bank.send(Open("1", "ann"))
    rows = shell("doctor").rows
    assert {row["level"] for row in rows} == {"ok"}
    assert {row["todo"] for row in rows} == {None}
    shown = shell("doctor --output table")
    assert shown.code == 0
    assert shown.out.split()[:4] == ["level", "check", "where", "found"]


def test_a_fault_is_told_with_what_to_do_and_in_the_exit_code(shell: Shell, bank: Shop) -> None:
    bank.send(Open("1", "ann"))
    with closing(sqlite3.connect("bank.db")) as connection:
        connection.execute("UPDATE topics SET retention_ms = 86400000 WHERE name = 'account-events'")
        connection.commit()
    ended = shell("doctor")
    assert ended.code == 1
    (row,) = (row for row in map(json.loads, ended.out.splitlines()) if row["level"] == "fault")
    assert (row["check"], row["where"]) == ("retention", "topic account-events")
    shown = shell("doctor --output table")
    assert shown.code == 1
    assert f"retention, topic account-events:\n  {row['todo']}\n" in shown.out


def test_read_models_that_are_divided_over_two_stores(shell: Shell, project: Path) -> None:
    app = an_app(project)
    with at_work(app), at_work(app, store="sqlite:///other.db"):
        eventually(lambda: shell("doctor").code == 1)
        rows = [json.loads(line) for line in shell("doctor").out.splitlines()]
        faults = [row for row in rows if row["level"] == "fault"]
        assert {(row["check"], row["where"]) for row in faults} == {
            ("one store", "group bank-balance-v1"),
            ("one store", "group bank-account-table"),
        }
        assert "in another store, so that none has all rows" in faults[0]["found"]
        assert "one store" in faults[0]["todo"]
    assert {row["level"] for row in shell("doctor").rows} == {"ok"}


@pytest.mark.parametrize("named", ["--app bankapp:nothing", "--store sqlite:///not_there.db"])
def test_an_app_or_a_store_that_is_not_there_is_unknown_and_the_rest_is_told(
    shell: Shell, bank: Shop, named: str
) -> None:
    [unknown] = (row for row in shell(f"doctor {named}").rows if row["level"] != "ok")
    assert (unknown["level"], unknown["check"]) == ("unknown", "one store")
    assert "it could not be looked at: " in unknown["found"]


def test_a_log_that_nobody_has_used(shell: Shell, project: object) -> None:
    ended = shell("doctor")
    assert (ended.code, ended.next) == (3, "hw run bankapp:app --on sqlite:///bank.db")


def test_the_page_has_every_check_and_commands_that_exist(shell: Shell, bank: Shop) -> None:
    for row in shell("doctor").rows:
        assert f"| `{row['check']}` |" in PAGE
    lines = re.findall(r"^\$ (hw .*)$", PAGE, re.MULTILINE)
    assert lines
    for line in lines:
        refuse_unknown_command(line)
