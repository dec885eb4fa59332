"""`hw new`: what it writes runs, and is tested."""

from __future__ import annotations

import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from headwater.testing.waiting import eventually
from tests.cli.conftest import Shell, refuse_unknown_command
from tests.cli.test_run import ROOT, Process


@pytest.fixture
def shop(shell: Shell, directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project fresh from `hw new`, and the current directory."""
    assert shell("new shop").code == 0
    monkeypatch.chdir(directory / "shop")
    return directory / "shop"


def test_it_refuses_to_overwrite(shell: Shell, shop: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(shop.parent)
    before = {path: path.read_bytes() for path in shop.rglob("*") if path.is_file()}
    assert shell("new shop").code == 2
    assert {path: path.read_bytes() for path in shop.rglob("*") if path.is_file()} == before


def test_a_project_may_be_made_in_an_empty_directory(shell: Shell, directory: Path) -> None:
    (directory / "kiosk").mkdir()
    assert shell("new kiosk").code == 0
    assert 'hw.App("kiosk"' in (directory / "kiosk" / "kiosk" / "app.py").read_text()


@pytest.mark.parametrize("name", ["shop", "click", "True", "email", "E-Mail", "ü", "_", "a" * 300, "a" * 50, "7", "-x"])
def test_the_name_that_is_advised_is_accepted(shell: Shell, directory: Path, name: str) -> None:
    """Twice the same one, so that there is something to be advised."""
    shell("new", "--", name)
    ended = shell("new", "--", name)
    assert ended.code == 2
    assert shell(ended.next.removeprefix("hw ")).code == 0, ended


def test_its_tests_pass(shop: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q"], capture_output=True, text=True, env={**os.environ, "PYTHONPATH": ""}
    )
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "5 passed" in ended.stdout


def test_it_passes_the_type_checker(shop: Path) -> None:
    command = [sys.executable, "-m", "mypy", "--strict", "shop", "tests", "--cache-dir", str(ROOT / ".mypy_cache")]
    ended = subprocess.run(command, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_the_commands_of_its_readme_work(shell: Shell, shop: Path) -> None:
    """Every command line is tried as it stands there; the last one would wait for ever."""
    block = re.findall(r"```sh\n(.*?)```", (shop / "README.md").read_text(), re.DOTALL)[1]
    lines = [line for line in block.splitlines() if line.startswith("hw ")]
    assert len(lines) >= 6
    process = Process()
    try:
        process.said()
        for line in lines:
            refuse_unknown_command(line)
            if "--follow" in line:
                continue
            ended = shell(shlex.join(shlex.split(line)[1:] + (["--yes"] if " revert " in line else [])))
            assert ended.code == 0, (line, ended)
        assert shell("get order 123").one["status"] == "placed", "it was cancelled, and that was reverted"
        wanted = [{"order_id": "123", "customer_id": "456", "total": "11.77"}]
        eventually(lambda: shell('query "SELECT * FROM open_order"').rows == wanted, saying="the table follows")
        assert process.stop(signal.SIGTERM) == 0
    finally:
        process.popen.kill()
        process.popen.wait()
