"""Runs a program of Flink SQL on a cluster in this process, until it is told to end: `program.py SCRIPT JAR`.

For an environment that has PyFlink, and needs nothing else.
"""

from __future__ import annotations

import sys
from pathlib import Path

from pyflink.table import EnvironmentSettings, TableEnvironment


def main(script: str, jar: str) -> None:
    tables = TableEnvironment.create(EnvironmentSettings.in_streaming_mode())
    settings = tables.get_config()
    settings.set("pipeline.jars", Path(jar).resolve().as_uri())
    settings.set("parallelism.default", "2")
    settings.set("restart-strategy.type", "none")  # what is wrong is told, and not tried again
    job = None
    for statement in script.split(";\n\n"):
        said = "\n".join(line for line in statement.splitlines() if not line.startswith("--"))
        if said.startswith("SET "):
            name, value = (part.strip().strip("'") for part in said.removeprefix("SET ").split(" = "))
            settings.set(name, value)
        else:
            job = tables.execute_sql(said.strip().removesuffix(";") if said.startswith("INSERT") else said)
    assert job is not None
    print("running", flush=True)
    job.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]).read_text(), sys.argv[2])
