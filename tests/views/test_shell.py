"""`hw query` asks a view while `hw run` maintains it."""

from __future__ import annotations

import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
from examples.shop.app import orders, summaries
from examples.shop.contract import Item, PlaceOrder

import headwater as hw
from headwater.errors import Unavailable
from headwater.testing.waiting import eventually

ROOT = Path(__file__).parents[2]


def is_asked(client: hw.Shop) -> bool:
    """Whether somebody has the views."""
    try:
        client.query("SELECT orderId FROM order_summary", into=str)
    except Unavailable:
        return False
    return True


@pytest.mark.slow
def test_a_view_is_asked_from_the_shell_while_it_is_maintained(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    with orders.run(url) as shop:
        items = [Item("CD-1", Decimal("11.77")), Item("CD-2", Decimal("0.23"))]
        receipt = shop.send(PlaceOrder("123", "456", items))
    program = [sys.executable, "-m", "headwater"]
    options = ["--app", "examples.shop.app:summaries", "--on", url]
    with subprocess.Popen(
        [*program, "run", options[1], *options[2:]], stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as running:
        try:
            assert running.stdout is not None
            assert "running" in running.stdout.readline()
            with summaries.connect(url) as client:  # a client waits two seconds for who opens their file
                eventually(lambda: is_asked(client))
            sql = "SELECT orderId, total FROM order_summary WHERE orderId = ?"
            options += ["--timeout", "60", "--output", "ndjson"]
            asked = [*program, "query", sql, "123", "--after", receipt.token, *options]
            found = subprocess.run(asked, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)
            assert found.stdout == '{"orderId":"123","total":"12.000000000"}\n', found.stderr
            for day, rows in (("1999-12-31", ""), ("2999-12-31", found.stdout)):
                asked = [*program, "query", sql, "123", "--known-at", day, *options]
                past = subprocess.run(asked, capture_output=True, text=True, cwd=ROOT, timeout=120, check=False)
                assert past.stdout == rows
                assert "records at most are read again for order_summary" in past.stderr
        finally:
            running.terminate()
            running.wait(60)
