"""The store in memory keeps the contract."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from headwater.stores.memory import MemoryStore
from headwater.stores.port import Store
from headwater.testing.conformance.store import StoreConformance
from headwater.testing.conformance.switching import SwitchingConformance


class TestMemoryStore(SwitchingConformance, StoreConformance):
    @pytest.fixture
    def store(self) -> Iterator[Store]:
        store = MemoryStore()
        yield store
        store.close()
