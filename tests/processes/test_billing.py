"""A process between two entities: one payment per order, whatever is killed or repeated."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from decimal import Decimal
from pathlib import Path

import pytest

from headwater.log.memory import MemoryLog
from headwater.log.opening import open_log
from headwater.log.port import Log, TopicPartition
from headwater.messages.declare import Command
from tests.orders import Payment, PlaceOrder, app

HERE = Path(__file__).resolve().parents[2]


def until(condition: Callable[..., object], timeout_s: float = 60.0) -> None:
    """Waits for a condition with a deadline."""
    pause = threading.Event()
    waited = 0.0
    while not condition():
        assert waited < timeout_s, "the condition did not become true in time"
        pause.wait(0.01)
        waited += 0.01


def events_in(log: Log, entity: str) -> Counter[tuple[str, bytes | None]]:
    """How often each (event type, key) stands in the log."""
    found: Counter[tuple[str, bytes | None]] = Counter()
    topic = f"{entity}-events"
    if topic not in log.topics():
        return found
    partitions = [TopicPartition(topic, p) for p in range(log.topics()[topic].partitions)]
    ends = log.ends(partitions)
    reader = log.reader()
    reader.assign(dict.fromkeys(partitions, 0))
    reached = dict.fromkeys(partitions, 0)
    while any(reached[tp] < ends[tp] for tp in partitions):
        batch = reader.read(1000, 1.0)
        reached.update(batch.reached)
        for record in batch.records:
            found[(dict(record.headers)["ce_type"].decode(), record.key)] += 1
    reader.close()
    return found


def recorded(log: Log) -> int:
    return sum(1 for kind, _ in events_in(log, "payment").elements() if kind == "PaymentRecorded")


def assert_one_payment_each(log: Log, orders: int) -> None:
    found = events_in(log, "payment")
    assert set(found.values()) == {1}, [one for one in found.items() if one[1] != 1]
    assert len(found) == 2 * orders


def orders(count: int, prefix: str = "o") -> list[Command]:
    return [PlaceOrder(f"{prefix}{i}", Decimal(i)) for i in range(count)]


@pytest.fixture(params=["kind", "unkind", "sqlite"])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Log:
    if request.param == "sqlite":
        return open_log(f"sqlite:///{tmp_path / 'shop.db'}")
    unkind = request.param == "unkind"
    log = MemoryLog(gaps=unkind, late=unkind)
    print("seed", log.seed)
    return log


def test_every_order_is_paid_once(log: Log) -> None:
    with app.run(log) as shop:
        assert len([r for r in shop.send_many(orders(50)) if hasattr(r, "version")]) == 50
        until(lambda: recorded(log) == 50)
        assert shop.get(Payment, "p-o7").requested == 1
        assert [r.meta.type for r in shop.history(Payment, "p-o7")] == ["PaymentRequested", "PaymentRecorded"]
    assert_one_payment_each(log, 50)


def test_a_reaction_happens_when_its_cause_did_and_knows_it(log: Log) -> None:
    from datetime import UTC, datetime

    happened = datetime(1997, 3, 4, tzinfo=UTC)
    with app.run(log) as shop:
        shop.send(PlaceOrder("o1", Decimal(1)), time=happened, command_id="first")
        until(lambda: recorded(log) == 1)
        paid = shop.history(Payment, "p-o1")[-1].meta
    assert paid.time == happened
    assert paid.correlation_id == "first"


def test_a_reset_to_the_beginning_repeats_no_payment(log: Log) -> None:
    with app.run(log) as shop:
        list(shop.send_many(orders(30)))
        until(lambda: recorded(log) == 30)
    for group in ("billing", "billing-owners"):
        committed = next(g.positions for g in log.groups() if g.name == group)
        until(lambda group=group: not next(g.members for g in log.groups() if g.name == group))
        log.reset(group, dict.fromkeys(committed, 0))
    with app.run(log) as shop:
        list(shop.send_many(orders(1, prefix="late")))
        until(lambda: recorded(log) == 31)
        until(lambda: is_idle(log, "billing", ["order-events", "payment-events"]))
    assert_one_payment_each(log, 31)


def test_a_reset_after_the_window_of_remembered_ids_repeats_nothing(tmp_path: Path) -> None:
    """One payment gets more commands than an owner remembers; then everything is forwarded again."""
    import headwater as hw
    from tests.orders import Order, OrderPlaced, RequestPayment

    class Hoarder(hw.Process):
        one: hw.Key[str]

        @hw.on(OrderPlaced, key=lambda event, meta: "all")
        def ask(self, event: OrderPlaced) -> RequestPayment:
            return RequestPayment("only", event.total)

    hoard = hw.App("hoard", aggregates=[Order, Payment], processes=[Hoarder], partitions=2)
    log = MemoryLog(gaps=True)
    print("seed", log.seed)

    def requested() -> int:
        return events_in(log, "payment")[("PaymentRequested", b"only")]

    with hoard.run(log) as shop:
        list(shop.send_many(orders(300)))
        until(lambda: requested() == 300)
    for version in (2, 3):
        # A new version of the process starts from the beginning, with a state that remembers nothing.
        class Hoarder(hw.Process, version=version):  # type: ignore[no-redef] # the same process, later
            one: hw.Key[str]
            count: int = 0

            @hw.on(OrderPlaced, key=lambda event, meta: "all")
            def ask(self, event: OrderPlaced) -> RequestPayment:
                return RequestPayment("only", event.total)

        again = hw.App("hoard", aggregates=[Order, Payment], processes=[Hoarder], partitions=2)
        with again.run(log) as shop:
            shop.send(PlaceOrder(f"new{version}", Decimal(1)))
            until(lambda version=version: requested() == 299 + version)
            until(lambda version=version: is_idle(log, f"hoarder-v{version}", ["order-events"]))
    assert requested() == 302


def is_idle(log: Log, process: str, sources: Sequence[str]) -> bool:
    """Whether nothing is left to forward, to react to or to pay: positions first, so that nothing that is written
    meanwhile can be missed. Arguments: sources: what is forwarded to the process."""
    deeds = {process: sources, f"{process}-owners": [f"{process}-commands"], "payment-owners": ["payment-commands"]}
    positions = {group.name: group.positions for group in log.groups(list(deeds))}
    for group, topics in deeds.items():
        there = log.topics(topics)
        partitions = [TopicPartition(topic, p) for topic in topics for p in range(there[topic].partitions)]
        for tp, end in log.ends(partitions).items():
            if end and positions.get(group, {}).get(tp, 0) < end:
                return False
    return True


@pytest.mark.slow
@pytest.mark.parametrize("round_", range(3))
def test_killed_at_any_moment_it_still_pays_once(tmp_path: Path, round_: int) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print("seed", seed)
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    rng = random.Random(seed)
    count = 400
    for attempt in range(5):
        child = subprocess.Popen(
            [sys.executable, "-m", "tests.processes.run_shop", url, str(count)],
            cwd=HERE,
            stdout=subprocess.PIPE,
        )
        assert child.stdout is not None
        assert child.stdout.readline() == b"running\n"
        if attempt < 4:
            # Lines come as the work goes on: killing after a seeded number of them hits every stage.
            for _ in range(rng.randint(1, 12)):
                if child.stdout.readline() == b"done\n":
                    break
            os.kill(child.pid, signal.SIGKILL)
        else:
            assert child.stdout.read().endswith(b"done\n")
        child.wait(60)
        child.stdout.close()
    log = open_log(url)
    assert_one_payment_each(log, count)
    log.close()
