"""How values are written, apart from where they come from."""

from __future__ import annotations

from decimal import Decimal

import pytest

from headwater.cli.output import Form, distinct, show_one, show_rows

ROW = {"total": Decimal("0E-9"), "large": Decimal("1E+3"), "name": "CD", "none": None}


@pytest.mark.parametrize("form", ["table", "json", "ndjson"])
def test_a_decimal_has_no_exponent(form: Form, capsys: pytest.CaptureFixture[str]) -> None:
    show_rows(form, list(ROW), [ROW])
    show_one(form, ROW)
    written = capsys.readouterr().out
    assert written.count("0.000000000") == 2
    assert written.count("1000") == 2
    assert "E" not in written.replace("CD", "")


@pytest.mark.parametrize(
    ("names", "told"),
    [
        (["n", "m"], ["n", "m"]),
        (["n", "m", "n", "n"], ["n", "m", "n_1", "n_2"]),
        (["n", "n", "n_1"], ["n", "n_2", "n_1"]),
        (["n_1", "n", "n", "n_1"], ["n_1", "n", "n_2", "n_1_1"]),
        (["n", "N"], ["n", "N"]),
    ],
)
def test_columns_of_one_name_get_names_of_their_own(names: list[str], told: list[str]) -> None:
    assert distinct(names) == told
