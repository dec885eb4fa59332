"""The record of a state is put together by hand: it must be what msgspec would write, and read back."""

from __future__ import annotations

from unittest import mock

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from headwater.owners import state_record
from headwater.owners.state_record import Entry, Remembered, StateRecord, decode_value, encode_entry

TEXT = st.text(max_size=20)
NUMBER = st.integers(0, 2**40)
REMEMBERED = st.builds(
    Remembered,
    id=TEXT,
    fingerprint=st.integers(-1, 2**32 - 1),
    time_ms=st.integers(1_700_000_000_000, 1_700_000_009_999),  # none is older than a day
    kind=st.sampled_from(["accepted", "rejected"]),
    version=NUMBER,
    events=st.integers(0, 9),
    body=st.sampled_from([msgspec.Raw(b"null"), msgspec.Raw(b'{"rejected":"Late"}')]),
)


@given(
    TEXT,
    TEXT,
    st.lists(REMEMBERED, max_size=4, unique_by=lambda one: one.id),
    st.dictionaries(TEXT, st.tuples(NUMBER, NUMBER), max_size=3),
    st.tuples(NUMBER, NUMBER, NUMBER, NUMBER),
    st.integers(-1, 9),
)
def test_it_is_what_msgspec_would_write(
    id: str,
    schema: str,
    recent: list[Remembered],
    sources: dict[str, tuple[int, int]],
    numbers: tuple[int, int, int, int],
    begun: int,
) -> None:
    version, events, commands, folded = numbers
    encode = msgspec.json.encode
    entry = Entry(id, None, b'{"a":1}', version, events, {}, sources)
    for one in recent:
        entry.remember(one)
    record = StateRecord(
        id,
        version,
        schema,
        events,
        commands,
        msgspec.Raw(b'{"a":1}'),
        [msgspec.Raw(encode(one)) for one in recent],
        sources,
        folded,
        begun,
    )
    value = encode_entry(entry, schema, commands, folded, begun)
    assert value == encode(record)
    again = Entry.of_record(decode_value(value), None, b"")
    assert (again.recent, again.answers, again.sources) == (entry.recent, entry.answers, sources)
    assert again.events == events


@given(st.lists(REMEMBERED, max_size=40), st.integers(1, 8))
def test_what_is_remembered_is_found_until_it_is_forgotten(answers: list[Remembered], window: int) -> None:
    entry, model = Entry.new("a", None, b"{}"), dict[str, Remembered]()
    with mock.patch.object(state_record, "WINDOW", window):
        for one in answers:
            entry.remember(one)
            entry.forget_old()
            model[one.id] = one
            if len(model) > window:
                del model[next(iter(model))]
            assert [entry.remembered(id) for id in model] == list(model.values())
            assert list(entry.recent) == list(model)
            assert msgspec.json.decode(b"[" + entry.answers + b"]", type=list[Remembered]) == list(model.values())
