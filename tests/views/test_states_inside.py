"""States of entities that a view reads inside of another view: what was folded of them is known in the next batch."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.views import test_joins
from tests.views.test_joins import check

AGAIN = "CREATE TABLE again AS SELECT x.sale, x.region FROM seen x JOIN large l ON x.sale = l.sale;"
ONE_DEEP = "SELECT x.sale, x.region FROM seen x"
TWO_DEEP = "SELECT y.region, COUNT(*) AS n FROM again y GROUP BY y.region"
SEEDS = (23, 51, 56)
"""Of these, an event of a state changes nothing in the rows, and comes in a batch of its own."""


@pytest.mark.parametrize("sql", [ONE_DEEP, TWO_DEEP], ids=["one deep", "two deep"])
def test_a_state_inside_of_a_view_is_known_in_the_next_batch(
    sql: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(test_joins, "BEFORE", test_joins.BEFORE + AGAIN)
    monkeypatch.setitem(test_joins.SHAPES, "inside", sql)
    monkeypatch.setattr(test_joins, "PLANS", {})
    for seed in SEEDS:
        check("inside", seed, tmp_path)
