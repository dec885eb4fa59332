"""The wire names of this contract, for ever: a name that disappears here makes stored data unreadable."""

from __future__ import annotations

import headwater.messages as hw

from . import contract

GOLDEN = """
command hw.Append 1 events
command hw.Get 1 outcomeOf
command order/CancelOrder 2 orderId,reason
command order/PlaceOrder 1 orderId,customerId,items
event counter/CountedDown 1 number,by
event counter/CountedUp 1 number,by
event day/DayBegan 1 day
event device/DeviceSeen 1 deviceId
event hw.Reverted 1 state,toVersion
event order/OrderCancelled 2 orderId,reason
event order/OrderDelivered 1 orderId,at,stops,signedBy
event order/OrderPlaced 1 orderId,customerId,items,total
timeout Unpaid 1 orderId
value Item 1 sku,itemPrice,quantity
"""


def test_wire_names_versions_and_fields_stay() -> None:
    classes = [cls for cls in vars(contract).values() if isinstance(cls, type) and issubclass(cls, hw.Message)]
    classes += [hw.Append, hw.Get, hw.Reverted]
    lines = []
    for cls in classes:
        info = cls.__hw__
        if not info.family:
            name = f"{info.entity}/{info.wire_name}" if info.entity else info.wire_name
            lines.append(f"{info.kind} {name} {info.version} {','.join(cls.__struct_encode_fields__)}")
    assert sorted(lines) == GOLDEN.strip().splitlines()
