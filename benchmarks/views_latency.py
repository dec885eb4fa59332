"""How soon an event is in a row that a question finds: `python -m benchmarks.views_latency URL BOOTSTRAP NAME SECONDS
DIRECTORY`.

A thread appends 1,000 events a second to the topic, of which every hundredth is the first of its order. The view is
asked for that order until it has its row. Prints a line of JSON: the milliseconds from each append to the answer with
the row, the question included.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from queue import Queue
from threading import Event

from confluent_kafka import Producer

import headwater as hw
from benchmarks.views_orders import PARTITIONS, SEED, TOPIC, encoded
from benchmarks.views_side import ASKED, Total, views_app
from headwater.log.partitioning import partition_of

RATE_PER_S, PROBE_EVERY = 1_000, 100
LOOK_S, PATIENCE_S = 0.001, 30.0

Probe = tuple[str, float]
"""An order, and when its event was handed to the client."""


def append(bootstrap: str, name: str, seconds: int, probes: Queue[Probe | None]) -> None:
    """Appends events at their times, and tells of the probes. Arguments: name: of the run, in its orders, so that none
    of them is in the topic. Raises: RuntimeError: the broker took not all."""
    producer = Producer({"bootstrap.servers": bootstrap, "linger.ms": 1, "acks": "all"})
    chance, pause, begun_s = random.Random(SEED), Event(), time.perf_counter()
    for number in range(seconds * RATE_PER_S):
        pause.wait(max(0.0, begun_s + number / RATE_PER_S - time.perf_counter()))
        probe = number % PROBE_EVERY == 0
        order = f"{'probe' if probe else 'other'}-{name}-{number:07d}"
        if probe:
            probes.put((order, time.perf_counter()))
        producer.produce(TOPIC, encoded(order, [100], chance), order.encode(), partition_of(order.encode(), PARTITIONS))
        producer.poll(0)
    probes.put(None)
    if producer.flush(PATIENCE_S):
        raise RuntimeError("the broker took not all events")


def latencies(shop: hw.Shop, probes: Queue[Probe | None]) -> Iterator[float]:
    """Milliseconds, of one probe after the other. Raises: RuntimeError: a row does not come."""
    pause, asked = Event(), f"{ASKED['order_summary']} WHERE orderId = ?"
    while (probe := probes.get()) is not None:
        order, appended_s = probe
        while not shop.query(asked, order, into=Total):
            if time.perf_counter() - appended_s > PATIENCE_S:
                raise RuntimeError(f"{order} has no row after {PATIENCE_S:g} s")
            pause.wait(LOOK_S)
        yield (time.perf_counter() - appended_s) * 1000


def main(url: str, bootstrap: str, name: str, seconds: str, directory: str) -> None:
    probes: Queue[Probe | None] = Queue()
    with views_app(name, directory, "order_summary").run(url, only=["views"]) as shop, ThreadPoolExecutor(1) as threads:
        while shop.lag()["order_summary"]:
            Event().wait(LOOK_S)
        appending = threads.submit(append, bootstrap, name, int(seconds), probes)
        found = list(latencies(shop, probes))
        appending.result()
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
