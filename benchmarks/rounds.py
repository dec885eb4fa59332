"""What the programs share: their options, rounds in which sides take turns, medians, the report.

options ──► rounds (A B, B A, A B, …) ──► figures, ratios ──► a table; with --json one line at the end
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

QUICK_S = 50.0
SLOWER = 0.7

Measure = Callable[[int], None]
"""One turn of one side, in the given round; it keeps what it measured."""


@dataclass(frozen=True)
class Options:
    """What a program was asked. `quick`: done within 50 seconds; `json`: a line for programs at the end; `begun_s`:
    when it began, on the monotonic clock."""

    quick: bool
    json: bool
    begun_s: float


def options(name: str, what: str) -> Options:
    parser = argparse.ArgumentParser(prog=f"bench {name}", description=what)
    parser.add_argument("--quick", action="store_true", help="less of everything: under 50 seconds")
    parser.add_argument("--json", action="store_true", help="end with one line of JSON")
    found = parser.parse_args()
    return Options(found.quick, found.json, time.monotonic())


def take_turns(rounds: int, sides: Sequence[Measure]) -> None:
    """Runs each side once a round, in an order that turns round every time: what grows or warms up during
    the run meets both alike."""
    for index in range(rounds):
        for side in sides if index % 2 == 0 else reversed(sides):
            side(index)
        print(f"  round {index + 1} of {rounds}", file=sys.stderr, flush=True)


class Different(Exception):
    """A side computed something else than it had to."""


def check_equal(side: str, found: object, expected: object) -> None:
    """Raises: Different."""
    if found != expected:
        raise Different(f"{side} computed {found}, and it should be {expected}")


@dataclass
class Report:
    """The outcome of a program.

    Arguments: name; figures: what was measured, by name, units last; targets: of ratios, by name: a number that
    it must reach ("≥") or not pass ("≤"); quoted: rates that were measured before, elsewhere, by the figure's name.
    """

    name: str
    targets: Mapping[str, tuple[str, float]]
    quoted: Mapping[str, float] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)
    ratios: dict[str, float] = field(default_factory=dict)

    def figure(self, name: str, samples: Sequence[float], digits: int = 0) -> float:
        """Keeps the median of what the rounds measured, and returns it."""
        median = statistics.median(samples)
        self.figures[name] = round(median, digits) if digits else float(round(median))
        return median

    def ratio(self, name: str, one: Sequence[float], other: Sequence[float]) -> None:
        """Keeps the ratio of two medians."""
        self.ratios[name] = round(statistics.median(one) / statistics.median(other), 3)

    def ratio_of_rounds(self, name: str, one: Sequence[float], other: Sequence[float]) -> None:
        """Keeps the median of the ratios of each round, whose sides ran one right after the other: what else the
        machine does for longer than that meets both."""
        self.ratios[name] = round(statistics.median(a / b for a, b in zip(one, other, strict=True)), 3)

    def finish(self, asked: Options) -> int:
        """Prints the machine, the figures (beside those that are quoted) and the ratios with their targets; with
        --json a last line of JSON. Returns the exit code: 1 where --quick was not quick."""
        took_s = time.monotonic() - asked.begun_s
        late = asked.quick and took_s > QUICK_S
        print(machine())
        for name, value in self.figures.items():
            print(f"  {name:<44} {value:>14,.10g}{self._beside(name, value)}")
        for name, value in self.ratios.items():
            sign, target = self.targets[name]
            met = value >= target if sign == "≥" else value <= target
            print(f"  {name:<44} {value:>14.3f}   target {sign} {target:g}: {'met' if met else 'MISSED'}")
        print(f"  took {took_s:.1f} s after set-up" + (f", of {QUICK_S:g} s for --quick" if asked.quick else ""))
        if asked.json:
            print(json.dumps({"benchmark": self.name, "figures": self.figures, "ratios": self.ratios}), flush=True)
        if late:
            why = "the machine is too slow or too busy, or there is too much to measure"
            print(f"{self.name}: --quick took {took_s:.1f} s, and {QUICK_S:g} s are the most: {why}", file=sys.stderr)
        return int(late)

    def _beside(self, name: str, value: float) -> str:
        quoted = self.quoted.get(name)
        if quoted is None:
            return ""
        slower = ", MORE THAN 30 % SLOWER" if value < SLOWER * quoted else ""
        return f"   {quoted:,.10g} are quoted: {value / quoted:.0%} of it{slower}"


def machine() -> str:
    memory_gb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    return (
        f"{os.cpu_count()} cores ({_processor()}), {memory_gb:.0f} GB, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, msgspec {version('msgspec')}"
    )


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()
