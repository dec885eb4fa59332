"""Jars from Maven Central, for the real servers of the tests."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
from pathlib import Path

from headwater.errors import Unavailable

_ALONE = "<exclusions><exclusion><groupId>*</groupId><artifactId>*</artifactId></exclusion></exclusions>"


def pom(*dependencies: str, alone: bool = False) -> str:
    """A project that needs these jars.

    Arguments: dependencies: as `group:artifact:version`, and `:type:classifier` behind it where it is no plain jar;
    alone: without what they need themselves.
    """
    parts = ("groupId", "artifactId", "version", "type", "classifier")
    listed = "".join(
        "<dependency>"
        + "".join(f"<{part}>{value}</{part}>" for part, value in zip(parts, name.split(":"), strict=False))
        + f"{_ALONE if alone else ''}</dependency>\n"
        for name in dependencies
    )
    return (
        '<project xmlns="http://maven.apache.org/POM/4.0.0"><modelVersion>4.0.0</modelVersion>'
        "<groupId>headwater</groupId><artifactId>server</artifactId><version>1</version><packaging>pom</packaging>\n"
        f"<dependencies>\n{listed}</dependencies></project>\n"
    )


def fetch(project: str, libraries: Path, title: str) -> None:
    """Fetches the jars that a project needs.

    Arguments: project: the text of its pom.xml; libraries: a directory that does not exist yet; title: for the error.
    Raises: Unavailable: Maven is missing or cannot reach its repository.
    """
    maven = shutil.which("mvn")
    if maven is None:
        raise Unavailable(f"Maven is not installed: {title} comes through it (`./scripts/setup-servers`)")
    libraries.parent.mkdir(parents=True, exist_ok=True)
    # Another process may be here too: each fetches into a directory of its own, the first rename wins.
    fetched = Path(tempfile.mkdtemp(prefix="fetch-", dir=libraries.parent))
    try:
        (fetched / "pom.xml").write_text(project)
        done = subprocess.run(
            [maven, "-B", "-q", "dependency:copy-dependencies", "-DoutputDirectory=libs", "-DincludeScope=runtime"],
            cwd=fetched,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            raise Unavailable(f"Maven could not fetch {title}:\n{done.stdout[-2000:]}")
        try:
            (fetched / "libs").rename(libraries)
        except OSError:
            if not libraries.exists():
                raise
    finally:
        shutil.rmtree(fetched)
