"""`given`: the one way into a scenario, whatever is tried in it.

    given(Order, OrderPlaced("1", Decimal(3))).when(PlaceOrder("1", Decimal(3))).rejects(AlreadyPlaced)
    given(Billing).when(OrderPlaced("1", Decimal(3))).sends(RequestPayment("p-1", Decimal(3)))
    given(Revenue, (OrderPlaced("1", Decimal(3)), monday)).rows(Revenue(monday.date(), Decimal(3)))

A scenario runs in memory, with codec and store in the path, in milliseconds. `pytest --hw-log` runs the same
lines on a log from end to end. Each statement is checked where it stands.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, TypeVar, overload

from headwater.entities.aggregate import Aggregate
from headwater.errors import Misuse
from headwater.messages.declare import Event
from headwater.processes.declare import Process
from headwater.projections.declare import Projection
from headwater.testing.scenarios import AggregateScenario
from headwater.testing.scenarios_of_readers import ProcessScenario, ProjectionScenario
from headwater.testing.stage import current
from headwater.testing.writing import happened_of

E = TypeVar("E", bound=Event)
P = TypeVar("P", bound=Projection)


@overload
def given(tried: type[Aggregate[E]], /, *events: E | tuple[E, datetime]) -> AggregateScenario[E]: ...
@overload
def given(tried: type[Process], /, *events: Event | tuple[Event, datetime]) -> ProcessScenario: ...
@overload
def given(
    tried: type[P], /, *events: Event | tuple[Event, datetime], beside: Sequence[type[Projection]] = ()
) -> ProjectionScenario[P]: ...
def given(tried: Any, /, *events: Any, beside: Sequence[type[Projection]] = ()) -> Any:
    """What has happened before, and to what.

    Arguments: tried: an aggregate, process or projection class; events: in order, each alone (then it happened
    now, on the scenario's clock) or with its time, aware; beside: other projections of the same group, whose
    rows it looks up.
    Raises: Misuse: something else, or a class that is declared wrongly. AssertionError: the aggregate cannot
    have these events.
    """
    __tracebackhide__ = True
    stage, happened = current(), [happened_of(event) for event in events]
    if isinstance(tried, type) and issubclass(tried, Aggregate):
        return AggregateScenario[Any](tried, happened, stage)
    if isinstance(tried, type) and issubclass(tried, Process):
        return ProcessScenario(tried, happened, stage)
    if isinstance(tried, type) and issubclass(tried, Projection):
        return ProjectionScenario[Any](tried, happened, beside, stage)
    raise Misuse(f"given({tried!r}, …): begin with an aggregate, a process or a projection class")
