"""Confluent's own serialisers and ours, over a real registry: each reads what the other writes."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest
from confluent_kafka.schema_registry import (
    SchemaRegistryClient,
    header_schema_id_serializer,
    record_subject_name_strategy,
    topic_record_subject_name_strategy,
    topic_subject_name_strategy,
)
from confluent_kafka.schema_registry.avro import AvroDeserializer, AvroSerializer
from confluent_kafka.schema_registry.json_schema import JSONDeserializer, JSONSerializer
from confluent_kafka.serialization import MessageField, SerializationContext

from headwater.errors import Unavailable
from headwater.schemas.codec import Format, SchemaCodec
from headwater.schemas.derivation import schema_of
from headwater.schemas.framing import framed
from headwater.schemas.port import Schema
from headwater.schemas.registries import Registry, open_registry
from headwater.schemas.registries.publishing import published_by, register_all
from headwater.testing.registry import RegistryServer
from headwater.testing.registry_files import registry_serialisers
from tests.conftest import CACHE, absent
from tests.messages.contract import Item, OrderPlaced
from tests.schemas import wares
from tests.schemas.shelf import Shelf
from tests.schemas.wares import WareListed

NOW = datetime(2024, 4, 10, 10, 30, tzinfo=UTC)
PLACED = OrderPlaced("123", "456", [Item("CD-1", Decimal("11.77"))], Decimal("11.77"))
THEIRS = {
    "orderId": "123",
    "customerId": "456",
    "items": [{"sku": "CD-1", "itemPrice": "11.77", "quantity": 1}],
    "total": "11.77",
}


@pytest.fixture
def registry(registry_server: RegistryServer) -> Iterator[Registry]:
    with closing(open_registry(registry_server.url, None)) as opened:
        yield opened


@pytest.fixture
def client(registry_server: RegistryServer) -> SchemaRegistryClient:
    return SchemaRegistryClient({"url": registry_server.url})


@pytest.fixture
def context() -> SerializationContext:
    return SerializationContext(f"t{uuid4().hex[:12]}-events", MessageField.VALUE)


def ours(registry: Registry, topic: str, format: Format, cls: Any = OrderPlaced) -> SchemaCodec[Any]:
    register_all(registry, published_by(topic, [cls], "avro" if format == "avro" else "json"))
    return SchemaCodec([cls], topic, format, registry)


@pytest.mark.parametrize(
    ("query", "strategy"),
    [
        ("?subjects=topic", topic_subject_name_strategy),
        ("?subjects=record", record_subject_name_strategy),
        ("", topic_record_subject_name_strategy),
    ],
)
def test_their_naming_strategies_find_our_subjects(
    registry_server: RegistryServer,
    client: SchemaRegistryClient,
    context: SerializationContext,
    query: str,
    strategy: Callable[..., Any],
) -> None:
    """Their serialiser registers nothing: it takes the latest schema of the subject that its strategy names."""
    with closing(open_registry(registry_server.url + query, None)) as registry:
        codec = ours(registry, str(context.topic), "avro")
        found = {"auto.register.schemas": False, "use.latest.version": True, "subject.name.strategy": strategy}
        said = {**THEIRS, "eventType": "OrderPlaced", "eventVersion": 1}
        value = AvroSerializer(client, schema_of(OrderPlaced, "avro"), conf=found)(said, context)
        assert (codec.decode(value), value[:5]) == (PLACED, codec.encode(PLACED)[:5])


@pytest.mark.parametrize("make", [AvroSerializer, JSONSerializer])
def test_what_their_serialisers_write_with_our_schema_is_read(
    make: Callable[..., Any], registry: Registry, client: SchemaRegistryClient, context: SerializationContext
) -> None:
    kind = "avro" if make is AvroSerializer else "json"
    schema = schema_of(OrderPlaced, kind)  # type: ignore[arg-type] # one of the two
    arguments = (client, schema) if make is AvroSerializer else (schema, client)
    said = {**THEIRS, "eventType": "OrderPlaced", "eventVersion": 1}
    value = make(*arguments)(said, context)
    codec: SchemaCodec[Any] = SchemaCodec([OrderPlaced], context.topic, "json", registry)
    assert codec.decode(value) == PLACED
    assert codec.decode_many([value] * 3) == [PLACED] * 3


@pytest.mark.parametrize("make", [AvroSerializer, JSONSerializer])
def test_what_their_serialisers_say_in_a_header_is_read(make: Callable[..., Any]) -> None:
    """The schema's GUID, which no server that can be run here gives: theirs in memory does."""
    kind = "avro" if make is AvroSerializer else "json"
    theirs = SchemaRegistryClient.new_client({"url": "mock://"})
    text = schema_of(OrderPlaced, kind)  # type: ignore[arg-type] # one of the two
    arguments = (theirs, text) if make is AvroSerializer else (text, theirs)
    headers: list[tuple[str, Any]] = []
    context = SerializationContext("order-events", MessageField.VALUE, headers)
    said = {**THEIRS, "eventType": "OrderPlaced", "eventVersion": 1}
    body = make(*arguments, conf={"schema.id.serializer": header_schema_id_serializer})(said, context)
    [(name, said_of_it)] = headers
    assert (name, said_of_it[0], len(said_of_it)) == ("__value_schema_id", 1, 17)

    class Theirs(Shelf):
        def schema(self, id: int | UUID) -> Schema:
            return Schema(kind, str(theirs.get_schema_by_guid(str(id)).schema_str))  # type: ignore[arg-type] # as above

    codec: SchemaCodec[Any] = SchemaCodec([OrderPlaced], "order-events", "json", Theirs())
    assert codec.decode(framed(body, headers)) == PLACED


def test_avro_with_a_schema_of_theirs_is_read(
    registry: Registry, client: SchemaRegistryClient, context: SerializationContext
) -> None:
    """Their names for types, a decimal of fixed scale, a reference to nothing of ours, no eventType."""
    price = {"type": "bytes", "logicalType": "decimal", "precision": 12, "scale": 2}
    item = {"type": "record", "name": "Line", "fields": [{"name": "sku", "type": "string"}]}
    item["fields"].append({"name": "itemPrice", "type": price})  # type: ignore[attr-defined] # a list
    fields = [{"name": "orderId", "type": "string"}, {"name": "customerId", "type": "string"}]
    fields += [{"name": "items", "type": {"type": "array", "items": item}}, {"name": "total", "type": price}]  # type: ignore[dict-item] # as above
    schema = {"type": "record", "name": "OrderPlaced", "namespace": "com.shop", "fields": fields}
    said = {**THEIRS, "items": [{"sku": "CD-1", "itemPrice": Decimal("11.77")}], "total": Decimal("11.77")}
    value = AvroSerializer(client, json.dumps(schema))(said, context)
    codec: SchemaCodec[Any] = SchemaCodec([OrderPlaced], str(context.topic), "json", registry)
    assert codec.decode_many([value] * 2) == [PLACED] * 2


def test_their_deserialisers_read_what_we_write(
    registry: Registry, client: SchemaRegistryClient, context: SerializationContext
) -> None:
    topic = str(context.topic)
    said = {"eventType": "OrderPlaced", "eventVersion": 1, **THEIRS}
    avro = ours(registry, topic, "avro").encode(PLACED, NOW)
    assert AvroDeserializer(client)(avro, context) == {**said, "timestamp": NOW}
    text = ours(registry, f"{topic}-json", "json-schema").encode(PLACED, NOW)
    reader = JSONDeserializer(schema_of(OrderPlaced, "json"), schema_registry_client=client)
    assert reader(text, context) == {**said, "timestamp": "2024-04-10T10:30:00Z"}


def test_every_kind_of_field_gets_across(
    registry: Registry, client: SchemaRegistryClient, context: SerializationContext
) -> None:
    codec = ours(registry, str(context.topic), "avro", WareListed)
    event = wares.listed()
    fields = AvroDeserializer(client)(codec.encode(event, NOW), context)
    assert (fields["listed"], fields["day"], fields["at"]) == (event.listed, event.day, event.at)
    assert (fields["colour"], fields["state"], fields["picture"]) == ("blue", "new", event.picture)
    again = AvroSerializer(client, schema_of(WareListed, "avro"))(
        fields | {"paid": ("Cash", dict(fields["paid"]))}, context
    )
    assert codec.decode(again) == event


@pytest.fixture(scope="module")
def java() -> list[str]:
    """The command that runs `Serdes.java`, with Apicurio's serialisers for Kafka."""
    program = shutil.which("java")
    try:
        if program is None:
            raise Unavailable("Java is not installed")
        libraries = registry_serialisers(CACHE)
    except Unavailable as error:
        absent(str(error))
    quick = ["-Xmx256m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1"]
    return [str(program), *quick, "-cp", f"{libraries}/*", str(Path(__file__).with_name("Serdes.java"))]


def in_java(java: list[str], kind: str, server: RegistryServer, *said: str) -> tuple[bytes, dict[str, Any]]:
    """A record as their serialiser writes it, and a value as their deserialiser reads it.

    Arguments: said: the topic and what `Serdes.java` takes behind it.
    """
    own = server.url.replace("/ccompat/v7", "/registry/v2")
    ran = subprocess.run([*java, kind, own, *said], capture_output=True, text=True, timeout=200, check=False)
    assert ran.returncode == 0, ran.stderr
    written, read = ran.stdout.split(maxsplit=1)
    return bytes.fromhex(written), json.loads(read)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_avro_serialisers_in_java_read_ours_and_write_what_we_read(
    java: list[str], registry: Registry, registry_server: RegistryServer, context: SerializationContext, tmp_path: Path
) -> None:
    topic, schema = str(context.topic), tmp_path / "schema.avsc"
    schema.write_text(schema_of(OrderPlaced, "avro"))
    codec = ours(registry, topic, "avro")
    said = {"eventType": "OrderPlaced", "eventVersion": 1, **THEIRS}
    record, value = json.dumps({**said, "timestamp": None}), codec.encode(PLACED, NOW)
    written, read = in_java(java, "avro", registry_server, topic, str(schema), record, value.hex())
    assert codec.decode(written) == PLACED
    assert read == {**said, "timestamp": int(NOW.timestamp()) * 1_000_000}


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_json_schema_serialisers_in_java_read_ours_and_write_what_we_read(
    java: list[str], registry: Registry, registry_server: RegistryServer, context: SerializationContext
) -> None:
    """They check what they write and read against the schema that is registered: ours."""
    topic = str(context.topic)
    codec = ours(registry, topic, "json-schema")
    said = {"eventType": "OrderPlaced", "eventVersion": 1, **THEIRS}
    subject, value = f"{topic}-OrderPlaced", codec.encode(PLACED, NOW)
    written, read = in_java(java, "json", registry_server, topic, subject, json.dumps(said), value.hex())
    assert (codec.decode(written), written[:5]) == (PLACED, value[:5])
    assert read == {**said, "timestamp": "2024-04-10T10:30:00Z"}
