"""The schema of a declared class, as text that is the same on every machine.

class ──► its fields (`describing`) ──► `derivation_avro` or `derivation_json` ──► canonical JSON text

The text is what is registered and reviewed, and what gives a schema its identity: no docstring, no module and no hash
order enters it.
"""

from __future__ import annotations

import json
from typing import Literal

from headwater.messages.declare import Message
from headwater.schemas.derivation_avro import avro_schema
from headwater.schemas.derivation_json import json_schema

SchemaKind = Literal["avro", "json"]
"""The format of a schema: Avro's, or JSON Schema (draft 7)."""


def schema_of(cls: type[Message], kind: SchemaKind) -> str:
    """The schema of a message or value class, as JSON text: same class, same text, everywhere.

    Arguments: cls: a concrete event, command, timeout or value; kind: "avro", or "json" for JSON Schema. JSON Schemas
    are closed (`additionalProperties: false`), so that an optional field can be added later: to an open one, none can,
    since older data may hold anything under its name.
    Raises: Misuse: a family, or a field that the format cannot say (with what to write instead).
    """
    schema = avro_schema(cls) if kind == "avro" else json_schema(cls)
    return json.dumps(schema, ensure_ascii=False, separators=(",", ":"))
