"""A user's typed code is understood: mypy and pyright accept what is right and report what is wrong, by line. What
they accept also runs."""

from __future__ import annotations

import json
import re
import runpy
import subprocess
import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import pytest

FILES = Path(__file__).parent.parent / "typing_tests"
MISTAKES = FILES / "user_mistakes.py"
RIGHT = FILES / "user_ok.py"

Reports = dict[tuple[str, int], str]
"""What a checker says: (file name, line) -> text."""


def mypy() -> Reports:
    command = [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--hide-error-context"]
    done = subprocess.run([*command, str(RIGHT), str(MISTAKES)], cwd=FILES, capture_output=True, text=True, check=False)
    lines = [re.fullmatch(r"(.*?):(\d+): error: (.*)", line) for line in done.stdout.splitlines()]
    assert done.returncode == 1, done.stdout + done.stderr
    return {(Path(found[1]).name, int(found[2])): found[3] for found in lines if found is not None}


def pyright() -> Reports:
    command = [sys.executable, "-m", "pyright", "--outputjson", "--pythonpath", sys.executable]
    done = subprocess.run([*command, str(RIGHT), str(MISTAKES)], cwd=FILES, capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout + done.stderr
    return {
        (Path(found["file"]).name, found["range"]["start"]["line"] + 1): found["message"]
        for found in json.loads(done.stdout)["generalDiagnostics"]
        if found["severity"] in ("error", "warning")
    }


@pytest.mark.timeout(300)  # the first run fills the caches of the checkers
@pytest.mark.parametrize("checker", [mypy, pyright])
def test_a_checker_reports_the_ten_mistakes_and_nothing_else(checker: Callable[[], Reports]) -> None:
    lines = MISTAKES.read_text().splitlines()
    marked = {(MISTAKES.name, number) for number, line in enumerate(lines, 1) if line.endswith("# error")}
    assert len(marked) == 10
    reported = checker()
    missed = marked - reported.keys()
    unwanted = {place: text for place, text in reported.items() if place not in marked}
    assert (missed, unwanted) == (set(), {})


@pytest.mark.parametrize("log", ["memory", "sqlite"])
def test_what_the_checkers_accept_runs(log: str, tmp_path: Path) -> None:
    shop = runpy.run_path(str(RIGHT))
    url = "memory://" if log == "memory" else f"sqlite:///{tmp_path}/shop.db"
    item = shop["Item"]("CD-1", Decimal("11.77"), 2)
    assert shop["main"](url, [item]) == [shop["Summary"]("123", Decimal("23.54"))]
    shop["fields_have_their_types"]()
