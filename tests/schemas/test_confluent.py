"""The registry behind Confluent's REST interface: a real server, and what its answers mean."""

from __future__ import annotations

import json
from pathlib import Path
from uuid import uuid4

import pytest

from headwater.errors import HeadwaterError, Misuse, Unavailable
from headwater.schemas.port import Schema, UnknownSchema
from headwater.schemas.registries import Incompatible, Registry, open_registry
from headwater.schemas.registries.confluent import ConfluentRegistry
from headwater.schemas.registries.confluent_answers import refusal
from headwater.schemas.registries.confluent_connection import address_of
from headwater.schemas.registries.port import Rules
from headwater.schemas.registries.publishing import Published, ready, verdicts
from headwater.schemas.registries.remembered import Remembered
from headwater.testing.registry import RegistryServer
from tests.schemas.front import front
from tests.schemas.test_compatibility_avro import Field, avro_schema

A: Field = ("a", "long", {})
B: Field = ("b", "long", {"default": 0})
PLACED = "order-events/Placed.v1"


@pytest.fixture
def topic() -> str:
    return f"t{uuid4().hex[:12]}-events"


def registry_of(url: str, directory: Path | None = None) -> ConfluentRegistry:
    return ConfluentRegistry(address_of(url), "BACKWARD_TRANSITIVE", Remembered(directory))


@pytest.mark.parametrize(
    ("query", "first", "second"),
    [("", "{}-Placed", "{}-Placed-v2"), ("?subjects=record", "Placed{}", "Placed{}-v2")],
)
def test_subjects_have_the_names_of_a_strategy(
    registry_server: RegistryServer, topic: str, query: str, first: str, second: str
) -> None:
    mark = topic if not query else uuid4().hex
    name = "Placed" if not query else f"Placed{mark}"
    registry = registry_of(registry_server.url + query)
    registry.register(f"{topic}/{name}.v1", avro_schema(A))
    registry.register(f"{topic}/{name}.v2", avro_schema(B))
    assert {first.format(mark), second.format(mark)} <= set(registry.subjects())


def test_a_topic_with_one_kind_of_record_has_one_subject(registry_server: RegistryServer, topic: str) -> None:
    """TopicNameStrategy."""
    registry = registry_of(f"{registry_server.url}?subjects=topic")
    registry.register(f"{topic}/Placed.v1", avro_schema(A))
    registry.register(f"{topic}/Placed.v2", avro_schema(B))
    assert {f"{topic}-value", f"{topic}-value-v2"} <= set(registry.subjects())
    assert registry.revisions(f"{topic}-value")[0].id == registry.revisions(f"{topic}/Placed.v1")[0].id
    with pytest.raises(Misuse, match="has Placed and Paid, and with subjects=topic"):
        registry.register(f"{topic}/Paid.v1", avro_schema(A))


def test_levels_of_a_subject_are_set_and_obeyed(registry_server: RegistryServer, topic: str) -> None:
    subject = f"{topic}/Placed.v1"
    registry = registry_of(registry_server.url)
    registry.register(subject, avro_schema(A))
    assert registry.rules.of(subject).level == "NONE"  # of the whole registry
    registry.rules.set_level(subject, "FULL_TRANSITIVE")
    assert registry.rules.of(subject) == Rules("FULL_TRANSITIVE", "")  # this server has no modes
    assert registry.objection(subject, avro_schema(A, ("b", "long", {})))
    registry.rules.set_level(subject, "FORWARD")
    assert not registry.objection(subject, avro_schema(A, ("b", "long", {})))


def test_what_the_server_alone_refuses_is_refused_with_its_words(registry_server: RegistryServer, topic: str) -> None:
    subject = f"{topic}/Placed.v1"
    ours = open_registry(f"{registry_server.url}?compatibility=NONE", None)
    ours.register(subject, avro_schema(A))
    assert registry_server.ask("PUT", f"/config/{topic}-Placed", {"compatibility": "BACKWARD"}) is not None
    changed = avro_schema(("a", "string", {}))
    [verdict] = verdicts(ours, [Published(subject, changed)])
    assert (verdict.state, verdict.breaks) == ("incompatible", ())
    assert "type: STRING not compatible with writer type: LONG" in verdict.said
    with pytest.raises(Incompatible, match=r"the registry says: .*STRING"):
        ours.register(subject, changed)


def test_a_schema_that_names_others(registry_server: RegistryServer, topic: str) -> None:
    money = f"Money{topic[1:13]}"
    text = json.dumps({"type": "record", "name": money, "fields": [{"name": "cents", "type": "long"}]})
    item = json.dumps({"type": "record", "name": f"Item{money}", "fields": [{"name": "price", "type": money}]})
    schema = Schema(
        "avro",
        avro_schema(("item", f"Item{money}", {}), ("paid", money, {})).text,
        ((money, text), (f"Item{money}", item)),
    )
    registered = registry_of(registry_server.url).register(f"{topic}/Placed.v1", schema)
    found = registry_of(registry_server.url).schema(registered.id)
    assert [name for name, _ in found.references] == [money, f"Item{money}"]
    assert [json.loads(part) for _, part in found.references] == [json.loads(text), json.loads(item)]
    assert registry_of(registry_server.url).id_of(f"{topic}/Placed.v1", schema) == registered.id


def test_what_another_tool_registered_in_another_layout_is_the_same_schema(
    registry_server: RegistryServer, topic: str
) -> None:
    subject, schema = f"{topic}/Placed.v1", avro_schema(A)
    laid_out = json.dumps(dict(reversed(json.loads(schema.text).items())), indent=2)
    answer = registry_server.ask("POST", f"/subjects/{topic}-Placed/versions", {"schema": laid_out})
    assert registry_of(registry_server.url).id_of(subject, schema) == answer["id"]
    [verdict] = verdicts(registry_of(registry_server.url), [Published(subject, schema)])
    assert (verdict.state, verdict.revision) == ("registered", 1)
    assert registry_of(registry_server.url).register(subject, schema).id == answer["id"]
    assert registry_server.ask("GET", f"/subjects/{topic}-Placed/versions") == [1]


def test_a_kind_of_schema_that_is_not_read(registry_server: RegistryServer, topic: str) -> None:
    body = {"schemaType": "PROTOBUF", "schema": 'syntax = "proto3"; message A { string a = 1; }'}
    answer = registry_server.ask("POST", f"/subjects/{topic}/versions", body)
    with pytest.raises(UnknownSchema, match="is of PROTOBUF, and headwater reads AVRO and JSON"):
        registry_of(registry_server.url).schema(answer["id"])


@pytest.mark.parametrize(
    ("login", "query", "header"),
    [("ann:s%40crt@", "", "Basic YW5uOnNAY3J0"), ("", "?token=t0ken", "Bearer t0ken")],
)
def test_who_asks_says_who_it_is(
    registry_server: RegistryServer, topic: str, login: str, query: str, header: str
) -> None:
    with front(registry_server.url, header) as url:
        with pytest.raises(Unavailable, match="does not accept the user, the password or the token"):
            registry_of(url).subjects()
        registry = registry_of(url.replace("//", f"//{login}") + query)
        assert registry.register(f"{topic}/Placed.v1", avro_schema(A)).revision == 1
        assert (registry.place, registry.location(1)) == (url, f"{url}/schemas/ids/1")


@pytest.mark.parametrize(
    ("status", "code", "error", "words"),
    [
        (409, 409, Incompatible, "the registry says: said"),
        (409, 40901, Incompatible, "the registry says: said"),
        (404, 40401, UnknownSchema, "said"),
        (404, 40402, UnknownSchema, "said"),
        (404, 40403, UnknownSchema, "said"),
        (404, 0, Unavailable, "is no schema registry, or its address lacks a path"),
        (401, 401, Unavailable, "does not accept the user"),
        (403, 40301, Unavailable, "does not accept the user"),
        (422, 42201, Misuse, "said"),
        (422, 42205, Unavailable, "as the registry's mode says"),
        (500, 50001, Unavailable, "said"),
        (502, 0, Unavailable, "said"),
    ],
)
def test_what_an_answer_means(status: int, code: int, error: type[HeadwaterError], words: str) -> None:
    found = refusal(status, code, "said", "https://registry", PLACED)
    assert type(found) is error or (error is Unavailable and isinstance(found, Unavailable))
    assert words in str(found)


@pytest.mark.parametrize(
    "url",
    [
        "https://",
        "https://:x/",
        "http://host:port",
        "https://u:s3cret@host?subjects=both",
        "https://u:s3cret@host?x=1",
    ],
)
def test_a_wrong_address_is_told_without_its_secrets(url: str) -> None:
    with pytest.raises(Misuse, match="write https://user:password@host") as told:
        open_registry(url, None)
    assert "s3cret" not in str(told.value)


def test_an_address_without_the_path_of_the_interface(registry_server: RegistryServer) -> None:
    with pytest.raises(Unavailable, match="is no schema registry"):
        registry_of(registry_server.url.partition("/apis")[0]).subjects()


def test_what_was_remembered_and_is_damaged_is_asked_again(
    registry_server: RegistryServer, topic: str, tmp_path: Path
) -> None:
    number = registry_of(registry_server.url, tmp_path).register(f"{topic}/Placed.v1", avro_schema(A)).id
    for file in tmp_path.iterdir():
        file.write_bytes(file.read_bytes()[:5])
    assert registry_of(registry_server.url, tmp_path).id_of(f"{topic}/Placed.v1", avro_schema(A)) == number


def test_while_it_is_down_what_was_met_before_is_read_and_written(
    registry_server: RegistryServer, topic: str, tmp_path: Path
) -> None:
    """What stands in front of the registry ends, and nothing is reached any more."""
    published = [Published(f"{topic}/Placed.v1", avro_schema(A)), Published(f"{topic}/Paid.v1", avro_schema(B))]
    with front(registry_server.url, "Bearer t0ken") as url:
        running = registry_of(f"{url}?token=t0ken", tmp_path)
        ready(running, published)
        number = running.id_of(*published[0])
    restarted = registry_of(f"{url}?token=t0ken", tmp_path)
    for registry in (running, restarted):
        assert_knows(registry, number, published)
        with pytest.raises(Unavailable, match="cannot be reached"):
            registry.schema(number + 1000)
    with pytest.raises(Unavailable, match="cannot be reached"):
        ready(restarted, [Published(f"{topic}/Placed.v1", avro_schema(A, B))])


def assert_knows(registry: Registry, number: int, published: list[Published]) -> None:
    ready(registry, published)
    assert registry.id_of(*published[0]) == number
    assert json.loads(registry.schema(number).text) == json.loads(published[0].schema.text)
