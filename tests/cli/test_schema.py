"""`hw schema`: what it says of changed events, how it ends, and that an app with such events does not start."""

from __future__ import annotations

import json
import re
from pathlib import Path
from uuid import uuid4

import pytest

from headwater.errors import Misuse
from headwater.testing.registry import RegistryServer
from tests.cli.conftest import Shell, an_app, refuse_unknown_command
from tests.cli.test_run import ROOT

PAGE = (ROOT / "docs" / "registries.md").read_text()

APP = """
from typing import Any

import headwater as hw

class ThingEvent(hw.Event, entity="thing"):
    thing_id: hw.Key[str]

class Made(ThingEvent):
    colour: str

class ThingCommand(hw.Command, entity="thing"):
    thing_id: hw.Key[str]

class Make(ThingCommand):
    colour: str

class Thing(hw.Aggregate[ThingEvent]):
    colour: str = ""

    @hw.decides
    def make(self, command: Make) -> Made:
        return Made(command.thing_id, command.colour)

    @hw.evolves
    def made(self, event: Made) -> None:
        self.colour = event.colour

app = hw.App("things", aggregates=[Thing], schemas="schemas/")
"""
UPCASTER = """
@hw.upcasts(Made, from_version=1)
def sized(old: dict[str, Any]) -> dict[str, Any]:
    return old | {"size": 0}

"""
MADE = "thing-events/Made.v1"


def write(directory: Path, name: str, fields: str, more: str = "") -> None:
    """An app in a module of its own, whose event has these fields."""
    code = APP.replace("    colour: str\n\nclass ThingCommand", f"    {fields}\n\nclass ThingCommand")
    (directory / f"{name}.py").write_text(code.replace("class Made(ThingEvent)", f"class Made(ThingEvent{more})"))


@pytest.fixture
def things(directory: Path) -> Path:
    """A registered app, and what became of it."""
    write(directory, "first", "colour: str")
    write(directory, "optional", "colour: str\n    size: int = 0")
    write(directory, "required", "colour: str\n    size: int")
    write(directory, "another", "colour: str\n    size: int", ", version=2")
    file = directory / "another.py"
    file.write_text(file.read_text().replace("class ThingCommand", UPCASTER + "class ThingCommand"))
    return directory


def test_register_check_and_run(shell: Shell, things: Path) -> None:
    ended = shell("schema check --app first:app")
    assert (ended.code, json.loads(ended.out.splitlines()[0])["state"]) == (1, "new")
    assert "note: not registered yet: hw schema register --app first:app" in ended.err
    with pytest.raises(Misuse, match="register with `hw schema register`"):
        an_app(things, "first").run("memory://").__enter__()
    assert {row["subject"] for row in shell("schema register --app first:app").rows} >= {MADE}
    assert {row["state"] for row in shell("schema check --app first:app").rows} == {"registered"}
    assert shell("schema register --app first:app").rows == []
    with an_app(things, "first").run("memory://"):
        pass


def test_an_optional_field_is_a_new_revision(shell: Shell, things: Path) -> None:
    shell("schema register --app first:app")
    ended = shell("schema check --app optional:app")
    row = json.loads(ended.out.splitlines()[0])
    assert (ended.code, row["state"], row["revision"]) == (1, "changed", 2)
    [row] = shell("schema register --app optional:app").rows
    assert row["location"] == "schemas/thing-events/Made.v1.2.json"
    assert [row["revision"] for row in shell(f"schema history {MADE} --app optional:app").rows] == [1, 2]
    with an_app(things, "optional").run("memory://"):
        pass
    with an_app(things, "first").run("memory://"):  # the code before it, in a rolling deployment
        pass


def test_what_cannot_be_read_is_refused_with_path_and_advice(shell: Shell, things: Path) -> None:
    shell("schema register --app first:app")
    ended = shell("schema check --app required:app")
    row = json.loads(ended.out.splitlines()[0])
    assert (ended.code, row["state"], row["path"], row["against"]) == (1, "incompatible", "size", 1)
    assert row["advice"] == "give the field a default"
    assert "class Made(…, version=2), with an upcaster from version 1" in ended.err
    refused = shell("schema register --app required:app")
    assert (refused.code, refused.next) == (2, "hw schema check --app required:app")
    assert not (things / "schemas" / "thing-events" / "Made.v1.2.json").exists()
    with pytest.raises(Misuse, match="size: it is required, and was not always written"):
        an_app(things, "required").run("memory://").__enter__()


def test_another_version_may_be_anything(shell: Shell, things: Path) -> None:
    shell("schema register --app first:app")
    shell("schema register --app another:app")
    assert [row["subject"] for row in shell("schema history Made --app another:app").rows] == [
        "thing-events/Made.v1",
        "thing-events/Made.v2",
    ]
    with an_app(things, "another").run("memory://"):
        pass


def test_a_version_that_nothing_reads_is_told_with_the_lines_to_write(shell: Shell, things: Path) -> None:
    write(things, "unread", "colour: str", ", version=2")
    ended = shell("schema check --app unread:app")
    assert (ended.code, ended.err.splitlines()[1:3]) == (
        2,
        [
            "    @hw.upcasts(Made, from_version=1)",
            "    def made_1(fields: dict[str, Any]) -> dict[str, Any]: ...",
        ],
    )


def test_a_client_needs_no_schemas(things: Path) -> None:
    with an_app(things, "first").connect("memory://"):
        pass


def test_diff_tells_what_changed_and_who_reads_whom(shell: Shell, things: Path) -> None:
    shell("schema register --app first:app")
    shown = shell("schema diff Made --app required:app --output table")
    assert "+++ the working code" in shown.out
    assert '+    "size": {' in shown.out
    assert "the working code reads what revision 1 wrote: no: size: it is required" in shown.err
    shell("schema register --app optional:app")
    found = shell("schema diff Made --from 1 --to 2 --app optional:app").one
    assert (found["backward"], found["forward"]) == ([], ["size: it is not allowed any more"])
    ended = shell("schema diff Made --from 7 --app first:app")
    assert (ended.code, ended.error) == (2, f"{MADE} has no revision 7; it has 1, 2")
    assert "there is no subject 'Maid'" in shell("schema diff Maid --app first:app").error


def test_without_an_address_the_directory_is_looked_at(shell: Shell, project: Path) -> None:
    ended = shell("schema register")
    assert (ended.code, (project / "schemas" / "account-events" / "Opened.v1.1.json").exists()) == (0, True)
    assert 'hw.App(…, schemas="schemas/") has it checked' in ended.err
    assert {row["state"] for row in shell("schema check --schemas schemas").rows} == {"registered"}


def test_the_page_has_commands_that_exist() -> None:
    lines = re.findall(r"^\$ (hw .*)$", PAGE, re.MULTILINE)
    assert lines
    for line in lines:
        refuse_unknown_command(line)


def test_run_says_what_to_type_next(shell: Shell, things: Path) -> None:
    shell("schema register --app first:app")
    ended = shell("run required:app --on sqlite:///things.db")
    assert (ended.code, ended.next) == (2, "hw schema check --app required:app --on sqlite:///things.db")


def test_schemas_in_the_log_are_registered_by_the_app_itself(shell: Shell, things: Path) -> None:
    for name in ("first", "required"):
        file = things / f"{name}.py"
        file.write_text(file.read_text().replace('schemas="schemas/"', 'schemas="log://"'))
    url = "sqlite:///things.db"
    assert shell(f"schema check --app first:app --on {url}").next == f"hw run first:app --on {url}"
    with an_app(things, "first").run(url):
        pass
    assert {row["state"] for row in shell(f"schema check --app first:app --on {url}").rows} == {"registered"}
    assert shell(f"schema check --app required:app --on {url}").code == 1
    with pytest.raises(Misuse, match="size: it is required"):
        an_app(things, "required").run(url).__enter__()


def test_schemas_on_a_server(shell: Shell, things: Path, registry_server: RegistryServer) -> None:
    file, entity = things / "first.py", f"thing{uuid4().hex[:8]}"
    file.write_text(file.read_text().replace('"thing"', f'"{entity}"'))
    words = f"--app first:app --schemas {registry_server.url}"
    assert {row["state"] for row in shell(f"schema check {words}").rows} == {"new"}
    assert len(shell(f"schema register {words}").rows) == 2
    assert {row["state"] for row in shell(f"schema check {words}").rows} == {"registered"}
    [row] = shell(f"schema history Made {words}").rows
    assert row["location"] == f"{registry_server.url}/schemas/ids/{row['id']}"
    body = {"schemaType": "PROTOBUF", "schema": 'syntax = "proto3"; message A { string a = 1; }'}
    assert registry_server.ask("POST", f"/subjects/{entity}-other/versions", body) is not None
    everything = shell(f"schema history {words}")
    assert f"{entity}-events-Made" in {row["subject"] for row in everything.rows}
    assert f"note: {entity}-other is left out: " in everything.err
    assert shell(f"schema diff Made {words}").one["text"] == ""


def test_levels_of_a_server_are_shown_and_set_for_the_events_of_the_app(
    shell: Shell, things: Path, registry_server: RegistryServer
) -> None:
    file, entity = things / "first.py", f"thing{uuid4().hex[:8]}"
    file.write_text(file.read_text().replace('"thing"', f'"{entity}"'))
    words = f"--app first:app --schemas {registry_server.url}?subjects=topic"
    shell(f"schema register {words}")
    subject = f"{entity}-events/Made.v1"
    asked = {"subject": subject, "asked": "BACKWARD_TRANSITIVE", "mode": ""}
    assert shell(f"schema level Made {words}").rows == [asked | {"level": "NONE"}]
    assert shell(f"schema level Made --set FULL {words}").rows == [asked | {"level": "FULL"}]
    assert [row["level"] for row in shell(f"schema level {words}").rows] == ["FULL", "NONE"]
    assert registry_server.ask("GET", f"/config/{entity}-events-value") == {"compatibilityLevel": "FULL"}
    ended = shell(f"schema level --set ANYTHING {words}")
    assert (ended.code, "the levels are NONE, BACKWARD" in ended.error) == (2, True)


def test_the_level_of_files_stands_in_the_app(shell: Shell, things: Path) -> None:
    assert {row["asked"] for row in shell("schema level --app first:app").rows} == {"BACKWARD_TRANSITIVE"}
    ended = shell("schema level --set FULL --app first:app")
    assert (ended.code, ended.error) == (
        2,
        'the level of schemas stands in the app alone: write schemas="…?compatibility=FULL"',
    )


LISTENER = """
import headwater as hw

class ThingEvent(hw.Event, entity="thing"):
    thing_id: hw.Key[str]

class Made(ThingEvent):
    FIELDS

class Seen(hw.Projection):
    thing_id: hw.Key[str]

    @hw.on(Made)
    def made(self, event: Made) -> None: ...

app = hw.App("listener", projections=[Seen], schemas="schemas/")
"""


@pytest.mark.parametrize(
    ("fields", "code", "found"),
    [
        ("pass", 0, {"state": "read"}),
        ("colour: str\n    size: int | None = None", 0, {"state": "read"}),
        ("colour: int", 1, {"state": "unread", "revision": 1, "path": "colour", "reason": "string is read as integer"}),
    ],
)
def test_a_listener_is_told_what_it_cannot_read(
    shell: Shell, things: Path, fields: str, code: int, found: dict[str, object]
) -> None:
    (things / "listener.py").write_text(LISTENER.replace("FIELDS", fields))
    ended = shell("schema check --app listener:app")
    assert (ended.code, json.loads(ended.out)) == (0, {"subject": MADE, "state": "unknown"})
    shell("schema register --app first:app")
    ended = shell("schema check --app listener:app")
    assert (ended.code, json.loads(ended.out)) == (code, {"subject": MADE, **found})
