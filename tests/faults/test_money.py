"""The run's own check, that money is neither lost nor made, can fail; so can the log of what a run found."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal

import pytest
from msgspec.structs import replace

from headwater.log.memory import MemoryLog
from headwater.testing import eventually
from headwater.testing.audit import Contents, ModelRows, collect, collect_rows, models_of
from headwater.testing.audit.contents import KeptRecord
from tests.faults.run.bank import Account, PayIn, PayOut, SendMoney, Transfer, make_app
from tests.faults.run.ending import check_money
from tests.faults.run.report import table
from tests.faults.run.striking import KINDS, Findings


@pytest.fixture(scope="module")
def run() -> tuple[Contents, list[ModelRows]]:
    app, log = make_app(), MemoryLog(gaps=True, late=True)
    print("seed", log.seed)
    with app.run(log, store="memory://") as bank:
        bank.send(PayIn("a", Decimal(9)))
        bank.send(PayOut("a", 2))
        bank.send(SendMoney("a", "t1", "b", Decimal(3)))
        eventually(lambda: bank.find(Transfer, "t1"))
        eventually(lambda: bank.find(Account, "b"))
        eventually(lambda: {row.id: row.balance for row in bank.rows(Account)} == {"a": 4, "b": 3})
        models = collect_rows(bank._models.store, models_of(app))
    return collect(log, app), models


def without(name: bytes, run: Contents) -> Contents:
    return edited(run, lambda one: [] if name in (one.value or b"") else [one])


def twice(name: bytes, run: Contents) -> Contents:
    return edited(run, lambda one: [one, one] if name in (one.value or b"") else [one])


def edited(run: Contents, edit: Callable[[KeptRecord], list[KeptRecord]]) -> Contents:
    return replace(
        run,
        partitions=tuple(
            replace(part, records=tuple(new for one in part.records for new in edit(one))) for part in run.partitions
        ),
    )


def test_a_run_without_faults_is_right(run: tuple[Contents, list[ModelRows]]) -> None:
    assert list(check_money(*run)) == []


@pytest.mark.parametrize("edit", [without, twice])
@pytest.mark.parametrize("kind", [b"MoneyReceived", b"TransferRecorded", b"PaidIn"])
def test_what_is_lost_or_made_is_found(
    run: tuple[Contents, list[ModelRows]], edit: Callable[[bytes, Contents], Contents], kind: bytes
) -> None:
    contents, models = run
    assert len(list(check_money(edit(kind, contents), models))) == 1


def test_every_kind_of_fault_has_a_line_in_the_table() -> None:
    names = [kind.name for kind in KINDS]
    assert len(set(names)) == len(names)
    findings = Findings()
    findings.runs[names[0]], findings.missed[names[1]], findings.left_out[names[2]] = 3, 1, "no disk"
    findings.violations.append("one too many")
    lines = table(findings, names, (7, 9)).splitlines()
    assert f"| {names[0]} | 3 |  |" in lines
    assert f"| {names[1]} | 0, and 1 tries in vain |  |" in lines
    assert f"| {names[2]} | left out: no disk | |" in lines
    assert "| planted bugs that the auditor finds | 7 of 9 |" in lines
    assert "| violations | 1 |" in lines
    assert "VIOLATION: one too many" in lines
