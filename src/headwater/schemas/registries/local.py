"""A registry that is a directory in the user's repository: reviewed, branched and deployed with the code.

    schemas/
      order-events/                      the topic
        OrderPlaced.v1.1.json            event, version of the event, revision; Avro: .avsc
        OrderPlaced.v1.2.json
        ids.json                         file -> id, a line each

A schema is laid out for people. Its id follows from its content, so two branches that register two schemas do not give
them the same one, and git has a conflict only where both add the same revision. `ids.json` keeps it: a file that was
changed or removed afterwards is noticed when the directory is read, since records with that id are in a log.

Files are read once, when the registry is opened. `register` writes: run it where the repository is, not in production.
"""

from __future__ import annotations

import json
import os
import re
import threading
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote, unquote
from uuid import UUID

from headwater.errors import Misuse, Unavailable
from headwater.schemas.compatibility import Level
from headwater.schemas.derivation import SchemaKind
from headwater.schemas.identity import IDS, canonical, id_from, laid_out, parsed
from headwater.schemas.port import Schema, UnknownSchema
from headwater.schemas.registries.port import Incompatible, Registered
from headwater.schemas.registries.registering import broken_by, found_in, free_id
from headwater.schemas.subjects import Subject, parsed_subject

IDS_FILE: Final = "ids.json"
ENDINGS: Final[dict[SchemaKind, str]] = {"avro": "avsc", "json": "json"}
_FILE: Final = re.compile(r"(?P<name>.+)\.v(?P<version>[1-9][0-9]*)\.(?P<revision>[1-9][0-9]*)\.(?P<ending>avsc|json)")
_SAFE: Final = " $@+,()"


class LocalRegistry:
    """Arguments: directory: need not exist yet; level.
    Raises: Misuse: a file is not as it was registered. Unavailable: it cannot be read."""

    def __init__(self, directory: Path, level: Level) -> None:
        self._directory, self._level = directory, level
        self._lock = threading.Lock()
        self._subjects: dict[str, list[Registered]] = {}
        self._schemas: dict[int, Schema] = {}
        self._files: dict[int, Path] = {}
        self._read()

    @property
    def place(self) -> str:
        return str(self._directory)

    @property
    def level(self) -> Level:
        return self._level

    @property
    def rules(self) -> None:
        return None

    @property
    def by_hand(self) -> bool:
        return True

    def schema(self, id: int | UUID) -> Schema:
        found = self._schemas.get(id) if isinstance(id, int) else None
        if found is None:
            raise UnknownSchema(f"there is no schema {id} in {self.place}: it was registered elsewhere, bring it here")
        return found

    def id_of(self, subject: str, schema: Schema) -> int:
        found = found_in(self._subjects.get(subject, ()), schema)
        if found is None:
            raise UnknownSchema(f"{subject} has no such schema in {self.place}: register it with `hw schema register`")
        return found.id

    def location(self, id: int) -> str:
        path = self._files.get(id)
        return quote((path or self._directory / f"{id}").as_posix())

    def subjects(self) -> list[str]:
        return sorted(self._subjects)

    def revisions(self, subject: str) -> list[Registered]:
        return list(self._subjects.get(subject, ()))

    def objection(self, subject: str, schema: Schema) -> str:
        return ""

    def register(self, subject: str, schema: Schema) -> Registered:
        if schema.references:
            raise Misuse(f"{subject}: a schema in {self.place} stands in one file and names no others")
        with self._lock:
            there = self._subjects.get(subject, [])
            found = found_in(there, schema)
            if found is not None:
                return found
            if wrong := broken_by(schema, there, self._level):
                raise Incompatible(subject, wrong)
            new = Registered(subject, len(there) + 1, free_id(schema, self._schemas), schema)
            self._write(new)
            return new

    def close(self) -> None:
        """Nothing is open."""

    def _write(self, new: Registered) -> None:
        path = self._path(new)
        ids = path.with_name(IDS_FILE)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            _put(path, laid_out(new.schema.text))
            known = self._ids(path.parent) | {path.name: new.id}
            _put(ids, json.dumps(known, indent=2, sort_keys=True, ensure_ascii=False) + "\n")
        except OSError as error:
            raise Unavailable(f"{path} cannot be written: {error.strerror}") from error
        self._add(new, path)

    def _path(self, one: Registered) -> Path:
        subject = parsed_subject(one.subject)
        name = f"{quote(subject.name, safe=_SAFE)}.v{subject.version}.{one.revision}.{ENDINGS[one.schema.kind]}"
        return self._directory / quote(subject.topic, safe=_SAFE) / name

    def _add(self, one: Registered, path: Path) -> None:
        self._subjects.setdefault(one.subject, []).append(one)
        self._schemas[one.id], self._files[one.id] = one.schema, path

    def _read(self) -> None:
        try:
            folders = sorted(path for path in self._directory.iterdir() if path.is_dir())
        except FileNotFoundError:
            return  # nothing is registered yet
        except OSError as error:
            raise Unavailable(f"{self.place} cannot be read: {error.strerror}") from error
        for folder in folders:
            self._read_topic(folder)
        for id, schema in self._schemas.items():
            if not self._follows(schema, id):
                raise Misuse(f"{self._files[id]} was changed after it was registered; {_BACK}, and register the change")

    def _read_topic(self, folder: Path) -> None:
        ids = self._ids(folder)
        for name in sorted(ids.keys() | {path.name for path in folder.iterdir()}, key=_place):
            if name == IDS_FILE or (name not in ids and not _FILE.fullmatch(name)):
                continue
            path = folder / name
            one = self._registered(path, ids.get(name))
            before = len(self._subjects.get(one.subject, ()))
            if one.revision != before + 1:
                raise Misuse(f"{path}: revision {before + 1} of {one.subject} is missing; {_BACK}")
            if one.id in self._schemas and canonical(self._schemas[one.id]) != canonical(one.schema):
                raise Misuse(f"{path} and {self._files[one.id]} have the same id {one.id}: register one of them again")
            self._add(one, path)

    def _registered(self, path: Path, number: int | None) -> Registered:
        found = _FILE.fullmatch(path.name)
        if found is None:
            raise Misuse(f"{path.with_name(IDS_FILE)}: {path.name} is no name of a schema's file")
        if number is None:
            raise Misuse(
                f"{path} is not in {IDS_FILE}: remove the file, and register the class with `hw schema register`"
            )
        text = _text(path)
        if text is None:
            raise Misuse(f"{path} was registered and is not there; {_BACK}")
        kind: SchemaKind = "avro" if found["ending"] == "avsc" else "json"
        schema = Schema(kind, json.dumps(_parsed(path, text), ensure_ascii=False, separators=(",", ":")))
        subject = Subject(unquote(path.parent.name), unquote(found["name"]), int(found["version"]))
        return Registered(str(subject), int(found["revision"]), number, schema)

    def _follows(self, schema: Schema, id: int) -> bool:
        """Whether an id follows from a schema, or stands behind such ids that were others' already."""
        number = id_from(schema)
        while number != id and number in self._schemas:
            number = number % IDS + 1
        return number == id

    def _ids(self, folder: Path) -> dict[str, int]:
        path = folder / IDS_FILE
        text = _text(path)
        content = {} if text is None else _parsed(path, text)
        if not isinstance(content, dict) or not all(type(number) is int for number in content.values()):
            raise Misuse(f"{path} is not as headwater writes it: file name -> id; {_BACK}")
        return content


_BACK: Final = "bring it back as it was (git)"


def _place(name: str) -> tuple[str, int, int]:
    """Revisions in order: 10 comes after 9."""
    found = _FILE.fullmatch(name)
    return (name, 0, 0) if found is None else (found["name"], int(found["version"]), int(found["revision"]))


def _text(path: Path) -> str | None:
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise Unavailable(f"{path} cannot be read: {error}") from error


def _parsed(path: Path, text: str) -> Any:
    try:
        return parsed(text)
    except Misuse as error:
        raise Misuse(f"{path}: {error}") from error


def _put(path: Path, text: str) -> None:
    """As a whole or not at all."""
    made = path.with_name(f".{path.name}.new")
    made.write_text(text, encoding="utf-8", newline="\n")
    os.replace(made, path)
