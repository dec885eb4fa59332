"""Whether two schemas are the same, and the id that follows from one.

Two texts that are the same JSON are the same schema: white space and the order of an object's members do not count. So
a file may be laid out for people, and line ends may change on its way through git.
"""

from __future__ import annotations

import hashlib
import json
from typing import Any, Final

from headwater.errors import Misuse
from headwater.schemas.port import Schema

IDS: Final = 2**31 - 1
"""Ids are 1 up to this: four bytes with a sign, as Java reads them."""


def parsed(text: str) -> Any:
    """The JSON of a schema. Raises: Misuse: it is none."""
    try:
        return json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError) as error:
        raise Misuse(f"a schema is no JSON: {error}") from error


def canonical(schema: Schema) -> Schema:
    """The schema with texts that are equal for equal schemas. Raises: Misuse: it is no JSON."""
    references = tuple((name, _compact(text)) for name, text in schema.references)
    return Schema(schema.kind, _compact(schema.text), references)


def laid_out(text: str) -> str:
    """The text for people, to be reviewed and compared line by line. Members keep their order."""
    return json.dumps(parsed(text), indent=2, ensure_ascii=False) + "\n"


def id_from(schema: Schema) -> int:
    """An id that follows from the content: the same on every machine, in every clone of a repository and in each
    registry that lets us choose, and no counter that two branches move. Of a thousand schemas, two share one with a
    probability of 1 in 4,000: registries look for that."""
    one = canonical(schema)
    content = "\0".join([one.kind, one.text, *(part for reference in one.references for part in reference)])
    return int.from_bytes(hashlib.blake2b(content.encode(), digest_size=8).digest(), "big") % IDS + 1


def _refused(word: str) -> Any:
    raise ValueError(f"{word} is no number of JSON")


def _compact(text: str) -> str:
    return json.dumps(parsed(text), sort_keys=True, ensure_ascii=False, separators=(",", ":"))
