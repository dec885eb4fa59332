"""Whose command was in the log when the only owner was killed is told how to send it again, so that it is done once."""

from __future__ import annotations

import re
import signal
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import pytest

from headwater.log.opening import open_log
from headwater.testing import eventually
from tests.cli.conftest import Shell, refuse_unknown_command
from tests.cli.test_run import Process
from tests.logs import end_of


@pytest.fixture
def owners(project: Path) -> Iterator[list[Process]]:
    """Those that were started; the first is at work."""
    processes = [Process("--only", "commands")]
    processes[0].said()
    yield processes
    for process in processes:
        process.popen.kill()
        process.popen.wait()


def test_a_command_whose_owner_was_killed_is_sent_again_with_its_id(shell: Shell, owners: list[Process]) -> None:
    assert shell("""send Open '{"accountId":"1","owner":"ann"}'""").one["version"] == 1
    (owner,) = owners
    owner.popen.send_signal(signal.SIGSTOP)
    with closing(open_log("sqlite:///bank.db")) as log, ThreadPoolExecutor(1) as pool:
        before = end_of(log, "account-commands")

        def kill() -> None:
            eventually(lambda: end_of(log, "account-commands") > before, saying="the command is in the log")
            owner.popen.kill()

        killing = pool.submit(kill)
        ended = shell("""send Deposit '{"accountId":"1","amount":"5"}' --timeout 60""")
        killing.result()
    assert ended.code == 3
    assert re.search("no answer to command .*may still be carried out: .*; no live owner of 'account'", ended.error)
    assert re.match("hw send Deposit '.*' --id [0-9a-f-]+", ended.next)
    refuse_unknown_command(ended.next)
    owners.append(again := Process("--only", "commands"))
    again.said()
    receipt = shell(ended.next.removeprefix("hw ")).one
    assert (receipt["version"], shell("get account 1").one["balance"]) == (2, "5")
