"""Which earlier schemas a level looks at, and in which direction."""

from __future__ import annotations

import pytest

from headwater.errors import Misuse
from headwater.schemas.compatibility import DEFAULT_LEVEL, LEVELS, Level, breaks, level_named
from headwater.schemas.port import Schema
from tests.schemas.test_compatibility_avro import Field, avro_schema

A: Field = ("a", "long", {})
B: Field = ("b", "long", {"default": 0})
TEXT_B = ("b", "string", {"default": ""})

# The last revision can be read in both directions; the first one had another type under the same name.
HISTORY = [(1, avro_schema(A, TEXT_B)), (2, avro_schema(A))]
AGAIN = avro_schema(A, B)


@pytest.mark.parametrize(
    ("level", "broken"),
    [
        ("NONE", set()),
        ("BACKWARD", set()),
        ("FORWARD", set()),
        ("FULL", set()),
        ("BACKWARD_TRANSITIVE", {(1, "backward")}),
        ("FORWARD_TRANSITIVE", {(1, "forward")}),
        ("FULL_TRANSITIVE", {(1, "backward"), (1, "forward")}),
    ],
)
def test_only_transitive_levels_see_that_a_field_came_back_with_another_type(level: Level, broken: set[object]) -> None:
    found = breaks(level, AGAIN, HISTORY)
    assert {(one.revision, one.direction) for one in found} == broken
    assert {one.path for one in found} == ({"b"} if broken else set())


@pytest.mark.parametrize(("level", "broken"), [("BACKWARD", {"backward"}), ("FORWARD", set()), ("FULL", {"backward"})])
def test_a_new_field_without_a_default(level: Level, broken: set[str]) -> None:
    found = breaks(level, avro_schema(A, ("b", "long", {})), [(1, avro_schema(A))])
    assert {one.direction for one in found} == broken


@pytest.mark.parametrize(("level", "broken"), [("BACKWARD", set()), ("FORWARD", {"forward"}), ("FULL", {"forward"})])
def test_a_field_without_a_default_that_goes(level: Level, broken: set[str]) -> None:
    found = breaks(level, avro_schema(A), [(1, avro_schema(A, ("b", "long", {})))])
    assert {one.direction for one in found} == broken


def test_what_is_told_of_a_break() -> None:
    [one] = breaks(DEFAULT_LEVEL, avro_schema(A, ("b", "long", {})), [(3, avro_schema(A))])
    assert str(one) == (
        "b: it was not written and has no default, so what revision 3 wrote cannot be read; give the field a default"
    )


def test_a_topic_may_change_its_format() -> None:
    assert breaks("FULL_TRANSITIVE", avro_schema(A), [(1, Schema("json", '{"type": "object"}'))]) == []


def test_the_names_of_the_levels() -> None:
    assert [level_named(one) for one in LEVELS] == list(LEVELS)
    with pytest.raises(Misuse, match="the levels are NONE, BACKWARD"):
        level_named("backwards")
