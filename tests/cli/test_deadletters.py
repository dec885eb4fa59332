"""`hw deadletters`: a bug is found, told, mended, and what it held back is worked off; the page about it is true."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path

import pytest

import headwater as hw
from headwater.client.shop import Shop
from headwater.testing.waiting import eventually
from tests.bank import Account, Deposit, Open
from tests.cli.conftest import BANK_APP, Shell, an_app, at_work, caught_up, refuse_unknown_command
from tests.cli.test_run import ROOT

PAGE = (ROOT / "docs" / "failures.md").read_text()
FAILING = BANK_APP.replace(
    "        self.balance += event.amount\n",
    """        if event.amount == 13 and not Path("mended").exists():
            raise ValueError(f"no account takes {event.amount}")
        self.balance += event.amount
""",
).replace("from decimal", "from pathlib import Path\nfrom decimal")


@pytest.fixture
def shop(project: Path) -> Iterator[Shop]:
    """Accounts 1 and 2 have met the bug, and a deposit waits behind it in account 1."""
    (project / "bankapp.py").write_text(FAILING)
    with at_work(an_app(project)) as shop:
        for account in ("1", "2", "3"):
            shop.send(Open(account, "ann"))
        for account, amount in (("1", 5), ("1", 13), ("1", 1), ("2", 13), ("3", 7)):
            shop.send(Deposit(account, Decimal(amount)))
        caught_up(shop)
        yield shop


def balance(directory: Path) -> type[hw.Projection]:
    [found] = an_app(directory).projections
    return found


def row(directory: Path, shop: Shop, account: str) -> Decimal | None:
    found = shop.row(balance(directory), account)
    return None if found is None else found.balance  # type: ignore[attr-defined] # of the bank's app


def test_what_went_wrong_is_grouped_and_shown(shell: Shell, shop: Shop) -> None:
    group = shell("deadletters list").one
    assert (group["reader"], group["handler"], group["error"]) == ("balance", "Balance.deposited", "ValueError")
    assert (group["letters"], group["waiting"], group["message"]) == (2, 1, "no account takes 13")
    assert group["firstFailed"] <= group["lastFailed"]
    assert "Balance.deposited" in shell("deadletters list --output table").out
    letters = shell("deadletters list --each --key 1").rows
    [letter] = letters
    assert (letter["key"], letter["waiting"], letter["attempts"]) == ("1", 1, 1)
    shown = shell("deadletters show", letter["id"]).one
    assert shown["value"].startswith('{"eventType":"Deposited"')
    assert (shown["headers"]["ce_type"], shown["stage"]) == ("Deposited", "apply")
    unknown = shell("deadletters show nothing/like/it/1")
    assert (unknown.code, unknown.next) == (2, "hw deadletters list --each")


def test_what_is_chosen_by_several_names_is_what_has_one_of_them(shell: Shell, shop: Shop) -> None:
    assert {one["key"] for one in shell("deadletters list --each --key 1 --key 2").rows} == {"1", "2"}
    assert shell("deadletters list --error ValueError --error KeyError --key 2").one["letters"] == 1
    assert shell("deadletters list --reader balance --handler no --handler neither").out == ""
    for verb in ("retry", "discard --reason x"):
        asked = shell(f"deadletters {verb} --key 1 --key 2 --key 3")
        assert "2 dead letters, and behind that 1 record" in asked.error
        assert asked.next == f"hw deadletters {verb} --key 1 --key 2 --key 3 --yes"


def test_a_read_after_what_is_held_is_told_at_once(shell: Shell, project: Path, shop: Shop) -> None:
    receipt = shop.send(Deposit("1", Decimal(2)))
    words = (
        "balance has read what is waited for, and set it aside; runner: held; .* is not applied: it is held behind a "
    )
    with pytest.raises(hw.NotYet, match=f"{words}dead letter of its key"):
        shop.row(balance(project), "1", after=receipt, timeout_s=60)


def test_a_retry_counts_asks_and_tells_each_outcome(shell: Shell, project: Path, shop: Shop) -> None:
    refused = shell("deadletters retry")
    assert (refused.code, "say which dead letters to retry" in refused.error) == (2, True)
    refused = shell("deadletters retry --all")
    assert "retry 2 dead letters, and behind that 1 record; nobody is there to be asked" in refused.error
    assert refused.next == "hw deadletters retry --all --yes"
    again = shell("deadletters retry --all --yes")
    assert again.code == 4, "the bug is still there"
    assert again.out.count("failed again") == 2
    (project / "mended").touch()
    results = shell("deadletters retry --error ValueError --handler Balance.deposited --yes --who user:bob").rows
    assert [result["result"] for result in results] == ["retried", "retried"]
    assert (row(project, shop, "1"), row(project, shop, "2")) == (Decimal(19), Decimal(13))
    assert shell("deadletters list").out == ""
    steps = shell("deadletters audit").rows
    assert [step["step"] for step in steps] == ["failed again", "failed again", "retried", "retried"]
    assert steps[-1]["who"] == "user:bob"


def test_one_is_edited_and_another_is_discarded(shell: Shell, project: Path, shop: Shop) -> None:
    first, second = (letter["id"] for letter in shell("deadletters list --each").rows)
    value = shell("deadletters show", first).one["value"]
    (project / "value.json").write_text(value.replace('"13"', '"12"'))
    assert shell("deadletters retry --value value.json --yes", first).one["result"] == "retried after an edit"
    assert shell("deadletters discard --yes --reason", "it was a test", second).one["result"] == "discarded"
    assert sorted((row(project, shop, "1"), row(project, shop, "2")), key=str) in (
        [Decimal(18), None],
        [Decimal(12), Decimal(6)],
    )
    edit, discard = shell("deadletters audit").rows
    assert edit["valueBefore"] == value
    assert (discard["reason"], discard["id"]) == ("it was a test", second)


def test_what_was_worked_off_before_is_nothing_to_do(shell: Shell, project: Path, shop: Shop) -> None:
    first, second = (letter["id"] for letter in shell("deadletters list --each").rows)
    assert shell("deadletters discard --yes --reason x --who user:bob", first).one["result"] == "discarded"
    again = shell("deadletters retry", first)
    assert (again.code, again.one["id"], again.one["result"]) == (0, first, "nothing to do"), again.err
    said = again.one["message"]
    assert said.startswith("it is no dead letter any more; the last step: discarded, ")
    assert said.endswith(", user:bob")
    (project / "mended").touch()
    both = shell("deadletters retry --yes", first, second)
    assert [(one["id"], one["result"]) for one in both.rows] == [(first, "nothing to do"), (second, "retried")]
    assert "retry: 1 dead letter, and behind that" in both.err
    assert shell("deadletters discard --reason x", second, first).rows[0]["result"] == "nothing to do"
    assert [step["step"] for step in shell("deadletters audit").rows] == ["discarded", "retried"], "nothing was done"
    (project / "value.json").write_text("{}")
    assert shell("deadletters retry --value value.json", first).one["result"] == "nothing to do"
    assert shell("deadletters retry --value value.json", first, second).code == 2
    for verb in ("retry --yes", "discard --yes --reason x"):
        unknown = shell(f"deadletters {verb}", first, f"{first}7")
        assert (unknown.code, f"there is no dead letter {first}7 (any more)" in unknown.error) == (2, True)


@pytest.mark.parametrize(
    ("made", "why"),
    [
        (lambda value: value[:-1], "is no event of account-events: "),
        (lambda value: value.replace("Deposited", "Depositted"), "no class here has the wire name 'Depositted'"),
        (lambda value: value.replace('"13"', '"much"'), "is no event of account-events: "),
        (lambda value: value.replace('"accountId":"', '"accountId":"3'), "is an event of '3"),
    ],
)
def test_a_value_that_no_retry_could_read_is_refused_before_it_takes_the_place_of_another(
    shell: Shell, project: Path, shop: Shop, made: Callable[[str], str], why: str
) -> None:
    first, _ = (letter["id"] for letter in shell("deadletters list --each").rows)
    value = shell("deadletters show", first).one["value"]
    (project / "value.json").write_text(made(value))
    refused = shell("deadletters retry --value value.json --yes", first)
    assert (refused.code, why in refused.error) == (2, True), refused.error
    assert "nothing was retried, and the dead letter has its own value still" in refused.error
    assert refused.next == f"hw deadletters show {first}"
    assert shell("deadletters show", first).one["value"] == value
    assert shell("deadletters audit").out == ""


def test_an_edit_may_make_another_event_of_it(shell: Shell, project: Path, shop: Shop) -> None:
    first, _ = (letter["id"] for letter in shell("deadletters list --each").rows)
    value = shell("deadletters show", first).one["value"]
    (project / "value.json").write_text(value.replace("Deposited", "Withdrawn"))
    assert shell("deadletters retry --value value.json --yes", first).one["result"] == "retried after an edit"


def test_an_edit_that_fails_again_has_its_original_in_the_audit(shell: Shell, project: Path, shop: Shop) -> None:
    first, _ = (letter["id"] for letter in shell("deadletters list --each").rows)
    value = shell("deadletters show", first).one["value"]
    (project / "value.json").write_text(value.replace('"13"', '"13.0"'))
    assert shell("deadletters retry --value value.json --yes", first).code == 4
    step = shell("deadletters audit").one
    assert (step["step"], step["valueBefore"]) == ("failed again", value)


def test_without_an_owner_it_stays_asked_for_and_is_done_later(shell: Shell, project: Path) -> None:
    (project / "bankapp.py").write_text(FAILING)
    with an_app(project).run("sqlite:///bank.db") as shop:
        shop.send(Open("1", "ann"))
        with pytest.raises(hw.NotYet, match="runner: held"):
            shop.row(balance(project), "1", after=shop.send(Deposit("1", Decimal(13))), timeout_s=60)
    (project / "mended").touch()
    late = shell("deadletters retry --all --yes --timeout 0.2")
    assert (late.code, late.next) == (3, "hw run bankapp:app --on sqlite:///bank.db")
    assert "it stays asked for" in late.error
    with an_app(project).run("sqlite:///bank.db") as shop:
        eventually(lambda: row(project, shop, "1") == 13)


def test_the_commands_of_the_page_exist() -> None:
    lines = re.findall(r"^(?:\$ )?(hw .*?)(?:  +#.*)?$", PAGE, re.MULTILINE)
    assert len(lines) > 5
    for line in lines:
        refuse_unknown_command(line)


def test_an_account_is_what_it_was(shop: Shop) -> None:
    assert shop.get(Account, "1").balance == 19, "only its read model was held back"


SHOP_APP = """
from pathlib import Path

import headwater as hw
from tests.processes.test_dead_letters import Bill, Invoice, Order, OrderPlaced


class Billing(hw.Process):
    order_id: hw.Key[str]

    @hw.on(OrderPlaced)
    def placed(self, event: OrderPlaced) -> Bill:
        if event.customer == "bug" and not Path("mended").exists():
            raise ValueError(f"no bill of {event.total}")
        return Bill(event.order_id, event.total)


app = hw.App("shop", aggregates=[Order, Invoice], processes=[Billing])
"""


def test_dead_letters_of_a_process_are_worked_off_as_well(shell: Shell, project: Path) -> None:
    (project / "shopapp.py").write_text(SHOP_APP)
    from tests.processes.test_dead_letters import Invoice, Order, OrderPlaced

    with an_app(project, "shopapp").run("sqlite:///shop.db") as shop:
        shop.append(Order, "1", [OrderPlaced("1", Decimal(7), "bug"), OrderPlaced("1", Decimal(8))])
        where = "--app shopapp:app --on sqlite:///shop.db"
        eventually(lambda: [row["waiting"] for row in shell(f"deadletters list {where}").rows] == [1])
        group = shell(f"deadletters list {where}").one
        assert (group["reader"], group["handler"], group["error"]) == ("billing", "Billing.placed", "ValueError")
        (project / "value.json").write_text('{"eventType":"OrderPlaced"}')
        refused = shell(f"deadletters retry --value value.json --reader billing --yes {where}")
        assert (refused.code, "is no event of order-events" in refused.error) == (2, True), refused.error
        (project / "mended").touch()
        assert shell(f"deadletters retry --all --yes {where}").one["result"] == "retried"
        eventually(lambda: (found := shop.find(Invoice, "1")) is not None and found.amounts == [7, 8])
        assert [step["step"] for step in shell(f"deadletters audit {where}").rows] == ["retried"]
