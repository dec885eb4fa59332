"""An aggregate whose fields change: its states are folded anew from the events, its memory of commands stays."""

from __future__ import annotations

import headwater as hw
from headwater.log.memory import MemoryLog
from tests.owners.test_torn_commands import Added, BasketEvent, Fill, app


class CountingBasket(hw.Aggregate[BasketEvent]):
    """The same baskets, later."""

    content: list[str] = []
    longest: int = 0

    @hw.decides
    def fill(self, command: Fill) -> list[BasketEvent]:
        return [Added(command.basket_id, what) for what in command.what]

    @hw.evolves
    def added(self, event: Added) -> None:
        self.content.append(event.what)
        self.longest = max(self.longest, len(event.what))


later = hw.App("baskets", aggregates=[CountingBasket], partitions=2)


def test_the_state_is_made_again_from_all_events() -> None:
    log = MemoryLog(gaps=True)
    print("seed", log.seed)
    with app.run(log, store="memory://") as baskets:
        baskets.send(Fill("b", ["apple", "fig"]), command_id="c1")
    with later.run(log, store="memory://") as baskets:
        assert baskets.get(CountingBasket, "b").longest == 5
        assert baskets.get(CountingBasket, "b").version == 2
        again = baskets.send(Fill("b", ["apple", "fig"]), command_id="c1")
        assert (again.duplicate, again.version) == (True, 2)
        assert baskets.send(Fill("b", ["banana"])).version == 3
    with later.run(log, store="memory://") as baskets:
        assert baskets.get(CountingBasket, "b").longest == 6
