"""The schema registry's own files: Apicurio Registry, which has the REST interface of Confluent's; from Maven Central.

Confluent's own server is not there. Of version 3, which needs Java 21, the tests have no need.
"""

from __future__ import annotations

import os
import shutil
import tarfile
import tempfile
from pathlib import Path

from headwater.errors import Unavailable
from headwater.testing.maven import fetch, pom

VERSION = "2.6.13.Final"
TITLE = f"Apicurio Registry {VERSION}"
RUNNER = f"apicurio-registry-app-{VERSION}-runner.jar"
_SERIALISERS = [f"io.apicurio:apicurio-registry-serdes-{kind}-serde:{VERSION}" for kind in ("avro", "jsonschema")]
_ARCHIVE = pom(f"io.apicurio:apicurio-registry-app:{VERSION}:tar.gz:all", alone=True)


def registry_application(cache: Path) -> Path:
    """The directory with the server, fetched through Maven and unpacked on the first call (about 150 MB).

    Raises: Unavailable: Maven is missing or cannot reach its repository.
    """
    application = cache / "apicurio" / VERSION / "app"
    if application.exists():
        return application
    archives = application.with_name("archive")
    if not archives.exists():
        fetch(_ARCHIVE, archives, TITLE)
    # Another process may be here too: each unpacks into a directory of its own, the first rename wins.
    unpacked = Path(tempfile.mkdtemp(prefix="unpack-", dir=application.parent))
    try:
        [archive] = archives.glob("*.tar.gz")
        with tarfile.open(archive) as content:
            content.extractall(unpacked / "app", filter="data")
        try:
            (unpacked / "app").rename(application)
        except OSError:
            if not application.exists():
                raise
    finally:
        shutil.rmtree(unpacked)
    shutil.rmtree(archives, ignore_errors=True)
    return application


def registry_serialisers(cache: Path) -> Path:
    """The directory with the registry's serialisers for Kafka, in Java, fetched through Maven on the first call.

    Raises: Unavailable: Maven is missing or cannot reach its repository.
    """
    libraries = cache / "apicurio" / VERSION / "serdes-avro-json"
    if not libraries.exists():
        fetch(pom(*_SERIALISERS), libraries, f"the serialisers of {TITLE}")
    return libraries


def java(application: Path, *options: str) -> list[str]:
    """The command line that runs the server. Raises: Unavailable: there is no Java."""
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if program is None:
        raise Unavailable(f"Java is not installed: {TITLE} needs a Java 17 or later (`./scripts/setup-servers`)")
    quick = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xlog:cds=off"]
    return [program, *quick, *options, "-jar", str(application / RUNNER)]
