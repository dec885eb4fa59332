"""Our verdicts beside those of a real registry, on schemas made at random. Every difference is one that
docs/registries.md explains: of JSON Schema, an independent validator is on our side."""

from __future__ import annotations

import json
from collections import Counter
from random import Random
from uuid import uuid4

import pytest
from jsonschema import Draft7Validator, FormatChecker

from headwater.schemas.compatibility import unreadable
from headwater.schemas.port import Schema
from headwater.testing.registry import RegistryServer
from tests.schemas.pairs import documents, pairs

COUNT, SEED = 200, 20262
TRIES = 150


def readable_there(server: RegistryServer, reader: Schema, writer: Schema) -> bool:
    """What the server says of a schema that follows another one, where BACKWARD is asked for."""
    subject, kind = uuid4().hex, writer.kind.upper()
    for method, path, body in (
        ("POST", f"/subjects/{subject}/versions", {"schema": writer.text, "schemaType": kind}),
        ("PUT", f"/config/{subject}", {"compatibility": "BACKWARD"}),
    ):
        assert server.ask(method, path, body) is not None
    path = f"/compatibility/subjects/{subject}/versions/latest"
    answer = server.ask("POST", path, {"schema": reader.text, "schemaType": kind})
    assert isinstance(answer["is_compatible"], bool)
    return bool(answer["is_compatible"])


@pytest.mark.slow
def test_avro(registry_server: RegistryServer) -> None:
    counted: Counter[str] = Counter()
    for earlier, later in pairs("avro", COUNT, SEED):
        for reader, writer in ((later, earlier), (earlier, later)):
            wrong, there = unreadable(reader, writer), readable_there(registry_server, reader, writer)
            if there is bool(wrong):
                assert {one.cause for one in wrong} == {"meaning"}, (reader.text, writer.text, wrong)
            counted[f"here {not wrong}, there {there}"] += 1
    print(counted)
    assert counted["here True, there True"] > COUNT / 2 < counted["here False, there False"]


@pytest.mark.slow
def test_json_schema(registry_server: RegistryServer) -> None:
    counted: Counter[str] = Counter()
    random = Random(SEED)
    for earlier, later in pairs("json", COUNT, SEED):
        for reader, writer in ((later, earlier), (earlier, later)):
            wrong, there = unreadable(reader, writer), readable_there(registry_server, reader, writer)
            if there is bool(wrong):
                validator = Draft7Validator(json.loads(reader.text), format_checker=FormatChecker())
                written = documents(json.loads(writer.text), random, TRIES)
                assert all(map(validator.is_valid, written)) is not bool(wrong), (reader.text, writer.text, wrong)
                print("differs:", [f"{one.path}: {one.reason}" for one in wrong], reader.text, writer.text)
            counted[f"here {not wrong}, there {there}"] += 1
    print(counted)
    assert counted["here True, there True"] > COUNT / 2 < counted["here False, there False"]
