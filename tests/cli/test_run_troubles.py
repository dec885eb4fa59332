"""When `hw run` says that a part is in trouble, and when that it is over."""

from __future__ import annotations

import threading
from typing import cast

import pytest

from headwater.cli.run import _watch
from headwater.cli.run_troubles import CALM_S, Troubles
from headwater.log.port import TopicPartition
from headwater.readers.status import State, Status
from headwater.services import Services

OWNED = frozenset({TopicPartition("order-events", 0)})


class Part:
    """A reader whose status the test sets, and what was told of it."""

    def __init__(self) -> None:
        self.status, self.s = Status("reader"), 0.0
        self.lines: list[str] = []
        self._troubles = Troubles(self.lines.append, lambda: self.s)
        self.becomes("running", OWNED)

    def becomes(
        self, state: State, owned: frozenset[TopicPartition] = frozenset(), *, stopped: dict[int, str] | None = None
    ) -> list[str]:
        """What is told then."""
        self.lines.clear()
        self.status.state, self.status.owned, self.status.stopped = state, owned, stopped or {}
        if state == "retrying":
            self.status.last_failure = "Unavailable: no broker answers"
        self._troubles.look([self.status])
        return list(self.lines)


@pytest.fixture
def part() -> Part:
    return Part()


def test_a_part_that_joins_while_the_broker_is_away_is_not_over_it(part: Part) -> None:
    assert part.becomes("retrying") == ["retrying: reader: Unavailable: no broker answers"]
    assert part.becomes("running") == []
    assert part.becomes("retrying") == [], "it was told"
    assert part.becomes("running") == []
    assert part.becomes("running", OWNED) == ["running: reader: again"]
    assert part.becomes("running", OWNED) == []


def test_a_part_that_is_given_nothing_to_read_is_believed_after_a_while(part: Part) -> None:
    part.becomes("retrying")
    assert part.becomes("running") == []
    part.s += CALM_S - 1
    assert part.becomes("running") == []
    part.becomes("retrying")
    part.s += 2
    assert part.becomes("running") == [], "the time begins with the attempt"
    part.s += CALM_S
    assert part.becomes("running") == ["running: reader: again"]


def test_a_partition_that_was_stopped_is_over_once_it_is_read(part: Part) -> None:
    assert part.becomes("running", OWNED, stopped={3: "BadData: no JSON"}) == [
        "stopped: reader, partition 3: BadData: no JSON"
    ]
    assert part.becomes("retrying") == ["retrying: reader: Unavailable: no broker answers"]
    part.s += CALM_S
    assert sorted(part.becomes("running", OWNED)) == ["running: reader, partition 3: again", "running: reader: again"]


def test_a_partition_that_is_paused_is_told_by_its_alert(part: Part) -> None:
    part.status.paused = frozenset({3})
    assert part.becomes("running", OWNED, stopped={3: "it is full", 4: "BadData: no JSON"}) == [
        "stopped: reader, partition 4: BadData: no JSON"
    ]


def test_a_part_that_failed_is_not_over_it(part: Part) -> None:
    part.becomes("retrying")
    assert part.becomes("failed") == ["failed: reader: Unavailable: no broker answers"]
    part.s += CALM_S
    assert part.becomes("failed") == []


class Looks(threading.Event):
    """Lets a process look as often as there are notices, and stops it then."""

    def __init__(self, notices: list[list[str]]) -> None:
        super().__init__()
        self._coming, self.notices, self.statuses = list(notices), list[str](), list[Status]()

    def wait(self, timeout: float | None = None) -> bool:
        if not self._coming:
            return True
        self.notices = self._coming.pop(0)
        return False


def test_what_is_noticed_is_told_once_and_again_when_it_is_so_again() -> None:
    looks = Looks([["part"], ["part"], ["whole"], ["part", "reset"]])
    lines: list[str] = []
    assert _watch(cast("Services", looks), looks, lines.append) is False
    assert lines == ["noticed: part", "noticed: whole", "noticed: part", "noticed: reset"]
