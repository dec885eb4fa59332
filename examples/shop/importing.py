"""The import: every purchase is sent once, however often the import is started, killed and started again."""

import threading
import time
from collections.abc import Callable, Sequence

import headwater as hw
from examples.shop.contract import AlreadyPlaced
from examples.shop.orders import Order
from examples.shop.purchases import Purchase, as_registration, as_sending, first_days

IN_FLIGHT = 2000
ANSWER_S = 60.0
STUCK_S = 60.0


class Counts(hw.Value):
    """How far the services have come, in purchases."""

    orders: int = 0
    payments: int = 0
    customers: int = 0


class Stuck(Exception):
    """The services do not come any further, or went too far."""


def first_missing(shop: hw.Shop, purchases: Sequence[Purchase]) -> int:
    """The index before which every purchase is an order already; behind it some may be.

    Purchases are sent in order and not many more than `IN_FLIGHT` are without an answer. So where one is there and
    the next is not, all that lie twice as far back are there: found by halving, with a question per step. What
    is sent a second time has the same command id, and is not carried out again.
    """
    there, missing = -1, len(purchases)
    while missing - there > 1:
        middle = (there + missing) // 2
        # After a kill the owners wait until the dead one's session has run out, and then read their states.
        if shop.find(Order, purchases[middle].order_id, timeout_s=ANSWER_S) is None:
            missing = middle
        else:
            there = middle
    return max(0, missing - 2 * IN_FLIGHT)


def register(shop: hw.Shop, purchases: Sequence[Purchase], start: int, tell: Callable[[int, int], None]) -> None:
    """Registers the customers of the purchases from `start` on, and waits for every answer: they are to be there
    when their orders come. `tell` hears how many were answered so far, of how many.

    Raises: the first error: what was sent stays sent.
    """
    days = first_days(purchases)  # of all: also a customer of an earlier purchase has one first day
    customers = dict.fromkeys(purchase.customer_id for purchase in purchases[start:])
    registrations = (as_registration(customer, days[customer]) for customer in customers)
    outcomes = shop.send_many(registrations, in_flight=IN_FLIGHT, timeout_s=ANSWER_S)
    for count, outcome in enumerate(outcomes, 1):
        if not isinstance(outcome, hw.Receipt):
            raise outcome
        if count % 500 == 0 or count == len(customers):
            tell(count, len(customers))


def bring_in(shop: hw.Shop, purchases: Sequence[Purchase], start: int, tell: Callable[[int], None]) -> tuple[int, int]:
    """Sends the purchases from `start` on and waits for every answer. `tell` hears how many were answered so far.

    Returns: how many became orders now, and how many had been before.
    Raises: the first error that is no refusal of an order that is there: what was sent stays sent.
    """
    new = before = 0
    sendings = map(as_sending, purchases[start:])
    for outcome in shop.send_many(sendings, in_flight=IN_FLIGHT, timeout_s=ANSWER_S):
        if isinstance(outcome, hw.Receipt) and not outcome.duplicate:
            new += 1
        elif isinstance(outcome, hw.Receipt | AlreadyPlaced):
            before += 1
        else:
            raise outcome
        if (new + before) % 500 == 0:
            tell(new + before)
    return new, before


def counts(shop: hw.Shop) -> Counts:
    """What analytics shows by now."""
    [months] = shop.query(
        "SELECT COALESCE(SUM(orders), 0) AS orders, COALESCE(SUM(payments), 0) AS payments, 0 AS customers FROM month",
        into=Counts,
    )
    [buyers] = shop.query(
        "SELECT 0 AS orders, 0 AS payments, COALESCE(SUM(purchases), 0) AS customers FROM buyer", into=Counts
    )
    return Counts(months.orders, months.payments, buyers.customers)


def wait_for_all(
    shop: hw.Shop, wanted: int, tell: Callable[[Counts], None], failures: Callable[[], Sequence[str]]
) -> None:
    """Waits until billing, loyalty and analytics have dealt with every purchase.

    Arguments: wanted: purchases; tell: hears the counts; failures: what has stopped, and why.
    Raises: Stuck: a service stopped, nothing moved for a minute, or there is more than was sent.
    """
    pause = threading.Event()
    last, moved_at = Counts(), time.monotonic()
    while True:
        now = counts(shop)
        tell(now)
        if now == Counts(wanted, wanted, wanted):
            return
        if max(now.orders, now.payments, now.customers) > wanted:
            raise Stuck(
                f"there are {now.orders:,} orders, {now.payments:,} payments and {now.customers:,} purchases of "
                f"customers for {wanted:,} purchases: was another file imported here before?"
            )
        if now != last:
            last, moved_at = now, time.monotonic()
        stopped = failures()
        if stopped:
            raise Stuck("a service stopped: " + "; ".join(stopped))
        if time.monotonic() - moved_at > STUCK_S:
            raise Stuck(f"nothing moved for {STUCK_S:g} s at {now}; still to apply: {dict(shop.lag())}")
        pause.wait(0.2)
