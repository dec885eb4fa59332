"""Kafka's own files: its jars from Maven Central, kept in a cache, and the Java that runs them."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

from headwater.errors import Unavailable

KAFKA_VERSION = "4.4.0"
_LOG4J_VERSION = "2.25.5"

_POM = f"""<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>
<groupId>headwater</groupId><artifactId>broker</artifactId><version>1</version><packaging>pom</packaging>
<dependencies>
<dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId>
<version>{KAFKA_VERSION}</version></dependency>
<dependency><groupId>org.apache.logging.log4j</groupId><artifactId>log4j-slf4j-impl</artifactId>
<version>{_LOG4J_VERSION}</version></dependency>
</dependencies></project>
"""


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
    home = cache / "kafka" / KAFKA_VERSION
    libraries = home / "libs"
    if libraries.exists():
        return libraries
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable("Maven is not installed: Kafka's files come through it (`./scripts/setup-servers`)")
    home.mkdir(parents=True, exist_ok=True)
    # Another process may be here too: each fetches into a directory of its own, the first rename wins.
    fetched = Path(tempfile.mkdtemp(prefix="fetch-", dir=home))
    try:
        (fetched / "pom.xml").write_text(_POM)
        done = subprocess.run(
            [maven, "-B", "-q", "dependency:copy-dependencies", "-DoutputDirectory=libs", "-DincludeScope=runtime"],
            cwd=fetched,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Unavailable(f"Maven could not fetch Kafka {KAFKA_VERSION}:\n{done.stdout[-2000:]}")
        try:
            (fetched / "libs").rename(libraries)
        except OSError:
            if not libraries.exists():
                raise
    finally:
        shutil.rmtree(fetched)
    return libraries
