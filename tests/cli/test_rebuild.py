"""`hw rebuild`: what it says, what it asks, what it refuses, and what queries find meanwhile."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from headwater.client.receipts import Receipt
from headwater.client.shop import Shop
from headwater.testing.waiting import eventually
from tests.bank import Account, Deposit, Open
from tests.cli.conftest import BANK_APP, Ended, Shell, an_app, caught_up, refuse_unknown_command
from tests.cli.test_mistakes import BAD, REFUSED, USAGE, WAITING, Mistake, check
from tests.cli.test_run import ROOT

BROKEN = BANK_APP.replace("self.balance +=", "self.balance += 1 / Decimal(event.account_id != '1') *")
ASK = "query 'SELECT account_id, balance FROM balance ORDER BY account_id'"
DOUBLED = "--app doubled:app"


@pytest.fixture
def stopped(project: Path) -> None:
    """As `filled`, and the app runs no more."""
    with an_app(project).run("sqlite:///bank.db") as bank:
        fill(bank, project)


@pytest.fixture
def filled(bank: Shop, project: Path) -> Shop:
    """Three accounts with a row each, and other code that would make other rows. The app runs."""
    return fill(bank, project)


def fill(bank: Shop, project: Path) -> Shop:
    for number in range(3):
        bank.send(Open(str(number), "ann"))
        bank.send(Deposit(str(number), Decimal(5)))
    caught_up(bank)
    double = BANK_APP.replace("self.balance += event.amount", "self.balance += 2 * event.amount")
    (project / "doubled.py").write_text(double)
    wider = double.replace("class Balance(hw.Projection):", "class Balance(hw.Projection, version=2):")
    (project / "wider.py").write_text(wider.replace("Decimal(0)\n\n    @", 'Decimal(0)\n    note: str = "-"\n\n    @'))
    return bank


def balances(shell: Shell) -> list[str]:
    return [row["balance"] for row in shell(ASK).rows]


def lines(ended: Ended) -> list[dict[str, Any]]:
    return [json.loads(line) for line in ended.out.splitlines()]


def test_built_compared_switched_rolled_back_and_dropped(shell: Shell, stopped: None) -> None:
    built = shell(f"rebuild balance {DOUBLED}").rows
    assert [row["state"] for row in built if "state" in row] == [*["building"] * (len(built) - 2), "built"]
    assert (built[-3]["done"], built[-3]["leftS"]) == (built[-3]["total"], 0.0)
    [compared] = (row for row in built if "table" in row)
    assert (compared["oldRows"], compared["newRows"], compared["changed"], compared["sameEvents"]) == (3, 3, 3, True)
    assert compared["oldHash"] != compared["newHash"]
    assert compared["examples"][0] == {"key": {"account_id": "0"}, "old": {"balance": "5"}, "new": {"balance": "10"}}
    assert built[-1]["next"] == "hw rebuild balance --switch --app doubled:app"
    assert balances(shell) == ["5", "5", "5"]
    assert shell(f"rebuild balance --compare {DOUBLED}").code == REFUSED
    switched = shell(f"rebuild balance --switch --yes {DOUBLED}").rows[-1]
    assert switched["state"] == "switched"
    assert switched["next"] == "hw rebuild balance --rollback --app doubled:app"
    assert balances(shell) == ["10", "10", "10"]
    kept = r"the rows of balance from before the last switch are still there: drop them first"
    check(shell, Mistake(f"rebuild balance {DOUBLED}", kept, USAGE, "hw rebuild balance --drop --app doubled:app"))
    rolled = shell(f"rebuild balance --rollback --yes {DOUBLED}")
    assert rolled.rows[-1]["state"] == "rolled back"
    assert "note: other code than yours has made the rows that queries find of balance now: deploy it" in rolled.err
    assert balances(shell) == ["5", "5", "5"]
    shell(f"rebuild balance --switch --yes {DOUBLED}")
    assert shell(f"rebuild balance --drop --yes {DOUBLED}").one["state"] == "dropped"
    assert balances(shell) == ["10", "10", "10"]
    assert shell(f"rebuild balance --status {DOUBLED}").one["beside"] is None


def test_there_is_no_way_back_to_rows_that_were_never_there(shell: Shell, stopped: None) -> None:
    shell("reset --group bank-balance-v1 --all-topics --to-earliest --execute")
    shell("rebuild balance")
    assert shell("rebuild balance --switch --yes").rows[-1]["next"] == "hw rebuild balance --drop"
    words = "queries found no rows of balance before the switch: there is nothing to go back to"
    check(shell, Mistake("rebuild balance --rollback --yes", words, USAGE, "hw rebuild balance --status"))
    status = shell("rebuild balance --status").one
    assert (status["beside"], status["failure"], status["shown"]) == ("switched", None, 1), "as it was"
    assert shell("rebuild balance --drop --yes").one["state"] == "dropped"
    assert balances(shell) == ["5", "5", "5"]


def test_rows_are_not_given_to_processes_of_other_code(shell: Shell, filled: Shop) -> None:
    shell(f"rebuild balance {DOUBLED}")
    told = rf"maintained by processes of other code than yours \({socket.gethostname()}, process {os.getpid()}\)"
    check(shell, Mistake(f"rebuild balance --switch --yes {DOUBLED}", told, WAITING, "hw run doubled:app --on sqlite:"))
    assert balances(shell) == ["5", "5", "5"]


def test_the_app_goes_on_with_the_new_rows_without_a_restart(shell: Shell, filled: Shop) -> None:
    shell("rebuild balance")
    filled.send(Deposit("0", Decimal(1)))
    assert shell("rebuild balance --switch --yes").code == 0
    receipt = filled.send(Deposit("1", Decimal(2)))
    assert filled.query("SELECT balance FROM balance", into=Decimal, after=receipt) == [6, 7, 5]
    assert shell("rebuild balance --rollback --yes").code == 0
    receipt = filled.send(Deposit("2", Decimal(3)))
    assert filled.query("SELECT balance FROM balance", into=Decimal, after=receipt) == [6, 7, 8], "the old rows went on"


def test_a_new_version_is_made_before_its_app_runs(shell: Shell, filled: Shop) -> None:
    [status] = (row for row in shell("rebuild --app wider:app").rows if row["readModel"] == "balance")
    assert (status["version"], status["shown"], status["code"]) == (2, 1, "other")
    [compared] = (row for row in shell("rebuild balance --app wider:app").rows if "table" in row)
    assert (compared["columnsNew"], compared["columnsGone"], compared["changed"]) == (["note"], [], 3)
    assert balances(shell) == ["5", "5", "5"]
    shell("rebuild balance --switch --yes --app wider:app")
    assert [row["note"] for row in shell("query 'SELECT * FROM balance'").rows] == ["-", "-", "-"]
    receipt = filled.send(Deposit("0", Decimal(1)))
    assert filled.query("SELECT balance FROM balance_v1", into=Decimal, after=receipt) == [6, 5, 5], "it goes on"
    assert shell("rebuild balance --rollback --yes --app wider:app").code == 0
    assert balances(shell) == ["6", "5", "5"]


def test_a_read_model_of_an_aggregate_is_rebuilt_too(shell: Shell, filled: Shop) -> None:
    [compared] = (row for row in shell("rebuild account").rows if "table" in row)
    assert (compared["oldHash"], compared["changed"]) == (compared["newHash"], 0)
    assert shell("rebuild account --compare").code == 0
    assert shell("rebuild account --switch --yes").code == 0
    assert [row.balance for row in filled.rows(Account)] == [5, 5, 5]


def test_events_that_cannot_be_applied_are_set_aside_and_told(shell: Shell, filled: Shop, project: Path) -> None:
    (project / "broken.py").write_text(BROKEN)
    ended = shell("rebuild balance --app broken:app")
    assert ended.rows[-1]["state"] == "built"
    told = (
        r"note: 1 event could not be applied and is set aside; the first: Balance.deposited failed at topic account-e"
    )
    assert re.search(told, ended.err), ended.err
    status = shell("rebuild balance --status --app broken:app").one
    assert status["deadLetters"] == 1
    assert "DivisionByZero" in status["failure"]


def test_an_event_that_may_not_be_skipped_is_told_and_the_build_goes_on_after_the_correction(
    shell: Shell, filled: Shop, project: Path
) -> None:
    (project / "broken.py").write_text(BROKEN.replace("(hw.Projection)", "(hw.Projection, on_failure=hw.stop())"))
    typed = "rebuild balance --app broken:app"
    check(shell, Mistake(typed, r"Balance.deposited failed on Deposited", BAD, "hw rebuild balance"))
    status = shell("rebuild balance --status --app broken:app").one
    assert (status["beside"], status["holder"]) == ("failed", None)
    assert "DivisionByZero" in status["failure"]
    check(shell, Mistake("rebuild balance", r"begun by other code than yours", USAGE, "hw rebuild balance --drop"))
    assert shell("rebuild balance --drop --yes").code == 0
    assert shell("rebuild balance").rows[-1]["state"] == "built"


class Builder:
    """`hw rebuild balance --throttle 1` in a process of its own. It takes as many seconds as there are events."""

    def __init__(self) -> None:
        words = ["rebuild", "balance", "--throttle", "1", "--output", "ndjson"]
        command = [sys.executable, "-c", "from headwater.cli import main; main()", *words]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        self.popen = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
        assert self.popen.stdout is not None
        self.out = self.popen.stdout
        assert json.loads(self.out.readline())["state"] == "building"


@pytest.fixture
def builder(filled: Shop) -> Iterator[Builder]:
    for outcome in filled.send_many(Deposit("0", Decimal(1)) for _ in range(200)):
        assert isinstance(outcome, Receipt), outcome
    builder = Builder()
    yield builder
    builder.popen.kill()
    builder.popen.wait()
    builder.out.close()


def test_the_second_is_told_who_builds_and_may_ask_for_a_pause(shell: Shell, builder: Builder) -> None:
    who = rf"balance is being rebuilt by \S+ on {socket.gethostname()}, process {builder.popen.pid}, since \d{{4}}-"
    check(shell, Mistake("rebuild balance", who, WAITING, "hw rebuild balance --status"))
    status = shell("rebuild balance --status").one
    assert status["beside"] == "building"
    assert f"process {builder.popen.pid}, since" in status["holder"]
    ended = shell("rebuild balance --pause")
    assert f"asked to stop after its batch: {status['holder']}" in ended.err
    assert builder.popen.wait(60) == 0
    assert json.loads(builder.out.read().splitlines()[-1])["state"] == "paused"
    assert shell("rebuild balance --status").one["beside"] == "paused"
    assert shell("rebuild balance").rows[-1]["state"] == "built"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL], ids=["Ctrl-C", "kill -9"])
def test_whoever_ends_the_builder_another_one_goes_on_from_its_progress(
    number: int, shell: Shell, builder: Builder
) -> None:
    eventually(lambda: shell("rebuild balance --status").one["done"], saying="something is read")
    builder.popen.send_signal(number)
    assert builder.popen.wait(60) == (0 if number == signal.SIGINT else -signal.SIGKILL)
    status = shell("rebuild balance --status").one
    assert (status["beside"], status["holder"]) == ("paused", None)
    rows = shell("rebuild balance").rows
    assert rows[0]["done"] == status["done"] > 0
    assert rows[-1]["state"] == "built"


def test_the_page_has_commands_that_exist_and_every_option(shell: Shell, project: Path) -> None:
    page = (ROOT / "docs" / "rebuild.md").read_text()
    typed = re.findall(r"^\$ (hw .*)$", page, re.MULTILINE)
    typed += [line.replace("NAME", "revenue").replace(" N", " 5") for line in re.findall(r"\| `(hw [^`]*)`", page)]
    assert len(typed) > 10
    for line in typed:
        refuse_unknown_command(line)
    options = set(re.findall(r"^  (--[a-z-]+)", shell("rebuild --help").out, re.MULTILINE))
    told = set(re.findall(r"--[a-z-]+", page))
    everywhere = {"--app", "--on", "--store", "--views-store", "--debug", "--output"}
    assert options - told - {"--help"} == everywhere, "what every verb has"


NOTHING = r"nothing is being rebuilt of balance"
MISTAKES = {
    "no such read model": Mistake(
        "rebuild balanse", r"no read model 'balanse'; it has balance, account", USAGE, "hw re"
    ),
    "two things at once": Mistake("rebuild balance --switch --drop", r"--switch or --drop: one", USAGE, "hw rebuild"),
    "of which": Mistake("rebuild --switch", r"--switch of which read model\? Give its name", USAGE, "hw rebuild"),
    "nothing to compare": Mistake("rebuild balance --compare", NOTHING, USAGE, "hw rebuild balance"),
    "nothing to switch": Mistake("rebuild balance --switch --yes", NOTHING, USAGE, "hw rebuild balance"),
    "nothing to pause": Mistake("rebuild balance --pause", NOTHING, USAGE, "hw rebuild balance"),
    "nothing to drop": Mistake("rebuild balance --drop --yes", NOTHING, USAGE, "hw rebuild balance"),
    "no way back": Mistake("rebuild balance --rollback --yes", NOTHING, USAGE, "hw rebuild balance"),
    "no events per second": Mistake("rebuild balance --throttle 0", r"0 is not in the range", USAGE, "hw rebuild"),
    "nobody to ask": Mistake("rebuild balance --rollback", r"nobody is there", USAGE, "hw rebuild balance --rollback"),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=list(MISTAKES))
def test_mistakes(mistake: Mistake, shell: Shell, filled: Shop) -> None:
    check(shell, mistake)
