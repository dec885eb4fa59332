"""The shell on a topic in Avro: register, send, get, history, tail, replay."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Shell, an_app, at_work
from tests.cli.test_schema import APP

EVENT = {"eventType": "Made", "eventVersion": 1, "thingId": "1", "colour": "red"}


def test_what_is_avro_is_sent_and_shown_as_anything_else(shell: Shell, directory: Path) -> None:
    declared = 'schemas="schemas/", codecs={"thing-events": "avro"})'
    (directory / "things.py").write_text(APP.replace('schemas="schemas/")', declared))
    (directory / "headwater.toml").write_text('app = "things:app"\non = "sqlite:///things.db"\n')
    assert shell("schema register").code == 0
    assert sorted(path.suffix for path in (directory / "schemas" / "thing-events").iterdir()) == [
        ".avsc",
        ".avsc",
        ".json",
    ]
    with at_work(an_app(directory, "things"), "sqlite:///things.db"):
        assert shell("send Make", json.dumps({"thingId": "1", "colour": "red"})).one["version"] == 1
        assert shell("get thing 1").one["colour"] == "red"
        assert "red" in shell("history thing 1").out
        shown = shell("tail thing --from earliest").one
        assert {**shown["value"], **EVENT} == shown["value"]
        assert shown["headers"]["content-type"] == "avro/binary"
        line = shell("replay --entity thing 1 --to -").one
        assert {**line, **EVENT} == line
