"""Runs the simulation as a command: the order of sets is part of a run, and only a process of its own can fix it."""

from __future__ import annotations

import os
import subprocess
import sys


def simulate(*arguments: str, timeout_s: float) -> tuple[int, str]:
    """Its exit code, and what it said, without what the interpreter may warn of."""
    done = subprocess.run(
        [sys.executable, "-m", "headwater.testing.simulation", *arguments],
        capture_output=True,
        text=True,
        timeout=timeout_s,
        env={**os.environ, "PYTHONHASHSEED": "0"},
    )
    print(done.stdout[-5000:], done.stderr[-5000:])
    return done.returncode, done.stdout
