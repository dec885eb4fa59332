"""The other side of `views`: the same totals, kept by Kafka Streams in a Java process of its own.

The program is `streams/OrderTotals.java`. Its state is RocksDB with a changelog topic, its settings are Kafka Streams'
own but for the guarantee and the number of threads.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

from headwater.errors import Unavailable
from headwater.testing.kafka_files import KAFKA_VERSION
from headwater.testing.maven import fetch, pom

SOURCE = Path(__file__).parent / "streams" / "OrderTotals.java"
_STREAMS = pom(
    f"org.apache.kafka:kafka-streams:{KAFKA_VERSION}",
    "com.fasterxml.jackson.core:jackson-databind:2.21.7",
    "org.slf4j:slf4j-nop:1.7.36",
)


class Totals(NamedTuple):
    """Arguments: seconds: from the first record until all are in the store and committed; cpu_s: of the process, its
    start included; rows: by order."""

    seconds: float
    cpu_s: float
    rows: dict[str, Decimal]


def streams_totals(
    bootstrap: str, topic: str, events: int, directory: Path, cache: Path, *, threads: int, exactly_once: bool
) -> Totals:
    """Reads all events of a topic. Arguments: directory: for its state, and empty; threads: of the application.

    Raises: Unavailable: no Java compiler, or the program failed.
    """
    rows = directory / "rows.tsv"
    guarantee = "exactly_once_v2" if exactly_once else "at_least_once"
    said = run_program(
        *(SOURCE, directory, cache),
        *(bootstrap, topic, f"totals-{guarantee}-{threads}-{directory.name}", str(directory / "state")),
        *(str(threads), guarantee, str(events), str(rows)),
    )
    found = json.loads(said.splitlines()[-1])
    return Totals(found["seconds"], found["cpu_s"], rows_of(rows))


def run_program(source: Path, directory: Path, cache: Path, *arguments: str) -> str:
    """Compiles and runs a program of Kafka Streams: one class, with the name of its file. Returns what it printed.

    Arguments: directory: for the class. Raises: Unavailable: no Java compiler, or the program failed.
    """
    return _run(*program(source, directory, cache), *arguments)


def program(source: Path, directory: Path, cache: Path) -> list[str]:
    """Compiles a program, and returns the command that runs it. Raises: as `run_program`."""
    libraries = cache / "kafka-streams" / KAFKA_VERSION / "libs"
    if not libraries.exists():
        fetch(_STREAMS, libraries, f"Kafka Streams {KAFKA_VERSION}")
    classes = directory / "classes"
    _run("javac", "-nowarn", "-d", str(classes), "-cp", f"{libraries}/*", str(source))
    return ["java", "-Xmx2g", "-cp", f"{classes}:{libraries}/*", source.stem]


def rows_of(file: Path) -> dict[str, Decimal]:
    """Lines of an order and its total."""
    pairs = (line.split("\t") for line in file.read_text().splitlines())
    return {order: Decimal(total) for order, total in pairs}


def _run(program: str, *arguments: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise Unavailable(f"{program} is not installed: Kafka Streams needs a JDK 17 (`./scripts/setup-servers`)")
    done = subprocess.run([found, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{program} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout
