"""A partition that is stopped is told in every process, and the page about it says how to go on."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.cli.asking import about
from headwater.cli.ending import next_of
from headwater.cli.project import Project
from headwater.errors import Unknown
from headwater.log.opening import open_log
from headwater.log.partitioning import partition_of
from headwater.log.port import NewRecord
from tests.cli.conftest import Shell
from tests.cli.test_importing import depositing, write
from tests.cli.test_run import ROOT, Process

PAGE = (ROOT / "docs" / "stopped.md").read_text()
HERE = partition_of(b"1", 8)
OPEN = """send Open '{"accountId":"%s","owner":"ann"}'"""
DEPOSIT = """send Deposit '{"accountId":"1","amount":"5"}' --timeout 0.5"""
ELSEWHERE = next(str(number) for number in range(2, 100) if partition_of(str(number).encode(), 8) != HERE)


@pytest.fixture
def running(project: Path) -> Iterator[list[Process]]:
    processes = [Process()]
    processes[0].said()
    yield processes
    for process in processes:
        process.popen.kill()
        process.popen.wait()


@pytest.fixture
def where(shell: Shell, running: list[Process]) -> int:
    """The offset of a foreign record that has stopped the partition of account 1."""
    assert shell(OPEN % 1).code == 0
    log = open_log("sqlite:///bank.db")
    (offset,) = log.append([NewRecord("account-commands", HERE, b"1", b"not ours")])
    log.close()
    assert f"offset {offset}" in running[0].told("stopped: ")
    return offset


def test_it_is_told_in_other_processes(shell: Shell, project: Path, where: int) -> None:
    reason = rf"a foreign record in an owned topic: .* \(topic account-commands, partition {HERE}, offset {where}\)"
    lag = shell("lag")
    told = [row for row in lag.rows if row.get("stopped")]
    assert [(row["group"], row["partition"]) for row in told] == [("account-owners", HERE)]
    assert re.search(f"account-commands, partition {HERE} is stopped: {reason}", told[0]["stopped"])
    assert re.search(reason, shell("lag --output table").err)

    ended = shell(DEPOSIT)
    assert ended.code == 3
    assert re.search(
        f"may still be carried out.*; account-commands, partition {HERE} is stopped: {reason}", ended.error
    )
    write(project / "in.ndjson", depositing(1, "1"))
    ended = shell("import in.ndjson --timeout 0.5")
    assert (ended.code, ended.next) == (3, "hw import in.ndjson")
    assert re.search(reason, ended.error)
    with pytest.raises(Unknown) as caught, about(Project(None, None, verb="get"), "account", "1"):
        raise Unknown("01", 10)
    assert next_of(caught.value) == "hw doctor"
    ended = shell("doctor")
    assert (ended.code, re.search(reason, ended.out) is not None) == (1, True), ended

    assert shell("history account 1").one["type"] == "Opened", "what there is can be seen without the owner"
    ended = shell("get account 1")
    assert (ended.code, ended.one["balance"]) == (0, "0")
    assert re.search(f"account-commands, partition {HERE} is stopped: {reason}: this is what the log says", ended.err)
    assert shell(OPEN % ELSEWHERE).code == 0, "the others go on"


def test_the_page_says_how_to_go_on(shell: Shell, running: list[Process], where: int) -> None:
    ended = shell(DEPOSIT)
    skip = next(line for line in PAGE.splitlines() if line.startswith("hw reset ")).removeprefix("hw ")
    for shown, here in {"order-": "account-", ":3 ": f":{HERE} ", "18": str(where + 1)}.items():
        assert shown in skip
        skip = skip.replace(shown, here)
    refused = shell(skip)
    assert refused.code != 0, "an owner lives"
    assert running[0].stop(signal.SIGTERM) == 4
    assert shell(skip).code == 0
    running.append(again := Process())
    again.said()
    assert shell(ended.next.removeprefix("hw ")).one["version"] == 2, "what waited behind it is carried out, once"
    assert shell("get account 1").one["balance"] == "5"
    assert not [row for row in shell("lag").rows if row.get("stopped")]
    assert again.stop(signal.SIGTERM) == 0
