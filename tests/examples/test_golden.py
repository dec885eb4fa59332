"""The events of the example shop stay readable: samples of every version are kept in `golden`."""

from __future__ import annotations

from pathlib import Path

from examples.shop.app import shop

from headwater.testing import golden


def test_every_version_of_the_shops_events_stays_readable() -> None:
    golden(shop, Path(__file__).parent / "golden")
