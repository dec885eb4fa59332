"""Each rule of the protocol that is left out is found by a seed, and the code that keeps the rule passes that seed.

What repeats a run: python -m headwater.testing.simulation --seeds SEED --bug NAME
"""

from __future__ import annotations

import json

import pytest

from headwater.testing.simulation.bugs import BUGS
from tests.testing.simulation.simulate import simulate

SEEDS = 10_000

AT_ONCE = (
    "reply before commit",
    "offsets are counted from the end",
    "refusals are not remembered",
    "restore reads what is not committed",
    "a client reads replies that are not committed",
)
"""Almost any seed finds these."""


def found(name: str) -> int:
    """By which seed a bug is found."""
    code, said = simulate("--bug", name, "--seeds", f"1:{SEEDS + 1}", "--json", timeout_s=590)
    assert code == 0, f"{name}: {BUGS[name].breaks} Left out, and nobody notices, or the proper code fails: {said}"
    hunt = json.loads(said)
    assert hunt["bug"] == name
    assert hunt["clean"]
    return int(hunt["seed"])


@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", AT_ONCE)
def test_a_rule_left_out_is_found(name: str) -> None:
    assert 1 <= found(name) <= SEEDS


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", [name for name in BUGS if name not in AT_ONCE])
def test_a_rule_left_out_is_found_under_the_right_faults(name: str) -> None:
    assert 1 <= found(name) <= SEEDS


def test_there_are_enough_of_them() -> None:
    assert len(BUGS) >= 15
    assert len({bug.breaks for bug in BUGS.values()}) == len(BUGS), "each breaks another rule"
