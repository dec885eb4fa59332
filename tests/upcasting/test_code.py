"""The functions that read old events are part of the code that makes states and rows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import headwater as hw
from headwater.entities.behaviour import Behaviour
from headwater.entities.schema import parts_that_differ
from headwater.projections.read_model import read_models_of


def same(fields: dict[str, Any]) -> dict[str, Any]:
    return fields


def doubled(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {"size": 2 * fields["size"]}


def codes(function: Callable[[dict[str, Any]], dict[str, Any]] | None) -> tuple[str, str]:
    """The schema of states, and the code of rows, of one contract with this function for its old events."""

    class TreeEvent(hw.Event, entity="tree"):
        tree_id: hw.Key[str]

    class Grown(TreeEvent, version=2):
        size: int

    class Tree(hw.Aggregate[TreeEvent]):
        size: int = 0

        @hw.evolves
        def grown(self, event: Grown) -> None:
            self.size = event.size

    class Sizes(hw.Projection):
        tree_id: hw.Key[str]
        size: int = 0

        @hw.on(Grown)
        def grown(self, event: Grown) -> None:
            self.size = event.size

    if function is not None:
        hw.upcasts(Grown, from_version=1)(function)
    [model] = read_models_of("wood", [Sizes])
    return Behaviour(Tree).schema, model.code


def test_another_function_is_other_code() -> None:
    none, one, other = codes(None), codes(same), codes(doubled)
    assert codes(same) == one
    assert len({none[0], one[0], other[0]}) == len({none[1], one[1], other[1]}) == 3
    assert parts_that_differ(one[0], other[0]) == ["code"]
