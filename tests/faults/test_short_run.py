"""The run under faults in its short form; `scripts/faults --minutes N --seed S` is the long one."""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

import pytest

from headwater.errors import Unavailable
from tests.conftest import CACHE, absent
from tests.faults.run.planted import planted_bugs
from tests.faults.run.report import table
from tests.faults.run.striking import KINDS, Findings, one_round

pytestmark = [pytest.mark.kafka, pytest.mark.cluster, pytest.mark.slow, pytest.mark.alone]

ALWAYS = [
    "connections cut",
    "group coordinator killed",
    "transaction coordinator killed",
    "owner killed: filled",
    "owner killed: committed",
    "owner frozen past its session",
    "answers of EndTxn lost",
    "EndTxn held past the next transaction",
]
DRAWN = 2
"""So many others are drawn by the seed."""

ENOUGH_S = 500.0
"""They take three minutes on a machine that has nothing else to do."""


@pytest.mark.timeout(900)
def test_nothing_is_lost_doubled_or_torn_while_faults_strike(tmp_path: Path) -> None:
    seed = os.environ.get("HEADWATER_SEED", "1")
    chance = random.Random(seed)
    always = [kind for kind in KINDS if kind.name in ALWAYS]
    assert len(always) == len(ALWAYS)
    drawn = chance.sample([kind for kind in KINDS if kind not in always], DRAWN)
    struck = chance.sample([*always, *drawn], len(always) + DRAWN)
    findings = Findings()
    try:
        one_round(tmp_path / "round", CACHE, seed, iter(struck), time.monotonic() + ENOUGH_S, findings)
    except Unavailable as error:
        absent(str(error))
    print((tmp_path / "round" / "faults.log").read_text())
    print(table(findings, [kind.name for kind in struck], planted_bugs()))
    assert not findings.violations, "\n".join(findings.violations)
    assert findings.events > 0
    tried = {*findings.runs, *findings.missed, *findings.left_out}
    assert tried == {kind.name for kind in struck}
    assert len(findings.runs) >= len(ALWAYS) // 2, "a network fault misses where nothing of its kind is sent just then"
