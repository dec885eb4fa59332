"""What the demo prints, and the comparison of the shop with the file."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal

from rich.console import Console
from rich.table import Table

import headwater as hw
from examples.shop.analytics import Buyer, Month
from examples.shop.contract import CustomerRegistered, PurchaseRecorded
from examples.shop.customers import Customer
from examples.shop.purchases import Purchase, first_days
from examples.shop.straight import Straight, Sums, sums_of_customer

BIGGEST = 10


class Differences(list[str]):
    """What the shop says otherwise than the file."""

    def expect(self, what: str, shop: object, file: object) -> None:
        if shop != file:
            self.append(f"{what}: the shop says {shop}, the file {file}")


def show_months(shop: hw.Shop, straight: Straight, console: Console) -> Differences:
    """Revenue by month: every order is in it, and every payment."""
    months, differences = shop.rows(Month), Differences()
    table = Table("month", title="Revenue by month")
    for column in ("orders", "CDs", "revenue", "paid"):
        table.add_column(column, justify="right")
    for row in months:
        table.add_row(row.month, f"{row.orders:,}", f"{row.cds:,}", f"{row.revenue:,}", f"{row.paid:,}")
        file = straight.by_month.get(row.month, Sums())
        differences.expect(f"{row.month}, orders", Sums(row.orders, row.cds, row.revenue), file)
        differences.expect(f"{row.month}, payments", (row.payments, row.paid), (file.purchases, file.amount))
    total = Sums(
        sum(m.orders for m in months), sum(m.cds for m in months), sum((m.revenue for m in months), Decimal(0))
    )
    paid = sum((m.paid for m in months), Decimal(0))
    table.add_section()
    table.add_row("all", f"{total.purchases:,}", f"{total.cds:,}", f"{total.amount:,}", f"{paid:,}")
    differences.expect("all months", total, straight.everything)
    console.print(table)
    return differences


def compare_customers(shop: hw.Shop, straight: Straight) -> Differences:
    """Every customer is one since the day of the first purchase."""
    differences, since = Differences(), {row.customer_id: row.since for row in shop.rows(Buyer)}
    for customer_id in sorted(since.keys() | straight.since.keys()):
        differences.expect(f"customer {customer_id} since", since.get(customer_id), straight.since.get(customer_id))
    return differences


def show_biggest(shop: hw.Shop, straight: Straight, console: Console) -> Differences:
    """The customers who spent most."""
    differences = Differences()
    biggest = shop.query("SELECT * FROM buyer ORDER BY total DESC, customer_id LIMIT ?", BIGGEST, into=Buyer)
    table = Table("customer", title="Biggest customers")
    for column in ("since", "purchases", "total"):
        table.add_column(column, justify="right")
    for row in biggest:
        table.add_row(row.customer_id, str(row.since), f"{row.purchases:,}", f"{row.total:,}")
        file = straight.by_customer[row.customer_id]
        differences.expect(f"customer {row.customer_id}", (row.purchases, row.total), (file.purchases, file.amount))
    differences.expect("biggest customers", [row.customer_id for row in biggest], straight.biggest[:BIGGEST])
    console.print(table)
    return differences


def show_customer(
    shop: hw.Shop, customer_id: str, day: date, purchases: Sequence[Purchase], console: Console
) -> Differences:
    """One customer: the whole history, the state at the end of a day, and the state now."""
    differences, found, registered = Differences(), [], []
    table = Table(title=f"Customer {customer_id}")
    for column in ("day", "order", "amount", "version"):
        table.add_column(column, justify="right")
    history = shop.history(Customer, customer_id)
    # Orders came through several partitions: versions count in the order of recording, days say when it happened.
    for recorded in sorted(history, key=lambda recorded: recorded.meta.time):
        event, meta = recorded.event, recorded.meta
        if isinstance(event, CustomerRegistered):
            registered.append((meta.version, meta.time.date(), event.day))
        if isinstance(event, PurchaseRecorded):
            table.add_row(f"{meta.time:%Y-%m-%d}", event.order_id, f"{event.amount:,}", str(meta.version))
            found.append((event.order_id, meta.time.date(), event.amount))
    console.print(table)
    file = [(one.order_id, one.day, one.amount) for one in purchases if one.customer_id == customer_id]
    differences.expect(f"purchases of customer {customer_id}", sorted(found), sorted(file))
    first = first_days(one for one in purchases if one.customer_id == customer_id)[customer_id]
    differences.expect(f"registration of customer {customer_id}", registered, [(1, first, first)])
    versions = [recorded.meta.version for recorded in history]
    differences.expect(f"versions of customer {customer_id}", versions, list(range(1, len(file) + 2)))

    end_of_day = datetime.combine(day, time.max, UTC)
    then, now = shop.find(Customer, customer_id, as_of=end_of_day), shop.get(Customer, customer_id)
    for name, state, until in ((f"on {day}", then, day), ("now", now, date.max)):
        straight = sums_of_customer(purchases, customer_id, until)
        state = state or Customer()
        console.print(f"customer {customer_id} {name}: {state.purchases} purchases, {state.total:,} dollars")
        differences.expect(
            f"customer {customer_id} {name}", (state.purchases, state.total), (straight.purchases, straight.amount)
        )
    return differences
