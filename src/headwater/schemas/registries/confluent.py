"""A registry behind the REST interface of Confluent's: Confluent Schema Registry, Karapace, Apicurio.

It gives the ids, and may refuse what we would take, by levels and modes of its own. We look first, since our answer
has the path of the field and advice; then it is asked.

What was learned of it never changes, so it is kept (`remembered`), on disk too where the log has a place for that: a
registry that is down stops no reader of schemas that were met before, and no app that was started before.

What subjects are called there, `confluent_naming` says. Whoever only reads does not look at subjects.
"""

from __future__ import annotations

import threading
from typing import Any, Final, Literal
from urllib.parse import quote
from uuid import UUID

from headwater.errors import Unavailable
from headwater.schemas.compatibility import Level
from headwater.schemas.derivation import SchemaKind
from headwater.schemas.identity import IDS
from headwater.schemas.port import Schema, UnknownSchema
from headwater.schemas.registries.confluent_answers import NoSuchRequest
from headwater.schemas.registries.confluent_connection import Address, Connection
from headwater.schemas.registries.confluent_naming import Names
from headwater.schemas.registries.confluent_rules import ConfluentRules
from headwater.schemas.registries.port import Incompatible, Registered
from headwater.schemas.registries.registering import broken_by, found_in
from headwater.schemas.registries.remembered import Remembered

KINDS: Final[dict[str, SchemaKind]] = {"AVRO": "avro", "JSON": "json"}
TYPES: Final[dict[SchemaKind, str]] = {"avro": "AVRO", "json": "JSON"}


class ConfluentRegistry:
    """Arguments: address; level: what we ask for, beside what the registry asks; remembered: what was learned of it."""

    def __init__(self, address: Address, level: Level, remembered: Remembered) -> None:
        self._base, self._level, self._names = address.base, level, Names(address.strategy)
        self._connection, self._remembered = Connection(address), remembered
        self._revisions: dict[tuple[str, int], Registered] = {}
        self._lock = threading.Lock()

    @property
    def place(self) -> str:
        return self._base

    @property
    def level(self) -> Level:
        return self._level

    @property
    def rules(self) -> ConfluentRules:
        return ConfluentRules(self._connection, self._names)

    @property
    def by_hand(self) -> Literal[False]:
        return False

    def schema(self, id: int | UUID) -> Schema:
        known = self._remembered.schema(id)
        if known is not None:
            return known
        schema = self._read(self._asked_for(id), f"schema {id}")
        self._remembered.keep_schema(id, schema)
        return schema

    def id_of(self, subject: str, schema: Schema) -> int:
        known = self._remembered.id_of(subject, schema)
        if known is not None:
            return known
        number = self._looked_up(subject, schema)
        self._remembered.keep_id(subject, schema, number)
        return number

    def location(self, id: int) -> str:
        return f"{self._base}/schemas/ids/{id}"

    def subjects(self) -> list[str]:
        """All that it has, as it calls them: of others' subjects nothing says where a topic's name ends."""
        return sorted(self._connection.ask("GET", "/subjects"))

    def revisions(self, subject: str) -> list[Registered]:
        name = self._names.quoted(subject)
        try:
            numbers = self._connection.ask("GET", f"/subjects/{name}/versions", subject=subject)
        except UnknownSchema:
            return []
        return [self._revision(subject, name, number) for number in sorted(numbers)]

    def objection(self, subject: str, schema: Schema) -> str:
        path = f"/compatibility/subjects/{self._names.quoted(subject)}/versions/latest?verbose=true"
        try:
            answer = self._connection.ask("POST", path, self._body(schema), subject=subject)
        except UnknownSchema:
            return ""  # nothing is registered there
        if answer.get("is_compatible", True):
            return ""
        said = [*(answer.get("messages") or ()), answer.get("reason")]
        return " | ".join(str(one) for one in said if one) or "it is not compatible"

    def register(self, subject: str, schema: Schema) -> Registered:
        there = self.revisions(subject)
        found = found_in(there, schema)
        if found is None:
            if wrong := broken_by(schema, there, self._level):
                raise Incompatible(subject, wrong)
            name = self._names.quoted(subject)
            self._connection.ask("POST", f"/subjects/{name}/versions", self._body(schema), subject=subject)
            answer = self._connection.ask("POST", f"/subjects/{name}", self._body(schema), subject=subject)
            found = Registered(subject, int(answer["version"]), int(answer["id"]), schema)
        self._remembered.keep_id(subject, schema, found.id)
        return found

    def close(self) -> None:
        self._connection.close()

    def _looked_up(self, subject: str, schema: Schema) -> int:
        """By the server, and where it knows no other text of the same schema (Apicurio compares bytes), by us."""
        try:
            path = f"/subjects/{self._names.quoted(subject)}"
            return int(self._connection.ask("POST", path, self._body(schema), subject=subject)["id"])
        except UnknownSchema:
            found = found_in(self.revisions(subject), schema)
            if found is None:
                raise
            return found.id

    def _asked_for(self, id: int | UUID) -> Any:
        if not isinstance(id, UUID):
            if not 0 <= id <= IDS:  # servers have Java's int, and would answer as to a wrong address
                raise UnknownSchema(f"{self._base} has no schema {id}: ids end at {IDS}")
            return self._connection.ask("GET", f"/schemas/ids/{id}")
        try:
            return self._connection.ask("GET", f"/schemas/guids/{id}")
        except NoSuchRequest as error:
            raise UnknownSchema(f"{self._base} does not know GUIDs of schemas, such as {id}") from error

    def _revision(self, subject: str, name: str, number: int) -> Registered:
        known = self._revisions.get((subject, number))
        if known is None:
            answer = self._connection.ask("GET", f"/subjects/{name}/versions/{number}", subject=subject)
            schema = self._read(answer, f"version {number} of {subject}")
            known = self._revisions[subject, number] = Registered(subject, number, int(answer["id"]), schema)
        return known

    def _body(self, schema: Schema) -> dict[str, Any]:
        body: dict[str, Any] = {"schema": schema.text, "schemaType": TYPES[schema.kind]}
        if schema.references:
            body["references"] = [self._reference(schema, number) for number in range(len(schema.references))]
        return body

    def _reference(self, schema: Schema, number: int) -> dict[str, Any]:
        """A schema that another one names is registered under that name, and named by its version there."""
        name, text = schema.references[number]
        named = Schema(schema.kind, text, tuple(one for one in schema.references[:number] if one[0] in text))
        path = f"/subjects/{quote(name, safe='')}"
        self._connection.ask("POST", f"{path}/versions", self._body(named), subject=name)
        answer = self._connection.ask("POST", path, self._body(named), subject=name)
        return {"name": name, "subject": name, "version": answer["version"]}

    def _read(self, answer: Any, what: str) -> Schema:
        kind = answer.get("schemaType", "AVRO")
        if kind not in KINDS:
            raise UnknownSchema(f"{self._base}: {what} is of {kind}, and headwater reads {' and '.join(KINDS)}")
        references: dict[str, str] = {}
        self._collect(answer.get("references") or (), references)
        return Schema(KINDS[kind], answer["schema"], tuple(references.items()))

    def _collect(self, listed: Any, found: dict[str, str]) -> None:
        """Adds the schemas that are referred to, those that they refer to themselves first."""
        for one in listed:
            if one["name"] in found:
                continue
            path = f"/subjects/{quote(one['subject'], safe='')}/versions/{one['version']}"
            try:
                answer = self._connection.ask("GET", path, subject=one["subject"])
            except UnknownSchema as error:
                raise Unavailable(f"{self._base}: a schema refers to {one['name']}, which is not there") from error
            self._collect(answer.get("references") or (), found)
            found[one["name"]] = answer["schema"]
