"""What a caller gets for a command: a receipt, a refusal, or an error that says who acts next."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal

import pytest

import headwater as hw
from headwater.log.port import Log, TopicPartition
from headwater.messages.tokens import decode_token
from headwater.testing import eventually
from tests.bank import (
    Account,
    AlreadyOpen,
    Break,
    Deposit,
    Deposited,
    Open,
    Opened,
    Overdrawn,
    Rename,
    Withdraw,
    Withdrawn,
)
from tests.orders import PlaceOrder


class AuditCommand(hw.Command, entity="account"):
    """A newer program's."""

    account_id: hw.Key[str]


class Audit(AuditCommand):
    pass


app = hw.App("bank", aggregates=[Account], partitions=3)

TEN = Decimal(10)
CHRISTMAS = datetime(1997, 12, 25, tzinfo=UTC)


pytestmark = pytest.mark.parametrize(
    ("open_again", "bank"),
    [
        ("memory", "run"),
        ("memory", "connect"),
        ("sqlite", "run"),
        ("sqlite", "connect"),
        pytest.param("kafka", "connect", marks=pytest.mark.kafka),
    ],
    indirect=True,
)


@pytest.fixture
def bank(request: pytest.FixtureRequest, log: Log) -> Iterator[hw.Shop]:
    """A client in the process that owns the accounts, and one beside it, whose commands travel."""
    with app.run(log, only=["commands"]) as owner:
        if request.param == "run":
            yield owner
        else:
            with app.connect(log) as client:
                yield client


def test_an_accepted_command_has_a_receipt(bank: hw.Shop, log: Log) -> None:
    receipt = bank.send(Open("a", "ann"), command_id="open-a")
    assert (receipt.command_id, receipt.entity, receipt.id) == ("open-a", "account", "a")
    assert (receipt.version, receipt.events, receipt.duplicate, receipt.log) == (1, 1, False, log.id)
    (position,) = receipt.positions.items()
    assert position[0].topic == "account-events"
    assert eventually(lambda: log.ends([position[0]])[position[0]] >= position[1] > 0)
    assert decode_token(receipt.token).positions == {tuple(position[0]): position[1]}


def test_one_command_may_lead_to_nothing(bank: hw.Shop) -> None:
    bank.send(Open("a", "ann"))
    receipt = bank.send(Rename("a", "anne"))
    assert (receipt.version, receipt.events) == (1, 0)
    assert len(bank.history(Account, "a")) == 1


def test_nothing_happens_to_an_entity_that_was_never_there(bank: hw.Shop) -> None:
    assert bank.send(Rename("a", "anne")).version == 0
    assert bank.find(Account, "a") is None


def test_a_refusal_is_raised_again_at_the_caller(bank: hw.Shop) -> None:
    bank.send(Deposit("a", TEN))
    with pytest.raises(Overdrawn, match="The account has only 10") as refusal:
        bank.send(Withdraw("a", Decimal(11)))
    assert refusal.value.balance == TEN
    assert bank.version(Account, "a") == 1


def test_an_expected_version(bank: hw.Shop) -> None:
    bank.send(Open("a", "ann"), expected_version=0)
    with pytest.raises(hw.Conflict, match=r"account 'a' is at version 1, not 0") as conflict:
        bank.send(Deposit("a", TEN), expected_version=0)
    assert (conflict.value.expected, conflict.value.actual) == (0, 1)
    assert bank.send(Deposit("a", TEN), expected_version=1).version == 2


def test_the_same_command_twice_is_one(bank: hw.Shop) -> None:
    first = bank.send(Deposit("a", TEN), command_id="d")
    bank.send(Deposit("a", TEN))
    again = bank.send(Deposit("a", TEN), command_id="d")
    assert (again.version, again.events, again.duplicate) == (first.version, 1, True)
    assert bank.get(Account, "a").balance == 20


def test_a_duplicate_is_recognised_before_its_expected_version(bank: hw.Shop) -> None:
    bank.send(Deposit("a", TEN), command_id="d", expected_version=0)
    assert bank.send(Deposit("a", TEN), command_id="d", expected_version=0).duplicate


def test_a_refused_command_stays_refused(bank: hw.Shop) -> None:
    with pytest.raises(Overdrawn):
        bank.send(Withdraw("a", TEN), command_id="w")
    bank.send(Deposit("a", TEN))
    with pytest.raises(Overdrawn) as refusal:
        bank.send(Withdraw("a", TEN), command_id="w")
    assert refusal.value.balance == 0
    assert bank.send(Withdraw("a", TEN), command_id="w2").version == 2


def test_a_conflict_leaves_the_id_free(bank: hw.Shop) -> None:
    with pytest.raises(hw.Conflict):
        bank.send(Deposit("a", TEN), command_id="d", expected_version=7)
    assert not bank.send(Deposit("a", TEN), command_id="d").duplicate


def test_an_id_is_not_used_again_for_other_content(bank: hw.Shop) -> None:
    bank.send(Deposit("a", TEN), command_id="d")
    with pytest.raises(hw.Misuse, match=r"command id d was used before for account 'a' with another content"):
        bank.send(Deposit("a", Decimal(11)), command_id="d")
    with pytest.raises(hw.Misuse, match="another content"):
        bank.send(Withdraw("a", TEN), command_id="d")
    assert bank.get(Account, "a").balance == TEN


def test_ids_are_counted_per_entity(bank: hw.Shop) -> None:
    assert not bank.send(Deposit("a", TEN), command_id="d").duplicate
    assert not bank.send(Deposit("b", TEN), command_id="d").duplicate


@pytest.mark.parametrize(
    ("how", "words"),
    [
        ("raise", r"Account on Break failed on account 'a'.*ZeroDivisionError: broken on purpose \(bank.py, line"),
        ("mutate", "it changed the state; only @evolves methods may"),
        ("foreign key", "Deposited carries the key 'somebody else', not 'a'"),
        ("fold", "negative deposits cannot be folded"),
    ],
)
def test_a_handler_that_fails_writes_nothing_and_leaves_its_neighbours_alone(
    bank: hw.Shop, how: str, words: str
) -> None:
    bank.send(Open("a", "ann"))
    outcomes = list(bank.send_many([Deposit("a", TEN), Break("a", how), Deposit("b", TEN), Withdraw("a", Decimal(3))]))
    assert [type(one) for one in outcomes] == [hw.Receipt, hw.Failed, hw.Receipt, hw.Receipt]
    with pytest.raises(hw.Failed, match=f"(?s){words}.*nothing was written"):
        bank.send(Break("a", how))
    assert bank.get(Account, "a").balance == 7
    assert [type(one.event) for one in bank.history(Account, "a")] == [Opened, Deposited, Withdrawn]


def test_a_failed_command_may_be_tried_again_with_its_id(bank: hw.Shop) -> None:
    for _ in range(2):
        with pytest.raises(hw.Failed):
            bank.send(Break("a", "raise"), command_id="b")


def test_who_and_when_are_kept(bank: hw.Shop) -> None:
    before = datetime.now(UTC)
    bank.send(Deposit("a", TEN), actor="user:ann", time=CHRISTMAS, command_id="d")
    (recorded,) = bank.history(Account, "a")
    meta = recorded.meta
    assert (meta.actor, meta.time, meta.command_id, meta.causation_id) == ("user:ann", CHRISTMAS, "d", "d")
    assert meta.recorded is not None
    assert before <= meta.recorded <= datetime.now(UTC)
    assert (meta.type, meta.entity, meta.entity_id, meta.version) == ("Deposited", "account", "a", 1)


def test_many_are_carried_out_in_order_per_entity(bank: hw.Shop) -> None:
    accounts = [f"a{number}" for number in range(20)]
    outcomes = list(bank.send_many((Open(account, "x") for _ in range(3) for account in accounts), in_flight=8))
    assert [type(one) for one in outcomes] == [hw.Receipt] * 20 + [AlreadyOpen] * 40
    outcomes = list(bank.send_many(Deposit(account, Decimal(n)) for n in range(1, 6) for account in accounts))
    assert [one.version for one in outcomes if isinstance(one, hw.Receipt)] == [
        n + 1 for n in range(1, 6) for _ in accounts
    ]
    amounts = [one.event.amount for one in bank.history(Account, "a7") if isinstance(one.event, Deposited)]
    assert amounts == [1, 2, 3, 4, 5]


def test_many_with_envelopes_and_ids_sent_twice(bank: hw.Shop) -> None:
    sendings = [hw.Sending(Deposit("a", TEN), command_id=f"d{n}", time=CHRISTMAS, actor="user:ann") for n in range(3)]
    outcomes = [one for one in bank.send_many([*sendings, *sendings]) if isinstance(one, hw.Receipt)]
    assert [one.duplicate for one in outcomes] == [False] * 3 + [True] * 3
    assert {one.meta.time for one in bank.history(Account, "a")} == {CHRISTMAS}


def test_what_became_of_a_command(bank: hw.Shop) -> None:
    bank.send(Deposit("a", TEN), command_id="d")
    with pytest.raises(Overdrawn):
        bank.send(Withdraw("a", Decimal(11)), command_id="w")
    receipt = bank.outcome(Account, "a", "d")
    assert receipt is not None
    assert (receipt.command_id, receipt.version, receipt.events) == ("d", 1, 1)
    with pytest.raises(Overdrawn):
        bank.outcome(Account, "a", "w")
    assert bank.outcome(Account, "a", "never sent") is None
    assert bank.outcome(Account, "nobody", "d") is None


def test_what_is_no_command_is_refused_before_it_travels(bank: hw.Shop) -> None:
    with pytest.raises(hw.Misuse, match="send takes a command, not Opened"):
        bank.send(Opened("a", "ann"))  # type: ignore[arg-type] # on purpose
    with pytest.raises(hw.Misuse, match="time must be aware"):
        bank.send(Deposit("a", TEN), time=datetime(1997, 12, 25))


def test_a_command_that_no_owner_knows(bank: hw.Shop) -> None:
    with pytest.raises(hw.Unavailable, match=r"no running owner of 'account' knows the command Audit \(version 1\)"):
        bank.send(Audit("a"))


def test_a_command_of_another_app(bank: hw.Shop) -> None:
    with pytest.raises(hw.Unavailable, match=r"no app has made the topics of 'order' .*known entity types: account"):
        bank.send(PlaceOrder("1", TEN))


def test_a_receipt_says_how_far_a_reader_must_be(bank: hw.Shop, log: Log) -> None:
    receipts = [bank.send(Deposit("a", TEN)) for _ in range(3)]
    positions = [next(iter(receipt.positions.values())) for receipt in receipts]
    assert positions == sorted(set(positions))
    partition = next(iter(receipts[0].positions))
    assert isinstance(partition, TopicPartition)
    assert eventually(lambda: len(log.keyed(partition, b"a")) == 3)
