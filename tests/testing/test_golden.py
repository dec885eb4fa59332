"""Golden files: samples of every version that was published, read with the code of today."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import closing
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Annotated, Any, Literal
from uuid import UUID

import msgspec
import pytest

import headwater as hw
from headwater.messages import JsonCodec
from headwater.messages.unreadable import Unreadable
from headwater.schemas.codec import Format
from headwater.schemas.derivation import SchemaKind, schema_of
from headwater.schemas.port import Schema
from headwater.schemas.registries import open_registry
from headwater.schemas.registries.publishing import register_all
from headwater.schemas.subjects import Subject
from headwater.testing import golden
from headwater.testing.samples import samples_of
from headwater.testing.samples_of_schemas import samples_of_schema
from tests.upcasting import before, today


@pytest.fixture(autouse=True)
def at_a_desk(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CI", raising=False)


def app_of(make: Callable[[type[hw.Event]], object], **more: Any) -> hw.App:
    """An app with one entity type, whose events are made by a function of the family."""

    class BoxEvent(hw.Event, entity="box"):
        box_id: hw.Key[str]

    make(BoxEvent)

    class Box(hw.Aggregate[BoxEvent]):
        pass

    return hw.App("boxes", aggregates=[Box], **more)


def packed(family: type[Any], version: int = 1, **fields: Any) -> Any:
    defaults = {name: value[1] for name, value in fields.items() if isinstance(value, tuple)}
    types = {name: value[0] if isinstance(value, tuple) else value for name, value in fields.items()}
    body = {"__annotations__": types, "__module__": __name__, **defaults}
    metaclass: Any = type(family)
    return metaclass("Packed", (family,), body, version=version)


def refused(app: hw.App, directory: Path) -> str:
    with pytest.raises(AssertionError) as found:
        golden(app, directory)
    return str(found.value)


def lines(directory: Path, name: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (directory / "box" / name).read_text().splitlines()]


def test_every_version_that_was_published_reaches_the_newest(tmp_path: Path) -> None:
    golden(before.app, tmp_path)
    by_hand: dict[str, dict[str, object]] = {
        "InvoiceSent.2": {"customer": "ann", "amount": "1.5"},
        "InvoicePaid.1": {"amount": 5},
    }
    for name, fields in by_hand.items():
        kind, _, version = name.partition(".")
        record = {"eventType": kind, "eventVersion": int(version), "invoiceId": "a", **fields}
        (tmp_path / f"invoice/{name}.jsonl").write_text(json.dumps(record) + "\n")
    golden(today.app, tmp_path)
    golden(today.app, tmp_path)
    files = {path.name for path in (tmp_path / "invoice").iterdir()}
    assert {"InvoiceSent.1.jsonl", "InvoiceSent.3.jsonl", "InvoiceSettled.1.jsonl", "InvoiceFiled.1.jsonl"} < files


def test_an_old_version_that_a_function_reads_must_have_a_file(tmp_path: Path) -> None:
    golden(before.app, tmp_path)
    said = refused(today.app, tmp_path)
    assert "InvoiceSent.2.jsonl is missing: InvoiceSent had a version 2" in said
    assert not (tmp_path / "invoice/InvoiceSent.3.jsonl").exists()


def test_a_function_that_fails_on_a_sample_is_told(tmp_path: Path) -> None:
    golden(before.app, tmp_path)
    path = tmp_path / "invoice/InvoiceSettled.1.jsonl"
    path.write_text(path.read_text().replace('"amount":7', '"amount":"seven"'))
    said = refused(today.app, tmp_path)
    assert f"{path}, line 1: upcasting InvoiceSettled from version 1: paid_cents_to_euros" in said


def test_a_field_with_a_default_may_be_added_and_then_has_to_stay(tmp_path: Path) -> None:
    golden(app_of(lambda family: packed(family, what=str)), tmp_path)
    golden(app_of(lambda family: packed(family, what=str, note=(str | None, None))), tmp_path)
    assert [one.get("note", "?") for one in lines(tmp_path, "Packed.1.jsonl")] == ["?", None, "text"]
    said = refused(app_of(lambda family: packed(family, what=str, remark=(str | None, None))), tmp_path)
    assert "line 3: $.note of it is not read any more, or as something else" in said
    assert "raise the version of Packed" in said
    assert len(lines(tmp_path, "Packed.1.jsonl")) == 3


@pytest.mark.parametrize(
    ("change", "saying"),
    [
        (lambda family: packed(family, what=int), "line 1: Expected `int`, got `str` - at `$.what`"),
        (lambda family: packed(family, what=str, size=int), "line 1: Object missing required field `size`"),
        (
            lambda family: type(family)("Filled", (family,), {"__module__": __name__}),
            "line 1: Packed disappeared: keep its class, or say what it means with "
            "@hw.upcasts(BoxEvent, 'Packed', from_version=1)",
        ),
    ],
)
def test_what_is_not_read_any_more_is_told(tmp_path: Path, change: Any, saying: str) -> None:
    golden(app_of(lambda family: packed(family, what=str)), tmp_path)
    assert saying in refused(app_of(change), tmp_path)


def test_what_is_no_sample_of_its_file(tmp_path: Path) -> None:
    app = app_of(lambda family: packed(family, what=str))
    golden(app, tmp_path)
    path = tmp_path / "box/Packed.1.jsonl"
    path.write_text('{"eventType":"Packed","eventVersion":2}\nnonsense\n')
    said = refused(app, tmp_path)
    assert "line 1: it is a Packed of version 2" in said
    assert "line 2: it is no record" in said


def test_in_ci_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    app = app_of(lambda family: packed(family, what=str))
    monkeypatch.setenv("CI", "true")
    assert "Packed.1.jsonl has not all that is written: run this test elsewhere" in refused(app, tmp_path)
    assert list(tmp_path.iterdir()) == []
    monkeypatch.delenv("CI")
    golden(app, tmp_path)
    monkeypatch.setenv("CI", "true")
    golden(app, tmp_path)


class Colour(Enum):
    RED = "red"
    BLUE = "blue"


class Part(hw.Value, tag="part"):
    name: str
    inside: list[Part] = []


class Pair(hw.Value, tag="pair"):
    left: Part | None = None


class WideEvent(hw.Event, entity="wide"):
    wide_id: hw.Key[UUID]


class Wide(WideEvent):
    of_day: date
    at: datetime
    clock: time
    took: timedelta
    raw: bytes
    colour: Colour
    word: Literal["a", "b"]
    either: Part | Pair
    or_else: int | str | None
    pairs: dict[Colour, list[Decimal]]
    pages: dict[int, tuple[int, str]]
    some: set[str]
    anything: Any
    small: Annotated[int, msgspec.Meta(gt=100, le=102)]
    wide: Annotated[str, msgspec.Meta(min_length=9)]
    several: Annotated[list[float], msgspec.Meta(min_length=2)]
    part: Part | None = None


def test_samples_of_every_type_of_field() -> None:
    codec: JsonCodec[Wide] = JsonCodec([Wide])
    samples = samples_of(Wide)
    events = [codec.decode(sample) for sample in samples]
    assert samples == samples_of(Wide)
    assert all(isinstance(event, Wide) for event in events)
    found = [event for event in events if isinstance(event, Wide)]
    assert {type(event.either) for event in found} == {Part, Pair}
    assert {type(event.or_else) for event in found} == {int, str}
    assert {event.word for event in found} == {"a", "b"}
    assert {event.part is None for event in found} == {True, False}


class Tall(WideEvent):
    """What a schema of Avro says as fully as the class does."""

    of_day: date
    at: datetime
    clock: time
    took: timedelta
    raw: bytes
    colour: Colour
    either: Part | Pair
    or_else: int | str | None
    pairs: dict[Colour, list[Decimal]]
    anything: Any
    whole: Part


@pytest.mark.parametrize(("kind", "cls"), [("json", Wide), ("avro", Tall), ("json", Tall)])
def test_samples_of_a_schema_are_read_by_the_class_that_it_came_from(kind: SchemaKind, cls: type[Tall | Wide]) -> None:
    codec: JsonCodec[Tall | Wide] = JsonCodec([cls])
    subject = Subject("wide-events", cls.__name__, 1)
    events = [codec.decode(one) for one in samples_of_schema(Schema(kind, schema_of(cls, kind)), subject)]
    assert [event for event in events if isinstance(event, Unreadable)] == []
    assert {type(event.either) for event in events} == {Part, Pair}  # type: ignore[union-attr] # as was seen
    assert {type(event.or_else) for event in events} == {int, str}  # type: ignore[union-attr] # as above


@pytest.mark.parametrize("codec", ["json", "avro"])
def test_old_versions_that_are_registered_are_read_also_without_a_file(tmp_path: Path, codec: Format) -> None:
    schemas = str(tmp_path / "schemas")

    def app(version: int, reading: Callable[[str], Any] = str, **fields: Any) -> hw.App:
        def make(family: type[hw.Event]) -> None:
            cls = packed(family, version, **fields)
            if version == 2:
                hw.upcasts(cls, from_version=1)(lambda old: old | {"size": reading(old["size"])})

        return app_of(make, schemas=schemas, codecs={"box-events": codec})

    with closing(open_registry(schemas, None)) as registry:
        register_all(registry, app(1, size=Decimal).published())
        register_all(registry, app(1, size=Decimal, note=(str, "")).published())
    said = refused(app(2, int, size=int, note=(str, "")), tmp_path)  # "1.50" is no whole number
    assert "Packed of version 1 may be, by its schema, {" in said
    assert "upcasting Packed from version 1" in said
    golden(app(2, Decimal, size=Decimal, note=(str, "")), tmp_path)
    assert {one["eventVersion"] for one in lines(tmp_path, "Packed.1.jsonl")} == {1}
    assert {one.get("note") for one in lines(tmp_path, "Packed.1.jsonl")} == {None, "text"}


def test_a_field_whose_values_cannot_be_thought_up(tmp_path: Path) -> None:
    app = app_of(lambda family: packed(family, code=Annotated[str, msgspec.Meta(pattern="^[0-9]{4}-x$")]))
    with pytest.raises(hw.Misuse, match=r"no sample of Packed can be made: .*write one into its file"):
        golden(app, tmp_path)
    (tmp_path / "box").mkdir()
    (tmp_path / "box/Packed.1.jsonl").write_text('{"eventType":"Packed","boxId":"b","code":"1234-x"}\n')
    golden(app, tmp_path)
