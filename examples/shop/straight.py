"""Sums taken straight from the purchases, without an event in between: what the shop must agree with."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date
from decimal import Decimal

from examples.shop.purchases import Purchase, first_days


@dataclass
class Sums:
    """Counts and dollars, of all purchases or of one customer's or month's."""

    purchases: int = 0
    cds: int = 0
    amount: Decimal = Decimal("0.00")

    def add(self, purchase: Purchase) -> None:
        self.purchases += 1
        self.cds += purchase.cds
        self.amount += purchase.amount


@dataclass
class Straight:
    """The sums of a file: of everything, by month ("1997-03") and by customer; since when each is a customer."""

    everything: Sums = field(default_factory=Sums)
    by_month: defaultdict[str, Sums] = field(default_factory=lambda: defaultdict(Sums))
    by_customer: defaultdict[str, Sums] = field(default_factory=lambda: defaultdict(Sums))
    since: dict[str, date] = field(default_factory=dict)

    @property
    def biggest(self) -> list[str]:
        """The customers, the one who spent most first."""
        return sorted(self.by_customer, key=lambda customer: (-self.by_customer[customer].amount, customer))


def sums_of(purchases: Sequence[Purchase]) -> Straight:
    sums = Straight(since=first_days(purchases))
    for purchase in purchases:
        sums.everything.add(purchase)
        sums.by_month[f"{purchase.day:%Y-%m}"].add(purchase)
        sums.by_customer[purchase.customer_id].add(purchase)
    return sums


def sums_of_customer(purchases: Sequence[Purchase], customer_id: str, until: date) -> Sums:
    """What one customer had bought by the end of a day."""
    sums = Sums()
    for purchase in purchases:
        if purchase.customer_id == customer_id and purchase.day <= until:
            sums.add(purchase)
    return sums
