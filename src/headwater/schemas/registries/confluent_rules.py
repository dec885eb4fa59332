"""The levels and modes that a registry behind Confluent's REST interface has itself, beside what our address asks.

A subject without a level or mode of its own has those of the whole registry, which are its operators' business: only
levels of subjects are set here. A server may have no modes (Apicurio 2.6 has none).
"""

from __future__ import annotations

from headwater.schemas.compatibility import Level
from headwater.schemas.port import UnknownSchema
from headwater.schemas.registries.confluent_answers import NoSuchRequest
from headwater.schemas.registries.confluent_connection import Connection
from headwater.schemas.registries.confluent_naming import Names
from headwater.schemas.registries.port import Rules


class ConfluentRules:
    """`OwnRules`. Arguments: connection; names."""

    def __init__(self, connection: Connection, names: Names) -> None:
        self._connection, self._names = connection, names

    def of(self, subject: str) -> Rules:
        return Rules(self._asked("config", "compatibilityLevel", subject), self._asked("mode", "mode", subject))

    def set_level(self, subject: str, level: Level) -> None:
        path = f"/config/{self._names.quoted(subject)}"
        self._connection.ask("PUT", path, {"compatibility": level}, subject=subject)

    def _asked(self, what: str, field: str, subject: str) -> str:
        """Of a subject, or else of all: some servers do not know a subject that has none of its own."""
        for path in (f"/{what}/{self._names.quoted(subject)}?defaultToGlobal=true", f"/{what}"):
            try:
                return str(self._connection.ask("GET", path, subject=subject).get(field) or "")
            except (UnknownSchema, NoSuchRequest):
                continue
        return ""
