"""The scripts as a user starts them: in a fresh copy, from any directory."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from tests.examples.demos import ROOT
from tests.examples.test_demo import some_lines

SCRIPTS = sorted(path for path in (ROOT / "scripts").iterdir() if path.is_file())


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: path.name)
def test_a_script_is_one_that_a_plain_shell_understands(script: Path) -> None:
    checked = subprocess.run(["sh", "-n", script], capture_output=True, text=True, timeout=60)
    assert (checked.returncode, checked.stderr) == (0, "")
    assert script.stat().st_mode & 0o111, "it can be started"


@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(600)
def test_the_demo_sets_itself_up_in_a_fresh_copy_once_and_can_be_started_anywhere(tmp_path: Path) -> None:
    copy, elsewhere = tmp_path / "a copy", tmp_path / "elsewhere"
    copy.mkdir()
    elsewhere.mkdir()
    listed = ["git", "ls-files", "-z", "src", "examples", "scripts", "pyproject.toml", "README.md", "LICENSE"]
    files = subprocess.run(listed, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\0")
    subprocess.run(["cp", "--parents", *filter(None, files), copy], cwd=ROOT, check=True)
    (elsewhere / "some.txt").write_bytes(b"".join(some_lines()))

    def demo() -> subprocess.CompletedProcess[str]:
        command: list[str | Path] = [copy / "scripts" / "demo", "--file", "some.txt"]
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        return subprocess.run(command, cwd=elsewhere, capture_output=True, text=True, env=environment, timeout=500)

    first = demo()
    assert first.returncode == 0, first.stderr
    assert "setting up .venv (once)" in first.stderr
    assert "Every figure equals the sum taken straight from the file." in first.stdout
    assert (elsewhere / "shop.db").exists()
    second = demo()
    assert (second.returncode, second.stderr) == (0, "")
    assert "0 orders were placed now" in second.stdout
