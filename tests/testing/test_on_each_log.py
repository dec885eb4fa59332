"""The same file of scenarios on each log, from end to end, as a user starts it."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCENARIOS = "tests/testing/test_scenarios.py"


def passed(*options: str) -> int:
    """Runs the file with pytest in a process of its own; returns how many passed, if all did."""
    done = subprocess.run(
        [sys.executable, "-m", "pytest", SCENARIOS, "-p", "no:cacheprovider", *options],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if not name.startswith("PYTEST")},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"(\d+) passed\b", done.stdout)
    assert found is not None, done.stdout
    return int(found[1])


@pytest.fixture(scope="module")
def all_of_them() -> int:
    return passed()


@pytest.mark.slow
@pytest.mark.parametrize("log", ["memory", "sqlite"])
def test_scenarios_hold_on(log: str, all_of_them: int) -> None:
    assert passed("--hw-log", log) == all_of_them > 20


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(300)
def test_scenarios_hold_on_kafka(kafka_broker: str, all_of_them: int) -> None:
    assert passed("--hw-log", "kafka", "--hw-kafka", kafka_broker) == all_of_them


@pytest.mark.slow
@pytest.mark.kafka
@pytest.mark.timeout(300)
def test_workers_share_the_broker_that_is_started_for_them(kafka_broker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The suite's own broker only shows that one can be started here."""
    monkeypatch.delenv("HEADWATER_KAFKA", raising=False)
    assert passed("--hw-log", "kafka", "-n", "2", "-k", "account_is_opened or empty_log") == 3
