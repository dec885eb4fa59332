"""Both checkers know what may be said of an aggregate, a process and a projection."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

SCENARIOS = """
from datetime import UTC, datetime
from decimal import Decimal
from headwater.testing import given
from tests.bank import Account, Deposit, Deposited, Opened, Overdrawn, Withdraw
from tests.orders import Billing, OrderPlaced, RequestPayment
from tests.testing.test_scenarios import Balance

one, now = Decimal(1), datetime(2024, 4, 10, tzinfo=UTC)
given(Account, Opened("a", "ann"), (Deposited("a", one), now)).when(Withdraw("a", one)).rejects(Overdrawn)
given(Account).when(Deposit("a", one), actor="ann").then(Deposited("a", one)).state("a", balance=one)
event = given(Account).when(Deposit("a", one)).events[0].event
owner: str = event.account_id
given(Billing).when((OrderPlaced("1", one), now)).sends(RequestPayment("p-1", one), RequestPayment)
given(Balance, Deposited("a", one)).rows(Balance("a", one))
given(Account, OrderPlaced("1", one))  # error
given(Account).then(OrderPlaced("1", one))  # error
given(Account).when(Deposit("a", one)).sends(RequestPayment("p-1", one))  # error
given(Billing).when(Deposit("a", one))  # error
given(Billing).rejects(Overdrawn)  # error
given(Balance).rows(Deposited("a", one))  # error
given(Deposited)  # error
"""


@pytest.mark.timeout(300)  # the first run fills the caches of the checkers
@pytest.mark.parametrize("checker", ["mypy", "pyright"])
def test_a_scenario_is_typed(checker: str, tmp_path: Path) -> None:
    file = tmp_path / "scenarios.py"
    file.write_text(SCENARIOS)
    found = mypy(file) if checker == "mypy" else pyright(file)
    assert found == {n for n, line in enumerate(SCENARIOS.splitlines(), 1) if line.endswith("# error")}


def mypy(file: Path) -> set[int]:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", str(file)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    return {int(found) for found in re.findall(r"scenarios\.py:(\d+): error", done.stdout)}


def pyright(file: Path) -> set[int]:
    settings = file.with_name("pyrightconfig.json")
    settings.write_text(json.dumps({"extraPaths": [str(ROOT)], "include": [file.name]}))
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable, "-p", str(settings)]
    done = subprocess.run(command, cwd=file.parent, capture_output=True, text=True, check=False)
    return {one["range"]["start"]["line"] + 1 for one in json.loads(done.stdout)["generalDiagnostics"]}
