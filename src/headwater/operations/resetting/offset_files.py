"""Positions as CSV: what `--export` prints and `--from-file` reads, in the two forms of kafka-consumer-groups.

topic,partition,offset              of one group
group,topic,partition,offset        of several
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from headwater.errors import Misuse
from headwater.log.port import TopicPartition
from headwater.operations.resetting.moves import Move

FORMS = "topic,partition,offset, or group,topic,partition,offset"


def as_csv(moves: Sequence[Move], *, with_group: bool) -> str:
    """The new positions, a line each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    for move in moves:
        row = [*move.partition, move.new]
        writer.writerow([move.group, *row] if with_group else row)
    return text.getvalue()


def read_csv(path: Path, groups: Sequence[str]) -> dict[str, dict[TopicPartition, int]]:
    """Positions by group.

    Arguments: groups: that are asked for (none: those of the file). Raises: Misuse: the file cannot be read, or a line
    does not say a position, or one group is not in it.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [(number, row) for number, row in enumerate(csv.reader(file), 1) if row]
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise Misuse(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    found: dict[str, dict[TopicPartition, int]] = {}
    for number, row in rows:
        group, partition, offset = _read(f"{path}, line {number}", row, groups)
        if not groups or group in groups:
            found.setdefault(group, {})[partition] = offset
    missing = [group for group in groups if group not in found] or ([] if found else ["any group"])
    if missing:
        raise Misuse(f"{path} has no position of {', '.join(missing)}")
    return found


def _read(where: str, row: list[str], groups: Sequence[str]) -> tuple[str, TopicPartition, int]:
    if len(row) == 3 and len(groups) == 1:
        row = [groups[0], *row]
    elif len(row) == 3:
        raise Misuse(f"{where}: it names no group; say one with --group, or write group,topic,partition,offset")
    if len(row) != 4:
        raise Misuse(f"{where}: {','.join(row)!r} is no position; write {FORMS}")
    group, topic, partition, offset = (cell.strip() for cell in row)
    if not (partition.isascii() and partition.isdigit() and offset.isascii() and offset.isdigit()):
        raise Misuse(f"{where}: partition and offset are numbers from 0 on, not {partition!r} and {offset!r}")
    return group, TopicPartition(topic, int(partition)), int(offset)
