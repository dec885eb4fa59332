"""Talking to entities and read models: `Shop` and `AsyncShop`, two thin drivers over one logic."""

from headwater.client.async_shop import AsyncShop
from headwater.client.receipts import Receipt, Sending
from headwater.client.shop import Shop

__all__ = ["AsyncShop", "Receipt", "Sending", "Shop"]
