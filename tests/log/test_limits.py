"""What every log refuses before anything is written."""

from __future__ import annotations

from typing import Any

import pytest

from headwater.errors import Misuse
from headwater.log.limits import MAX_RECORD_BYTES, check_size, check_specs, check_types
from headwater.log.port import NewRecord, TopicSpec


def test_a_record_counts_with_key_value_and_headers() -> None:
    rest = MAX_RECORD_BYTES - len(b"key") - len("name") - len(b"content")
    check_size(NewRecord("t", 0, b"key", b"v" * rest, [("name", b"content")]))
    with pytest.raises(Misuse, match=r"topic t, key b'key', has 1,000,001 bytes"):
        check_size(NewRecord("t", 0, b"key", b"v" * (rest + 1), [("name", b"content")]))


@pytest.mark.parametrize(
    ("key", "value", "headers"),
    [("text", b"", ()), (b"", {"a": 1}, ()), (b"", b"", [("name", "text")]), (b"", b"", [(b"name", b"")])],
)
def test_content_that_is_not_bytes_is_refused(key: Any, value: Any, headers: Any) -> None:
    with pytest.raises(Misuse, match="needs bytes"):
        check_types(NewRecord("t", 0, key, value, headers))


@pytest.mark.parametrize("name", ["", ".", "..", "a b", "a/b", "ä", "x" * 250])
def test_names_that_kafka_refuses_are_refused(name: str) -> None:
    with pytest.raises(Misuse, match="cannot name a topic"):
        check_specs([TopicSpec(name, 1)])
