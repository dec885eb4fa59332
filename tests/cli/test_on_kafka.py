"""The verbs on a real broker: the same words, another address."""

from __future__ import annotations

import json
import signal
from pathlib import Path

import pytest

from tests.cli.conftest import Shell
from tests.cli.test_run import Process

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

TILL_APP = """
from decimal import Decimal

import headwater as hw


class TillEvent(hw.Event, entity="{entity}"):
    till: hw.Key[str]


class Paid(TillEvent):
    amount: Decimal


class TillCommand(hw.Command, entity="{entity}"):
    till: hw.Key[str]


class Pay(TillCommand):
    amount: Decimal


class Till(hw.Aggregate[TillEvent]):
    total: Decimal = Decimal(0)

    @hw.decides
    def pay(self, command: Pay) -> Paid:
        return Paid(command.till, command.amount)

    @hw.evolves
    def paid(self, event: Paid) -> None:
        self.total += event.amount


class Takings(hw.Projection):
    till: hw.Key[str]
    total: Decimal = Decimal(0)

    @hw.on(Paid)
    def paid(self, event: Paid, meta: hw.Meta) -> None:
        self.total += event.amount


app = hw.App("{entity}", aggregates=[Till], projections=[Takings], partitions=2)
"""


@pytest.fixture
def entity(directory: Path, kafka_broker: str) -> str:
    """A name of this test's own, and a project for it on the broker."""
    name = f"till-{directory.name.replace('_', '-')}-{hash(str(directory)) & 0xFFFFFF:06x}"
    print("entity type:", name)
    (directory / "tills.py").write_text(TILL_APP.format(entity=name))
    (directory / "headwater.toml").write_text(f'app = "tills:app"\non = "{kafka_broker}"\n')
    return name


def test_every_verb_works_on_kafka(shell: Shell, entity: str, directory: Path) -> None:
    process = Process()
    try:
        assert process.said()["state"] == "running"
        assert shell("""send Pay '{"till":"1","amount":"1.50"}'""").one["version"] == 1
        assert shell("""send Pay '{"till":"1","amount":"2.50"}' --expected-version 0""").code == 1
        lines = [{"commandType": "Pay", "till": str(number % 3), "amount": "1"} for number in range(30)]
        (directory / "in.ndjson").write_text("".join(json.dumps(line) + "\n" for line in lines))
        assert shell("import in.ndjson").one["imported"] == 30
        assert shell("import in.ndjson").one["repeated"] == 30
        assert shell(f"get {entity} 1").one["total"] == "11.50"
        assert len(shell(f"history {entity} 1").rows) == 11
        assert shell(f"get {entity} 1 --at-version 1").one["total"] == "1.50"
        assert len(shell(f"tail {entity} --from earliest").rows) == 31
        assert len(shell(f"tail {entity} --limit 4").rows) == 4
        assert shell(f"revert {entity} 1 --to-version 1 --yes").one["version"] == 12
        assert shell(f"get {entity} 1").one["total"] == "1.50"
        topics = {row["topic"]: row for row in shell("topics").rows}
        assert topics[f"{entity}-events"]["partitions"] == 2
        assert topics[f"{entity}-state"]["compacted"] is True
        groups = {row["group"]: row for row in shell("groups").rows}
        assert groups[f"{entity}-owners"]["partitions"] == f"{entity}-commands/0-1"
        (takings,) = (row for row in shell("lag").rows if row.get("readModel") == "takings")
        assert takings["runner"] == "running"
        assert process.stop(signal.SIGTERM) == 0
    finally:
        process.popen.kill()
        process.popen.wait()
    assert shell(f"get {entity} 1").one["total"] == "1.50", "the log says as much"
    assert shell("""send Pay '{"till":"1","amount":"1"}'""").code == 3
    rows = shell("query 'SELECT till, total FROM takings ORDER BY till'").rows
    assert rows[0] == {"till": "0", "total": "10"}
