"""What people see of the demo: a bar per stage, and the tables after them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from examples.shop.purchases import Purchase, first_days, read_purchases

from tests.cli.test_terminal import Terminal
from tests.examples.test_demo import some_lines


def test_at_a_terminal_each_stage_has_a_bar_that_fills(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    file = tmp_path / "some.txt"
    file.write_bytes(b"".join(some_lines()))
    purchases = [found for found in read_purchases(file) if isinstance(found, Purchase)]
    count, customers = len(purchases), len(first_days(purchases))
    code, screen = Terminal(sys.executable, "-m", "examples.shop.demo")("--file", str(file))
    assert code == 0
    last = screen.partition(f"{count} orders were placed now")[0].split("registered")[-1]
    assert f"{customers}/{customers}" in last
    for stage in ("orders", "payments", "customers"):
        assert f"{count}/{count}" in last.partition(stage)[2].splitlines()[0], stage
    assert "━" in last
    assert "Every figure equals the sum taken straight from the file." in screen
