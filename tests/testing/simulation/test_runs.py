"""Under whatever faults a seed draws, the auditor finds nothing, everybody is answered and all comes to rest.

`HEADWATER_SEEDS=1:100001` has the slow test look at other seeds, or at more.
"""

from __future__ import annotations

import os

import pytest

from tests.testing.simulation.simulate import simulate

QUICK = 40
THOUSANDS = os.environ.get("HEADWATER_SEEDS", f"{QUICK + 1}:2101")


@pytest.mark.timeout(600)
def test_nothing_is_lost_doubled_or_torn() -> None:
    code, said = simulate("--seeds", f"1:{QUICK + 1}", timeout_s=590)
    assert code == 0, said
    assert f"{QUICK} runs" in said


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_nor_in_many_runs_more() -> None:
    code, said = simulate("--seeds", THOUSANDS, "--jobs", str(os.cpu_count() or 1), timeout_s=3500)
    assert code == 0, said


@pytest.mark.timeout(300)
def test_a_seed_is_one_run() -> None:
    first, again, other = (simulate("--seeds", seed, timeout_s=280) for seed in ("7", "7", "8"))
    assert first[0] == 0
    assert len(first[1].splitlines()) > 100, "it can be read step by step"
    assert first == again
    assert first != other
