"""The catalogue of what an app says and hears, made from its classes."""

from __future__ import annotations

import json
from collections.abc import Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import headwater as hw
from headwater.operations.asyncapi import asyncapi_of
from headwater.operations.catalogue import Catalogue, Said, catalogue_of
from headwater.operations.catalogue_text import page_of
from tests.upcasting import today


def catalogue(app: hw.App) -> Catalogue:
    return catalogue_of(app.name, list(app.behaviours.values()), app.projections, app.processes, app.plans())


def said(found: Catalogue, name: str) -> Said:
    [one] = [one for entity in found.entities for one in (*entity.events, *entity.commands) if one.name == name]
    return one


class ParcelEvent(hw.Event, entity="parcel"):
    """What happens to parcels."""

    parcel_id: hw.Key[str]


class Content(hw.Value):
    what: str
    inside: list[Content] = []


class Packed(ParcelEvent):
    """Somebody closed it.

    And went home."""

    content: list[Content]
    weight: Decimal | None = None


class Lost(ParcelEvent):
    pass


class ParcelCommand(hw.Command, entity="parcel"):
    parcel_id: hw.Key[str]


class Pack(ParcelCommand):
    content: list[Content]


class Lose(ParcelCommand):
    pass


class Parcel(hw.Aggregate[ParcelEvent]):
    """Things under way."""

    packed: bool = False

    @hw.decides
    def pack(self, command: Pack) -> list[ParcelEvent]:
        return [Packed(command.parcel_id, command.content)]

    @hw.decides
    def lose(self, command: Lose):  # type: ignore[no-untyped-def] # as some people write
        return Lost(command.parcel_id)

    @hw.evolves
    def was_packed(self, event: Packed) -> None:
        self.packed = True


class Tracing(hw.Process):
    parcel_id: hw.Key[str]

    @hw.on(Packed)
    def trace(self, event: Packed) -> Lose | None:
        return None

    @hw.on(Lost)
    def lost(self, event: Lost) -> list[hw.Command]:
        return []


PARCELS = hw.App("parcels", aggregates=[Parcel], processes=[Tracing])


def test_who_says_and_who_hears() -> None:
    found = catalogue(PARCELS)
    packed, lost, lose = (said(found, name) for name in ("Packed", "Lost", "Lose"))
    assert (packed.by, packed.to) == (["Parcel.pack (on Pack)"], ["Parcel.was_packed", "Tracing.trace"])
    assert (lost.by, lost.to) == (["Parcel.pack (on Pack)"], ["Tracing.lost"])
    assert (lose.by, lose.to) == (["Tracing.trace"], ["Parcel.lose"])
    assert found.silent == ["Parcel.lose", "Tracing.lost"]
    assert "What `Parcel.lose`, `Tracing.lost` may return is not said" in page_of(found)


def test_a_listener_to_anothers_events_knows_what_it_listens_to() -> None:
    found = catalogue(hw.App("elsewhere", processes=[Tracing]))
    [entity] = found.entities
    assert (entity.owner, [one.name for one in entity.events]) == (None, ["Packed", "Lost"])
    assert "Of another service; `parcel-events` and `parcel-commands`." in page_of(found)


def test_every_version_has_who_reads_it() -> None:
    found = catalogue(today.app)
    assert [(old.version, old.function) for old in said(found, "InvoiceSent").old] == [
        (1, "cents_to_euros"),
        (2, "all_were_in_euros"),
    ]
    invoice = found.entities[0]
    assert [old.name for old in invoice.gone] == ["InvoiceSettled", "InvoiceTouched", "InvoiceVoided"]
    page = page_of(found)
    assert "### Event InvoiceSent, version 3" in page
    assert "- version 1 is read by `cents_to_euros`" in page
    assert "| `InvoiceVoided` | 1 | `voided` |" in page


def test_the_page_tells_fields_as_records_have_them() -> None:
    page = page_of(catalogue(PARCELS))
    assert "Owned by `Parcel`; `parcel-events` and `parcel-commands`.\n\nThings under way." in page
    part = page.partition("### Event Packed")[2].partition("###")[0]
    assert "Somebody closed it.\n\nAnd went home." in part
    assert "| **parcelId** | string | names the entity |" in part
    assert "| **content** | list of Content |  |" in part
    assert "| weight | decimal or null | `null` if it is missing |" in part
    assert "`Content`:" in part
    assert "| inside | list of Content | `[]` if it is missing |" in part
    assert "eventType" not in part


def references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, one in value.items():
            if name == "$ref":
                yield one
            else:
                yield from references(one)
    elif isinstance(value, list):
        for one in value:
            yield from references(one)


@pytest.mark.parametrize("app", [PARCELS, today.app], ids=["parcels", "invoices"])
def test_the_document_holds_together(app: hw.App) -> None:
    document = asyncapi_of(catalogue(app))
    assert json.loads(json.dumps(document)) == document == asyncapi_of(catalogue(app))
    found = set(references(document))
    assert found
    for reference in found:
        here: Any = document
        for part in reference.removeprefix("#/").split("/"):
            here = here[part]
    messages = {f"#/components/messages/{key}" for key in document["components"]["messages"]}
    assert messages <= found
    for operation in document["operations"].values():
        assert operation["action"] in ("send", "receive")
        assert operation["channel"]["$ref"].removeprefix("#/channels/") in document["channels"]


def test_the_document_says_who_sends_and_receives() -> None:
    document = asyncapi_of(catalogue(PARCELS))
    assert (document["asyncapi"], document["info"]["title"]) == ("3.0.0", "parcels")
    assert document["channels"]["parcel-events"]["address"] == "parcel-events"
    operations = {name: [one["$ref"] for one in what["messages"]] for name, what in document["operations"].items()}
    assert operations["Parcel.send.parcel-events"] == [
        "#/channels/parcel-events/messages/Packed",
        "#/channels/parcel-events/messages/Lost",
    ]
    assert operations["Tracing.send.parcel-commands"] == ["#/channels/parcel-commands/messages/Lose"]
    schema = document["components"]["schemas"]["parcel.Packed.Content"]
    assert schema["properties"]["inside"]["items"] == {"$ref": "#/components/schemas/parcel.Packed.Content"}


def test_its_version_changes_with_what_is_in_it() -> None:
    one, other = (asyncapi_of(catalogue(app))["info"]["version"] for app in (PARCELS, today.app))
    assert one != other


def test_views_listen_as_well(tmp_path: Path) -> None:
    (tmp_path / "weights.sql").write_text(
        "CREATE TABLE weights AS SELECT parcelId, SUM(weight) AS weight FROM parcel-events GROUP BY parcelId;"
    )
    (tmp_path / "states.sql").write_text("CREATE TABLE heavy AS SELECT id FROM parcel-state WHERE version > 5;")
    found = catalogue(hw.App("parcels", aggregates=[Parcel], views=str(tmp_path / "*.sql")))
    assert said(found, "Packed").to == ["Parcel.was_packed", "view heavy", "view weights"]
    assert "view_weights.receive.parcel-events" in asyncapi_of(found)["operations"]
