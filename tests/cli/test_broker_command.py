"""Brokers by hand: what they tell is about the command that was typed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from headwater.testing.broker_command import main
from tests.cli.test_run import ROOT


def test_the_script_calls_itself_by_its_name() -> None:
    script = str(ROOT / "scripts" / "broker")
    ended = subprocess.run([script, "--help"], capture_output=True, text=True, timeout=200)
    assert ended.stdout.startswith(f"Usage: {script} "), ended


def test_where_none_were_started_it_says_how_to(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.argv", ["broker", "--directory", str(tmp_path), "status"])
    with pytest.raises(SystemExit) as ended:
        main("./scripts/broker")
    assert ended.value.code == 3
    assert capsys.readouterr().out == f"no brokers were started yet in {tmp_path}: ./scripts/broker start\n"
