"""`hw deadletters` of a view, whose reader has its bookkeeping in a file that belongs to one process."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from headwater.client.shop import Shop
from headwater.testing.waiting import eventually
from tests.bank import Deposit, Open
from tests.cli.conftest import Shell, an_app, caught_up

APP = """
from pathlib import Path

import headwater as hw
from tests.bank import Account

app = hw.App("bank", aggregates=[Account], views=str(Path(__file__).parent / "*.sql"))
"""
VIEW = "CREATE TABLE balances AS SELECT accountId, SUM(amount) AS balance FROM account-events GROUP BY accountId;"


def balances(shop: Shop) -> list[Decimal]:
    return sorted(one.normalize() for one in shop.query("SELECT balance FROM balances", into=Decimal))


@pytest.mark.slow
def test_a_views_dead_letters_are_listed_edited_and_discarded(shell: Shell, project: Path) -> None:
    (project / "bankapp.py").write_text(APP)
    (project / "balances.sql").write_text(VIEW)
    app = an_app(project)
    with app.run("sqlite:///bank.db") as shop:
        for account in ("1", "2", "3"):
            shop.send(Open(account, "ann"))
        for account in ("1", "2"):
            shop.send(Deposit(account, Decimal(5)))
            shop.send(Deposit(account, Decimal("0.12345678901")))  # more digits than a view reads
            shop.send(Deposit(account, Decimal(1)))
        shop.send(Deposit("3", Decimal(7)))
        caught_up(shop)
        assert shell("deadletters list").one["reader"] == "balances"
        assert (shell("deadletters list").one["letters"], shell("deadletters list").one["waiting"]) == (2, 2)
        first, second = (letter["id"] for letter in shell("deadletters list --each").rows)
        shown = shell("deadletters show", first).one
        assert "11 digits after the point" in shown["message"]
        again = shell("deadletters retry --yes", second)
        assert (again.code, again.out.count("failed again")) == (4, 1)
        (project / "value.json").write_text(shown["value"].replace("0.12345678901", "0.125"))
        assert shell("deadletters retry --value value.json --yes", first).one["result"] == "retried after an edit"
        assert shell("deadletters discard --yes --reason", "too fine", second).one["result"] == "discarded"
        assert balances(shop) == [Decimal(6), Decimal("6.125"), Decimal(7)]
        assert shell("deadletters list").out == ""
        steps = [step["step"] for step in shell("deadletters audit").rows]
        assert steps == ["failed again", "retried after an edit", "discarded"]
    gone = shell("deadletters list")
    assert (gone.code, gone.out) == (0, "")
    assert "without those of views: no process on this machine has the views" in gone.err


@pytest.mark.slow
def test_a_views_dead_letters_are_listed_where_no_read_model_was_ever_run(shell: Shell, project: Path) -> None:
    (project / "bankapp.py").write_text(APP)
    (project / "balances.sql").write_text(VIEW)
    with an_app(project).run("sqlite:///bank.db", only=["commands", "views"]) as shop:
        shop.send(Open("1", "ann"))
        shop.send(Deposit("1", Decimal("0.12345678901")))
        eventually(lambda: [one["reader"] for one in shell("deadletters list").rows] == ["balances"])
        assert shell("deadletters audit").out == ""
        refused = shell("deadletters show nothing/like/it/1")
        assert (refused.code, "there is no dead letter" in refused.error) == (2, True)
        assert shell("deadletters discard --all --yes --reason", "too fine").one["result"] == "discarded"
        assert [step["step"] for step in shell("deadletters audit").rows] == ["discarded"]
    nothing = shell("deadletters list --output table")
    assert (nothing.code, nothing.out) == (0, "no dead letters\n")
