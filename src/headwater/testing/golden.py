"""Golden files: a sample of every version of every event that was ever published, kept in the user's repository.

    golden/order/OrderCancelled.1.jsonl        written when that version was the newest, by its own code
    golden/order/OrderCancelled.2.jsonl        a record's value per line

One test reads them all with the code of today, so nothing that is in the log can become unreadable unnoticed.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

from headwater.app import App
from headwater.entities.behaviour import Behaviour
from headwater.errors import Misuse
from headwater.log.topology import events_topic
from headwater.messages.unreadable import Unreadable
from headwater.messages.upcasts import steps_of
from headwater.schemas.registries import Registered
from headwater.schemas.subjects import parsed_subject
from headwater.testing.samples import TIME, samples_of
from headwater.testing.samples_of_schemas import samples_of_schema

FILE = re.compile(r"(?P<name>.+)\.(?P<version>[1-9][0-9]*)\.jsonl")

Version = tuple[str, int]
"""Wire name, version."""


class Header(msgspec.Struct, rename="camel"):
    event_type: str | None = None
    event_version: int = 1


class Kept(NamedTuple):
    """A golden file. Arguments: lines: a sample each."""

    path: Path
    lines: list[bytes]


def golden(app: App, directory: str | Path) -> None:
    """Fails if an event that was ever published is not read by the code of today, or not whole.

        def test_every_version_stays_readable() -> None:
            golden(app, Path(__file__).parent / "golden")

    Samples of a version that is new, or has a new field, are written into the directory, to be committed; where `CI` is
    in the environment nothing is written, and that fails. It also fails when a type, a version or a field disappeared
    that a file has, and when there is no file of an old version that `@hw.upcasts` reads. Where the app's schemas are
    files, an old version that is registered gets its samples from its schemas.
    Raises: AssertionError: with every one of these. Misuse: no sample can be made of an event, and its file has none.
    """
    families = [_Family(app, behaviour, Path(directory) / behaviour.entity) for behaviour in app.behaviours.values()]
    complaints = [one for family in families for one in family.complaints()]
    new = [pair for family in families for pair in family.new()]
    if os.environ.get("CI"):
        why = "has not all that is written: run this test elsewhere, and commit the file"
        complaints += [f"{path} {why}" for path, _ in new]
    assert not complaints, "\n".join(["not every event that was published is read:", *complaints])
    for path, samples in new:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("ab") as file:
            file.writelines(sample + b"\n" for sample in samples)


class _Family:
    """The events of one entity type, and their files."""

    def __init__(self, app: App, behaviour: Behaviour[Any], folder: Path) -> None:
        self._folder, self._codec = folder, behaviour.json
        self._classes = [cls for cls in behaviour.json.classes.values() if cls.__hw__.entity is not None]
        self._family = behaviour.family
        self._kept = _kept_in(folder)
        newest = {(cls.__hw__.wire_name, cls.__hw__.version) for cls in behaviour.events.classes.values()}
        registered = _registered(app, events_topic(behaviour.entity))
        self._registered = {key: there for key, there in registered.items() if key not in newest | self._kept.keys()}

    def complaints(self) -> Iterator[str]:
        for version, kept in self._kept.items():
            for number, line in enumerate(kept.lines, 1):
                for complaint in self._about(version, line):
                    yield f"{kept.path}, line {number}: {complaint}"
        for name, number in sorted(steps_of([self._family])):
            if (name, number) not in self._kept and (name, number) not in self._registered:
                path = self._path((name, number))
                yield f"{path} is missing: {name} had a version {number}; put the value of such a record there"

        for version in self._registered:
            for line in self._of_schemas(version):
                for complaint in self._about(version, line):
                    yield (
                        f"{version[0]} of version {version[1]} may be, by its schema, {line.decode()}: {complaint}; "
                        f"or, if it never was, put the value of such a record into {self._path(version)}"
                    )

    def new(self) -> Iterator[tuple[Path, list[bytes]]]:
        """Samples that are not there yet, and their files. Raises: Misuse."""
        for cls in self._classes:
            version = cls.__hw__.wire_name, cls.__hw__.version
            known = self._kept[version].lines if version in self._kept else []
            try:
                samples = [sample for sample in samples_of(cls) if sample not in known]
            except Misuse:
                if known:  # by hand
                    continue
                raise
            if samples:
                yield self._path(version), samples
        for version in self._registered:
            yield self._path(version), self._of_schemas(version)

    def _of_schemas(self, version: Version) -> list[bytes]:
        """Samples of all its revisions. Raises: Misuse."""
        try:
            found = [samples_of_schema(one.schema, parsed_subject(one.subject)) for one in self._registered[version]]
        except Misuse as error:
            raise Misuse(f"{error}; write a sample of {version[0]} into {self._path(version)}") from error
        return list(dict.fromkeys(sample for samples in found for sample in samples))

    def _about(self, version: Version, line: bytes) -> Iterator[str]:
        """What is wrong with a sample."""
        try:
            header = msgspec.json.decode(line, type=Header)
        except msgspec.DecodeError as error:
            yield f"it is no record: {error}"
            return
        if (header.event_type, header.event_version) != version:
            yield f"it is a {header.event_type} of version {header.event_version}"
            return
        event = self._codec.decode(line)
        if isinstance(event, Unreadable):
            yield self._unread(event)
        elif type(event) in self._classes and (type(event).__hw__.wire_name, type(event).__hw__.version) == version:
            again = self._codec.encode(event, TIME)
            lost = list(_lost(msgspec.json.decode(line), msgspec.json.decode(again), "$"))
            if lost:
                yield (
                    f"{', '.join(lost)} of it is not read any more, or as something else: raise the version of "
                    f"{type(event).__name__}, and say with @hw.upcasts(…, from_version={version[1]}) what it means"
                )

    def _unread(self, found: Unreadable) -> str:
        if found.kind != "unknown_type":
            return found.reason
        return (
            f"{found.wire_name} disappeared: keep its class, or say what it means with "
            f"@hw.upcasts({self._family.__name__}, {found.wire_name!r}, from_version={found.version})"
        )

    def _path(self, version: Version) -> Path:
        return self._folder / f"{version[0]}.{version[1]}.jsonl"


def _registered(app: App, topic: str) -> Mapping[Version, list[Registered]]:
    """The revisions of each version of the topic's events; empty: schemas are no files, which are what is reviewed."""
    found: dict[Version, list[Registered]] = {}
    if app.registry is not None and app.registry.opened().by_hand:
        registry = app.registry.opened()
        for subject in map(parsed_subject, registry.subjects()):
            if subject.topic == topic:
                found[subject.name, subject.version] = registry.revisions(str(subject))
    return found


def _kept_in(folder: Path) -> Mapping[Version, Kept]:
    found: dict[Version, Kept] = {}
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        name = FILE.fullmatch(path.name)
        if name is not None:
            lines = [line for line in path.read_bytes().splitlines() if line.strip()]
            found[name["name"], int(name["version"])] = Kept(path, lines)
    return found


def _lost(before: object, after: object, place: str) -> Iterator[str]:
    """The places in JSON that are not there any more, or have another value; what is new does not matter."""
    if isinstance(before, dict) and isinstance(after, dict):
        for name, value in before.items():
            if place == "$" and name == "timestamp":
                continue  # it is the record's
            if name in after:
                yield from _lost(value, after[name], f"{place}.{name}")
            else:
                yield f"{place}.{name}"
    elif isinstance(before, list) and isinstance(after, list) and len(before) == len(after):
        for index, (one, other) in enumerate(zip(before, after, strict=True)):
            yield from _lost(one, other, f"{place}[{index}]")
    elif before != after:
        yield place
