"""Events of a version that the code does not know, and old ones that a function fails on: every kind of reader holds or
skips them, with an alert, and when newer code tries them again they are read as they were written."""

from __future__ import annotations

from pathlib import Path
from typing import Any, NamedTuple

import pytest

import headwater as hw
from headwater.app import Running
from headwater.environment import SYSTEM, KeptTelemetry, System
from headwater.log.memory import MemoryLog
from headwater.log.port import NewRecord, TopicPartition, TopicSpec
from headwater.log.topology import owners_group
from headwater.operations.deadletters import DeadLetters, Letter, Selection
from headwater.operations.deadletters_places import InLog, InStore, Place, places_of_views
from headwater.testing.waiting import eventually

TOPIC = "dial-events"
READERS = {"holds", "skips", "holding-forward", "skipping-forward", "angles"}
WHOLE_TURNS = "world.<locals>.whole_turns"
VIEW = "CREATE TABLE angles AS SELECT dialId, SUM(degrees) AS total FROM dial-events GROUP BY dialId;"


class BoardEvent(hw.Event, entity="board"):
    board: hw.Key[str]


class Written(BoardEvent):
    degrees: int


class BoardCommand(hw.Command, entity="board"):
    board: hw.Key[str]


class Write(BoardCommand):
    degrees: int


class Board(hw.Aggregate[BoardEvent]):
    degrees: list[int] = []

    @hw.decides
    def write(self, command: Write) -> Written:
        return Written(command.board, command.degrees)

    @hw.evolves
    def written(self, event: Written) -> None:
        self.degrees.append(event.degrees)


class World(NamedTuple):
    """Code of one day. Arguments: event; aggregate: of the dials; projections: one that holds, one that skips."""

    app: hw.App
    event: type[hw.Event]
    aggregate: type[hw.Aggregate[Any]]
    projections: list[type[Any]]


def world(newest: int, views: str | None = None) -> World:
    """The code, when the event was at this version: 2, or 3, which also reads the oldest."""

    class DialEvent(hw.Event, entity="dial"):
        dial_id: hw.Key[str]

    class Turned(DialEvent, version=newest):
        degrees: int

    @hw.upcasts(Turned, from_version=1)
    def whole_turns(fields: dict[str, Any]) -> dict[str, Any]:
        if newest == 2:
            raise ZeroDivisionError("a bug")
        return fields | {"degrees": fields["turns"] * 360}

    if newest == 3:

        @hw.upcasts(Turned, from_version=2)
        def as_ever(fields: dict[str, Any]) -> dict[str, Any]:
            return fields

    class Dial(hw.Aggregate[DialEvent]):
        degrees: int = 0

        @hw.evolves
        def turned(self, event: Turned) -> None:
            self.degrees += event.degrees

    class Holds(hw.Projection):
        dial_id: hw.Key[str]
        degrees: int = 0

        @hw.on(Turned)
        def turned(self, event: Turned) -> None:
            self.degrees += event.degrees

    class Skips(hw.Projection, on_failure=hw.dead_letter(newer="skip")):
        dial_id: hw.Key[str]
        degrees: int = 0

        @hw.on(Turned)
        def turned(self, event: Turned) -> None:
            self.degrees += event.degrees

    class Holding(hw.Process):
        dial_id: hw.Key[str]

        @hw.on(Turned)
        def turned(self, event: Turned) -> Write:
            return Write(f"holding {event.dial_id}", event.degrees)

    class Skipping(hw.Process, on_failure=hw.dead_letter(newer="skip")):
        dial_id: hw.Key[str]

        @hw.on(Turned)
        def turned(self, event: Turned) -> Write:
            return Write(f"skipping {event.dial_id}", event.degrees)

    parts: dict[str, Any] = {"aggregates": [Board], "projections": [Holds, Skips], "processes": [Holding, Skipping]}
    app = hw.App("dials", **parts, views=views, partitions=1)
    return World(app, Turned, Dial, [Holds, Skips])


def turned(dial: str, version: int, fields: str) -> NewRecord:
    value = f'{{"eventType":"Turned","eventVersion":{version},"dialId":"{dial}",{fields}}}'
    return NewRecord(TOPIC, 0, dial.encode(), value.encode())


def told(shop: hw.Shop, world: World) -> dict[str, dict[str, int]]:
    """What each reader knows of dials, where it knows any."""
    found = {one.__name__: {row.dial_id: row.degrees for row in shop.rows(one)} for one in world.projections}
    for name in ("holding", "skipping"):
        boards = {dial: shop.find(Board, f"{name} {dial}") for dial in ("new", "old", "now")}
        found[name] = {dial: sum(board.degrees) for dial, board in boards.items() if board is not None}
    rows = shop.query("SELECT dialId AS dial, total FROM angles", into=Angle)
    return found | {"view": {row.dial: row.total for row in rows}}


class Angle(hw.Value):
    dial: str
    total: int


def desk(running: Running, log: MemoryLog) -> DeadLetters:
    """The dead letters of all readers."""
    models = running.models
    assert models is not None
    assert models.views is not None
    places: dict[str, Place] = {one.title: InStore(models.store, one.runner, SYSTEM) for one in models.models}
    for name in ("holding", "skipping"):
        places |= {name: InLog(log, owners_group(name), SYSTEM), f"{name}-forward": InLog(log, name, SYSTEM)}
    return DeadLetters(places | places_of_views(models.views, SYSTEM), SYSTEM)


def letters_of(running: Running, log: MemoryLog) -> list[Letter]:
    return desk(running, log).letters(Selection())


def readers(letters: list[Letter]) -> set[str]:
    return {letter.reader for letter in letters}


@pytest.fixture
def views(tmp_path: Path) -> str:
    (tmp_path / "angles.sql").write_text(VIEW)
    return str(tmp_path / "*.sql")


def test_every_reader_holds_or_skips_them_and_newer_code_reads_them_when_they_are_tried_again(
    views: str, tmp_path: Path
) -> None:
    log, store, telemetry = MemoryLog(), f"sqlite:///{tmp_path}/rows.db", KeptTelemetry()
    log.create_topics([TopicSpec(TOPIC, 1)])
    log.append([turned("new", 3, '"degrees":10,"of a later day":true'), turned("new", 2, '"degrees":1')])
    log.append([turned("old", 1, '"turns":1'), turned("old", 2, '"degrees":2'), turned("now", 2, '"degrees":5')])
    before = world(2, views)
    holds, skips = {"now": 5}, {"now": 5, "new": 1}
    expected = {"Holds": holds, "holding": holds, "view": holds, "Skips": skips, "skipping": skips}
    running = before.app.run(log, store=store, environment=System(telemetry))
    with running as shop:
        eventually(lambda: told(shop, before) == expected)
        eventually(lambda: len(letters_of(running, log)) == 2 * len(READERS))
        letters = letters_of(running, log)
        assert readers(letters) == READERS
        stages = {(letter.row.key, letter.row.stage, letter.row.error, letter.row.handler) for letter in letters}

        def alerted() -> int:
            return len([name for name, _ in telemetry.alerts if name == "headwater_dead_letters_waiting"])

        eventually(lambda: alerted() == len(READERS), saying="an alert was raised for each reader")
    assert stages == {(b"new", "decode", "BadData", "Turned"), (b"old", "upcast", "ZeroDivisionError", WHOLE_TURNS)}
    after = world(3, views)
    every = {"now": 5, "new": 11, "old": 362}
    running = after.app.run(log, store=store)
    with running as shop:
        eventually(
            lambda: told(shop, after)["view"] == every, saying="a view is made anew, since its events are others"
        )
        letters = desk(running, log).letters(Selection())
        assert {letter.reader for letter in letters} == READERS - {"angles"}
        work = desk(running, log).work(letters, "retry", who="x", reason="", per_s=100, timeout_s=60)
        assert {line.step for _, line in work} <= {"retried"}
        eventually(lambda: all(one == every for one in told(shop, after).values()))
        assert letters_of(running, log) == []


def test_an_entity_is_not_guessed_at() -> None:
    """Neither by who asks for its history nor by its owner, who decides nothing there."""
    log, after, before = MemoryLog(), world(3), world(2)
    with hw.App("dials", aggregates=[after.aggregate], partitions=1).run(log) as shop:
        shop.append(after.aggregate, "new", [after.event("new", 10)])
    with hw.App("dials", aggregates=[before.aggregate], partitions=1).run(log) as shop:
        with pytest.raises(hw.BadData, match=r"version 3 of Turned is newer") as found:
            shop.history(before.aggregate, "new")
        assert (found.value.topic, found.value.partition, found.value.offset) == (TOPIC, 0, 0)
        with pytest.raises(hw.Unavailable, match=r"version 3 of Turned is newer .*dial-events, partition 0, offset 0"):
            shop.append(before.aggregate, "new", [before.event("new", 1)])
    assert log.ends([TopicPartition(TOPIC, 0)]) == {TopicPartition(TOPIC, 0): 1}
