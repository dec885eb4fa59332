"""The search servers' own files: their jars from Maven Central, and the Java program that starts one of them embedded.

Neither publishes its archive there. A node within a program of ours needs no account, no settings files and no modules.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import Literal, NamedTuple

from headwater.errors import Unavailable
from headwater.testing.maven import fetch, pom

Product = Literal["opensearch", "elasticsearch"]


class Release(NamedTuple):
    """A version that is started. Arguments: title; version; dependencies: jars; plugins: classes; package: of Java."""

    title: str
    version: str
    dependencies: tuple[str, ...]
    plugins: str
    package: str


# log4j-core has to be of the version of the log4j-api that comes along. The plug-ins of OpenSearch lag behind its core.
RELEASES: dict[Product, Release] = {
    "opensearch": Release(
        "OpenSearch 2.19.6",
        "2.19.6",
        (
            "org.opensearch:opensearch:2.19.6",
            "org.opensearch.plugin:transport-netty4-client:2.19.6",
            "org.apache.logging.log4j:log4j-core:2.25.4",
        ),
        "org.opensearch.transport.Netty4Plugin",
        "org.opensearch",
    ),
    "elasticsearch": Release(
        "Elasticsearch 7.17.28",
        "7.17.28",
        (
            "org.elasticsearch:elasticsearch:7.17.28",
            "org.elasticsearch.plugin:transport-netty4-client:7.17.28",
            "org.apache.logging.log4j:log4j-core:2.17.1",
        ),
        "org.elasticsearch.transport.Netty4Plugin",
        "org.elasticsearch",
    ),
}

PROGRAM = "SearchServer"
_JAVA = """
import java.nio.file.*;
import java.util.*;
import java.util.concurrent.CountDownLatch;
import PACKAGE.common.settings.Settings;
import PACKAGE.env.Environment;
import PACKAGE.node.*;
import PACKAGE.plugins.Plugin;

public class SearchServer {
  static final class Embedded extends Node {
    Embedded(Environment environment, Collection<Class<? extends Plugin>> plugins) {
      super(environment, plugins, true);
    }
  }

  /** Arguments: the directory for data, the port of HTTP, that of transport, the class of the transport plug-in. */
  public static void main(String[] arguments) throws Exception {
    Path home = Path.of(arguments[0]).toAbsolutePath();
    Files.createDirectories(home.resolve("config"));
    Settings settings = Settings.builder()
      .put("path.home", home.toString()).put("cluster.name", "headwater").put("node.name", "headwater")
      .put("http.port", arguments[1]).put("transport.port", arguments[2]).put("network.host", "127.0.0.1")
      .put("discovery.type", "single-node").put("node.store.allow_mmap", false)
      .put("cluster.routing.allocation.disk.threshold_enabled", false)
      .put("cluster.max_shards_per_node", 10000)
      .build();
    Environment environment =
      InternalSettingsPreparer.prepareEnvironment(settings, Map.of(), home.resolve("config"), () -> "headwater");
    Node node = new Embedded(environment, List.of(Class.forName(arguments[3]).asSubclass(Plugin.class)));
    node.start();
    CountDownLatch ended = new CountDownLatch(1);
    Runtime.getRuntime().addShutdownHook(new Thread(() -> {
      try { node.close(); } catch (Exception error) { error.printStackTrace(); }
      ended.countDown();
    }));
    ended.await();
  }
}
"""


def search_libraries(product: Product, cache: Path) -> Path:
    """The directory with a server's jars and its program, fetched and compiled on the first call (40 to 50 MB).

    Raises: Unavailable: Maven or the Java compiler is missing.
    """
    release = RELEASES[product]
    libraries = cache / product / release.version / "libs"
    if not libraries.exists():
        fetch(pom(*release.dependencies), libraries, release.title)
    if not (libraries / f"{PROGRAM}.class").exists():
        _compile(release, libraries)
    return libraries


def _compile(release: Release, libraries: Path) -> None:
    compiler = shutil.which("javac")
    if compiler is None:
        raise Unavailable(f"the Java compiler is not installed: {release.title} needs it (`./scripts/setup-servers`)")
    with tempfile.TemporaryDirectory(prefix="compile-", dir=libraries.parent) as directory:
        source = Path(directory) / f"{PROGRAM}.java"
        source.write_text(_JAVA.replace("PACKAGE", release.package))
        command = [compiler, "-cp", f"{libraries}/*", "-d", directory, str(source)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            raise Unavailable(f"the program of {release.title} cannot be compiled:\n{done.stderr[-2000:]}")
        for made in Path(directory).glob("*.class"):  # its own class comes last: it says that all are there
            if made.stem != PROGRAM:
                made.replace(libraries / made.name)
        (Path(directory) / f"{PROGRAM}.class").replace(libraries / f"{PROGRAM}.class")


def class_archive(libraries: Path) -> Path:
    """Where the JVM keeps loaded classes between starts (class data sharing): it halves the time to start."""
    return libraries.parent / "classes.jsa"


def java(libraries: Path, *options: str) -> list[str]:
    """The start of a command line that runs the server. Raises: Unavailable: there is no Java."""
    home = os.environ.get("JAVA_HOME")
    program = str(Path(home) / "bin" / "java") if home else shutil.which("java")
    if program is None:
        raise Unavailable("Java is not installed: search servers need a Java 17 or later (`./scripts/setup-servers`)")
    quick = ["-Xms256m", "-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Xlog:cds=off"]
    return [program, *quick, *options, "-cp", f"{libraries}:{libraries}/*"]
