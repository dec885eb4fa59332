"""Runs the simulation: python -m headwater.testing.simulation --seeds 1:1001

    --seeds A:B       from A up to B, B not included; one number alone is one run, with its trace
    --bug NAME        with a rule left out, up to the first seed that finds it; again for another one; "all": each
    --jobs N          in so many processes
    --json            one line of JSON for each run that found something, or for each bug

Ends with 1 if something was found without a bug, or if a bug was not.
"""

from __future__ import annotations

import argparse
import logging
import os
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import nullcontext
from typing import NamedTuple

import msgspec

from headwater.testing.simulation.bugs import BUGS
from headwater.testing.simulation.run import Finding, run

SEEDS_AT_ONCE = 20


class Hunt(NamedTuple):
    """What came of looking for a bug. Arguments: seed: that found it (None: none did); wrong: what it showed; clean:
    whether the code without the bug passes the same seed."""

    bug: str
    seed: int | None
    wrong: list[str]
    clean: bool
    seconds: float


def hunt(name: str, first: int, end: int) -> Hunt:
    """Looks for one planted bug."""
    began = time.perf_counter()
    for seed in range(first, end):
        with BUGS[name].plant():
            found = run(seed, given=BUGS[name].under)
        if found.wrong:
            clean = not run(seed, given=BUGS[name].under).wrong
            return Hunt(name, seed, found.wrong, clean, time.perf_counter() - began)
    return Hunt(name, None, [], True, time.perf_counter() - began)


def runs(seeds: range) -> list[Finding]:
    logging.disable(logging.CRITICAL)
    return [run(seed) for seed in seeds]


def all_runs(first: int, end: int, jobs: int) -> Iterator[Finding]:
    """The runs in the order of their seeds."""
    parts = [range(start, min(end, start + SEEDS_AT_ONCE)) for start in range(first, end, SEEDS_AT_ONCE)]
    if jobs == 1:
        for part in parts:
            yield from runs(part)
        return
    with ProcessPoolExecutor(jobs) as pool:
        for found in pool.map(runs, parts):
            yield from found


def say(*words: object) -> None:
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def command(seed: int, bug: str | None = None) -> str:
    """What repeats a run."""
    planted = f" --bug {bug!r}" if bug else ""
    return f"python -m headwater.testing.simulation --seeds {seed}{planted}"


def show(seed: int, bug: str | None) -> int:
    """One run with its trace."""
    with BUGS[bug].plant() if bug else nullcontext():
        found = run(seed, trace=say, given=BUGS[bug].under if bug else None)
    say("\n".join(found.wrong) or "nothing is wrong")
    return int(bool(found.wrong) != bool(bug))


def look_for(names: list[str], first: int, end: int, as_json: bool) -> int:
    missed = 0
    for name in names:
        found = hunt(name, first, end)
        missed += found.seed is None or not found.clean
        if as_json:
            say(msgspec.json.encode(found._asdict()).decode())
        elif found.seed is None:
            say(f"{name}: not found by seeds {first} to {end - 1}, {found.seconds:.1f} s")
        else:
            say(f"{name}: seed {found.seed}, {found.seconds:.1f} s: {found.wrong[0]}")
            say(f"    {command(found.seed, name)}")
    return missed


def check(first: int, end: int, jobs: int, as_json: bool) -> int:
    began, wrong, virtual_s, requests = time.perf_counter(), 0, 0.0, 0
    for found in all_runs(first, end, jobs):
        virtual_s, requests = virtual_s + found.virtual_s, requests + found.requests
        if found.wrong:
            wrong += 1
            if as_json:
                say(msgspec.json.encode(found).decode())
            else:
                say(f"seed {found.seed}:", "\n    ".join(found.wrong))
                say(f"    {command(found.seed)}")
    if not as_json:
        took_s = time.perf_counter() - began
        say(
            f"{end - first:,} runs, {requests:,} requests, {virtual_s:,.0f} s of virtual time in {took_s:.1f} s: "
            f"{wrong or 'nothing'} wrong"
        )
    return wrong


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser("python -m headwater.testing.simulation", description="Runs the simulation.")
    parser.add_argument("--seeds", default="1:101", help="A:B, or one seed, whose trace is shown")
    parser.add_argument("--bug", action="append", choices=[*BUGS, "all"], help="a rule to leave out", default=[])
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--json", action="store_true", help="one line of JSON for whatever is found")
    given = parser.parse_args(arguments)
    first, colon, end = str(given.seeds).partition(":")
    logging.disable(logging.CRITICAL)
    if not colon:
        return show(int(first), given.bug[0] if given.bug else None)
    if given.bug:
        return min(1, look_for([*BUGS] if "all" in given.bug else given.bug, int(first), int(end), given.json))
    return min(1, check(int(first), int(end), given.jobs, given.json))


if __name__ == "__main__":
    if os.environ.get("PYTHONHASHSEED") != "0":
        # The order of sets is part of a run.
        module = [sys.executable, "-m", "headwater.testing.simulation", *sys.argv[1:]]
        os.execve(sys.executable, module, {**os.environ, "PYTHONHASHSEED": "0"})
    sys.exit(main(sys.argv[1:]))
