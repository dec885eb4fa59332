"""Aggregates: what an entity decides and how its events change it. Pure: no I/O, no clock, no log's names."""

from headwater.entities.aggregate import Aggregate, decides, evolves
from headwater.entities.behaviour import Behaviour

__all__ = ["Aggregate", "Behaviour", "decides", "evolves"]
