"""`hw catalogue`: a page and a document, without a log."""

from __future__ import annotations

import json
from pathlib import Path

from tests.cli.conftest import Shell

APP = "--app tests.upcasting.today:app"


def test_both_files_are_written(shell: Shell, directory: Path) -> None:
    assert shell(f"catalogue docs/events {APP}").one == {"directory": "docs/events", "entities": 2, "events": 5}
    assert (directory / "docs/events/events.md").read_text() == shell(f"catalogue {APP}").out
    document = (directory / "docs/events/asyncapi.json").read_text()
    assert document == shell(f"catalogue --asyncapi {APP}").out
    assert json.loads(document)["asyncapi"] == "3.0.0"


def test_where_it_cannot_be_written(shell: Shell, directory: Path) -> None:
    (directory / "docs").write_text("a file")
    assert "docs/events cannot be written" in shell(f"catalogue docs/events {APP}").error
