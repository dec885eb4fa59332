"""A query that is followed from the shell, while the process with the views, and then the follower, are killed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from examples.shop.app import orders
from examples.shop.contract import Item, PlaceOrder

ROOT = Path(__file__).parents[2]


@contextmanager
def process(*words: str) -> Iterator[subprocess.Popen[str]]:
    """`hw` with these words, killed at the end."""
    program = [sys.executable, "-m", "headwater", *words]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True, cwd=ROOT) as running:
        try:
            yield running
        finally:
            running.kill()


def step(follower: subprocess.Popen[str]) -> tuple[dict[tuple[str, str], int], str]:
    """The lines of a step: rows with weights, and the position."""
    assert follower.stdout is not None
    rows: dict[tuple[str, str], int] = {}
    for line in follower.stdout:
        told: dict[str, Any] = json.loads(line)
        rows[told["row"]["orderId"], f"{Decimal(told['row']['total']):.2f}"] = told["weight"]
        if told["position"] is not None:
            return rows, told["position"]
    raise AssertionError("the follower ended")


@pytest.mark.slow
def test_a_follower_goes_on_when_either_side_was_killed(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    options = ["--app", "examples.shop.app:summaries", "--on", url]
    run = ["run", options[1], *options[2:]]
    follow = ["query", "--follow", "SELECT orderId, total FROM order_summary", *options, "--timeout", "60"]
    with orders.run(url) as shop:

        def place(order: str, price: str) -> None:
            shop.send(PlaceOrder(order, "456", [Item("CD-1", Decimal(price))]))

        place("1", "0.10")
        with process(*run) as first, process(*follow) as follower:
            assert step(follower)[0] == {("1", "0.10"): 1}
            place("2", "0.20")
            assert step(follower)[0] == {("2", "0.20"): 1}
            first.kill()
            place("3", "0.30")
            with process(*run) as second:
                rows, position = step(follower)
                assert rows == {("3", "0.30"): 1}
                follower.kill()
                place("4", "0.40")
                place("5", "0.50")
                with process(*follow, "--since", position) as another:
                    told: dict[tuple[str, str], int] = {}
                    while len(told) < 2:
                        told |= step(another)[0]
                    assert told == {("4", "0.40"): 1, ("5", "0.50"): 1}
                assert second.poll() is None
