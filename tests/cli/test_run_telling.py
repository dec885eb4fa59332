"""What a process of `hw run` tells other programs: as they get it."""

from __future__ import annotations

import json
import os
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from headwater.testing.waiting import eventually
from tests.cli.conftest import Shell
from tests.cli.test_run import DEADLINE_S, FAILING_APP, Process
from tests.telemetry.test_webhook import Receiver


@pytest.fixture
def started() -> Iterator[list[Process]]:
    processes: list[Process] = []
    yield processes
    for process in processes:
        process.popen.kill()
        process.popen.wait()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    receiver = Receiver()
    yield receiver
    receiver.close()


def logged(process: Process, event: str) -> dict[str, Any]:
    """The next line of an event; every line before it is JSON, too."""
    while True:
        line: dict[str, Any] = json.loads(process.err.get(timeout=DEADLINE_S))
        if line["event"] == event:
            return line


def test_its_log_is_json_and_its_metrics_can_be_scraped(shell: Shell, project: Path, started: list[Process]) -> None:
    started.append(process := Process("--log", "json", "--metrics-port", "0"))
    url = logged(process, "metrics_served")["url"]
    ready = logged(process, "process_started")
    assert (ready["app"], ready["on"], ready["level"]) == ("bank", "sqlite:///bank.db", "info")
    assert shell("""send Open '{"accountId":"1","owner":"ann"}'""").one["version"] == 1

    def scraped() -> dict[str, set[str]]:
        with urllib.request.urlopen(url, timeout=DEADLINE_S) as answer:
            families = text_string_to_metric_families(answer.read().decode())
            return {one.name: {sample.labels.get("group", "") for sample in one.samples} for one in families}

    eventually(lambda: "account-owners" in scraped().get("headwater_lag_events", ()), saying="it was looked at")
    assert process.stop(signal.SIGTERM) == 0
    assert logged(process, "process_stopped")["app"] == "bank"


@pytest.mark.parametrize("more", [(), ("--payloads",)], ids=["default", "payloads"])
def test_an_alert_is_logged_and_sent_without_payloads_unless_they_are_wanted(
    shell: Shell, project: Path, started: list[Process], receiver: Receiver, more: tuple[str, ...]
) -> None:
    (project / "failing.py").write_text(FAILING_APP)
    started.append(process := Process("failing:app", "--log", "json", "--alert-webhook", receiver.url, *more))
    process.said()
    shell("""send Deposit '{"accountId":"1","amount":"1"}'""")
    sent, line = receiver.next(), logged(process, "alert_raised")
    assert sent["app"] == line["app"] == "bank"
    for told in (sent, line):
        assert told["alert"] == "headwater_reader_stuck"
        assert "Broken.deposited failed on Deposited" in told["text"]
        assert ("broken on purpose" in json.dumps(told)) is bool(more)
    process.stop(signal.SIGTERM)
    again = set(iter(lambda: receiver.next()["state"], "over"))
    assert again <= {"raised"}, "what was not heard to be taken is sent once more"


def test_commands_are_followed_by_the_exporter_of_the_environment(
    shell: Shell, project: Path, started: list[Process], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "OTEL_TRACES_EXPORTER", "console")
    started.append(process := Process("--traces"))
    process.said()
    shell("""send Open '{"accountId":"1","owner":"ann"}'""")
    process.stop(signal.SIGTERM)
    assert '"name": "decide Open"' in "".join(process.out.queue)


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ("--metrics-port http", "is no port"),
        ("--alert-webhook ftp://host/", "begins with http://"),
        ("--traces", "no exporter of traces called 'nothing' is installed"),
    ],
)
def test_what_cannot_be_told_is_said_before_anything_runs(
    shell: Shell, project: Path, options: str, error: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(os.environ, "OTEL_TRACES_EXPORTER", "nothing")
    ended = shell(f"run {options}")
    assert ended.code == 2
    assert error in ended.error


def test_the_rules_are_printed(shell: Shell) -> None:
    assert shell("rules").out.startswith("groups:\n")
