"""The other side of `views`: the same totals, kept by Quix Streams in a process of its own.

Quix needs an older Kafka client than headwater, so it is installed in a virtual environment of its own, in the cache.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks.kafka_streams import Totals, rows_of
from headwater.errors import Unavailable

QUIX = "quixstreams==3.28.1"
PROGRAM = Path(__file__).parent / "streams" / "quix_order_totals.py"


def quix_totals(bootstrap: str, topic: str, events: int, directory: Path, cache: Path) -> Totals:
    """Reads all events of a topic. Arguments: directory: for its state, and empty. Raises: Unavailable: it failed."""
    python = _environment(cache)
    said = _run(str(python), str(PROGRAM), bootstrap, topic, str(events), str(directory))
    found = json.loads(said.splitlines()[-1])
    return Totals(found["seconds"], found["cpu_s"], rows_of(directory / "rows.tsv"))


def _environment(cache: Path) -> Path:
    """The Python that has Quix Streams, set up when it is first needed."""
    home = cache / QUIX
    python = home / "bin" / "python"
    if not (home / "complete").exists():
        _run(sys.executable, "-m", "venv", "--clear", str(home))
        _run(str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", QUIX)
        (home / "complete").touch()
    return python


def _run(*command: str) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{' '.join(command[:3])} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout
