"""The account in the README is the file, and the file does what the README shows."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]
BANK = ROOT / "examples" / "bank.py"
README = (ROOT / "README.md").read_text()


def fenced(language: str) -> list[str]:
    """The blocks of a language in the README."""
    return [block.split("```")[0] for block in README.split(f"```{language}\n")[1:]]


def test_the_readme_shows_the_account_as_it_is() -> None:
    assert fenced("python") == [BANK.read_text()]


def test_the_account_prints_what_the_readme_shows() -> None:
    [shown] = fenced("console")
    typed, output = shown.removeprefix("$ ").split("\n", 1)
    ran = subprocess.run(shlex.split(typed), cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
    assert (ran.stderr, ran.returncode) == ("", 0)
    assert ran.stdout == output


def bank(directory: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(BANK), "sqlite:///bank.db"]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=200, check=False)


def test_the_account_runs_on_a_file_and_refuses_read_models_of_another_one(tmp_path: Path) -> None:
    ran = bank(tmp_path)
    assert ran.returncode == 0, ran.stderr
    assert ran.stdout.endswith("now: 70 before: 100\n")
    for file in tmp_path.glob("bank.db*"):
        file.unlink()
    again = bank(tmp_path)
    assert again.returncode == 1
    assert again.stderr.startswith("error: the read models in bank.models.db were made from the log ")
    assert 'name another store (store="sqlite:///bank-2.models.db")' in again.stderr
    assert len(again.stderr.splitlines()) == 1


def test_the_account_is_short() -> None:
    lines = [line for line in BANK.read_text().split("if __name__")[0].splitlines() if line.strip()]
    assert len(lines) <= 30


def test_the_readme_begins_with_the_two_commands() -> None:
    assert [line.split()[0] for line in fenced("sh")[0].splitlines()] == ["./scripts/demo", "./scripts/test"]
    for script in ("demo", "test"):
        assert (ROOT / "scripts" / script).stat().st_mode & 0o111, f"scripts/{script} is not executable"


def test_what_the_readme_links_to_is_there() -> None:
    targets = [part.split(")")[0] for part in README.split("](")[1:]]
    assert targets
    assert [target for target in targets if not (ROOT / target).exists()] == []
