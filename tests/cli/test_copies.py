"""A topic that others write, each record twice: what the verbs say of a read model that looks for copies."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

from headwater.log.opening import open_log
from headwater.log.port import NewRecord, TopicSpec
from headwater.testing import eventually
from tests.cli.conftest import Shell, an_app

TAKINGS_APP = """
from decimal import Decimal

import headwater as hw


class PaidEvent(hw.Event, entity="paid"):
    till: hw.Key[str]


class Paid(PaidEvent):
    amount: Decimal


class Takings(hw.Projection, dedupe=hw.by_sequence("no")):
    till: hw.Key[str]
    total: Decimal = Decimal(0)

    @hw.on(Paid)
    def paid(self, event: Paid) -> None:
        self.total += event.amount


app = hw.App("takings", projections=[Takings])
"""


@pytest.fixture
def takings(directory: Path) -> Path:
    (directory / "takings.py").write_text(TAKINGS_APP)
    (directory / "headwater.toml").write_text('app = "takings:app"\non = "sqlite:///paid.db"\n')
    with closing(open_log("sqlite:///paid.db")) as log:
        log.create_topics([TopicSpec("paid-events", 2)])
    return directory


def pay(*numbers: int) -> None:
    value = b'{"eventType":"Paid","till":"a","amount":"1","no":%d}'
    with closing(open_log("sqlite:///paid.db")) as log:
        log.append([NewRecord("paid-events", 0, b"a", value % number) for number in numbers])


def read(directory: Path) -> None:
    with an_app(directory, "takings").run("sqlite:///paid.db") as shop:
        eventually(lambda: shop._models.lag() == {"takings": 0})


def test_copies_count_once_in_every_way_to_make_the_rows(shell: Shell, takings: Path) -> None:
    ask = "query 'SELECT total FROM takings'"
    pay(1, 2, 2, 1, 3, 6, 6)
    read(takings)
    [lag] = (row for row in shell("lag").rows if "readModel" in row)
    assert (lag["duplicates"], lag["missing"]) == (3, 2)
    [head] = (line for line in shell("lag --output table").out.splitlines() if "readModel" in line)
    assert head.split()[-2:] == ["duplicates", "missing"]
    assert shell(ask).rows == [{"total": "4"}]
    [preview] = shell("preview").rows
    assert preview["differing"] == 0
    built = shell("rebuild takings").rows
    [compared] = (row for row in built if "table" in row)
    assert (compared["changed"], compared["onlyOld"], compared["onlyNew"]) == (0, 0, 0)
    assert shell("rebuild takings --switch --yes").code == 0
    pay(6, 5, 7, 7)
    read(takings)
    assert shell(ask).rows == [{"total": "6"}], "what the new rows have seen was exchanged with them"
    [lag] = (row for row in shell("lag").rows if "readModel" in row)
    assert (lag["duplicates"], lag["missing"]) == (5, 1)
    shell("reset --group takings-takings-v1 --all-topics --to-earliest --execute")
    read(takings)
    assert shell(ask).rows == [{"total": "6"}]
    [lag] = (row for row in shell("lag").rows if "readModel" in row)
    assert (lag["duplicates"], lag["missing"]) == (5, 1), "counted anew with the rows"
