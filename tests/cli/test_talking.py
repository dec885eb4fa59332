"""Talking to an app from the shell: what each verb does and shows."""

from __future__ import annotations

import json
import re
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from headwater.client.shop import Shop
from headwater.log.opening import open_log
from headwater.log.port import NewRecord
from headwater.stores.integers import to_cell
from tests.bank import Account, Deposit, Open
from tests.cli.conftest import Shell, an_app, at_work

NOON = "2024-04-10T12:00:00Z"


@pytest.fixture
def account(bank: Shop) -> Shop:
    """Account 1: opened, 10 deposited on 10 April 2024, 5 now."""
    bank.send(Open("1", "ann"))
    return bank


def deposit(shell: Shell, amount: str, *options: str) -> dict[str, object]:
    return shell("send Deposit", json.dumps({"accountId": "1", "amount": amount}), *options).one


# --- send


def test_a_command_is_carried_out_and_its_receipt_shown(shell: Shell, bank: Shop) -> None:
    receipt = shell("""send Open '{"accountId":"1","owner":"ann"}' --id first --actor user:ann --time""", NOON).one
    assert {**receipt, "token": ""} == {
        "entity": "account",
        "id": "1",
        "version": 1,
        "events": 1,
        "duplicate": False,
        "commandId": "first",
        "token": "",
    }
    (recorded,) = bank.history(Account, "1")
    assert recorded.meta.actor == "user:ann"
    assert recorded.meta.time.isoformat() == "2024-04-10T12:00:00+00:00"


def test_the_same_id_again_repeats_the_answer_and_not_the_command(shell: Shell, account: Shop) -> None:
    first = deposit(shell, "10", "--id", "once")
    again = deposit(shell, "10", "--id", "once")
    assert again == {**first, "duplicate": True}
    assert account.get(Account, "1").balance == 10


def test_a_command_may_come_from_standard_input(shell: Shell, account: Shop) -> None:
    assert shell("send Deposit -", stdin='{"accountId":"1","amount":"7"}').one["version"] == 2


def test_a_command_of_two_megabytes_is_refused_and_the_next_one_is_not(shell: Shell, account: Shop) -> None:
    large = json.dumps({"accountId": "2", "owner": "x" * 2_000_000})
    ended = shell("send Open -", stdin=large)
    assert ended.code == 2
    assert re.search(r"a record for topic account-commands, key b'2', has 2,000,\d+ bytes; at most", ended.error)
    assert len(ended.err) < 1000
    assert account.find(Account, "2") is None
    assert deposit(shell, "1")["version"] == 2


def test_cents_do_not_pass_through_a_float(shell: Shell, account: Shop) -> None:
    shell("""send Deposit '{"accountId":"1","amount":1234567890123456.01}'""")
    assert account.get(Account, "1").balance == Decimal("1234567890123456.01")


SLOW_APP = """
import threading

import headwater as hw

gate = threading.Event()


class SlowEvent(hw.Event, entity="slow"):
    slow: hw.Key[str]


class Done(SlowEvent):
    pass


class SlowCommand(hw.Command, entity="slow"):
    slow: hw.Key[str]


class Do(SlowCommand):
    pass


class Slow(hw.Aggregate[SlowEvent]):
    @hw.decides
    def do(self, command: Do) -> Done:
        gate.wait(60)
        return Done(command.slow)


app = hw.App("slow", aggregates=[Slow])
"""


def test_a_command_without_an_answer_may_be_sent_again_as_it_is_told(shell: Shell, directory: Path) -> None:
    (directory / "slow.py").write_text(SLOW_APP)
    (directory / "headwater.toml").write_text('app = "slow:app"\non = "sqlite:///slow.db"\n')
    with at_work(an_app(directory, "slow"), "sqlite:///slow.db"):
        ended = shell("""send Do '{"slow":"1"}' --timeout 0.2""")
        sys.modules["slow"].gate.set()
        assert ended.code == 3
        assert "it may still be carried out" in ended.error
        assert shell(ended.next.removeprefix("hw ")).one["version"] == 1, "once, and not twice"


# --- get, history


def test_an_entity_is_shown_now_and_at_moments_of_the_past(shell: Shell, account: Shop) -> None:
    deposit(shell, "10", "--time", NOON)
    deposit(shell, "5")
    assert shell("get account 1").one == {"id": "1", "version": 3, "owner": "ann", "balance": "15"}
    assert shell("get account 1 --at-version 2").one["balance"] == "10"
    assert shell("get account 1 --as-of 2024-04-10").one["balance"] == "10", "a date means its end"
    assert shell("get account 1 --as-of 2024-04-09").code == 1
    assert shell("get account 1 --known-at 2024-04-10").code == 1, "nothing was recorded by then"


def test_what_was_true_at_a_time_has_a_version_only_where_one_has_that_state(shell: Shell, account: Shop) -> None:
    deposit(shell, "10", "--time", NOON)
    now = shell("get account 1 --as-of 2099-01-01")
    assert (now.one["version"], now.err) == (2, "")
    ended = shell("get account 1 --as-of 2024-04-10")
    assert (ended.one["version"], ended.one["balance"]) == (None, "10"), "opened later than that"
    assert "no version of account '1' has this state" in ended.err


def test_an_entity_can_be_seen_while_nobody_runs_the_app(shell: Shell, project: Path) -> None:
    with an_app(project).run("sqlite:///bank.db") as shop:
        shop.send(Open("1", "ann"))
    ended = shell("get account 1")
    assert ended.one["owner"] == "ann"
    assert ended.err.startswith("note: no live owner of 'account'")
    assert shell("get account 2").code == 1
    assert shell("history account 1").one["type"] == "Opened"


def test_the_history_has_each_event_with_what_is_known_of_it(shell: Shell, account: Shop) -> None:
    deposit(shell, "10", "--actor", "user:bob", "--id", "d-1", "--time", NOON)
    opened, deposited = shell("history account 1").rows
    assert (opened["version"], opened["type"], opened["event"]) == (1, "Opened", {"accountId": "1", "owner": "ann"})
    assert (deposited["version"], deposited["commandId"], deposited["actor"]) == (2, "d-1", "user:bob")
    assert deposited["time"] == NOON
    assert deposited["recorded"] > NOON


# --- query


def test_read_models_are_asked_in_sql_while_the_app_runs(shell: Shell, account: Shop) -> None:
    receipt = account.send(Deposit("1", Decimal("2.50")))
    account.query("SELECT balance FROM balance", into=Decimal, after=receipt)
    assert shell("query 'SELECT * FROM balance'").one == {"account_id": "1", "balance": "2.50"}
    assert shell("query 'SELECT balance FROM balance WHERE account_id = ?' 1").one == {"balance": "2.50"}
    assert shell("query 'SELECT balance FROM balance WHERE account_id = ?' 2").rows == []


def test_an_integer_that_sqlite_has_no_room_for_is_shown_in_digits(shell: Shell, account: Shop) -> None:
    kept = to_cell(2**64)
    assert isinstance(kept, str)
    assert shell(f"query \"SELECT '{kept}' AS n\"").one == {"n": "18446744073709551616"}


def test_a_question_may_wait_for_what_was_sent(shell: Shell, account: Shop) -> None:
    token = str(deposit(shell, "2.50")["token"])
    assert shell("query 'SELECT balance FROM balance' --after", token).one == {"balance": "2.50"}


def test_a_question_that_waits_for_a_dead_read_model_is_told_why(shell: Shell, project: Path) -> None:
    with an_app(project).run("sqlite:///bank.db"):
        """Once, so that there is a table."""
    with at_work(an_app(project), only=["commands"]):
        token = str(deposit(shell, "2.50")["token"])
    ended = shell("query 'SELECT balance FROM balance' --after", token)
    assert ended.code == 3
    assert "runner: none" in ended.error
    assert ended.next == "hw lag"


def test_read_models_are_asked_in_sql_when_nothing_runs(shell: Shell, project: Path) -> None:
    with an_app(project).run("sqlite:///bank.db") as shop:
        shop.send(Open("1", "ann"))
        receipt = shop.send(Deposit("1", Decimal("2.50")))
        shop.query("SELECT balance FROM balance", into=Decimal, after=receipt)
    assert shell("query 'SELECT * FROM balance'").one == {"account_id": "1", "balance": "2.50"}


def test_asking_read_models_that_nobody_made_makes_no_file(shell: Shell, project: Path) -> None:
    open_log("sqlite:///bank.db").close()
    ended = shell("query 'SELECT 1'")
    assert ended.code == 3
    assert "no app has made them yet" in ended.error
    assert not (project / "bank.models.db").exists()


def test_a_number_beyond_sqlites_arithmetic_is_not_shown_as_nothing(shell: Shell, account: Shop) -> None:
    receipt = account.send(Deposit("1", Decimal("1e400")))
    account.query("SELECT balance FROM balance", into=str, after=receipt)
    row = shell("query 'SELECT balance, balance * 2 AS twice, NULL AS none FROM balance'").one
    assert Decimal(row.pop("balance")) == Decimal("1e400")
    assert row == {"twice": "inf", "none": None}


def test_columns_of_one_name_are_all_shown(shell: Shell, account: Shop) -> None:
    question = "query 'SELECT 1 AS a, 2 AS a, 3 AS b'"
    assert shell(question).one == {"a": 1, "a_1": 2, "b": 3}
    assert shell(f"{question} --output table").out.split() == ["a", "a_1", "b", "─" * 11, "1", "2", "3"]


# --- tail


def test_tail_shows_the_last_events_of_an_entity_type(shell: Shell, bank: Shop) -> None:
    for number in range(15):
        bank.send(Open(str(number), "ann"), time=datetime(2024, 4, 10, 12, number, tzinfo=UTC))
    rows = shell("tail account").rows
    assert sorted(int(row["key"]) for row in rows) == list(range(5, 15))
    assert {row["type"] for row in rows} == {"Opened"}
    assert rows[0]["value"]["eventType"] == "Opened"
    assert rows[0]["headers"]["ce_type"] == "Opened"
    assert len(shell("tail account --limit 3").rows) == 3
    assert len(shell("tail account-events --from earliest").rows) == 15
    assert shell("tail account --from latest").rows == []
    assert shell("tail account --limit 0").rows == []


def test_tail_says_that_nothing_is_there_yet(shell: Shell, account: Shop) -> None:
    ended = shell("tail account --from 99999999999999999999")
    assert ended.rows == []
    assert ended.err.startswith("note: nothing is there yet at 99999999999999999999: the last partition of account ")
    assert len(shell(f"tail account --from earliest --limit {10**30}").rows) == 1


def test_tail_shows_records_that_nobody_can_read(shell: Shell, account: Shop) -> None:
    foreign = [
        NewRecord("account-events", 0, b"\xff\xfe", b"\x00\x01 no JSON"),
        NewRecord("account-events", 0, None, b'{"eventType":"Theirs","price":1.10,\n"n":123456789012345678901}'),
        NewRecord("account-events", 0, b"k", None, [("h", b"one"), ("h", b"\xff")]),
        NewRecord("account-events", 0, b"k", b"\x1b[31mred"),
    ]
    log = open_log("sqlite:///bank.db")
    log.append(foreign)
    log.close()
    ended = shell("tail account-events --from earliest")
    broken, theirs, empty, red = (row for row in ended.rows if row["partition"] == 0)
    assert broken["key"] == {"base64": "//4="}
    assert broken["value"] == "\x00\x01 no JSON"
    assert theirs["key"] is None
    assert theirs["type"] == "Theirs"
    assert '"price":1.10,"n":123456789012345678901}' in ended.out, "numbers stay as they were written"
    assert (empty["value"], empty["headers"]) == (None, {"h": ["one", {"base64": "/w=="}]})
    assert red["value"] == "\x1b[31mred"
    table = shell("tail account-events --from earliest --output table").out
    assert "\x1b[31m" not in table, "a record must not steer the terminal"


# --- revert


def test_a_revert_shows_the_difference_and_appends_one_event(shell: Shell, account: Shop) -> None:
    deposit(shell, "10")
    done = shell("revert account 1 --to-version 1 --yes --actor user:bob").one
    assert (done["version"], done["restored"]) == (3, 1)
    assert done["changes"] == [{"field": "balance", "now": "10", "then": "0"}]
    assert account.get(Account, "1").balance == 0
    *_, reverted = shell("history account 1").rows
    assert (reverted["version"], reverted["actor"]) == (3, "user:bob")


def test_without_a_yes_nothing_is_reverted(shell: Shell, account: Shop) -> None:
    deposit(shell, "10")
    ended = shell("revert account 1 --to-version 1")
    assert ended.code == 2
    assert "balance" in ended.err, "the difference is shown all the same"
    assert ended.out == "", "and no table where a program reads"
    assert account.version(Account, "1") == 2


REVERTED = """
    @hw.on(hw.Reverted)
    def reverted(self, event: hw.Reverted) -> None:
        self.balance = event.state_as(Account).balance
"""


@pytest.mark.parametrize("yes", ["", " --yes"])
def test_a_revert_names_the_read_models_that_do_not_follow(yes: str, shell: Shell, account: Shop) -> None:
    deposit(shell, "10")
    note = "note: a revert is an event, hw.Reverted; balance does not react to it and stays as before"
    assert note in shell(f"revert account 1 --to-version 1{yes}").err


@pytest.mark.parametrize("views", ["events", "state"])
def test_a_revert_names_views_of_what_happened(views: str, shell: Shell, account: Shop, project: Path) -> None:
    pytest.importorskip("duckdb")
    deposit(shell, "10")
    (project / "views").mkdir()
    (project / "views" / "totals.sql").write_text(f"CREATE TABLE total AS SELECT COUNT(*) AS n FROM account-{views}")
    text = (project / "bankapp.py").read_text().replace("\napp =", f"{REVERTED}\n\napp =")
    (project / "watching.py").write_text(text.replace("[Balance]", '[Balance], views="views/*.sql"'))
    ended = shell("revert account 1 --to-version 1 --app watching:app")
    assert ("Reverted; total does not react" in ended.err) is (views == "events"), ended


def test_a_revert_to_the_same_state_appends_nothing(shell: Shell, account: Shop) -> None:
    ended = shell("revert account 1 --to-version 1 --yes")
    assert ended.code == 0
    assert "nothing to do" in ended.err
    assert account.version(Account, "1") == 1


# --- topics, groups, lag


def test_topics_groups_and_lag_tell_what_is_there(shell: Shell, account: Shop) -> None:
    topics = {row["topic"]: row for row in shell("topics").rows}
    assert topics["account-events"]["partitions"] == 8
    assert topics["account-events"]["retention"] == "for ever"
    assert topics["account-state"]["compacted"] is True
    assert sum(topics["account-events"]["ends"]) >= 1
    groups = {row["group"]: row for row in shell("groups").rows}
    assert groups["account-owners"]["partitions"] == "account-commands/0-7"
    assert groups["account-owners"]["member"].startswith("account-owner")
    lag = shell("lag").rows
    owners = [row for row in lag if row.get("group") == "account-owners"]
    assert [row["partition"] for row in owners] == list(range(8))
    (balance,) = (row for row in lag if row.get("readModel") == "balance")
    assert (balance["readModel"], balance["runner"], balance["lastFailure"]) == ("balance", "running", None)


def test_lag_tells_that_nobody_brings_a_read_model_forward(shell: Shell, project: Path) -> None:
    with an_app(project).run("sqlite:///bank.db") as shop:
        shop.send(Open("1", "ann"))
    with an_app(project).run("sqlite:///bank.db", only=["commands"]) as shop:
        shop.send(Deposit("1", Decimal(5)))
    (balance,) = (row for row in shell("lag").rows if row.get("readModel") == "balance")
    assert balance["runner"] == "none"
    assert balance["lag"] >= 1


def test_the_log_can_be_looked_at_without_an_app(shell: Shell, project: Path) -> None:
    with an_app(project).run("sqlite:///bank.db") as shop:
        shop.send(Open("1", "ann"))
    (project / "headwater.toml").unlink()
    for verb in ("topics", "groups", "lag", "tail account"):
        assert shell(f"{verb} --on sqlite:///bank.db").code == 0, verb


# --- where things are named, how they are written


def test_app_and_log_are_named_by_options_then_environment_then_file(
    shell: Shell, account: Shop, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (project / "headwater.toml").write_text('app = "wrong:app"\non = "sqlite:///wrong.db"\n')
    assert "wrong" in shell("get account 1").error
    monkeypatch.setenv("HEADWATER_APP", "bankapp:app")
    monkeypatch.setenv("HEADWATER_URL", "sqlite:///bank.db")
    assert shell("get account 1").one["owner"] == "ann"
    assert "other" in shell("get account 1 --on sqlite:///other.db").error


def test_each_form_of_output(shell: Shell, account: Shop) -> None:
    assert json.loads(shell("get account 1 --output json").out)["owner"] == "ann"
    assert json.loads(shell("history account 1 --output json").out)[0]["type"] == "Opened"
    table = shell("history account 1 --output table").out
    assert "Opened" in table
    assert "\x1b" not in table
    assert shell("query 'SELECT * FROM balance' --output table").out == "no rows\n"
