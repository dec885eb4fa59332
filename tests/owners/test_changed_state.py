"""An aggregate whose fields or @evolves methods change: its states are folded anew from the events, before anything is
decided, and its memory of commands stays."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import closing

import pytest

import headwater as hw
from headwater.entities.behaviour import Behaviour
from headwater.environment import SYSTEM
from headwater.log.memory import MemoryLog
from headwater.log.partitioning import partition_of
from headwater.log.port import Log, NewRecord, Record, TopicPartition
from headwater.owners.ahead import Ahead
from headwater.owners.deciding import Decider
from headwater.owners.rebuilding import bring_up_to_date
from headwater.owners.restore import restore
from headwater.owners.state_record import decode_value, with_state
from headwater.owners.states import StatesInMemory
from headwater.testing import eventually
from tests.owners.test_torn_commands import Added, Basket, BasketCommand, BasketEvent, Fill, app, written


class CountingBasket(hw.Aggregate[BasketEvent]):
    """The same baskets, later: another field, and the author did not raise the version."""

    content: list[str] = []
    longest: int = 0

    @hw.decides
    def fill(self, command: Fill) -> list[BasketEvent]:
        return [Added(command.basket_id, what) for what in command.what]

    @hw.evolves
    def added(self, event: Added) -> None:
        self.content.append(event.what)
        self.longest = max(self.longest, len(event.what))


class LoudBasket(hw.Aggregate[BasketEvent]):
    """The same fields, folded otherwise."""

    content: list[str] = []

    @hw.decides
    def fill(self, command: Fill) -> list[BasketEvent]:
        return [Added(command.basket_id, what) for what in command.what]

    @hw.evolves
    def added(self, event: Added) -> None:
        self.content.append(event.what.upper())


class Empty(BasketCommand):
    """Of the newer code only."""


class Emptied(BasketEvent):
    """Of the newer code only."""


class NewBasket(hw.Aggregate[BasketEvent], version=2):
    content: list[str] = []
    emptied: int = 0

    @hw.decides
    def fill(self, command: Fill) -> list[BasketEvent]:
        return [Added(command.basket_id, what) for what in command.what]

    @hw.decides
    def empty(self, command: Empty) -> Emptied:
        return Emptied(command.basket_id)

    @hw.evolves
    def added(self, event: Added) -> None:
        self.content.append(event.what)

    @hw.evolves
    def was_emptied(self, event: Emptied) -> None:
        self.content = []
        self.emptied += 1


class FussyBasket(hw.Aggregate[BasketEvent], version=2):
    content: list[str] = []

    @hw.decides
    def fill(self, command: Fill) -> list[BasketEvent]:
        return [Added(command.basket_id, what) for what in command.what]

    @hw.evolves
    def added(self, event: Added) -> None:
        self.content.append({"fig": "a fig"}[event.what])


def with_(basket: type[hw.Aggregate[BasketEvent]]) -> hw.App:
    return hw.App("baskets", aggregates=[basket], partitions=2)


later, loud, new, fussy = with_(CountingBasket), with_(LoudBasket), with_(NewBasket), with_(FussyBasket)
SCHEMAS = {one: Behaviour(one).schema for one in (Basket, CountingBasket, LoudBasket, NewBasket)}


@pytest.fixture
def log() -> Iterator[MemoryLog]:
    with closing(MemoryLog(gaps=True)) as log:
        print("seed", log.seed)
        yield log


def newest_states(log: Log) -> list[Record]:
    """The newest state record of each basket."""
    found: dict[bytes | None, Record] = {}
    with closing(log.reader()) as reader:
        reader.assign({TopicPartition("basket-state", p): 0 for p in range(2)})
        while records := reader.read(1000, 0.05).records:
            found.update({one.key: one for one in records})
    return list(found.values())


def schemas(log: Log) -> set[str]:
    return {decode_value(one.value or b"").schema for one in newest_states(log)}


def fill_baskets(baskets: hw.Shop, *names: str) -> None:
    for name in names:
        baskets.send(Fill(name, ["apple", "fig"]), command_id="c1")


def test_the_state_is_made_again_from_all_events(log: MemoryLog) -> None:
    with app.run(log, store="memory://") as baskets:
        fill_baskets(baskets, "b")
    with later.run(log, store="memory://") as baskets:
        assert baskets.get(CountingBasket, "b").longest == 5
        assert baskets.get(CountingBasket, "b").version == 2
        again = baskets.send(Fill("b", ["apple", "fig"]), command_id="c1")
        assert (again.duplicate, again.version) == (True, 2)
        assert baskets.send(Fill("b", ["banana"])).version == 3
    with later.run(log, store="memory://") as baskets:
        assert baskets.get(CountingBasket, "b").longest == 6


def test_also_when_only_the_code_changed_and_the_author_hears_of_it(
    log: MemoryLog, caplog: pytest.LogCaptureFixture
) -> None:
    with app.run(log, store="memory://") as baskets:
        fill_baskets(baskets, "b")
    with caplog.at_level(logging.WARNING, "headwater.owners"), loud.run(log, store="memory://") as baskets:
        assert baskets.get(LoudBasket, "b").content == ["APPLE", "FIG"]
    assert "the code of 'basket' changed, and its version is still 1" in caplog.text


def test_all_of_a_partition_is_made_again_and_the_old_states_are_replaced_in_the_log(log: MemoryLog) -> None:
    names = [f"b{number}" for number in range(2500)]
    with app.run(log, store="memory://", only=["commands"]) as baskets:
        list(baskets.send_many([Fill(name, ["fig"]) for name in names]))
    assert schemas(log) == {SCHEMAS[Basket]}
    with loud.run(log, store="memory://", only=["commands"]):
        eventually(lambda: schemas(log) == {SCHEMAS[LoudBasket]})
    states = [decode_value(one.value or b"") for one in newest_states(log)]
    assert {bytes(one.state) for one in states} == {
        b'{"id":"%s","version":1,"content":["FIG"]}' % name.encode() for name in names
    }


def test_what_the_new_code_cannot_fold_stops_its_partition_with_the_event(log: MemoryLog) -> None:
    with app.run(log, store="memory://", only=["commands"]) as baskets:
        baskets.send(Fill("b", ["fig", "apple"]))
    with fussy.run(log, store="memory://", only=["commands"]) as baskets:
        with pytest.raises(hw.Unavailable, match=r"FussyBasket\.added failed on Added .*offset.*KeyError: 'apple'"):
            baskets.send(Fill("b", ["fig"]))
        other = next(name for name in "cdefgh" if partition_of(name.encode(), 2) != partition_of(b"b", 2))
        assert baskets.send(Fill(other, ["fig"])).version == 1
    assert SCHEMAS[Basket] in schemas(log)


def test_older_code_leaves_newer_states_alone_and_serves_the_rest(log: MemoryLog) -> None:
    with new.run(log, store="memory://", only=["commands"]) as baskets:
        baskets.send(Fill("b", ["fig"]))
        baskets.send(Empty("b"))
        before = log.ends([TopicPartition("basket-state", p) for p in range(2)])
    with app.run(log, store="memory://", only=["commands"]) as baskets:
        with pytest.raises(hw.Unavailable, match=r"holds states of version 2, and this code has version 1"):
            baskets.send(Fill("b", ["fig"]))
        assert log.ends([TopicPartition("basket-state", p) for p in range(2)]) == before
        other = next(name for name in "cdefgh" if partition_of(name.encode(), 2) != partition_of(b"b", 2))
        assert baskets.send(Fill(other, ["fig"])).version == 1
    with new.run(log, store="memory://", only=["commands"]) as baskets:
        assert baskets.get(NewBasket, "b").emptied == 1


def test_older_code_gives_way_when_newer_comes_and_does_not_come_back(log: MemoryLog) -> None:
    with new.run(log, store="memory://", only=["commands"]) as baskets:
        baskets.send(Fill("b", ["fig"]))
    old = app.run(log, store="memory://", only=["commands"])
    with old:
        assert old.services is not None
        [status] = old.services.statuses
        with new.run(log.again(), store="memory://", only=["commands"]) as baskets:
            eventually(lambda: not status.alive)
            assert "GaveWay: basket-state/" in str(status.last_failure)
            for name in "bcdefgh":
                assert baskets.send(Empty(name)).events == 1
            with pytest.raises(hw.Unavailable, match="owns 'basket' with newer code"), app.run(log, store="memory://"):
                pass


def test_a_state_of_events_that_are_gone_is_not_made_of_the_rest(log: MemoryLog) -> None:
    with app.run(log, store="memory://", only=["commands"]) as baskets:
        fill_baskets(baskets, "b")
    [record] = newest_states(log)
    state = decode_value(record.value or b"")
    state.version = 3
    forged = with_state(state, SCHEMAS[Basket], bytes(state.state))
    log.append([NewRecord("basket-state", record.partition, b"b", forged)])
    with (
        loud.run(log, store="memory://", only=["commands"]) as baskets,
        pytest.raises(hw.Unavailable, match="'b' has version 3, and not as many of its events are there"),
    ):
        baskets.send(Fill("b", ["fig"]))


def test_a_record_that_is_no_state_is_named(log: MemoryLog) -> None:
    with app.run(log, store="memory://", only=["commands"]):
        pass
    log.append([NewRecord("basket-state", 0, b"mallory", b'{"version":1,"events":1,"commands":0}')])
    running = app.run(log, store="memory://", only=["commands"])
    with running:
        assert running.services is not None
        failures = running.services.owners["basket"].failures
        assert "reading its state record failed on basket b'mallory'" in failures[0]
        assert 1 not in failures


def test_states_that_were_folded_ahead_are_gone_on_from(log: MemoryLog, caplog: pytest.LogCaptureFixture) -> None:
    """What older processes add meanwhile is folded on top; an entity that has more events than its record is not
    trusted, and folded from its beginning."""
    decider = Decider(Behaviour(NewBasket), "baskets", SYSTEM.new_id, None)
    ahead = Ahead(log, decider, 2, SYSTEM)
    names = [f"b{number}" for number in range(20)]
    with app.run(log, store="memory://", only=["commands"]) as baskets:
        fill_baskets(baskets, *names)
    log.append([written("b0", "more", 3, "c2", 0, 1)])  # as an owner left it whose states were lost
    ahead.prepare(lambda: False)
    assert ahead.folded == 41
    with app.run(log, store="memory://", only=["commands"]) as baskets:
        for name in [*names[3:6], "later"]:
            baskets.send(Fill(name, ["plum"]))
    memories = restore(log, "basket", "basket-owners", {p: StatesInMemory() for p in range(2)}, 2, True, SYSTEM)
    with caplog.at_level(logging.INFO, "headwater.owners"):
        bring_up_to_date(log, decider, memories, ahead, SYSTEM)
    in_place = [int(count) for count in re.findall(r"states are folded anew, (\d+) in place", caplog.text)]
    assert (len(in_place), sum(in_place)) == (2, 1)
    keys = [(one, key) for one in memories.values() for key, _ in one.states.items()]
    found = {key.decode(): decode_value(one.get(key) or b"") for one, key in keys}
    assert found.keys() == {*names, "later"}
    for name, record in found.items():
        content = ["plum"] if name == "later" else ["apple", "fig", *(["plum"] if name in names[3:6] else [])]
        assert (record.schema, record.version) == (decider.schema, len(content))
        assert decider.behaviour.decode_state(record.state).content == content
        assert record.recent


def test_code_that_cannot_fold_the_history_takes_nothing_over_from_others(log: MemoryLog) -> None:
    with app.run(log, store="memory://", only=["commands"]) as baskets:
        baskets.send(Fill("b", ["fig", "apple"]))
        with (
            pytest.raises(hw.Unavailable, match=r"FussyBasket\.added failed on Added .*KeyError: 'apple'"),
            fussy.run(log.again(), store="memory://", only=["commands"]),
        ):
            pass
        assert baskets.send(Fill("b", ["fig"])).events == 0
