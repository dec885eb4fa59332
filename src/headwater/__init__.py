"""Event sourcing and CQRS for Python on Apache Kafka, or on one SQLite file until you need Kafka.

Everything a program writes against is here: `import headwater as hw`. The rooms behind a name are imported when
it is first used, so that a command line that only prints its help costs nothing.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for the checkers; HOMES says the same at run time
    from headwater.app import App
    from headwater.client import AsyncShop, Receipt, Sending, Shop
    from headwater.entities import Aggregate, decides, evolves
    from headwater.errors import (
        BadData,
        Conflict,
        Failed,
        HeadwaterError,
        Misuse,
        NotFound,
        NotYet,
        Unavailable,
        Unknown,
    )
    from headwater.failures import dead_letter, stop
    from headwater.messages import Command, Event, Key, Reverted, Timeout, Value, field
    from headwater.messages.envelope import Meta, Recorded
    from headwater.messages.reactions import on
    from headwater.messages.rejection import Rejected
    from headwater.messages.upcasts import Upcast, upcasts
    from headwater.processes import Process
    from headwater.projections import DELETED, Deleted, Projection, Rows, Sink, by_hash, by_id, by_sequence
    from headwater.views.changes import Change, Changes
    from headwater.views.moments import Estimate

HOMES = {
    "headwater.app": "App",
    "headwater.client": "AsyncShop Receipt Sending Shop",
    "headwater.entities": "Aggregate decides evolves",
    "headwater.errors": "BadData Conflict Failed HeadwaterError Misuse NotFound NotYet Unavailable Unknown",
    "headwater.failures": "dead_letter stop",
    "headwater.messages": "Command Event Key Reverted Timeout Value field",
    "headwater.messages.envelope": "Meta Recorded",
    "headwater.messages.reactions": "on",
    "headwater.messages.rejection": "Rejected",
    "headwater.messages.upcasts": "Upcast upcasts",
    "headwater.processes": "Process",
    "headwater.projections": "DELETED Deleted Projection Rows Sink by_hash by_id by_sequence",
    "headwater.views.changes": "Change Changes",
    "headwater.views.moments": "Estimate",
}

__all__ = [
    "DELETED",
    "Aggregate",
    "App",
    "AsyncShop",
    "BadData",
    "Change",
    "Changes",
    "Command",
    "Conflict",
    "Deleted",
    "Estimate",
    "Event",
    "Failed",
    "HeadwaterError",
    "Key",
    "Meta",
    "Misuse",
    "NotFound",
    "NotYet",
    "Process",
    "Projection",
    "Receipt",
    "Recorded",
    "Rejected",
    "Reverted",
    "Rows",
    "Sending",
    "Shop",
    "Sink",
    "Timeout",
    "Unavailable",
    "Unknown",
    "Upcast",
    "Value",
    "by_hash",
    "by_id",
    "by_sequence",
    "dead_letter",
    "decides",
    "evolves",
    "field",
    "on",
    "stop",
    "upcasts",
]


if not TYPE_CHECKING:  # else a misspelled name would pass the checkers

    def __getattr__(name: str) -> Any:
        for home, names in HOMES.items():
            if name in names.split():
                value = globals()[name] = getattr(import_module(home), name)
                return value
        raise AttributeError(f"module 'headwater' has no attribute {name!r}")

    def __dir__() -> list[str]:
        return sorted({*globals(), *__all__})
