"""The registry that is a directory: files for people, ids that stay, and what was changed by hand is noticed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headwater.errors import Misuse
from headwater.schemas.identity import id_from
from headwater.schemas.port import Schema, UnknownSchema
from headwater.schemas.registries import Incompatible, Registry, open_registry
from tests.schemas.test_compatibility_avro import Field, avro_schema

PLACED = "order-events/OrderPlaced.v1"
A: Field = ("a", "long", {})
B: Field = ("b", "long", {"default": 0})


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "schemas"


def opened(directory: Path, query: str = "") -> Registry:
    return open_registry(f"{directory}{query}", None)


def test_what_is_registered_is_found_again_in_files_for_people(directory: Path) -> None:
    first = opened(directory).register(PLACED, avro_schema(A))
    second = opened(directory).register(PLACED, avro_schema(A, B))
    assert (first.revision, second.revision) == (1, 2)
    again = opened(directory)
    assert again.subjects() == [PLACED]
    assert [(one.revision, one.id) for one in again.revisions(PLACED)] == [(1, first.id), (2, second.id)]
    assert again.id_of(PLACED, avro_schema(A)) == first.id
    assert json.loads(again.schema(second.id).text) == json.loads(avro_schema(A, B).text)
    file = Path(again.location(first.id))
    assert file == directory / "order-events" / "OrderPlaced.v1.1.avsc"
    assert file.read_text().splitlines()[1] == '  "type": "record",'


def test_to_register_again_changes_nothing(directory: Path) -> None:
    registry = opened(directory)
    one = registry.register(PLACED, avro_schema(A))
    reordered = Schema("avro", json.dumps(dict(reversed(json.loads(avro_schema(A).text).items())), indent=1))
    assert registry.register(PLACED, reordered) == one
    assert len(registry.revisions(PLACED)) == 1


def test_ids_are_the_same_in_every_clone(tmp_path: Path) -> None:
    here = opened(tmp_path / "here").register(PLACED, avro_schema(A))
    there = opened(tmp_path / "there")
    there.register(PLACED, avro_schema(B))
    assert there.register("order-events/Other.v3", avro_schema(A)).id == here.id


def test_what_is_not_compatible_is_refused_and_leaves_no_file(directory: Path) -> None:
    registry = opened(directory)
    registry.register(PLACED, avro_schema(A))
    with pytest.raises(Incompatible, match="give the field a default") as refused:
        registry.register(PLACED, avro_schema(A, ("b", "long", {})))
    assert [one.path for one in refused.value.breaks] == ["b"]
    assert len(opened(directory).revisions(PLACED)) == 1
    assert len(list((directory / "order-events").iterdir())) == 2


def test_the_address_says_what_is_asked_for(directory: Path) -> None:
    registry = opened(directory, "?compatibility=NONE")
    registry.register(PLACED, avro_schema(A))
    registry.register(PLACED, avro_schema(("a", "string", {})))
    assert opened(directory).level == "BACKWARD_TRANSITIVE"


def test_another_version_of_the_event_is_a_subject_of_its_own(directory: Path) -> None:
    registry = opened(directory)
    registry.register(PLACED, avro_schema(A))
    assert registry.register("order-events/OrderPlaced.v2", avro_schema(("a", "string", {}))).revision == 1


@pytest.mark.parametrize("topic", ["order events", "a%2Fb", "ü-events"])
def test_any_name_has_a_file(directory: Path, topic: str) -> None:
    subject = f"{topic}/shop.Order/Placed: 1.v2"
    opened(directory).register(subject, avro_schema(A))
    assert opened(directory).subjects() == [subject]


def test_the_tenth_revision_comes_after_the_ninth(directory: Path) -> None:
    registry = opened(directory)
    for number in range(11):
        registry.register(PLACED, avro_schema(*((f"f{n}", "long", {"default": 0}) for n in range(number))))
    assert [one.revision for one in opened(directory).revisions(PLACED)] == list(range(1, 12))


def change(file: Path) -> None:
    file.write_text(file.read_text().replace("long", "string"))


def forget(file: Path) -> None:
    file.with_name("ids.json").write_text("{}")


@pytest.mark.parametrize(
    ("done", "told"),
    [
        (change, "was changed after it was registered"),
        (Path.unlink, "was registered and is not there"),
        (forget, "is not in ids.json"),
        (lambda file: file.write_text("{"), "is no JSON"),
        (lambda file: file.with_name("ids.json").write_text("[1]"), "is not as headwater writes it"),
        (lambda file: file.rename(file.with_name("OrderPlaced.v1.3.avsc")), "is not"),
    ],
)
def test_what_was_done_by_hand_is_noticed(directory: Path, done: object, told: str) -> None:
    registry = opened(directory)
    registry.register(PLACED, avro_schema(A))
    assert callable(done)
    done(Path(registry.location(registry.id_of(PLACED, avro_schema(A)))))
    with pytest.raises(Misuse, match=told):
        opened(directory)


def test_other_line_ends_and_other_spaces_are_no_change(directory: Path) -> None:
    registry = opened(directory)
    one = registry.register(PLACED, avro_schema(A))
    file = Path(registry.location(one.id))
    file.write_bytes(file.read_bytes().replace(b"\n", b"\r\n").replace(b"  ", b"\t"))
    assert opened(directory).revisions(PLACED)[0].id == one.id


def test_a_missing_revision_is_noticed(directory: Path) -> None:
    registry = opened(directory)
    registry.register(PLACED, avro_schema(A))
    registry.register(PLACED, avro_schema(A, B))
    folder = directory / "order-events"
    (folder / "OrderPlaced.v1.1.avsc").unlink()
    ids = json.loads((folder / "ids.json").read_text())
    del ids["OrderPlaced.v1.1.avsc"]
    (folder / "ids.json").write_text(json.dumps(ids))
    with pytest.raises(Misuse, match="is missing; bring it back"):
        opened(directory)


def two_with_one_id() -> tuple[Schema, Schema]:
    seen: dict[int, Schema] = {}
    number = 0
    while True:
        schema = Schema("json", f'{{"title":"{number}"}}')
        other = seen.setdefault(id_from(schema), schema)
        if other is not schema:
            return other, schema
        number += 1


def test_two_schemas_whose_content_gives_one_id(directory: Path) -> None:
    one, other = two_with_one_id()
    registry = opened(directory)
    first = registry.register("z-events/First.v1", one)
    second = registry.register("a-events/Second.v1", other)
    assert second.id == first.id + 1
    again = opened(directory)
    assert (again.schema(first.id), again.schema(second.id)) == (one, other)


def test_what_is_not_there_is_told(directory: Path) -> None:
    registry = opened(directory)
    with pytest.raises(UnknownSchema, match="there is no schema 17"):
        registry.schema(17)
    with pytest.raises(UnknownSchema, match="hw schema register"):
        registry.id_of(PLACED, avro_schema(A))
    with pytest.raises(Misuse, match="is no address of schemas"):
        open_registry("ftp://somewhere", None)
    with pytest.raises(Misuse, match="is no subject"):
        registry.register("OrderPlaced", avro_schema(A))
