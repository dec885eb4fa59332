"""What was learned of a registry: which schema an id has, and which id a schema has under a subject. Neither changes.

In memory, and on disk where there is a place for it: a file for each id and each lookup, written as a whole. What
cannot be read there, or written, is asked again.
"""

from __future__ import annotations

import hashlib
import os
from contextlib import suppress
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec

from headwater.schemas.derivation import SchemaKind
from headwater.schemas.identity import canonical
from headwater.schemas.port import Schema


class _Kept(msgspec.Struct):
    kind: SchemaKind
    text: str
    references: list[tuple[str, str]]


class Remembered:
    """Thread-safe. Arguments: directory: of one registry alone (None: only in memory)."""

    def __init__(self, directory: Path | None) -> None:
        self._directory = directory
        self._schemas: dict[int | UUID, Schema] = {}
        self._ids: dict[str, int] = {}

    def schema(self, id: int | UUID) -> Schema | None:
        if id not in self._schemas and (kept := self._load(f"schema-{id}", _Kept)) is not None:
            self._schemas[id] = Schema(kept.kind, kept.text, tuple(kept.references))
        return self._schemas.get(id)

    def keep_schema(self, id: int | UUID, schema: Schema) -> None:
        self._schemas[id] = schema
        self._save(f"schema-{id}", _Kept(schema.kind, schema.text, list(schema.references)))

    def id_of(self, subject: str, schema: Schema) -> int | None:
        key = _key(subject, schema)
        if key not in self._ids and (kept := self._load(f"id-{key}", int)) is not None:
            self._ids[key] = kept
        return self._ids.get(key)

    def keep_id(self, subject: str, schema: Schema, id: int) -> None:
        key = _key(subject, schema)
        self._ids[key] = id
        self._save(f"id-{key}", id)
        if id not in self._schemas:
            self.keep_schema(id, schema)

    def _load(self, name: str, type_: type[Any]) -> Any:
        if self._directory is None:
            return None
        with suppress(OSError, msgspec.MsgspecError, UnicodeDecodeError):
            return msgspec.json.decode((self._directory / name).read_bytes(), type=type_)
        return None

    def _save(self, name: str, content: object) -> None:
        if self._directory is None:
            return
        made = self._directory / f".{name}.{os.getpid()}"
        with suppress(OSError):
            self._directory.mkdir(parents=True, exist_ok=True)
            made.write_bytes(msgspec.json.encode(content))
            made.replace(self._directory / name)


def folder_for(base: str) -> str:
    """The name of the directory of one registry."""
    return hashlib.blake2b(base.encode(), digest_size=8).hexdigest()


def _key(subject: str, schema: Schema) -> str:
    one = canonical(schema)
    parts = [subject, one.kind, one.text, *(part for reference in one.references for part in reference)]
    return hashlib.blake2b("\0".join(parts).encode(), digest_size=16).hexdigest()
