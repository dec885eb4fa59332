"""Kafka's own files: its jars from Maven Central, kept in a cache, and the Java that runs them."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from headwater.errors import Unavailable
from headwater.testing.maven import fetch, pom

KAFKA_VERSION = "4.4.0"
_LOG4J_VERSION = "2.25.5"

_CSV_VERSION = "2.21.7"
"""Of Jackson, as the other files of it that come with this Kafka."""

_BROKER = pom(
    f"org.apache.kafka:kafka_2.13:{KAFKA_VERSION}",
    f"org.apache.logging.log4j:log4j-slf4j-impl:{_LOG4J_VERSION}",
)
_TOOLS = pom(
    f"org.apache.kafka:kafka-tools:{KAFKA_VERSION}",
    f"com.fasterxml.jackson.dataformat:jackson-dataformat-csv:{_CSV_VERSION}",
    alone=True,  # the broker's files have what they need themselves
)


def class_archive(libraries: Path) -> Path:
    """Where the JVM keeps loaded classes between starts (class data sharing): it halves the time to start."""
    return libraries.parent / "classes.jsa"


def java(libraries: Path, *options: str) -> list[str]:
    """The start of a command line that runs one of Kafka's classes. Raises: Unavailable: there is no Java."""
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if program is None:
        raise Unavailable("Java is not installed: Kafka needs a Java 17 or later runtime (`./scripts/setup-servers`)")
    # Only the first compiler and a small heap: a fast start and little memory matter more here than peak speed.
    quick = ["-Xms96m", "-Xmx384m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xlog:cds=off"]
    archive = class_archive(libraries)
    sharing = [f"-XX:SharedArchiveFile={archive}"] if archive.exists() else []
    return [program, *quick, *sharing, *options, "-cp", f"{libraries}/*"]


def run_java(libraries: Path, main: str, *arguments: str) -> None:
    """Runs one of Kafka's tools to its end. Raises: Unavailable: it failed; the message carries its output."""
    done = subprocess.run([*java(libraries), main, *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise Unavailable(f"{main} {' '.join(arguments)} failed:\n{done.stdout}{done.stderr}")


def kafka_libraries(cache: Path) -> Path:
    """The directory with Kafka's jars, fetched through Maven on the first call (about 45 MB).

    Raises: Unavailable: Maven is missing or cannot reach its repository.
    """
    return _fetched(cache, "libs", _BROKER)


def kafka_tools(cache: Path) -> Path:
    """The directory with the jars of Kafka's command-line tools, which run beside those of `kafka_libraries` (1 MB).

    Raises: Unavailable: as there.
    """
    return _fetched(cache, "tools", _TOOLS)


def _fetched(cache: Path, name: str, project: str) -> Path:
    """A directory of jars, fetched if it is not there."""
    libraries = cache / "kafka" / KAFKA_VERSION / name
    if not libraries.exists():
        fetch(project, libraries, f"Kafka {KAFKA_VERSION}")
    return libraries
