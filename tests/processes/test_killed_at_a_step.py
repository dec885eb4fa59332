"""Killed between any two steps of any writer, and reset to the beginning as a whole, also when nobody remembers the
commands any more: one payment per order."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import pytest

from headwater.log.port import Log
from headwater.testing.conformance.log.waiting import fresh
from headwater.testing.places import forget_on_kafka
from tests.processes.mortal import STEPS, WRITERS
from tests.processes.run_mortal import NEW, Payments, open_shop, place, send_all
from tests.processes.shop import PARTS, CheckPayment, app
from tests.processes.test_billing import events_in, is_idle, until

ROOT = Path(__file__).parents[2]
SOURCES = ("order-events", "payment-events")
FORGOTTEN_AFTER = 128
"""So many later commands make an owner forget one."""


class Place:
    """Where a shop lives, for processes one after the other. Arguments: url; prefix: of topics and groups."""

    def __init__(self, url: str, prefix: str) -> None:
        self.url, self.prefix = url, prefix

    def open(self, orders: int) -> Log:
        return open_shop(self.url, self.prefix, orders)

    def die(self, writer: str, step: str, count: int, early: bool, orders: int) -> None:
        """Runs a shop that must kill itself there."""
        arguments = [self.url, self.prefix, writer, step, str(count), str(int(early)), str(orders)]
        child = subprocess.run(
            [sys.executable, "-m", "tests.processes.run_mortal", *arguments], cwd=ROOT, timeout=200, capture_output=True
        )
        assert child.returncode == -signal.SIGKILL, child.stderr.decode()


@pytest.mark.parametrize("writer", WRITERS)
def test_killed_between_any_two_steps_and_reset_it_pays_once(tmp_path: Path, writer: str) -> None:
    seed = random.SystemRandom().getrandbits(32)
    print("seed", seed)
    chance = random.Random(seed)
    deaths = [(writer, step) for step in chance.sample(STEPS, len(STEPS))]
    die_and_be_reset(Place(f"sqlite:///{tmp_path / 'shop.db'}", ""), deaths, chance)


@pytest.mark.kafka
@pytest.mark.slow
def test_killed_between_steps_on_kafka_and_reset_it_pays_once(kafka_broker: str, tmp_path: Path) -> None:
    """Each step and each writer has its turn; which meets which is another matter in every run."""
    seed = random.SystemRandom().getrandbits(32)
    print("seed", seed)
    chance = random.Random(seed)
    writers = [*chance.sample(list(WRITERS), len(WRITERS)), chance.choice(list(WRITERS))]
    deaths = list(zip(writers, chance.sample(STEPS, len(STEPS)), strict=True))
    prefix = fresh("") + "-"
    try:
        die_and_be_reset(Place(f"{kafka_broker}?index_directory={tmp_path / 'index'}", prefix), deaths, chance)
    finally:
        forget_on_kafka(kafka_broker, prefix)


def die_and_be_reset(shop_place: Place, deaths: Sequence[tuple[str, str]], chance: random.Random) -> None:
    orders = 0
    for writer, step in deaths:
        count, early = chance.randint(1, NEW), chance.random() < 0.5
        print(writer, step, count, "early" if early else "late", flush=True)
        shop_place.die(writer, step, count, early, orders)
        orders += NEW
    ids = [f"p-o{n}" for n in range(orders)]
    with closing(shop_place.open(orders)) as log:
        with app().run(log, only=PARTS) as shop:
            send_all(shop, map(place, range(orders)))
            Payments(log).wait_for(orders)
            until(lambda: is_idle(log, "billing", SOURCES))
            assert_one_payment_each(log, orders)
            send_all(shop, [CheckPayment(id) for _ in range(FORGOTTEN_AFTER + 2) for id in ids])
        for version, process in ((1, "billing"), (2, "billing-v2")):
            reset_all(log)
            with app(version).run(log, only=PARTS) as shop:
                send_all(shop, map(CheckPayment, ids))  # else its owner has no reason to commit anything
                until(lambda process=process: is_idle(log, process, SOURCES))
            assert_one_payment_each(log, orders)


def assert_one_payment_each(log: Log, orders: int) -> None:
    found = Counter({one: count for one, count in events_in(log, "payment").items() if one[0] != "PaymentChecked"})
    ids = {f"p-o{n}".encode() for n in range(orders)}
    assert found == Counter((kind, id) for kind in ("PaymentRequested", "PaymentRecorded") for id in ids)
    placed = {("OrderPlaced", f"o{n}".encode()): 1 for n in range(orders)}
    assert events_in(log, "order") == placed


def reset_all(log: Log) -> None:
    """Sends every group to the beginning, once the last process has left them."""
    for group in log.groups():
        until(lambda name=group.name: not any(one.members for one in log.groups([name])))
        log.reset(group.name, dict.fromkeys(group.positions, 0))
