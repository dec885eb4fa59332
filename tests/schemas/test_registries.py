"""What every registry does alike: a directory, a topic of each log, a server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import pytest

from headwater.errors import Misuse
from headwater.log.opening import open_log
from headwater.schemas.port import Schema, UnknownSchema
from headwater.schemas.registries import Incompatible, Registry, open_registry
from headwater.schemas.registries.publishing import Published, ready, register_all, verdicts
from headwater.testing.registry import RegistryServer
from tests.schemas.test_compatibility_avro import Field, avro_schema

A: Field = ("a", "long", {})
B: Field = ("b", "long", {"default": 0})
OBJECT = {"type": "object", "properties": {"a": {"type": "string"}}, "additionalProperties": False}


class Opening:
    """Opens the same registry again and again, as several processes would."""

    def __init__(self, address: str, log: Any) -> None:
        self.address, self.log = address, log

    def __call__(self, query: str = "") -> Registry:
        return open_registry(self.address + query, self.log)


@pytest.fixture(params=["directory", "memory", "sqlite", pytest.param("kafka", marks=pytest.mark.kafka), "server"])
def opening(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Opening]:
    with ExitStack() as opened:
        if request.param == "directory":
            yield Opening(str(tmp_path / "schemas"), None)
        elif request.param == "server":
            server: RegistryServer = request.getfixturevalue("registry_server")
            yield Opening(server.url, None)
        else:
            urls = {"memory": "memory://", "sqlite": f"sqlite:///{tmp_path}/log.db"}
            log = open_log(urls.get(request.param) or request.getfixturevalue("kafka_broker"))
            opened.callback(log.close)
            yield Opening("log://", log)


@pytest.fixture
def topic() -> str:
    return f"t{uuid4().hex[:12]}-events"


def test_what_one_registers_another_one_finds(opening: Opening, topic: str) -> None:
    subject, writer, reader = f"{topic}/Placed.v1", opening(), opening()
    assert reader.revisions(subject) == []
    first = writer.register(subject, avro_schema(A))
    second = opening().register(subject, avro_schema(A, B))
    assert (first.revision, second.revision) == (1, 2)
    reader = opening()
    assert [(one.revision, one.id) for one in reader.revisions(subject)] == [(1, first.id), (2, second.id)]
    assert reader.id_of(subject, avro_schema(A)) == first.id
    assert json.loads(reader.schema(first.id).text) == json.loads(avro_schema(A).text)
    assert str(first.id) in reader.location(first.id) or "Placed.v1.1" in reader.location(first.id)


def test_to_register_again_finds_the_same(opening: Opening, topic: str) -> None:
    subject = f"{topic}/Placed.v1"
    one = opening().register(subject, avro_schema(A))
    again = opening().register(subject, Schema("avro", json.dumps(json.loads(avro_schema(A).text), indent=2)))
    assert (again.revision, again.id) == (one.revision, one.id)


def test_one_schema_has_one_id_wherever_it_is_used(opening: Opening, topic: str) -> None:
    registry = opening()
    one = registry.register(f"{topic}/Placed.v1", avro_schema(A))
    assert registry.register(f"{topic}/Other.v1", avro_schema(A)).id == one.id


def test_json_schemas(opening: Opening, topic: str) -> None:
    schema = Schema("json", json.dumps(OBJECT))
    one = opening().register(f"{topic}/Placed.v1", schema)
    found = opening().schema(one.id)
    assert (found.kind, json.loads(found.text)) == ("json", OBJECT)


def test_what_is_not_compatible_is_refused_with_the_path(opening: Opening, topic: str) -> None:
    subject, registry = f"{topic}/Placed.v1", opening()
    registry.register(subject, avro_schema(A))
    with pytest.raises(Incompatible) as refused:
        registry.register(subject, avro_schema(A, ("b", "long", {})))
    assert [(one.path, one.revision) for one in refused.value.breaks] == [("b", 1)]
    assert len(opening().revisions(subject)) == 1
    assert opening("?compatibility=FORWARD").register(subject, avro_schema(A, ("b", "long", {}))).revision == 2


def test_versions_of_an_event_are_apart(opening: Opening, topic: str) -> None:
    registry = opening()
    registry.register(f"{topic}/Placed.v1", avro_schema(A))
    second = registry.register(f"{topic}/Placed.v2", avro_schema(("a", "string", {})))
    assert (second.revision, len(registry.revisions(f"{topic}/Placed.v1"))) == (1, 1)


def test_what_it_does_not_have(opening: Opening, topic: str) -> None:
    registry = opening()
    for id in (0, 2**31 - 1, 2**31, 2**32 - 1):  # what four bytes can say
        with pytest.raises(UnknownSchema):
            registry.schema(id)
    registry.register(f"{topic}/Placed.v1", avro_schema(A))
    with pytest.raises(UnknownSchema):
        registry.id_of(f"{topic}/Placed.v1", avro_schema(A, B))
    with pytest.raises(UnknownSchema):
        registry.id_of(f"{topic}/Other.v1", avro_schema(A))


def test_all_subjects_can_be_listed(opening: Opening, topic: str) -> None:
    registry = opening()
    registry.register(f"{topic}/Placed.v1", avro_schema(A))
    [name] = [one for one in opening().subjects() if one.startswith(topic)]
    assert [one.schema.kind for one in registry.revisions(name)] == ["avro"]


def test_an_app_may_start_when_all_its_schemas_are_registered(opening: Opening, topic: str) -> None:
    registry = opening()
    now = [Published(f"{topic}/Placed.v1", avro_schema(A)), Published(f"{topic}/Paid.v1", avro_schema(B))]
    if registry.by_hand:
        with pytest.raises(Misuse, match="register with `hw schema register`"):
            ready(registry, now)
        register_all(registry, now)
    ready(registry, now)
    assert [one.state for one in verdicts(opening(), now)] == ["registered", "registered"]
    wrong = [Published(now[0].subject, avro_schema(("a", "string", {}))), now[1]]
    with pytest.raises(Misuse, match=r"a: long is read as string.*version=2"):
        ready(opening(), wrong)
    assert len(opening().revisions(now[0].subject)) == 1


def test_all_or_nothing_is_registered(opening: Opening, topic: str) -> None:
    registry = opening()
    registry.register(f"{topic}/Placed.v1", avro_schema(A))
    wrong = [Published(f"{topic}/New.v1", avro_schema(A)), Published(f"{topic}/Placed.v1", avro_schema())]
    wrong.append(Published(f"{topic}/Placed.v1", avro_schema(("a", "string", {}))))
    with pytest.raises(Misuse):
        register_all(registry, wrong)
    assert opening().revisions(f"{topic}/New.v1") == []


def test_a_guid_is_another_registry_s(opening: Opening) -> None:
    with pytest.raises(UnknownSchema):
        opening().schema(UUID(int=7))


def test_the_address_has_no_option_that_does_nothing(opening: Opening) -> None:
    with pytest.raises(Misuse, match="has no option 'compat'"):
        opening("?compat=NONE")
