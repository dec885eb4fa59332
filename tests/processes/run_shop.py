"""A shop that a test kills: places orders with fixed ids and prints a line now and then."""

from __future__ import annotations

import sys
import threading
from decimal import Decimal

import headwater as hw
from headwater.log.opening import open_log
from tests.orders import PlaceOrder, app
from tests.processes.test_billing import recorded


def main(url: str, count: int) -> None:
    log = open_log(url)
    with app.run(log) as shop:
        print("running", flush=True)
        left = [hw.Sending(PlaceOrder(f"o{i}", Decimal(i)), command_id=f"place-{i}") for i in range(count)]
        while left:  # an answer may be late, or no owner seen for a moment
            unanswered = []
            for index, (one, outcome) in enumerate(zip(left, shop.send_many(left, in_flight=20), strict=True)):
                if not isinstance(outcome, hw.Receipt):
                    unanswered.append(one)
                if index % 50 == 0:
                    print("sent", flush=True)
            left = unanswered
        pause = threading.Event()
        while recorded(log) < count:
            print("waiting", flush=True)
            pause.wait(0.02)
    print("done", flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
