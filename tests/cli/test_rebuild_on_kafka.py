"""`hw rebuild` on a real broker, while the app's process maintains the read model and without it."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from headwater.testing.waiting import eventually
from tests.cli.conftest import Shell
from tests.cli.test_on_kafka import PAY, TILL_APP, entity, settle, takings_lag
from tests.cli.test_run import Process

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

__all__ = ["entity"]

ASK = "query 'SELECT total FROM takings'"


def test_a_read_model_is_rebuilt_and_switched_while_the_app_runs_and_while_it_does_not(
    shell: Shell, entity: str, directory: Path, kafka_broker: str
) -> None:
    # its projection is what comes last in the module
    aggregate, projection = TILL_APP.format(entity=entity).split("class Takings")
    doubled = f"{aggregate}class Takings{projection.replace('+= event', '+= 2 * event')}"
    (directory / "doubled.py").write_text(doubled)
    process = Process()
    try:
        process.said()
        for _ in range(3):
            assert shell(PAY).code == 0
        eventually(lambda: shell(ASK).rows == [{"total": "3"}])
        settle(kafka_broker, entity)
        eventually(lambda: takings_lag(shell) == 0, saying="it is behind the last mark, too")
        built = shell("rebuild takings").rows
        [compared] = (row for row in built if "table" in row)
        assert (compared["newRows"], compared["changed"], compared["sameEvents"]) == (1, 0, True)
        assert shell("rebuild takings --switch --yes").rows[-1]["state"] == "switched"
        assert shell(PAY).code == 0
        eventually(lambda: shell(ASK).rows == [{"total": "4"}])
        assert shell("rebuild takings --rollback --yes").rows[-1]["state"] == "rolled back"
        assert shell(ASK).rows == [{"total": "4"}], "the old rows have the new event, too"
        shell("rebuild takings --drop --yes")
        settle(kafka_broker, entity)
        eventually(lambda: takings_lag(shell) == 0)
        assert process.stop(signal.SIGTERM) == 0
    finally:
        process.popen.kill()
        process.popen.wait()
    built = shell("rebuild takings --app doubled:app").rows
    [compared] = (row for row in built if "table" in row)
    assert (compared["changed"], compared["sameEvents"]) == (1, True)
    assert shell(ASK).rows == [{"total": "4"}]
    shell("rebuild takings --switch --yes --app doubled:app")
    assert shell(ASK).rows == [{"total": "8"}]
