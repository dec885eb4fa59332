"""Event sourcing and CQRS for Python on Apache Kafka, or on one SQLite file until you need Kafka.

Everything a program writes against is here: `import headwater as hw`.
"""

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
from headwater.messages import Command, Event, Key, Timeout, Value, field
from headwater.messages.envelope import Meta, Recorded
from headwater.messages.reactions import on
from headwater.messages.rejection import Rejected
from headwater.processes import Process
from headwater.projections import DELETED, Deleted, Projection, Rows

__all__ = [
    "DELETED",
    "Aggregate",
    "App",
    "AsyncShop",
    "BadData",
    "Command",
    "Conflict",
    "Deleted",
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
    "Rows",
    "Sending",
    "Shop",
    "Timeout",
    "Unavailable",
    "Unknown",
    "Value",
    "decides",
    "evolves",
    "field",
    "on",
]
