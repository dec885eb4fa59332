"""Poison among many events, in its short form; `scripts/poison` is the long one."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from headwater.errors import Unavailable
from tests.conftest import CACHE, absent
from tests.faults.poison.run import one_run

pytestmark = [pytest.mark.kafka, pytest.mark.slow, pytest.mark.alone]


@pytest.mark.timeout(600)
def test_nothing_is_lost_or_counted_twice_and_order_is_kept(tmp_path: Path) -> None:
    seed = os.environ.get("HEADWATER_SEED", "1")
    try:
        findings = one_run(tmp_path, CACHE, seed, events=60_000, poison=200, every_s=3.0)
    except Unavailable as error:
        absent(str(error))
    print(findings.table())
    assert not findings.violations, "\n".join(findings.violations)
    assert findings.published >= findings.dead > 0
    assert sum(findings.kills.values()) > 0
