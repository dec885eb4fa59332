"""How values are written, apart from where they come from."""

from __future__ import annotations

from decimal import Decimal

import pytest

from headwater.cli.output import Form, show_one, show_rows

ROW = {"total": Decimal("0E-9"), "large": Decimal("1E+3"), "name": "CD", "none": None}


@pytest.mark.parametrize("form", ["table", "json", "ndjson"])
def test_a_decimal_has_no_exponent(form: Form, capsys: pytest.CaptureFixture[str]) -> None:
    show_rows(form, list(ROW), [ROW])
    show_one(form, ROW)
    written = capsys.readouterr().out
    assert written.count("0.000000000") == 2
    assert written.count("1000") == 2
    assert "E" not in written.replace("CD", "")
