"""Where schemas are found and registered: the port that codecs use and registries implement.

A record carries the id of the schema that its writer had. Readers ask for the schema of an id, writers for the id of
a schema under a subject. Both are remembered by whoever asks, since neither ever changes: a registry that is down
stops nobody who has met the schema before.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol
from uuid import UUID

from headwater.errors import HeadwaterError, Misuse
from headwater.schemas.derivation import SchemaKind


class UnknownSchema(HeadwaterError):
    """The registry has no such schema: whoever writes with it registers it."""


class NotPublished(Misuse):
    """An app must not write its events: a schema is not compatible with what is registered, or not registered."""


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema as text. Arguments: kind: its format; text: Avro's JSON or a JSON Schema; references: the texts of other
    schemas that it names, by that name, those first that others of them need."""

    kind: SchemaKind
    text: str
    references: tuple[tuple[str, str], ...] = ()


class SchemaSource(Protocol):
    """Schemas by id and back. Thread-safe.

    Errors are these two: Unavailable: the registry cannot be reached, or it refuses us: asking again later helps.
    `UnknownSchema`: it answered, and has no such schema: asking again helps only when somebody registers it.
    """

    def schema(self, id: int | UUID) -> Schema:
        """The schema of an id (the four bytes in front of a value) or of a GUID (the header form). May be the answer of
        an earlier call. Raises: Unavailable, UnknownSchema."""

    def id_of(self, subject: str, schema: Schema) -> int:
        """The id of a schema under a subject, where exactly this text is registered there. Registers nothing.
        Raises: Unavailable, UnknownSchema."""

    def location(self, id: int) -> str:
        """A URI of the schema, for the header `ce_dataschema`: of the registry's interface, or of a file.
        Asks nobody."""
