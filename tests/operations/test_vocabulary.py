"""Names and JSON that people type become messages, or a sentence."""

from __future__ import annotations

import pytest

import headwater as hw
from headwater.entities.behaviour import Behaviour
from headwater.errors import Misuse
from headwater.operations.groups import partitions_text
from headwater.operations.vocabulary import Vocabulary, read_message


class Lamp(hw.Value):
    watts: int


class RoomEvent(hw.Event, entity="room"):
    room: hw.Key[str]


class Lit(RoomEvent):
    lamps: list[Lamp]
    note: dict[str, str] = {}


class RoomCommand(hw.Command, entity="room"):
    room: hw.Key[str]


class RenameRoom(RoomCommand, name="Rename"):
    to: str


class Room(hw.Aggregate[RoomEvent]):
    @hw.decides
    def rename(self, command: RenameRoom) -> None: ...


class HouseEvent(hw.Event, entity="house"):
    house: hw.Key[str]


class Built(HouseEvent):
    pass


class HouseCommand(hw.Command, entity="house"):
    house: hw.Key[str]


class RenameHouse(HouseCommand, name="Rename"):
    to: str


class House(hw.Aggregate[HouseEvent]):
    @hw.decides
    def rename(self, command: RenameHouse) -> None: ...


@pytest.fixture
def words() -> Vocabulary:
    return Vocabulary([Behaviour(Room), Behaviour(House)])


def test_a_name_of_two_entity_types_is_told_apart_by_the_entity(words: Vocabulary) -> None:
    with pytest.raises(Misuse, match=r"several entity types; write one of room\.Rename, house\.Rename"):
        words.command("Rename")
    assert words.command("house.Rename").message is RenameHouse
    assert words.command("room.Rename").message is RenameRoom


def test_the_events_of_headwater_itself_cannot_be_written_by_hand(words: Vocabulary) -> None:
    with pytest.raises(Misuse, match=r"no event 'hw\.Reverted'"):
        words.event("hw.Reverted")


def test_a_misspelled_field_is_found_however_deep(words: Vocabulary) -> None:
    with pytest.raises(Misuse, match=r"Lit\.lamps\[1\] has no field 'volts'; there are: watts"):
        read_message(words.event("Lit"), '{"room":"1","lamps":[{"watts":1},{"watts":2,"volts":3}]}')


def test_the_names_in_a_dictionary_are_its_own(words: Vocabulary) -> None:
    text = '{"room":"1","lamps":[],"note":{"anything":"goes"}}'
    assert read_message(words.event("Lit"), text) == Lit("1", [], {"anything": "goes"})


def test_partitions_are_told_in_ranges() -> None:
    from headwater.log.port import TopicPartition as At

    assert partitions_text([At("a", 3), At("a", 0), At("a", 1), At("b", 7), At("a", 2), At("a", 5)]) == "a/0-3,5 b/7"
