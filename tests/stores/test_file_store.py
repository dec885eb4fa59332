"""The store of `docs/stores.md`, written against the port by somebody else, keeps the contract."""

from __future__ import annotations

from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import ClassVar

import pytest
from examples.file_store import FileStore

import headwater as hw
from headwater.errors import Unavailable
from headwater.stores.port import Store
from headwater.testing.conformance.store import ACCOUNT, P0, Account, StoreConformance, put
from tests.orders import Order, OrderPlaced, PlaceOrder


class TestFileStore(StoreConformance):
    ask: ClassVar[str | None] = None

    @pytest.fixture
    def store(self, tmp_path: Path) -> Iterator[Store]:
        store = FileStore(tmp_path / "views.msgpack")
        yield store
        store.close()


def test_a_file_that_is_opened_again_has_all_that_was_committed(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "views.msgpack")
    store.open_tables("r", [ACCOUNT], "code")
    put(store, [Account("ann", Decimal("1.10"))], None, 5)
    with pytest.raises(Unavailable, match="another process has"):
        FileStore(tmp_path / "views.msgpack")
    store.close()
    again = FileStore(tmp_path / "views.msgpack")
    assert again.rows(ACCOUNT) == [Account("ann", Decimal("1.10"))]
    assert again.positions("r") == {P0: 5}
    again.close()


class Total(hw.Projection):
    name: hw.Key[str]
    total: Decimal = Decimal(0)

    @hw.on(OrderPlaced, key=lambda event, meta: "all")
    def placed(self, event: OrderPlaced) -> None:
        self.total += event.total


def test_an_app_keeps_its_read_models_there(tmp_path: Path) -> None:
    app = hw.App("shop", aggregates=[Order], projections=[Total])
    log = f"sqlite:///{tmp_path}/log.db"
    for total in (Decimal("1.10"), Decimal("2.20")):
        with app.run(log, store=lambda: FileStore(tmp_path / "views.msgpack")) as shop:
            receipt = shop.send(PlaceOrder(f"o{total}", Decimal("1.10")), timeout_s=60)
            assert shop.row(Total, "all", after=receipt, timeout_s=60) == Total("all", total)
