"""Mistakes in declaring what old versions mean are found where they are made, or when the app is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

import headwater as hw
from headwater.messages.upcasts import refuse_missing_steps


class LampEvent(hw.Event, entity="lamp"):
    lamp_id: hw.Key[str]


class Lit(LampEvent):
    by: str


def same(fields: dict[str, Any]) -> dict[str, Any]:
    return fields


async def waits(fields: dict[str, Any]) -> dict[str, Any]:
    return fields


def two(fields: dict[str, Any], meta: hw.Meta) -> dict[str, Any]:
    return fields


@pytest.mark.parametrize(
    ("mark", "function", "saying"),
    [
        (lambda: hw.upcasts(dict, from_version=1), same, "give it a class of hw.Event"),  # type: ignore[arg-type] # on purpose
        (lambda: hw.upcasts(Lit, from_version=0), same, "a whole number from 1"),
        (lambda: hw.upcasts(LampEvent, from_version=1), same, "is a family; name the type that is gone"),
        (lambda: hw.upcasts(Lit, "Burnt", from_version=1), same, "has a name already"),
        (lambda: hw.upcasts(Lit, from_version=1), waits, "a plain function"),
        (lambda: hw.upcasts(Lit, from_version=1), two, "must take (fields), and nothing else"),
    ],
)
def test_a_wrong_declaration(mark: Callable[[], Any], function: Any, saying: str) -> None:
    with pytest.raises(hw.Misuse) as found:
        mark()(function)
    assert saying in str(found.value)


def test_two_functions_for_one_version() -> None:
    class CupEvent(hw.Event, entity="cup"):
        cup_id: hw.Key[str]

    class Filled(CupEvent, version=2):
        pass

    hw.upcasts(Filled, from_version=1)(same)
    hw.upcasts(Filled, from_version=1)(same)  # a reload
    with pytest.raises(hw.Misuse, match="same takes that version already"):
        hw.upcasts(Filled, from_version=1)(lambda fields: fields)


def test_a_missing_step_is_found_when_the_app_is_made() -> None:
    class PanEvent(hw.Event, entity="pan"):
        pan_id: hw.Key[str]

    class Heated(PanEvent, version=3):
        pass

    class Pan(hw.Aggregate[PanEvent]):
        pass

    class Heats(hw.Projection):
        pan_id: hw.Key[str]

        @hw.on(Heated)
        def heated(self, event: Heated) -> None: ...

    class Cooking(hw.Process):
        pan_id: hw.Key[str]

        @hw.on(Heated)
        def heated(self, event: Heated) -> None: ...

    hw.upcasts(Heated, from_version=1)(same)
    parts: list[dict[str, Any]] = [{"aggregates": [Pan]}, {"projections": [Heats]}, {"processes": [Cooking]}]
    for part in parts:
        with pytest.raises(hw.Misuse) as found:
            hw.App("kitchen", **part)
        assert "Heated is at version 3, and nothing reads its version 2" in str(found.value)
        assert "@hw.upcasts(Heated, from_version=2)\n    def heated_2(fields" in str(found.value)
    hw.upcasts(Heated, from_version=2)(same)
    for part in parts:
        hw.App("kitchen", **part)


def test_a_gap_in_the_versions_of_a_type_that_is_gone() -> None:
    class PotEvent(hw.Event, entity="pot"):
        pot_id: hw.Key[str]

    class Boiled(PotEvent):
        pass

    hw.upcasts(PotEvent, "Cooked", from_version=2)(lambda fields: hw.Upcast(Boiled, 1, fields))
    with pytest.raises(hw.Misuse, match="nothing reads its version 1"):
        refuse_missing_steps([PotEvent])


def test_a_function_that_nothing_gets_to() -> None:
    class JugEvent(hw.Event, entity="jug"):
        jug_id: hw.Key[str]

    class Poured(JugEvent):
        pass

    hw.upcasts(Poured, from_version=1)(same)
    with pytest.raises(hw.Misuse, match=r"raise it, class Poured\(…, version=2\)"):
        refuse_missing_steps([JugEvent])
