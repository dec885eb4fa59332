"""The working code beside what is registered: what is new, what is not compatible, and registering it.

A class is published when its schema is registered: from then on there may be records of it, and later shapes of the
class have to be compatible, or a new version of the event.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Literal, NamedTuple

from headwater.messages.declare import Event
from headwater.schemas.compatibility import Break
from headwater.schemas.derivation import SchemaKind, schema_of
from headwater.schemas.port import NotPublished, Schema, UnknownSchema
from headwater.schemas.registries.port import Registered, Registry
from headwater.schemas.registries.registering import broken_by, found_in
from headwater.schemas.subjects import parsed_subject, subject_for

State = Literal["registered", "new", "changed", "incompatible"]


class Published(NamedTuple):
    """A schema of the working code. Arguments: subject; schema: as derived from the class."""

    subject: str
    schema: Schema


class Verdict(NamedTuple):
    """What is to be said of one.

    Arguments: published; state: registered: as it is; new: nothing is registered under its subject; changed: a
    compatible revision, to be registered; incompatible; revision: the one that it is, or would be; breaks: why not.
    """

    published: Published
    state: State
    revision: int
    breaks: Sequence[Break] = ()
    said: str = ""

    @property
    def reasons(self) -> list[str]:
        said = [f"the registry says: {self.said}"] if self.said else []
        return [*map(str, self.breaks), *said]


def published_by(topic: str, events: Iterable[type[Event]], kind: SchemaKind) -> list[Published]:
    """The schemas of the events of a topic. Raises: Misuse: a class that the format cannot say."""
    return [Published(subject_for(topic, cls), Schema(kind, schema_of(cls, kind))) for cls in events]


def verdicts(registry: Registry, published: Iterable[Published]) -> list[Verdict]:
    """What the registry's rules say about each. Raises: Unavailable: it cannot be asked."""
    return [_verdict(registry, one) for one in published]


def _verdict(registry: Registry, one: Published) -> Verdict:
    there = registry.revisions(one.subject)
    found = found_in(there, one.schema) or _found_by(registry, one, there)
    if found is not None:
        return Verdict(one, "registered", found.revision)
    if wrong := broken_by(one.schema, there, registry.level):
        return Verdict(one, "incompatible", len(there) + 1, wrong)
    if said := registry.objection(one.subject, one.schema):
        return Verdict(one, "incompatible", len(there) + 1, (), said)
    return Verdict(one, "changed" if there else "new", (there[-1].revision if there else 0) + 1)


def _found_by(registry: Registry, one: Published, there: Sequence[Registered]) -> Registered | None:
    """The revision that the registry takes it for: a server may keep a schema in other words."""
    if not there:
        return None
    with suppress(UnknownSchema):
        number = registry.id_of(one.subject, one.schema)
        return next((revision for revision in there if revision.id == number), None)
    return None


def register_all(registry: Registry, published: Sequence[Published]) -> list[Registered]:
    """Registers what is not there yet; nothing, if one of them must not be. Raises: Incompatible, Unavailable."""
    refuse_incompatible(registry, published)
    return [registry.register(one.subject, one.schema) for one in published]


def refuse_incompatible(registry: Registry, published: Sequence[Published]) -> None:
    """Raises: NotPublished: one is not compatible; with all that is wrong, and what to do."""
    wrong = [one for one in verdicts(registry, published) if one.state == "incompatible"]
    if wrong:
        lines = [f"{one.published.subject}: {reason}" for one in wrong for reason in one.reasons]
        raise NotPublished(
            f"schemas are not compatible with what is registered in {registry.place}: {' | '.join(lines)}. "
            f"{way_out(wrong[0])}"
        )


def ready(registry: Registry, published: Sequence[Published]) -> None:
    """Whether an app that writes these schemas may start: all are registered, or are now, where an app may do that.
    Those that are known to be registered are not asked for again, so a registry that is down stops no app for them.

    Raises: NotPublished: one is not compatible, or somebody has to register it. Unavailable: the registry cannot be
    asked.
    """
    missing = [one for one in published if not _known(registry, one)]
    refuse_incompatible(registry, missing)
    if missing and registry.by_hand:
        names = ", ".join(one.subject for one in missing)
        raise NotPublished(
            f"not registered in {registry.place}: {names}; register with `hw schema register`, and commit it"
        )
    for one in missing:
        registry.register(one.subject, one.schema)


def _known(registry: Registry, one: Published) -> bool:
    try:
        registry.id_of(one.subject, one.schema)
    except UnknownSchema:
        return False
    return True


def way_out(wrong: Verdict) -> str:
    """What always helps, in words."""
    subject = parsed_subject(wrong.published.subject)
    return (
        f"Or make it another version of the event, class {subject.name}(…, version={subject.version + 1}), with an "
        f"upcaster from version {subject.version}"
    )
