"""Events without state are the truth: a new owner folds them in, and completes a command that was torn."""

from __future__ import annotations

import headwater as hw
from headwater.entities.behaviour import Behaviour
from headwater.log.memory import MemoryLog
from headwater.log.partitioning import partition_of
from headwater.log.port import NewRecord, TopicPartition
from headwater.messages.envelope import command_headers, event_headers
from headwater.messages.json_codec import JsonCodec
from headwater.testing import eventually

NOW = "2024-04-10T10:30:00Z"


class BasketEvent(hw.Event, entity="basket"):
    basket_id: hw.Key[str]


class Added(BasketEvent):
    what: str


class BasketCommand(hw.Command, entity="basket"):
    basket_id: hw.Key[str]


class Fill(BasketCommand):
    what: list[str]


class Basket(hw.Aggregate[BasketEvent]):
    content: list[str] = []

    @hw.decides
    def fill(self, command: Fill) -> list[BasketEvent]:
        return [Added(command.basket_id, what) for what in command.what if what not in self.content]

    @hw.evolves
    def added(self, event: Added) -> None:
        self.content.append(event.what)


app = hw.App("baskets", aggregates=[Basket], partitions=2)
CODEC = Behaviour(Basket).events


def written(key: str, what: str, version: int, command: str, index: int, count: int) -> NewRecord:
    headers = event_headers(
        id=f"{command}-{index}",
        source="baskets",
        type="Added",
        time=NOW,
        subject=key,
        entity_version=version,
        command_id=command,
        recorded=NOW,
        commit=(command, index, count),
    )
    value = CODEC.encode(Added(key, what))
    return NewRecord("basket-events", partition_of(key.encode(), 2), key.encode(), value, headers)


def asked(key: str, command: str, *what: str) -> NewRecord:
    value = JsonCodec([Fill]).encode(Fill(key, list(what)))
    headers = command_headers(id=command, source="tests", type="Fill", subject=key)
    return NewRecord("basket-commands", partition_of(key.encode(), 2), key.encode(), value, headers)


def prepared() -> MemoryLog:
    log = MemoryLog(gaps=True)
    with app.run(log, store="memory://"):
        pass
    return log


def consumed(log: MemoryLog) -> bool:
    commands = [TopicPartition("basket-commands", p) for p in range(2)]
    committed = log.committed("basket-owners", commands)
    return all(committed.get(tp, 0) >= end for tp, end in log.ends(commands).items() if end)


def test_only_the_missing_events_of_a_torn_command_are_written() -> None:
    log = prepared()
    log.append([written("b", "apple", 1, "c1", 0, 3), written("b", "pear", 2, "c1", 1, 3)])
    log.append([asked("b", "c1", "apple", "pear", "plum")])
    with app.run(log, store="memory://") as baskets:
        eventually(lambda: consumed(log))
        assert baskets.get(Basket, "b").content == ["apple", "pear", "plum"]
        history = baskets.history(Basket, "b")
    assert [one.meta.version for one in history] == [1, 2, 3]
    assert [one.meta.command_id for one in history] == ["c1"] * 3


def test_events_that_no_state_covers_count_and_their_command_is_not_repeated() -> None:
    log = prepared()
    log.append([written("b", "apple", 1, "c1", 0, 2), written("b", "pear", 2, "c1", 1, 2)])
    log.append([asked("b", "c1", "apple", "pear")])
    with app.run(log, store="memory://") as baskets:
        eventually(lambda: consumed(log))
        assert baskets.version(Basket, "b") == 2
        assert baskets.send(Fill("b", ["fig"])).version == 3
        receipt = baskets.outcome(Basket, "b", "c1")
        assert receipt is not None
        assert (receipt.duplicate, receipt.version, receipt.events) == (True, 2, 2)


def test_another_command_before_the_torn_one_is_completed_stops_the_partition() -> None:
    log = prepared()
    log.append([written("b", "apple", 1, "c1", 0, 2)])
    log.append([asked("b", "another", "plum")])
    running = app.run(log, store="memory://")
    with running as baskets:
        assert running.services is not None
        owner = running.services.owners["basket"]
        eventually(lambda: owner.failures)
        assert "only the first 1 events of command c1 of basket 'b' are in the log" in str(owner.failures)
        assert [one.event.what for one in baskets.history(Basket, "b")] == ["apple"]  # type: ignore[attr-defined] # Added
    assert not consumed(log)
