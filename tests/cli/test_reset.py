"""`hw reset`: what it shows, what it refuses, and what it leaves."""

from __future__ import annotations

from contextlib import closing
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import pytest

from headwater.cli.times import Duration, ToolTime
from headwater.client.shop import Shop
from headwater.log.opening import open_log
from headwater.log.port import NewRecord, TopicPartition
from headwater.testing import eventually
from tests.bank import Account, Deposit, Open
from tests.cli.conftest import Shell, an_app, refuse_unknown_command

BALANCE = "bank-balance-v1"


@pytest.fixture
def ran(project: Path) -> Path:
    """The bank ran, its read models are at the end of the log, and nobody runs it now."""
    with an_app(project).run("sqlite:///bank.db") as bank:
        work(bank)
    return project


def work(bank: Shop) -> None:
    for number in range(6):
        bank.send(Open(str(number), "ann"))
        last = bank.send(Deposit(str(number), Decimal(5)))
        bank.rows(Account, after=last)
        eventually(lambda: all(lag == 0 for lag in bank._models.lag().values()))


def refused(shell: Shell, line: str, error: str, next: str) -> None:
    ended = shell(line)
    assert ended.code, ended
    assert error in ended.error, ended.err
    assert ended.next.startswith(next), ended.err
    refuse_unknown_command(ended.next)


def balances(shell: Shell) -> list[dict[str, Any]]:
    return shell("query 'SELECT * FROM balance ORDER BY account_id'").rows


def test_a_dry_run_counts_events_and_changes_nothing(shell: Shell, ran: Path) -> None:
    before = balances(shell)
    ended = shell(f"reset --group {BALANCE} --all-topics --to-earliest")
    moves = ended.rows
    assert {(move["group"], move["topic"]) for move in moves} == {(BALANCE, "account-events")}
    assert [move["partition"] for move in moves] == list(range(8))
    assert sum(move["again"] for move in moves) == 12, "records, and not the gaps between them"
    assert {move["newOffset"] for move in moves} == {0}
    assert "all rows of balance version 1 would be removed" in ended.err
    assert "--execute does it" in ended.err
    assert balances(shell) == before
    assert shell(f"reset --group {BALANCE} --all-topics --to-current").rows != moves


def test_a_read_model_is_forgotten_and_made_again(shell: Shell, ran: Path) -> None:
    before = balances(shell)
    ended = shell(f"reset --group {BALANCE} --all-topics --to-earliest --execute")
    assert ended.rows, "it succeeded"
    assert "all rows of balance version 1 were removed, and are made again from the log" in ended.err
    assert "would" not in ended.err
    assert "start the process that runs it" in shell("query 'SELECT * FROM balance'").error
    assert shell("query 'SELECT id FROM account'").code == 0, "the other read models are as they were"
    with closing(open_log("sqlite:///bank.db")) as log:
        [group] = log.groups([BALANCE])
        assert set(group.positions.values()) == {0}
    with an_app(ran).run("sqlite:///bank.db") as bank:
        eventually(lambda: bank._models.lag()["balance"] == 0)
    assert balances(shell) == before


def test_what_is_set_aside_is_counted(shell: Shell, ran: Path) -> None:
    with closing(open_log("sqlite:///bank.db")) as log:
        log.append(
            [NewRecord("account-events", 0, b"x", b"no JSON"), NewRecord("account-events", 0, b"x", b"nor this")]
        )
    with an_app(ran).run("sqlite:///bank.db", only=["projections"]) as bank:
        eventually(lambda: bank._models.lag()["balance"] == 0)
    ended = shell(f"reset --group {BALANCE} --all-topics --to-earliest")
    assert "2 records are set aside, and would be tried again" in ended.err
    assert "audit" not in ended.err, "nothing was done with them yet"
    ended = shell(f"reset --group {BALANCE} --all-topics --to-earliest --execute")
    assert "2 records had been set aside, and will be tried again" in ended.err


def test_an_audit_that_a_reset_takes_along_is_counted_also_when_nothing_is_set_aside(shell: Shell, ran: Path) -> None:
    with closing(open_log("sqlite:///bank.db")) as log:
        log.append([NewRecord("account-events", 0, b"x", b"no JSON")])
    with an_app(ran).run("sqlite:///bank.db", only=["projections"]) as bank:
        eventually(lambda: bank._models.lag()["balance"] == 0)
        letters = [row["id"] for row in shell("deadletters list --each").rows if row["reader"] == "balance"]
        assert shell(f"deadletters discard {letters[0]} --reason 'a joke' --yes").code == 0
    ended = shell(f"reset --group {BALANCE} --all-topics --to-earliest")
    assert "set aside" not in ended.err
    assert "the audit of dead letters, 1 step, would go with the rows" in ended.err


@pytest.mark.parametrize(
    "where", ["--to-latest", "--shift-by -1", "--to-offset 2", "--to-datetime 2024-01-01T00:00:00.000 --topic x"]
)
def test_rows_that_depend_on_what_came_before_are_not_set_elsewhere(shell: Shell, ran: Path, where: str) -> None:
    scope = "" if "--topic" in where else "--all-topics"
    where = where.replace("--topic x", "--topic account-events:1").replace("2024", "2999")
    with an_app(ran).run("sqlite:///bank.db", only=["commands"]) as bank:
        bank.send(Deposit("1", Decimal(5)))  # so that the end is not where the rows are
        if "2999" in where:
            bank.send(Deposit("0", Decimal(5)))
            for number in range(6):
                bank.send(Deposit(str(number), Decimal(5)))
    line = f"reset --group {BALANCE} {scope} {where} --execute"
    refused(shell, line, "it can begin anew, in all its partitions", f"hw reset --group {BALANCE} --all-topics")


def test_nothing_is_set_while_somebody_reads(shell: Shell, bank: Shop) -> None:
    bank.send(Open("1", "ann"))
    line = f"reset --group {BALANCE} --all-topics --to-earliest"
    dry = shell(line)
    assert dry.code == 0
    assert "is being read by" in dry.err
    refused(shell, f"{line} --execute", f"group {BALANCE} is being read by bank-balance-v1", "hw groups")
    assert "all rows of balance version 1 would be removed" in shell(f"{line} --execute").err, "they were not"


def test_owners_only_go_on(shell: Shell, ran: Path) -> None:
    tp = TopicPartition("account-commands", 3)
    with closing(open_log("sqlite:///bank.db")) as log:
        end = log.ends([tp])[tp]
        log.append([NewRecord(*tp, b"x", b"nobody can read this")])
    ended = shell(f"reset --group account-owners --topic account-commands:3 --to-offset {end + 1} --execute")
    assert "1 command will never be carried out" in ended.err
    [move] = ended.rows
    assert (move["skipped"], move["newOffset"]) == (1, end + 1)
    refused(
        shell,
        "reset --group account-owners --all-topics --to-earliest --execute",
        "were carried out, and the states of their entities say so",
        "hw topics",
    )
    with an_app(ran).run("sqlite:///bank.db") as bank:
        assert bank.get(Account, "1").version == 2


def test_a_group_that_headwater_keeps_needs_its_app(shell: Shell, ran: Path) -> None:
    (ran / "headwater.toml").unlink()
    line = f"reset --group {BALANCE} --all-topics --to-earliest --on sqlite:///bank.db"
    refused(shell, line, "what belongs to them, its app says", "hw reset --group")
    line = "reset --group no-such --all-topics --to-earliest --on sqlite:///bank.db --app bankapp:app"
    refused(shell, line, "app 'bank' has no group 'no-such'; it has bank-account-table, bank-balance-v1", "hw groups")


def test_positions_travel_through_a_file(shell: Shell, ran: Path) -> None:
    exported = shell(f"reset --group {BALANCE} --all-topics --to-current --export")
    assert exported.out.splitlines()[0].split(",")[:2] == ["account-events", "0"]
    (ran / "positions.csv").write_text(exported.out)
    moves = shell(f"reset --group {BALANCE} --from-file positions.csv").rows
    assert [move["again"] + move["skipped"] for move in moves] == [0] * 8
    both = shell(f"reset --group {BALANCE} --group bank-account-table --all-topics --to-current --export")
    assert {line.split(",")[0] for line in both.out.splitlines()} == {BALANCE, "bank-account-table"}
    (ran / "both.csv").write_text(both.out)
    assert len(shell("reset --from-file both.csv").rows) == 16


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("P7D", timedelta(days=7)),
        ("PT1H30M", timedelta(minutes=90)),
        ("P1DT0.5S", timedelta(days=1, milliseconds=500)),
        ("pt2m", timedelta(minutes=2)),
        *[(wrong, None) for wrong in ("P", "PT", "1H", "PT-1H", "P1H", "PT1D", "P99999999999D", "")],
    ],
)
def test_durations_are_those_of_iso_8601(text: str, expected: timedelta | None) -> None:
    if expected is None:
        with pytest.raises(click.BadParameter):
            Duration().convert(text, None, None)
    else:
        assert Duration().convert(text, None, None) == expected


def test_a_time_without_a_zone_is_utc_as_in_the_other_tool() -> None:
    expected = datetime(2024, 4, 10, 10, 30, tzinfo=UTC)
    for text in ("2024-04-10T10:30:00.000", "2024-04-10T10:30:00Z", "2024-04-10T12:30:00.000+02:00"):
        assert ToolTime().convert(text, None, None) == expected
    for wrong in ("2024-04-10", "noon", "10:30"):
        with pytest.raises(click.BadParameter):
            ToolTime().convert(wrong, None, None)
