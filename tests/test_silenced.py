"""A check that is silenced in the library says why, on its line."""

from __future__ import annotations

import re
from pathlib import Path

import headwater

BARE = re.compile(r"#\s*(noqa(:\s*[A-Z0-9, ]+)?|type: ignore(\[[a-z, -]+\])?)\s*$")


def test_every_silenced_check_has_a_reason() -> None:
    bare = [
        f"{path.name}:{number}"
        for path in sorted(Path(headwater.__file__).parent.rglob("*.py"))
        for number, line in enumerate(path.read_text().splitlines(), 1)
        if BARE.search(line)
    ]
    assert bare == []
    assert BARE.search("x = 1  # type: ignore[misc]")
