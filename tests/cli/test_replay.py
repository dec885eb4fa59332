"""`hw replay`: what happened, told somewhere else."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import pytest

from headwater.client.shop import Shop
from headwater.log.opening import open_log
from headwater.log.port import TopicPartition
from headwater.operations.tailing import records_from
from tests.bank import Account, Deposit, Open
from tests.cli.conftest import Shell, an_app, at_work
from tests.cli.test_mistakes import REFUSED, USAGE, Mistake, check
from tests.cli.test_run import ROOT

WHEN = datetime(2024, 4, 10, 10, 30, tzinfo=UTC)


@pytest.fixture
def told(bank: Shop) -> Shop:
    """Account 1 has three events, account 2 has two."""
    bank.send(Open("1", "ann"), time=WHEN, actor="user:ann")
    bank.send(Deposit("1", Decimal("5.50")), time=WHEN)
    bank.send(Open("2", "bob"))
    bank.send(Deposit("2", Decimal(7)))
    bank.send(Deposit("1", Decimal(1)))
    return bank


def test_a_file_is_what_import_takes(shell: Shell, told: Shop, project: Path) -> None:
    written = shell("replay --entity account 1 --entity account 2 --to out.ndjson").one
    assert (written["events"], written["entities"]) == (5, 2)
    first = json.loads((project / "out.ndjson").read_text().splitlines()[0])
    meta = told.history(Account, "1")[0].meta
    assert first == {
        "eventType": "Opened",
        "eventVersion": 1,
        "accountId": "1",
        "owner": "ann",
        "timestamp": "2024-04-10T10:30:00Z",
        "id": meta.id,
        "actor": "user:ann",
    }
    with at_work(an_app(project), "sqlite:///other.db") as other:
        assert shell("import out.ndjson --on sqlite:///other.db").one["imported"] == 5
        assert shell("import out.ndjson --on sqlite:///other.db").one["repeated"] == 5
        for id in ("1", "2"):
            assert other.get(Account, id) == told.get(Account, id)
            copies, originals = other.history(Account, id), told.history(Account, id)
            assert [(one.event, one.meta.time, one.meta.actor) for one in copies] == [
                (one.event, one.meta.time, one.meta.actor) for one in originals
            ]


def test_standard_output_gets_the_lines(shell: Shell, told: Shop) -> None:
    rows = shell("replay --entity account 1 --at-version 2 --to -").rows
    assert [row["eventType"] for row in rows] == ["Opened", "Deposited"]


def test_a_topic_gets_the_records_as_they_are(shell: Shell, told: Shop, project: Path) -> None:
    assert shell("replay --entity account 1 --entity account 2 --to topic:copies").one["events"] == 5
    with closing(open_log("sqlite:///bank.db")) as log:
        there = log.topics(["copies", "account-events"])
        assert there["copies"].partitions == there["account-events"].partitions
        copies, originals = (
            list(records_from(log, {TopicPartition(name, p): 0 for p in range(8)}, follow=False))
            for name in ("copies", "account-events")
        )
    place = {(one.partition, one.key, one.value, one.timestamp_ms): one for one in originals}
    for copy in copies:
        original = place.pop((copy.partition, copy.key, copy.value, copy.timestamp_ms))
        origin = f"account-events/{original.partition}/{original.offset}".encode()
        assert list(copy.headers) == [*original.headers, ("hw_replayed_from", origin)]
    assert not place


def test_a_test_is_written_and_runs(shell: Shell, told: Shop, project: Path) -> None:
    ended = shell("replay --entity account 1 --to test_account.py")
    assert ended.one["events"] == 3
    assert "note: pytest test_account.py runs it" in ended.err
    text = (project / "test_account.py").read_text()
    assert "from tests.bank import Account, Deposited, Opened" in text
    assert 'balance=Decimal("6.50")' in text
    run = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "--rootdir", ".", "test_account.py"]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(run, capture_output=True, text=True, check=False, env=environment)
    assert "1 passed" in done.stdout, done.stdout + done.stderr
    (project / "test_account.py").write_text(text.replace('balance=Decimal("6.50")', 'balance=Decimal("6.51")'))
    done = subprocess.run(run, capture_output=True, text=True, check=False, env=environment)
    assert "1 failed" in done.stdout, done.stdout + done.stderr


MISTAKES = {
    "no such entity": Mistake(
        "replay --entity account 99 --to out.ndjson", r"there is no account '99'", REFUSED, "hw tail account"
    ),
    "no such entity type": Mistake(
        "replay --entity acount 1 --to out.ndjson", r"did you mean account\?", USAGE, "hw replay --help"
    ),
    "no such version": Mistake(
        "replay --entity account 1 --at-version 9 --to o.ndjson", r"version 9 does not", USAGE, "hw history account 1"
    ),
    "a file that is there": Mistake(
        "replay --entity account 1 --to bankapp.py", r"bankapp.py exists already", USAGE, "hw replay --help"
    ),
    "a file of no known kind": Mistake(
        "replay --entity account 1 --to out.csv", r"'out.csv': write FILE.ndjson", USAGE, "hw replay --help"
    ),
    "a file that cannot be": Mistake(
        "replay --entity account 1 --to no/such.ndjson", r"no/such.ndjson cannot be written", USAGE, "hw replay --help"
    ),
    "an owned topic": Mistake(
        "replay --entity account 1 --to topic:account-events",
        r"only headwater writes to account-events",
        USAGE,
        "hw replay --help",
    ),
    "no topic": Mistake("replay --entity account 1 --to topic:", r"topic: names no topic", USAGE, "hw replay --help"),
    "a test of two": Mistake(
        "replay --entity account 1 --entity account 2 --to t.py", r"a test is of one entity", USAGE, "hw replay --help"
    ),
    "nobody": Mistake("replay --to out.ndjson", r"Missing option '--entity'", USAGE, "hw replay --help"),
}


@pytest.mark.parametrize("mistake", MISTAKES.values(), ids=list(MISTAKES))
def test_a_mistake_is_told_with_the_command_to_type_next(mistake: Mistake, shell: Shell, told: Shop) -> None:
    check(shell, mistake)


def test_reverts_are_told(shell: Shell, told: Shop) -> None:
    assert shell("revert account 1 --to-version 1 --yes").code == 0
    ended = shell("replay --entity account 1 --to -")
    assert "1 of the events are reverts" in ended.err
    check(
        shell,
        Mistake("replay --entity account 1 --to t.py", r"version 4 .* is a revert", USAGE, "hw replay --help"),
    )
    assert shell("replay --entity account 1 --at-version 3 --to t.py").code == 0
