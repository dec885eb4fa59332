"""What a name shows, and how that is exchanged: the rows beside a runner's tables take their place at one moment.

A runner's tables are made anew by another runner, in tables beside them (`beside`), which nobody reads. `Store.switch`
then exchanges the rows of each pair of tables, and the positions and the code of the two runners. Whoever maintains the
tables goes on with the new rows, since its next `apply` finds other positions than those that it started from, or the
same ones; and the same exchange again brings the rows of before back.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, TypeVar, runtime_checkable

from headwater.errors import HeadwaterError, Unavailable
from headwater.log.port import Positions
from headwater.stores.port import LONGEST_NAME, Answer, Loading, Store, TableSchema

R = TypeVar("R")


class Behind(HeadwaterError):
    """Queries would find rows of an earlier position than they do now. Nothing was changed."""


class Shown(NamedTuple):
    """What queries find by a table's name.

    Arguments: version; runner: who fills its table; code: fingerprint of the code under which its rows were begun.
    """

    version: int
    runner: str
    code: str


class Switch(NamedTuple):
    """What is exchanged, and what names show afterwards.

    Arguments: runner, other: whose positions and code are exchanged; tables: pairs of a table of `runner` and one of
    `other`, of the same shape, whose rows are exchanged (none: nothing is exchanged); shown: the version that queries
    find by each of these names afterwards; topics: in whose partitions that must have come as far as what they find
    now.
    """

    runner: str
    other: str
    tables: Sequence[tuple[TableSchema[Any], TableSchema[Any]]]
    shown: Mapping[str, int]
    topics: frozenset[str]


@runtime_checkable
class SwitchingStore(Store, Protocol):
    """A store in which rows can be exchanged."""

    def shown(self, name: str) -> Shown | None:
        """What queries by a table's name find; None: nothing."""
        ...

    def switch(self, switch: Switch, work: Callable[[Loading], None]) -> None:
        """Exchanges tables of two runners, with their rows, positions and code, and lets names show other versions:
        all of it at one moment, together with what `work` changes, or nothing. Who reads by name meanwhile sees rows of
        before or of afterwards and no error; who is in `apply` for one of the runners gets `StaleRunner`, or is done
        before. `work` and its exceptions: as of `apply`.
        Raises: Behind: rows of earlier positions would be shown. Unavailable: nothing was changed.
        """
        ...

    def scan(self, name: str, version: int) -> Answer:
        """All rows of a version of a table, in any order and as the store keeps them, by whomever it was declared.
        Raises: Unavailable: nobody has opened it."""
        ...


def beside(table: TableSchema[R]) -> TableSchema[R]:
    """The table in which the rows of another one are made anew. No table of a user can have its name."""
    name = f"hw_beside_{table.name.strip('_')}"[: LONGEST_NAME - 9]
    digest = hashlib.blake2b(table.name.encode(), digest_size=4).hexdigest()
    return TableSchema(f"{name}_{digest}", table.version, table.row, table.key, table.indexes)


def beside_runner(runner: str) -> str:
    """Who fills the tables beside those of a runner."""
    return f"{runner}~beside"


def refuse_behind(
    switch: Switch,
    shown: Callable[[str], Shown | None],
    runner_of: Callable[[str, int], str],
    positions: Callable[[str], Positions],
) -> None:
    """Compares how far the rows are that queries find before and after a switch.

    Arguments: shown: what a name shows now; runner_of: who fills a version of a table; positions: of a runner. All of
    it as it is in the transaction that switches.
    Raises: Behind. Unavailable: a version that was never made.
    """
    exchanged = {switch.runner: switch.other, switch.other: switch.runner} if switch.tables else {}
    for name, version in switch.shown.items():
        now = shown(name)
        if now is None:
            continue
        after = runner_of(name, version)
        before, then = positions(now.runner), positions(exchanged.get(after, after))
        for partition, position in before.items():
            if partition.topic in switch.topics and then.get(partition, 0) < position:
                raise Behind(
                    f"{name} shows the rows of position {position} of {partition}, and version {version} that is to "
                    f"be shown has come to {then.get(partition, 0)}"
                )


def refuse_unmade(name: str, version: int, place: str) -> Unavailable:
    """The error of a version that nobody has opened."""
    return Unavailable(f"{place} has no table {name} version {version} yet")


def shown_version(view: str, name: str) -> int | None:
    """The version in the text of a view that shows `<name>_v<version>`."""
    found = re.search(rf' FROM "{re.escape(name)}_v([0-9]+)"$', view)
    return None if found is None else int(found[1])
