"""The demo as a process of its own, and what its log holds afterwards, read without the shop's code."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path
from typing import Any

from headwater.log.opening import open_log
from headwater.log.port import TopicPartition

ROOT = Path(__file__).parents[2]


class Demo:
    """A running demo. Arguments: directory: where it works; options: of the command line; environment: more of it."""

    def __init__(self, directory: Path, *options: str, environment: Mapping[str, str] | None = None) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "examples.shop.demo", *options],
            cwd=directory,
            env={**os.environ, "FORCE_COLOR": "", "PYTHONPATH": str(ROOT), **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def wait_for(self, stage: str, share: float) -> None:
        """Reads on until the demo says that a stage has come so far."""
        assert self.process.stdout is not None
        for line in self.process.stdout:
            name, _, rest = line.partition(": ")
            if name == stage:
                done, _, total = rest.replace(",", "").partition(" of ")
                if int(done) >= share * int(total):
                    return
        raise AssertionError(f"the demo ended before {share:.0%} of {stage}: {self.process.communicate()[1]}")

    def end(self, timeout_s: float) -> str:
        """Waits for the end and returns what was printed. Fails when the demo did."""
        output, errors = self.process.communicate(timeout=timeout_s)
        assert self.process.returncode == 0, output + errors
        return output

    def killed(self) -> bool:
        """Whether SIGKILL was what ended it."""
        self.process.communicate(timeout=200)
        return self.process.returncode == -9


def events_in(url: str, entity: str) -> Iterator[tuple[dict[str, str], dict[str, Any]]]:
    """Headers and payload of every committed event of an entity type."""
    log = open_log(url)
    try:
        topic = f"{entity}-events"
        partitions = [TopicPartition(topic, number) for number in range(log.topics()[topic].partitions)]
        reader = log.reader()
        reader.assign(log.begins(partitions))
        ended: set[TopicPartition] = set()
        while len(ended) < len(partitions):
            batch = reader.read(5000, 5.0)
            ended |= batch.ended
            for record in batch.records:
                headers = {name: value.decode() for name, value in record.headers}
                yield headers, json.loads(record.value or b"", parse_float=Decimal)
        reader.close()
    finally:
        log.close()
