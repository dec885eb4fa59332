"""`hw preview`: what changed code would do with the history, named to the event, while nothing is changed."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from headwater.log.opening import open_log
from headwater.log.port import NewRecord, TopicPartition
from tests.cli.conftest import Shell, an_app
from tests.cli.test_run import ROOT

TILLS = """
import headwater as hw


class TillEvent(hw.Event, entity="till"):
    till_id: hw.Key[str]


class Paid(TillEvent):
    amount: int


class Closed(TillEvent):
    pass


class TillCommand(hw.Command, entity="till"):
    till_id: hw.Key[str]


class Pay(TillCommand):
    amounts: list[int]


class Close(TillCommand):
    pass


class Till(hw.Aggregate[TillEvent]):
    balance: int = 0
    closed: bool = False

    @hw.decides
    def pay(self, command: Pay) -> list[Paid]:
        return [Paid(command.till_id, amount) for amount in command.amounts]

    @hw.decides
    def close(self, command: Close) -> Closed:
        return Closed(command.till_id)

    @hw.evolves
    def paid(self, event: Paid) -> None:
        self.balance += event.amount

    @hw.evolves
    def was_closed(self, event: Closed) -> None:
        self.closed = True


class Sum(hw.Projection):
    till_id: hw.Key[str]
    total: int = 0

    @hw.on(Paid)
    def paid(self, event: Paid) -> None:
        self.total += event.amount


app = hw.App("tills", aggregates=[Till], projections=[Sum], partitions=3)
"""
MANY, FEW = 10_000, 300
PLANTED = {"t17": 2, "t211": 3, "t299": 2}
"""Till -> the version at which the planted change shows."""


def amounts(number: int) -> list[int]:
    """Three payments; of the planted ones, one is of 77."""
    at = PLANTED.get(f"t{number}", 0)
    return [77 if version == at else 1 + version for version in (1, 2, 3)]


MAKE = """
import sys
from tills import Pay, Sum, Till, app
from tests.cli.test_preview import amounts
count, parts = int(sys.argv[1]), sys.argv[2].split(",")
with app.run("sqlite:///tills.db", only=parts) as shop:
    sendings = (Pay(f"t{number}", amounts(number)) for number in range(count))
    receipts = list(shop.send_many(sendings, in_flight=2000, timeout_s=60))
    if "projections" in parts:
        for table in (Till, Sum):
            shop.row(table, "t0", after=receipts, timeout_s=60)
"""


def made(folder: Path, count: int, parts: str) -> Path:
    (folder / "tills.py").write_text(TILLS)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-c", MAKE, str(count), parts]
    subprocess.run(words, cwd=folder, env=environment, check=True, timeout=200)
    return folder


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the old code, a log and read models; made once, copied for each test."""
    return made(tmp_path_factory.mktemp("tills"), FEW, "commands,projections")


@pytest.fixture
def tills(history: Path, directory: Path) -> Path:
    """The current directory, with the log and the code, and the old code in the folder `old`."""
    return copied(history, directory)


def copied(history: Path, directory: Path) -> Path:
    for file in history.glob("tills*"):
        (directory / file.name).write_bytes(file.read_bytes())
    (directory / "headwater.toml").write_text('app = "tills:app"\non = "sqlite:///tills.db"\n')
    (directory / "old").mkdir()
    (directory / "old/tills.py").write_text(TILLS)
    return directory


def change(tills: Path, *pairs: tuple[str, str]) -> None:
    code = TILLS
    for before, after in pairs:
        assert before in code
        code = code.replace(before, after)
    (tills / "tills.py").write_text(code)


def contents(folder: Path) -> dict[str, str]:
    """Every file of a folder, by the digest of what is in it; and every record and group of the log."""
    found = {str(one): hashlib.sha256(one.read_bytes()).hexdigest() for one in folder.rglob("*") if one.is_file()}
    with closing(open_log("sqlite:///tills.db")) as log:
        found["groups"] = str(sorted((group.name, dict(group.positions), len(group.members)) for group in log.groups()))
        found["topics"] = str(sorted(log.topics().items()))
    return found


def rows(out: str, kind: str) -> list[dict[str, Any]]:
    return [row for row in map(json.loads, out.splitlines()) if row["kind"] == kind]


PLANT = ("self.balance += event.amount", "self.balance += event.amount if event.amount != 77 else 0")


def test_a_planted_change_names_exactly_the_3_of_10_000_entities_that_it_alters(directory: Path, shell: Shell) -> None:
    change(copied(made(directory, MANY, "commands"), directory), PLANT)
    before = contents(directory)
    ended = shell("preview --against old")
    assert ended.code == 1, ended
    found = {row["id"]: row for row in rows(ended.out, "difference")}
    assert found.keys() == PLANTED.keys()
    for till, version in PLANTED.items():
        row, balance = found[till], sum(amounts(int(till[1:])))
        so_far = sum(amounts(int(till[1:]))[:version])
        assert row["fields"] == {"balance": {"old": so_far, "new": so_far - 77}}
        assert row["now"] == {"balance": {"old": balance, "new": balance - 77}}
        event = row["event"]
        assert (event["version"], event["type"], event["topic"]) == (version, "Paid", "till-events")
        with closing(open_log("sqlite:///tills.db")) as log, closing(log.reader()) as reader:
            reader.assign({TopicPartition(event["topic"], event["partition"]): event["offset"]})
            [record] = reader.read(1, 1).records
            assert (record.key, json.loads(record.value or b"")["amount"]) == (till.encode(), 77)
    [total] = rows(ended.out, "entity")
    assert (total["entities"], total["events"], total["differing"], total["notCompared"]) == (MANY, 3 * MANY, 3, 0)
    assert 0 < total["largestPartitionSeconds"] < total["seconds"]
    assert contents(directory) == before


def test_without_the_old_code_stored_states_are_compared(tills: Path, shell: Shell) -> None:
    change(tills, PLANT)
    before = contents(tills)
    ended = shell("preview")
    found = {row["id"]: row for row in rows(ended.out, "difference")}
    assert (ended.code, set(found)) == (1, set(PLANTED))
    for row in found.values():  # one command made three events, and so one state
        assert (row["event"], row["betweenVersions"]) == (None, [1, 3])
    assert "declare its aggregate with version=2" in ended.err
    assert "--against HEAD" in ended.err
    assert contents(tills) == before


def test_nothing_differs_where_nothing_changed(tills: Path, shell: Shell) -> None:
    ended = shell("preview --against old")
    assert (ended.code, rows(ended.out, "difference")) == (0, [])
    assert [row["compared"] for row in rows(ended.out, "table")] == [True]
    assert ended.err == ""


def test_rows_of_projections_are_compared(tills: Path, shell: Shell) -> None:
    change(tills, ("self.total += event.amount", "self.total += event.amount if event.amount != 77 else 0"))
    for against in ("", "--against old"):
        ended = shell(f"preview sum {against}")
        assert ended.code == 1
        assert {row["id"] for row in rows(ended.out, "difference")} == PLANTED.keys()
    for row in rows(ended.out, "difference"):
        total = row["fields"]["total"]
        assert total["old"] - total["new"] == 77


def test_a_new_field_is_named_once(tills: Path, shell: Shell) -> None:
    change(tills, ("closed: bool = False", "closed: bool = False\n    payments: int = 0"))
    ended = shell("preview till")
    assert (ended.code, [row["field"] for row in rows(ended.out, "newField")]) == (0, ["payments"])


def test_what_the_new_code_cannot_read_or_fold_is_told(tills: Path, shell: Shell) -> None:
    with an_app(tills, "tills").run("sqlite:///tills.db", only=["commands"]) as shop:
        shop.send(sys.modules["tills"].Close("t1"))
    del sys.modules["tills"]
    change(
        tills,
        ("class Closed(", "class Shut("),
        ("-> Closed", "-> Shut"),
        ("return Closed", "return Shut"),
        ("event: Closed", "event: Shut"),
        ("self.balance += event.amount", "self.balance += 1 // (event.amount - 4)"),
    )
    ended = shell("preview till")
    [unknown] = rows(ended.out, "unknown")
    assert (ended.code, unknown["type"], unknown["events"]) == (1, "Closed", 1)
    failures = rows(ended.out, "failure")
    assert len(failures) == FEW - 1  # the third payment of one is not of 4
    assert failures[0]["error"].startswith("ZeroDivisionError")
    assert failures[0]["event"]["version"] == 3


def test_at_a_terminal_it_is_a_table(tills: Path, shell: Shell) -> None:
    change(tills, PLANT)
    ended = shell("preview till --against old --output table")
    assert "t211" in ended.out
    assert "3 of 300 differ" in ended.out


def test_against_a_revision_of_git(tills: Path, shell: Shell) -> None:
    for line in ("init -q", "add tills.py", "-c user.name=t -c user.email=t@example.org commit -q -m old"):
        subprocess.run(["git", *line.split()], cwd=tills, check=True)
    change(tills, PLANT)
    ended = shell("preview till --against HEAD")
    assert {row["id"] for row in rows(ended.out, "difference")} == PLANTED.keys()


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("preview nothing", "no entity type or table 'nothing'"),
        ("preview --against nowhere", "neither a folder nor a revision of git"),
        ("preview --against empty", "there is no module 'tills'"),
    ],
)
def test_mistakes_are_told(tills: Path, shell: Shell, line: str, words: str) -> None:
    (tills / "empty").mkdir()
    ended = shell(line)
    assert (ended.code, words in ended.error) == (2, True), ended


def test_records_beyond_the_states_are_folded_too(tills: Path, shell: Shell) -> None:
    """Of others, without our envelope, written while no owner runs: there is no state to compare with yet."""
    with closing(open_log("sqlite:///tills.db")) as log:
        value = b'{"eventType":"Paid","eventVersion":1,"tillId":"t0","amount":1}'
        log.append([NewRecord("till-events", 0, b"t0", value)])
    ended = shell("preview till")
    [total] = rows(ended.out, "entity")
    assert (ended.code, total["notCompared"]) == (0, 1)


UPCASTER = (
    "class Paid(TillEvent):\n    amount: int\n",
    "class Paid(TillEvent, version=2):\n    amount: int\n\n\n"
    "@hw.upcasts(Paid, from_version=1)\ndef paid_1(fields):\n    return fields\n",
)


def test_a_changed_upcaster_is_run_over_the_old_events(tills: Path, shell: Shell) -> None:
    change(tills, UPCASTER)
    (tills / "old/tills.py").write_text((tills / "tills.py").read_text())
    body = 'fields | {"amount": fields["amount"] * (fields["amount"] != 77)}'
    change(tills, UPCASTER, ("return fields\n", f"return {body}\n"))
    before = contents(tills)
    ended = shell("preview --against old")
    found = {row["id"]: row for row in rows(ended.out, "difference") if "entity" in row}
    assert (ended.code, set(found)) == (1, set(PLANTED))
    for till, version in PLANTED.items():
        assert (found[till]["event"]["version"], found[till]["event"]["type"]) == (version, "Paid")
        change_of = found[till]["now"]["balance"]
        assert change_of["old"] - change_of["new"] == 77
    assert {row["id"] for row in rows(ended.out, "difference") if "table" in row} == PLANTED.keys()
    assert contents(tills) == before


def test_an_upcaster_that_fails_is_told_with_its_first_event(tills: Path, shell: Shell) -> None:
    change(tills, UPCASTER, ("return fields\n", 'return fields | {"amount": 770 // (fields["amount"] - 77)}\n'))
    ended = shell("preview till --against old")
    [unread] = rows(ended.out, "unreadable")
    assert (ended.code, unread["type"], unread["events"]) == (1, "Paid", 3)
    assert "paid_1 (from version 1): ZeroDivisionError" in unread["reason"]
    assert unread["event"]["topic"] == "till-events"
