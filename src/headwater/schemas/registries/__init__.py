"""Registries of schemas behind one port: a directory, the log itself, a server."""

from headwater.schemas.registries.opening import open_registry
from headwater.schemas.registries.port import Incompatible, Registered, Registry

__all__ = ["Incompatible", "Registered", "Registry", "open_registry"]
