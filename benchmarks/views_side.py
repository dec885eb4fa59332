"""The library's side of `views`, in a process of its own.

    python -m benchmarks.views_side URL NAME EVENTS DIRECTORY [VIEW]

One statement over the topic, durable with its positions in a DuckDB file. Prints a line of JSON: seconds from the
moment at which it has its partitions until all events are in the view and committed, and CPU seconds.
"""

from __future__ import annotations

import json
import os
import sys
import time
from decimal import Decimal
from pathlib import Path
from threading import Event

import headwater as hw
from benchmarks.views_orders import CUSTOMERS, PARTITIONS, Customer, OrderEvent

STATEMENTS = {
    "order_summary": (
        "CREATE TABLE order_summary AS SELECT orderId, SUM(item_price) AS total FROM order-events GROUP BY orderId;"
    ),
    "orders_by_hour": (
        "CREATE TABLE orders_by_hour AS SELECT window_start, customerId, COUNT(*) AS orders FROM order-events"
        " GROUP BY customerId, TUMBLE(_time, INTERVAL 1 HOUR)"
    ),
    "orders_by_country": (
        "CREATE TABLE orders_by_country AS SELECT c.country AS country, COUNT(*) AS orders FROM order-events o"
        " JOIN customer-state c ON o.customerId = c.id GROUP BY c.country"
    ),
}
ASKED = {
    "order_summary": "SELECT orderId AS name, total FROM order_summary",
    "orders_by_hour": "SELECT 'all' AS name, sum(orders)::DECIMAL(38,9) AS total FROM orders_by_hour",
    "orders_by_country": "SELECT 'all' AS name, sum(orders)::DECIMAL(38,9) AS total FROM orders_by_country",
}
LOOK_S = 0.002


class Total(hw.Value):
    name: str
    total: Decimal


def views_app(name: str, directory: str, view: str) -> hw.App:
    """An app of one of the statements, whose files are in the directory."""
    os.chdir(directory)
    Path(f"{view}.sql").write_text(STATEMENTS[view])
    return hw.App(name, aggregates=[Customer], events=[OrderEvent], views="*.sql", partitions=PARTITIONS)


def main(url: str, name: str, events: str, directory: str, view: str = "order_summary") -> None:
    pause = Event()
    running = views_app(name, directory, view).run(url, only=["views"])
    with running as shop:
        assert running.services is not None
        [status] = running.services.statuses
        while not status.owned:
            pause.wait(LOOK_S)
        begun_s = time.perf_counter()
        expected = int(events) + (CUSTOMERS if view == "orders_by_country" else 0)
        while status.records < expected:
            pause.wait(LOOK_S)
        seconds, cpu_s = time.perf_counter() - begun_s, time.process_time()
        rows = shop.query(ASKED[view], into=Total)
        Path("rows.tsv").write_text("".join(f"{row.name}\t{row.total}\n" for row in rows))
    print(json.dumps({"seconds": seconds, "cpu_s": cpu_s}))


if __name__ == "__main__":
    main(*sys.argv[1:])
