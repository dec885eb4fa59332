"""What the services of the shop say to each other. A service imports this module and nothing else of the others."""

from datetime import date
from decimal import Decimal

import headwater as hw


class Item(hw.Value):
    sku: str
    item_price: Decimal
    quantity: int = 1


# Orders: one per purchase.


class OrderEvent(hw.Event, entity="order"):
    order_id: hw.Key[str]


class OrderPlaced(OrderEvent):
    customer_id: str
    items: list[Item]
    total: Decimal


class OrderCommand(hw.Command, entity="order"):
    order_id: hw.Key[str]


class PlaceOrder(OrderCommand):
    customer_id: str
    items: list[Item]


class AlreadyPlaced(hw.Rejected):
    """The order {order_id} was placed before."""

    order_id: str


# Customers: registered by the storefront, as of the day of their first purchase, before it places the order.


class CustomerEvent(hw.Event, entity="customer"):
    customer_id: hw.Key[str]


class CustomerRegistered(CustomerEvent):
    day: date


class PurchaseRecorded(CustomerEvent):
    order_id: str
    amount: Decimal
    day: date


class CustomerCommand(hw.Command, entity="customer"):
    customer_id: hw.Key[str]


class RegisterCustomer(CustomerCommand):
    day: date


class RecordPurchase(CustomerCommand):
    order_id: str
    amount: Decimal
    day: date


# Payments: one per order, under the order's id.


class PaymentEvent(hw.Event, entity="payment"):
    payment_id: hw.Key[str]


class PaymentRequested(PaymentEvent):
    amount: Decimal


class PaymentRecorded(PaymentEvent):
    amount: Decimal
    reference: str


class PaymentCommand(hw.Command, entity="payment"):
    payment_id: hw.Key[str]


class RequestPayment(PaymentCommand):
    amount: Decimal


class RecordPayment(PaymentCommand):
    reference: str


class NothingToPay(hw.Rejected):
    """Nobody asked for the payment {payment_id}."""

    payment_id: str
