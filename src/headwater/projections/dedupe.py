"""How a projection recognises records that others have written twice.

    class Takings(hw.Projection, dedupe=hw.by_id): ...                      the header ce_id, within ce_source
    class Takings(hw.Projection, dedupe=hw.by_id("paymentNo")): ...         a field of the value
    class Takings(hw.Projection, dedupe=hw.by_sequence("no", of="till")): ...   numbers that each till counts up
    class Takings(hw.Projection, dedupe=hw.by_hash): ...                    the same key and value

What headwater's owners write is there once; a topic of another program may hold a record again, because its writer
tried again without knowing that it had succeeded, or began anew. What was seen is kept beside the rows (`seen`).
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple

import msgspec

from headwater.errors import Misuse
from headwater.log.port import Record

DIGEST_BYTES = 12
"""Two of 100,000 records are taken for one with a probability of 10^-19."""

SEQUENCE_HEADER, ID_HEADER, SOURCE_HEADER = "ce_sequence", "ce_id", "ce_source"


@dataclass(frozen=True, slots=True)
class Dedupe:
    """Arguments: by: what two copies have in common; field: of the value (None: a header); of: the field that says
    whose numbers these are (None: the record's key)."""

    by: Literal["id", "sequence", "hash"]
    field: str | None = None
    of: str | None = None

    def __call__(self, field: str, *, of: str | None = None) -> Dedupe:
        """The same, by a field of the value. Arguments: field: its name in the JSON; of: for `by_sequence`, the name of
        the field that says who counts (None: each key counts for itself).

        Raises: Misuse.
        """
        if self.by == "hash" or not isinstance(field, str) or not field or (of is not None and self.by != "sequence"):
            raise Misuse('write dedupe=hw.by_id("field"), hw.by_sequence("field", of="field") or hw.by_hash')
        return replace(self, field=field, of=of)

    @property
    def words(self) -> str:
        """As it was declared."""
        of = "" if self.of is None else f", of={self.of!r}"
        return f"by_{self.by}" + ("" if self.field is None else f"({self.field!r}{of})")

    @property
    def wanted(self) -> str:
        """What a record must have, in words."""
        header = SEQUENCE_HEADER if self.by == "sequence" else ID_HEADER
        return f"a header {header}" if self.field is None else f"a field {self.field!r}"


AsJson = Callable[[Record], bytes | None]


def refuse_no_dedupe(name: str, given: object) -> None:
    """Raises: Misuse: what a class was given as `dedupe` is none."""
    if given is not None and not isinstance(given, Dedupe):
        raise Misuse(f"{name}: dedupe={given!r} is none of hw.by_id, hw.by_sequence and hw.by_hash")


by_id, by_sequence, by_hash = Dedupe("id"), Dedupe("sequence"), Dedupe("hash")


class Counted(NamedTuple):
    """A number that a record carries. Arguments: stream: who counts, in printable letters."""

    stream: str
    number: int


Identity = bytes | Counted
"""What a record is recognised by: a digest, or a number."""


def identity_of(dedupe: Dedupe, as_json: AsJson) -> Callable[[Record], Identity | None]:
    """A function that says what a record is recognised by; None: it has nothing of the kind. Arguments: as_json: gives
    the JSON that a record's value says (None: none)."""
    if dedupe.by == "hash":
        return _hash
    if dedupe.by == "sequence":
        return _counted_by_header if dedupe.field is None else _Counting(dedupe.field, dedupe.of, as_json)
    return _id_by_header if dedupe.field is None else _Named(dedupe.field, as_json)


def digest(*parts: bytes) -> bytes:
    found = hashlib.blake2b(digest_size=DIGEST_BYTES)
    for part in parts:
        found.update(b"%d;" % len(part))
        found.update(part)
    return found.digest()


def printable(raw: bytes) -> str:
    """Bytes in letters that every store keeps; others have others."""
    return raw.decode("latin-1").encode("unicode_escape").decode()


def _hash(record: Record) -> bytes:
    none = (record.key is None, record.value is None)
    return digest(repr(none).encode(), record.key or b"", record.value or b"")


def _id_by_header(record: Record) -> bytes | None:
    headers = dict(record.headers)
    found = headers.get(ID_HEADER)
    return None if not found else digest(headers.get(SOURCE_HEADER, b""), found)


def _counted_by_header(record: Record) -> Counted | None:
    headers = dict(record.headers)
    number = _whole(headers.get(SEQUENCE_HEADER, b""))
    return None if number is None else Counted(printable(record.key or b""), number)


def _whole(raw: bytes) -> int | None:
    text = raw.strip(b'"')
    return int(text) if text.isdigit() and len(text) < 19 else None


class _Fields:
    """Some fields of JSON values, each as it is written there; empty where it is missing or null."""

    def __init__(self, *names: str) -> None:
        fields: Any = [(f"field{n}", msgspec.Raw, msgspec.Raw()) for n in range(len(names))]
        rename = {f"field{n}": name for n, name in enumerate(names)}
        self._decode = msgspec.json.Decoder(msgspec.defstruct("Fields", fields, rename=rename)).decode

    def of(self, value: bytes | None) -> list[bytes]:
        if value is not None:
            try:
                found = map(bytes, msgspec.structs.astuple(self._decode(value)))
                return [b"" if raw == b"null" else raw for raw in found]
            except (msgspec.DecodeError, RecursionError):
                pass  # whoever decodes it as a message says what is wrong
        return [b"", b""]


class _Named:
    def __init__(self, field: str, as_json: AsJson) -> None:
        self._fields, self._as_json = _Fields(field), as_json

    def __call__(self, record: Record) -> bytes | None:
        found = self._fields.of(self._as_json(record))[0]
        return digest(found) if found else None


class _Counting:
    def __init__(self, field: str, of: str | None, as_json: AsJson) -> None:
        self._as_json = as_json
        self._fields = _Fields(field) if of is None else _Fields(field, of)
        self._own = of is None

    def __call__(self, record: Record) -> Counted | None:
        found = self._fields.of(self._as_json(record))
        number = _whole(found[0])
        if number is None or (not self._own and not found[1]):
            return None
        return Counted(printable((record.key or b"") if self._own else found[1]), number)
