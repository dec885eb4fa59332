"""The totals of orders, kept by Quix Streams: `quix_order_totals.py BOOTSTRAP TOPIC EVENTS DIRECTORY`.

Its state is RocksDB with a changelog topic, its settings are Quix's own; sums are texts of Decimals, since its state is
JSON. It prints a line of JSON: seconds from the first record until it has stopped, which commits; and CPU seconds. It
runs in an environment of its own: it needs an older client than headwater.
"""

from __future__ import annotations

import json
import sys
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from quixstreams import Application, State


def main(bootstrap: str, topic: str, events: str, directory: str) -> None:

    app = Application(
        broker_address=bootstrap,
        consumer_group=f"quix-{Path(directory).name}",
        auto_offset_reset="earliest",
        state_dir=directory,
        loglevel="WARNING",
    )
    begun_s = 0.0
    totals: dict[str, str] = {}

    def add(value: dict[str, Any], key: str, timestamp: int, headers: Any, state: State) -> None:
        nonlocal begun_s
        begun_s = begun_s or time.perf_counter()
        total = Decimal(state.get("total", "0")) + sum(Decimal(item["item_price"]) for item in value["items"])
        totals[key] = str(total)
        state.set("total", totals[key])

    frame = app.dataframe(app.topic(topic, key_deserializer="str", value_deserializer="json"))
    frame.update(add, metadata=True, stateful=True)
    app.run(count=int(events))
    ended_s, cpu_s = time.perf_counter(), time.process_time()
    (Path(directory) / "rows.tsv").write_text("".join(f"{key}\t{total}\n" for key, total in totals.items()))
    print(json.dumps({"seconds": ended_s - begun_s, "cpu_s": cpu_s}))


if __name__ == "__main__":
    main(*sys.argv[1:])
