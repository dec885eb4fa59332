"""The topics that the tests of views read: orders with lists inside, customers, and auctions that others write."""

from __future__ import annotations

from datetime import date
from decimal import Decimal

import headwater as hw
from headwater.views.sources import Catalogue, catalogue_of


class Part(hw.Value):
    weight: int


class Item(hw.Value):
    sku: str
    item_price: Decimal
    quantity: int = 1
    parts: list[Part] = []


class Discount(hw.Value):
    pct: int


class Address(hw.Value):
    city: str
    zip_code: str | None = None


class OrderEvent(hw.Event, entity="order"):
    order_id: hw.Key[str]


class OrderPlaced(OrderEvent):
    customer_id: str | None
    items: list[Item]
    total: Decimal
    shipping: Decimal | None = None
    address: Address | None = None
    discounts: list[Discount] = []
    tags: list[str] = []
    due: date | None = None
    weight_kg: float | None = None


class OrderCancelled(OrderEvent, version=2):
    reason: str


class CustomerEvent(hw.Event, entity="customer"):
    customer_id: hw.Key[str]


class CustomerMoved(CustomerEvent):
    region: str


class Order(hw.Aggregate[OrderEvent]):
    status: str = "new"
    total: Decimal = Decimal(0)

    @hw.evolves
    def placed(self, event: OrderPlaced) -> None:
        self.status, self.total = "placed", event.total


def catalogue() -> Catalogue:
    """All of them."""
    return catalogue_of([OrderEvent, CustomerEvent], [("order", Order)])


AUCTIONS = """
CREATE STREAM bids (auction BIGINT, bidder BIGINT, price BIGINT, channel VARCHAR, url VARCHAR, extra VARCHAR)
    WITH (topic = 'nexmark-bids');
CREATE TABLE auctions (id BIGINT PRIMARY KEY, itemName VARCHAR, seller BIGINT, category BIGINT, reserve BIGINT)
    WITH (topic = 'nexmark-auctions');
CREATE TABLE persons (id BIGINT PRIMARY KEY, name VARCHAR, city VARCHAR, state VARCHAR)
    WITH (topic = 'nexmark-persons');
"""
"""The topics of the Nexmark benchmark, as statements that describe what others write."""
