"""What the documentation shows runs, in memory and on a log."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "testing.md"


@pytest.mark.parametrize("options", [[], ["--hw-log", "sqlite"]])
def test_the_page_on_testing_runs(pytester: pytest.Pytester, options: list[str]) -> None:
    page = PAGE.read_text()
    code = page.partition("```python\n")[2].partition("```")[0]
    pytester.makepyfile(code)
    result = pytester.runpytest_subprocess("-p", "no:cacheprovider", *options)
    result.assert_outcomes(passed=code.count("def test_"))
