"""Kafka's own kafka-consumer-groups, for comparison."""

from __future__ import annotations

import subprocess
from typing import NamedTuple

from headwater.testing.kafka_files import java, kafka_libraries, kafka_tools
from tests.conftest import CACHE

MAIN = "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand"

Offsets = dict[tuple[str, str, int], int]
"""(group, topic, partition) -> offset"""


class Said(NamedTuple):
    out: str
    err: str


def consumer_groups(server: str, *words: str) -> Said:
    """Runs it to its end. Arguments: server: host:port; words: after the server's."""
    libraries, tools = kafka_libraries(CACHE), kafka_tools(CACHE)
    command = java(libraries)
    command[-1] += f":{tools}/*"
    done = subprocess.run(
        [*command, MAIN, "--bootstrap-server", server, *words], capture_output=True, text=True, check=False, timeout=200
    )
    return Said(done.stdout, done.stderr)


def offsets_in(table: str, column: str = "NEW-OFFSET") -> Offsets:
    """What a table of it, or of ours, says."""
    found: Offsets = {}
    names: list[str] = []
    for line in table.splitlines():
        cells = line.split()
        if cells[:1] == ["GROUP"]:
            names = cells
        elif names and len(cells) >= names.index(column) + 1:
            at = cells[names.index(column)]
            if at.isdigit():
                found[cells[0], cells[1], int(cells[2])] = int(at)
    return found
