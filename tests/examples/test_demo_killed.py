"""The demo is killed three times, once inside a commit; what stands there in the end is neither less nor twice."""

from __future__ import annotations

import gzip
import os
import random
import signal
import time
from collections import Counter
from collections.abc import Iterable
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from tests.examples.demos import ROOT, Demo, events_in
from tests.examples.wal import commit_under_way

DATA = ROOT / "examples" / "shop" / "data" / "cdnow_purchases.txt.gz"


def first_days_in(lines: Iterable[str]) -> dict[str, str]:
    """Customer -> the day of the first purchase, straight from the lines of the file."""
    days: dict[str, str] = {}
    for customer, day, *_ in map(str.split, lines):
        written = f"{day[:4]}-{day[4:6]}-{day[6:]}"
        days[customer] = min(written, days.get(customer, written))
    return days


# Known from the file, computed without this project (examples/shop/data/README.md).
PURCHASES, CUSTOMERS, CDS, DOLLARS = 69_659, 23_570, 167_881, Decimal("2500315.63")
FREE_OF_CHARGE = 80
MONTHS = {"1997-03": Decimal("393155.27"), "1998-06": Decimal("76109.30")}
FIRST_DAYS = first_days_in(gzip.decompress(DATA.read_bytes()).decode().splitlines()[1:])
BIGGEST = [("07592", Decimal("13990.93")), ("14048", Decimal("8976.33")), ("07983", Decimal("6973.07"))]


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(900)
@pytest.mark.parametrize("seed", [1997])
def test_killed_at_three_points_and_started_again_nothing_is_lost_and_nothing_twice(tmp_path: Path, seed: int) -> None:
    print(f"seed: {seed}")
    random_ = random.Random(seed)

    demo = Demo(tmp_path)
    demo.wait_for("orders", random_.uniform(0.1, 0.3))
    demo.process.kill()
    assert demo.killed()

    demo = Demo(tmp_path)
    demo.wait_for("orders", random_.uniform(0.4, 0.7))
    kill_inside_a_commit(demo, tmp_path / "shop.db")

    demo = Demo(tmp_path)
    demo.wait_for("payments", random_.uniform(0.5, 0.9))
    demo.process.kill()
    assert demo.killed()

    output = Demo(tmp_path).end(timeout_s=300)
    assert "2,500,315.63" in output
    assert "Every figure equals the sum taken straight from the file." in output
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    assert_orders(url)
    assert_payments(url)
    assert_customers(url)


def kill_inside_a_commit(demo: Demo, database: Path) -> None:
    """Stops the demo again and again until it stands between writing a transaction's pages and publishing them."""
    pid = demo.process.pid
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        os.kill(pid, signal.SIGSTOP)
        _, status = os.waitpid(pid, os.WUNTRACED)
        assert os.WIFSTOPPED(status), "the demo ended before it was met inside a commit"
        if commit_under_way(database):
            os.kill(pid, signal.SIGKILL)
            assert demo.killed()
            assert commit_under_way(database), "what was half written is gone"
            return
        os.kill(pid, signal.SIGCONT)
    raise AssertionError("the demo was never met inside a commit")


def once_each(ids: Iterable[str], count: int) -> None:
    found = Counter(ids)
    assert [id for id, times in found.items() if times > 1] == []
    assert len(found) == count


def assert_orders(url: str) -> None:
    orders = list(events_in(url, "order"))
    once_each((order["orderId"] for _, order in orders), PURCHASES)
    items = [item for _, order in orders for item in order["items"]]
    assert sum(item["quantity"] for item in items) == CDS
    assert sum(Decimal(item["itemPrice"]) for item in items) == DOLLARS
    assert sum(Decimal(order["total"]) for _, order in orders) == DOLLARS
    assert sum(Decimal(order["total"]) == 0 for _, order in orders) == FREE_OF_CHARGE
    for month, dollars in MONTHS.items():
        of_month = [order for headers, order in orders if headers["ce_time"].startswith(month)]
        assert sum(Decimal(order["total"]) for order in of_month) == dollars


def assert_payments(url: str) -> None:
    payments = [payment for _, payment in events_in(url, "payment")]
    for kind in ("PaymentRequested", "PaymentRecorded"):
        of_kind = [payment for payment in payments if payment["eventType"] == kind]
        once_each((payment["paymentId"] for payment in of_kind), PURCHASES)
        assert sum(Decimal(payment["amount"]) for payment in of_kind) == DOLLARS
    assert len(payments) == 2 * PURCHASES


def assert_customers(url: str) -> None:
    found = list(events_in(url, "customer"))
    events = [event for _, event in found]
    registered = [event for event in events if event["eventType"] == "CustomerRegistered"]
    assert {event["customerId"]: event["day"] for event in registered} == FIRST_DAYS
    for headers, event in found:
        if event["eventType"] == "CustomerRegistered":
            assert headers["ce_time"] == f"{event['day']}T00:00:00Z"
            assert headers["ce_entityversion"] == "1"
    purchases = [event for event in events if event["eventType"] == "PurchaseRecorded"]
    once_each((event["customerId"] for event in registered), CUSTOMERS)
    once_each((event["orderId"] for event in purchases), PURCHASES)
    assert len(events) == CUSTOMERS + PURCHASES
    spent: Any = Counter()  # counts dollars, and the type of a counter knows whole numbers only
    for event in purchases:
        spent[event["customerId"]] += Decimal(event["amount"])
    assert spent.most_common(3) == BIGGEST
