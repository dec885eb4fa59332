"""Many JSON objects decoded as one text: msgspec is called once for all of them.

    {…} ␤null null␤ {…} ␤null null␤ {…}   ──►   message, None, None, message, None, None, message

The objects come apart as they were put together, whatever bytes they are. No value that the decoder takes reaches over
a seam: inside a string a line end is refused, and elsewhere inside a value two `null` without a comma are. So each seam
makes two `None`, and each object the values that it holds. Where as many came out as went in, and every third is a
message, each object held exactly one. What is empty, broken, or followed by more, makes a batch be read one by one.

What keeps a piece of the text as it is (`RawJson`) would keep all of it. Classes that do are decoded alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain
from operator import itemgetter
from typing import Any, Final, Generic, TypeVar, Union

import msgspec

from headwater.messages.annotations import mentions
from headwater.messages.declare import Message
from headwater.messages.finite import Finite
from headwater.messages.shapes import parts_of

M = TypeVar("M", bound=Message)

BROKEN: Final = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
BETWEEN: Final = b"\nnull null\n"
BEFORE: Final = b"\nnull\n"
"""Does between objects that begin with `{` for certain: inside a value, that does not follow a `null`."""


class Together(Generic[M]):
    """Arguments: classes: of one union."""

    def __init__(self, classes: Iterable[type[M]]) -> None:
        members = tuple(classes)
        self.finite = Finite(members)
        self._lines: Callable[[bytes], list[Any]] = msgspec.json.Decoder(Union[(*members, None)]).decode_lines
        raw = {cls for cls in members if keeps_text(cls, set())}
        # Those of no entity are our own and rare: a batch without them is decoded as one text all the same.
        self._alone = frozenset(cls for cls in raw if cls.__hw__.entity is None)
        self.possible = raw == self._alone

    def read(self, text: bytes, count: int, nulls: int = 2) -> list[M] | None:
        """The messages of a text; None: at least one of the objects has to be looked at alone.

        Arguments: text: objects, and `BETWEEN` between them; count: how many; nulls: 1 where it is `BEFORE` instead."""
        try:
            found = self._lines(text)
        except BROKEN:
            return None
        messages: list[M] = found[:: nulls + 1]
        if len(found) != count + nulls * (count - 1) or not all(messages):
            return None
        if self.finite.wary and not self.finite.all_finite(messages):
            return None
        return messages if not self._alone or self._alone.isdisjoint(map(type, messages)) else None


def keeps_text(cls: Any, seen: set[Any]) -> bool:
    """Whether a message or value class has a `RawJson` somewhere inside."""
    if cls in seen:
        return False
    seen.add(cls)
    notes = cls.__hw_shape__.types.values()
    inner = chain.from_iterable(map(parts_of, notes))
    return any(mentions(note, msgspec.Raw) for note in notes) or any(keeps_text(part, seen) for part in inner)


class Beginnings:
    """What values begin with that carry a frame, and their type and version behind it, as this program writes them.

        value    frame {"eventType":"OrderPlaced","eventVersion":1,"or ┊ derId":"7",…}
        text           {"eventType":"OrderPlaced","or ┊ derId":"7",…}

    All values are cut at one place, so that it takes no step of Python for each. What stands before the cut is looked
    up as a whole, with its frame and its version; they are left out of the text. So a text that speaks of a version
    speaks of a second one. The place is behind all that has to be looked at, and before what differs from one value to
    the next: a version is followed by the name of the first field. Where types have names of very different lengths
    there is no such place for all; the others are not known here.

    Arguments: heads: by what stands before the first field's value, how much of it has to be looked at, and what stands
    there in the text.
    """

    def __init__(self, heads: Mapping[bytes, tuple[int, bytes]]) -> None:
        places = sorted({needed for needed, _ in heads.values()})
        taken = [sum(needed <= place <= len(head) for head, (needed, _) in heads.items()) for place in places]
        cut = places[taken.index(max(taken))] if places else 0
        self._instead = {
            head[:cut]: BEFORE + text[: len(text) - (len(head) - cut)]
            for head, (needed, text) in heads.items()
            if needed <= cut <= len(head)
        }
        self._begin, self._rest = itemgetter(slice(cut)), itemgetter(slice(cut, None))

    def text(self, values: Sequence[bytes]) -> bytes | None:
        """All values in one, with `BEFORE` between them; None: one begins with something else."""
        parts = [b""] * (2 * len(values))
        try:
            parts[::2] = map(self._instead.__getitem__, map(self._begin, values))
        except KeyError:
            return None
        parts[1::2] = map(self._rest, values)
        parts[0] = parts[0][len(BEFORE) :]
        return b"".join(parts)
