"""The services, each as an app of its own, and all of them as one app in one process.

`hw run examples.shop.app:shop --on sqlite:///shop.db` runs everything. On the same log, `orders`, `billing` and
`analytics` can run as three processes instead: they share topics, not code. `summaries` keeps views in SQL.
"""

from pathlib import Path

import headwater as hw
from examples.shop.analytics import Buyer, Month
from examples.shop.billing import Billing
from examples.shop.contract import OrderEvent
from examples.shop.customers import Customer
from examples.shop.loyalty import Loyalty
from examples.shop.orders import Order
from examples.shop.payments import Payment

orders = hw.App("orders", aggregates=[Order, Customer], processes=[Loyalty])
billing = hw.App("billing", aggregates=[Payment], processes=[Billing])
analytics = hw.App("analytics", projections=[Month, Buyer])
summaries = hw.App("summaries", views=str(Path(__file__).parent / "views" / "*.sql"), events=[OrderEvent])

shop = hw.App("shop", aggregates=[Order, Customer, Payment], processes=[Billing, Loyalty], projections=[Month, Buyer])
