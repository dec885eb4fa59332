"""What a class statement means, and which ones are refused, with what advice."""

from __future__ import annotations

import dataclasses
import re
from datetime import date, datetime
from decimal import Decimal
from typing import Any, ClassVar, Literal, NewType
from uuid import UUID

import msgspec
import pytest

import headwater.messages as hw
from headwater.errors import Misuse
from headwater.messages.declare import TYPE_FIELDS, MessageMeta

from .contract import CancelOrder, CountedUp, Item, OrderCancelled, OrderEvent, OrderPlaced, Unpaid


def test_a_member_inherits_entity_and_key_from_its_family() -> None:
    info = OrderCancelled.__hw__
    assert (info.kind, info.entity, info.wire_name, info.version) == ("event", "order", "OrderCancelled", 2)
    assert (info.key_field, info.key_type, info.family) == ("order_id", str, False)
    assert hw.family_of(OrderPlaced) is OrderEvent
    assert hw.members_of(OrderEvent)[:2] == [OrderPlaced, OrderCancelled]


def test_kinds_and_keys_are_known_of_every_class() -> None:
    assert OrderEvent.__hw__.family
    assert Item.__hw__.kind == "value"
    assert Unpaid.__hw__.kind == "timeout"
    assert CancelOrder.__hw__.kind == "command"
    assert CountedUp.__hw__.key_type is int


def test_a_name_in_the_class_statement_is_the_wire_name() -> None:
    class Renamed(OrderEvent, name="OrderRenamedOnce"):
        pass

    assert Renamed.__hw__.wire_name == "OrderRenamedOnce"
    assert b'"OrderRenamedOnce"' in hw.JsonCodec([Renamed]).encode(Renamed("1"), None)


def test_a_field_may_keep_its_wire_name() -> None:
    class Line(hw.Value):
        item_price: Decimal = hw.field(name="item_price")
        item_count: int = hw.field(default=1, name="n")

    assert msgspec.json.encode(Line(Decimal("1.10"))) == b'{"item_price":"1.10","n":1}'


def test_classes_made_in_functions_may_name_each_other_in_text_annotations() -> None:
    class Part(hw.Value):
        size: int

    class Whole(hw.Value):
        parts: list[Part]
        inner: list[Whole] = []

    assert Whole([Part(1)], [Whole([])]).inner[0].parts == []
    with pytest.raises(Misuse, match=re.escape("Whole.parts[0] is 1 (int), not Part")):
        Whole([1])  # type: ignore[list-item] # on purpose


class Early(hw.Value):
    """Names a class that comes later in this module."""

    later: list[Later]


class EarlyFamily(hw.Event, entity="early"):
    id: hw.Key[str]
    early: Early


class EarlyEvent(EarlyFamily):
    pass


class Later(hw.Value):
    at: datetime


def test_a_class_may_name_one_that_comes_later_in_its_module() -> None:
    codec = hw.JsonCodec([EarlyFamily])
    with pytest.raises(Misuse, match=re.escape("Early.later[0] is 3 (int), not Later")):
        Early([3])  # type: ignore[list-item] # on purpose
    naive = b'{"eventType":"EarlyEvent","eventVersion":1,"id":"1","early":{"later":[{"at":"2024-04-10T10:30:00"}]}}'
    answer = codec.decode(naive)
    assert isinstance(answer, hw.Unreadable)
    assert answer.kind == "wrong_type"


def test_a_name_that_is_never_defined_is_named_when_the_first_message_is_made() -> None:
    class Part(hw.Value):
        size: Unheard  # type: ignore[name-defined] # on purpose  # noqa: F821 -- on purpose

    with pytest.raises(Misuse, match=r"Part\.size: a name in 'Unheard' is not defined"):
        Part(1)


def test_a_fields_default_does_not_hide_a_type_of_the_same_name() -> None:
    class Row(hw.State):
        day: hw.Key[date]
        date: date | None = None

    assert Row(date(2024, 4, 10)).date is None


def test_a_state_is_mutable_and_says_its_keys() -> None:
    class Sold(hw.State, version=3):
        shop: hw.Key[str]
        day: hw.Key[date]
        quantity: int = 0
        kinds: ClassVar[int] = 7

    row = Sold("north", date(2024, 4, 10))
    row.quantity += 1
    assert row.quantity == 1
    assert Sold.__hw__.key_fields == ("shop", "day")
    assert (Sold.__hw__.kind, Sold.__hw__.version, Sold.__hw__.wire_name) == ("state", 3, "Sold")


def test_a_state_is_checked_on_demand() -> None:
    class Account(hw.State):
        balance: Decimal = Decimal(0)

    account = Account()
    hw.check(account)
    account.balance = 1.5  # type: ignore[assignment] # on purpose
    with pytest.raises(Misuse, match=re.escape("Account.balance is 1.5 (float), not a finite Decimal")):
        hw.check(account)


def test_a_class_that_is_made_again_takes_its_own_place() -> None:
    class Family(hw.Event, entity="cell"):
        id: hw.Key[str]

    def run_cell() -> Any:
        class Ran(Family):
            pass

        return Ran

    run_cell()
    again = run_cell()
    assert hw.members_of(Family) == [again]


OrderId = NewType("OrderId", str)


def test_a_key_may_be_a_type_of_its_own() -> None:
    class Family(hw.Event, entity="typed"):
        id: hw.Key[OrderId]

    class Happened(Family):
        pass

    assert Happened.__hw__.key_type is str
    assert hw.key_of(Happened(OrderId("7"))) == "7"


def refused(match: str) -> Any:
    return pytest.raises(Misuse, match=re.escape(match))


def test_an_event_of_no_entity_is_refused_with_what_to_write() -> None:
    with refused('class OrderEvent(hw.Event, entity="order"): order_id: hw.Key[str]'):

        class Lost(hw.Event):
            order_id: hw.Key[str]


def test_an_event_of_no_key_is_refused_with_what_to_write() -> None:
    class Keyless(hw.Event, entity="order"):
        pass

    with refused("Lost has no key: declare the field that names its entity, order_id: hw.Key[str]"):

        class Lost(Keyless):
            order_id: str


def test_two_keys_are_refused() -> None:
    with refused("Torn has the keys order_id and line_id"):

        class Torn(OrderEvent):
            line_id: hw.Key[str]


def test_a_key_of_an_unusable_type_is_refused() -> None:
    with refused("Weighed.weight: a finite float cannot be a key: use hw.Key[str]"):

        class Weighed(hw.Event, entity="weight"):
            weight: hw.Key[float]


def test_a_key_in_a_value_is_refused() -> None:
    with refused("Part.id: a value has no identity"):

        class Part(hw.Value):
            id: hw.Key[str]


def test_two_classes_of_one_wire_name_are_refused() -> None:
    class Family(hw.Event, entity="twin"):
        id: hw.Key[str]

    class First(Family, name="Same"):
        pass

    with refused("have the same wire name 'Same' in the entity 'twin': give one of them another"):

        class Second(Family, name="Same"):
            pass

    assert hw.members_of(Family) == [First]


def test_a_member_cannot_change_the_entity() -> None:
    with refused("Moved is in a family of the entity 'order' already"):

        class Moved(OrderEvent, entity="parcel"):
            pass


@pytest.mark.parametrize("entity", ["", "order events", "a/b", "é", "-x"])
def test_an_entity_that_cannot_be_in_a_topics_name_is_refused(entity: str) -> None:
    with refused("becomes part of topic names"):

        class Family(hw.Event, entity=entity):
            id: hw.Key[str]


@pytest.mark.parametrize("version", [0, -1, "2"])
def test_a_version_below_one_is_refused(version: Any) -> None:
    with refused("must be a whole number from 1"):

        class Bad(OrderEvent, version=version):
            pass


def test_a_misspelt_word_in_the_class_statement_is_refused() -> None:
    with refused("Bad: entitty= means nothing here: there are entity=, name="):

        class Bad(hw.Event, entitty="order"):  # type: ignore[call-arg,unused-ignore] # on purpose
            pass


def test_a_family_has_no_instances() -> None:
    with refused("OrderEvent is a family, it has no instances"):
        OrderEvent("1")


def test_a_required_field_after_an_optional_one_is_refused() -> None:
    with refused("Bad: Required field 'b'"):

        class Bad(hw.Value):
            a: int = 1
            b: int  # type: ignore[misc] # on purpose


def test_two_fields_of_one_wire_name_are_refused() -> None:
    with refused("Bad: "):

        class Bad(hw.Value):
            item_id: int
            itemId: int


def test_a_field_shadowed_by_a_method_is_refused() -> None:
    with refused("Order.placed is a field and a method of the same name"):

        class Order(hw.State):
            placed: bool = False

            def placed(self) -> None:  # type: ignore[no-redef] # on purpose  # noqa: F811 -- on purpose
                pass


def test_an_inherited_field_shadowed_by_a_method_is_refused() -> None:
    with refused("Bad.order_id is a field and a method of the same name"):

        class Bad(OrderEvent):
            @property  # type: ignore[misc] # on purpose
            def order_id(self) -> str:
                return ""


def test_a_state_field_without_default_is_refused_with_what_to_write() -> None:
    with refused("Account.balance has no default: a state begins empty, before its first event"):

        class Account(hw.State):
            balance: Decimal


@dataclasses.dataclass
class Point:
    x: int


class Model:
    """Looks like a pydantic model without needing the package."""

    model_fields: ClassVar[dict[str, Any]] = {}


@pytest.mark.parametrize(
    ("annotation", "advice"),
    [
        (Point, "Point is a dataclass: derive it from hw.Value instead"),
        (list[Point], "Point is a dataclass"),
        (Model, "Model is a pydantic model: declare the same fields in a class of hw.Value"),
        (OrderPlaced, "OrderPlaced is a event: only values"),
        (complex, "complex cannot be in a message: use str, int"),
        (set, "set cannot be in a message"),
        (Decimal | str, "more than one str-like type"),
        (dict[Item, int], "Item cannot be the key of a dict"),
    ],
)
def test_a_type_that_cannot_travel_is_refused_with_what_to_write(annotation: Any, advice: str) -> None:
    annotations = {"field": annotation}
    with pytest.raises(Misuse, match=re.escape(advice)):
        MessageMeta("Bad", (hw.Value,), {"__annotations__": annotations, "__module__": __name__})


def test_values_in_a_union_carry_tags() -> None:
    class Card(hw.Value, tag="card"):
        number: str

    class Cash(hw.Value, tag="cash"):
        pass

    class Paid(hw.Value):
        by: Card | Cash | None
        kind: Literal["a", 1] = 1

    paid = Paid(Cash())
    assert msgspec.json.decode(msgspec.json.encode(paid), type=Paid) == paid


def test_the_text_of_keys() -> None:
    some = UUID("018f5f0e-7c1a-7000-8000-000000000000")
    texts = [hw.key_text(key) for key in ("a/b é", 12, some, date(2024, 4, 10))]
    assert texts == ["a/b é", "12", "018f5f0e-7c1a-7000-8000-000000000000", "2024-04-10"]


@pytest.mark.parametrize("key", ["", None, 1.5, True, datetime(2024, 4, 10), b"x"])
def test_what_is_no_key_is_refused(key: object) -> None:
    with pytest.raises(Misuse, match="a key is"):
        hw.key_text(key)


def test_messages_without_a_key_say_so() -> None:
    with refused("Item has no key"):
        hw.key_of(Item("a", Decimal(1)))


def test_every_kind_that_travels_has_a_field_for_its_type() -> None:
    assert TYPE_FIELDS == {"event": "eventType", "command": "commandType", "timeout": "timeoutType"}
