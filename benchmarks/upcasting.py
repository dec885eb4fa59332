"""What it costs to read events of a family that has old versions: nothing where there are none among them.

The same events of today three times: by msgspec alone (the floor), by a codec of a family without a history, and by one
of a family whose events were changed twice. Then batches in which one event of a hundred is old, and old ones alone.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import Any, Union

import msgspec

import headwater as hw
from benchmarks.rounds import Different, Report, check_equal, options, take_turns
from headwater.messages.json_codec import JsonCodec

TARGETS = {"with_history_vs_without": ("≤", 1.05)}


class PlainEvent(hw.Event, entity="plain"):
    id: hw.Key[str]


class Sent(PlainEvent, version=3):
    customer: str
    cents: int


class Paid(PlainEvent):
    cents: int


class ChangedEvent(hw.Event, entity="changed"):
    id: hw.Key[str]


class ChangedSent(ChangedEvent, name="Sent", version=3):
    customer: str
    cents: int


class ChangedPaid(ChangedEvent, name="Paid"):
    cents: int


@hw.upcasts(ChangedSent, from_version=1)
def with_customer(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {"customer": "nobody"}


@hw.upcasts(ChangedSent, from_version=2)
def to_cents(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {"cents": int(Decimal(fields["euros"]) * 100)}


def today(number: int) -> bytes:
    if number % 4 == 0:
        return b'{"eventType":"Paid","eventVersion":1,"id":"e%d","cents":%d}' % (number, number)
    return b'{"eventType":"Sent","eventVersion":3,"id":"e%d","customer":"ann","cents":%d}' % (number, number)


def old(number: int) -> bytes:
    return b'{"eventType":"Sent","eventVersion":1,"id":"e%d","euros":"%d.5"}' % (number, number)


class Side:
    """One way of decoding one batch. `us`: microseconds per event, of each round."""

    def __init__(self, decode: Callable[[Sequence[bytes]], Sequence[Any]], values: Sequence[bytes]) -> None:
        self._decode, self._values = decode, values
        self.us: list[float] = []

    def turn(self, index: int) -> None:
        """Raises: Different."""
        begun_s = time.perf_counter()
        found = self._decode(self._values)
        self.us.append((time.perf_counter() - begun_s) / len(found) * 1e6)
        check_equal("the sum of all events", sum(one.cents for one in found), cents_in(self._values))


def cents_in(values: Sequence[bytes]) -> int:
    fields = map(msgspec.json.decode, values)
    return sum(one["cents"] if "cents" in one else int(Decimal(one["euros"]) * 100) for one in fields)


def main() -> int:
    asked = options("upcasting", "Events of today and of yesterday, decoded in batches.")
    count, rounds = (50_000, 7) if asked.quick else (200_000, 15)
    usual = [today(number) for number in range(count)]
    mixed = [old(number) if number % 100 == 1 else today(number) for number in range(count)]
    ancient = [old(number) for number in range(count // 10)]
    plain: JsonCodec[PlainEvent] = JsonCodec([PlainEvent])
    changed: JsonCodec[ChangedEvent] = JsonCodec([ChangedEvent])
    floor = msgspec.json.Decoder(Union[Sent, Paid]).decode  # noqa: UP007 -- as the codec makes it
    sides = {
        "floor": Side(lambda values: list(map(floor, values)), usual),
        "without_history": Side(plain.decode_many, usual),
        "with_history": Side(changed.decode_many, usual),
        "one_of_a_hundred_old": Side(changed.decode_many, mixed),
        "all_old_two_steps": Side(changed.decode_many, ancient),
    }
    try:
        take_turns(rounds, [side.turn for side in sides.values()])
    except Different as error:
        print(f"upcasting: {error}", file=sys.stderr)
        return 1
    report = Report("upcasting", TARGETS)
    report.figures["events"] = count
    for name, side in sides.items():
        report.figure(f"{name}_us_per_event", side.us, 3)
    report.ratio("with_history_vs_without", sides["with_history"].us, sides["without_history"].us)
    return report.finish(asked)


if __name__ == "__main__":
    sys.exit(main())
