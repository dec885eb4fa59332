"""The rows of read models against the fold of the log up to the positions that they were stored with."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from headwater.errors import HeadwaterError
from headwater.testing.audit.contents import Contents, KeptRecord, ModelRows
from headwater.testing.audit.folding import RowsFold
from headwater.testing.audit.violations import Invariant, Violation


def check_read_models(
    models: Iterable[ModelRows], contents: Contents, folds: Mapping[str, RowsFold]
) -> Iterator[Violation]:
    """READ_MODELS, the first row of each read model that is not as it should be."""
    for found in models:
        fold = folds.get(found.model)
        if fold is None:
            continue
        try:
            wanted = fold(prefix(contents, found))
        except HeadwaterError as error:
            yield Violation(Invariant.READ_MODELS, f"read model {found.model} cannot be folded anew: {error}")
            continue
        wrong = _difference(found.rows, wanted)
        if wrong is not None:
            at = ", ".join(f"{topic}/{partition} at {position}" for topic, partition, position in found.positions)
            yield Violation(Invariant.READ_MODELS, f"read model {found.model} ({at}): {wrong}")


def prefix(contents: Contents, found: ModelRows) -> list[KeptRecord]:
    """The records before a read model's positions, partition by partition."""
    positions = {(topic, partition): position for topic, partition, position in found.positions}
    return [
        record
        for partition in contents.partitions
        for record in partition.records
        if record.offset < positions.get(partition.name, 0)
    ]


def _difference(rows: Mapping[str, bytes], wanted: Mapping[str, bytes]) -> str | None:
    for key in sorted(rows.keys() | wanted.keys()):
        row, other = rows.get(key), wanted.get(key)
        if row != other:
            return f"row {key} is {_shown(row)}, and the fold of the log is {_shown(other)}"
    return None


def _shown(row: bytes | None) -> str:
    return "not there" if row is None else row.decode()
