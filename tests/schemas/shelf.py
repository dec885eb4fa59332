"""A registry in memory that registers whatever it is asked for: for tests of what codecs do with ids."""

from __future__ import annotations

from uuid import UUID, uuid5

from headwater.errors import Unavailable
from headwater.schemas.port import Schema, UnknownSchema

SPACE = UUID("0190a5b0-7f0e-7c3a-8a51-d3b7f1c5a001")


class Shelf:
    """`asked`: the ids that were asked for, in order; `down`: it cannot be reached now."""

    def __init__(self) -> None:
        self.asked: list[int | UUID] = []
        self.down = False
        self._schemas: dict[int | UUID, Schema] = {}
        self._ids: dict[Schema, int] = {}

    def put(self, schema: Schema, id: int | None = None) -> int:
        id = self._ids.setdefault(schema, id or len(self._ids) + 1)
        self._schemas[id] = self._schemas[self.guid(id)] = schema
        return id

    def guid(self, id: int) -> UUID:
        return uuid5(SPACE, str(id))

    def schema(self, id: int | UUID) -> Schema:
        self.asked.append(id)
        if self.down:
            raise Unavailable("the shelf has fallen over")
        if id not in self._schemas:
            raise UnknownSchema(f"there is no schema {id} on the shelf")
        return self._schemas[id]

    def id_of(self, subject: str, schema: Schema) -> int:
        if self.down:
            raise Unavailable("the shelf has fallen over")
        return self.put(schema)

    def location(self, id: int) -> str:
        return f"shelf/{id}"
