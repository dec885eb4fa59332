"""What a comparison finds, and what to do instead of it."""

from __future__ import annotations

from typing import Final, Literal, NamedTuple

Direction = Literal["backward", "forward"]
"""backward: the new schema reads what an earlier one wrote; forward: the other way round."""

Cause = Literal["missing", "closed", "open", "type", "name", "symbols", "branch", "limits", "meaning", "unknown"]


class Found(NamedTuple):
    """Where a reader cannot read what a writer wrote.

    Arguments: path: of the field, `items[].price` (empty: the message itself); cause: what kind of change that is;
    reason: a sentence without its end.
    """

    path: str
    cause: Cause
    reason: str


ADVICE: Final[dict[tuple[Cause, Direction], str]] = {
    ("missing", "backward"): "give the field a default",
    ("missing", "forward"): "keep the field: earlier readers need it",
    ("closed", "backward"): "keep the field, as an optional one",
    ("closed", "forward"): "earlier readers refuse fields that they do not know: let them have the new schema first",
    ("open", "backward"): "name the field differently, or close the earlier schema (additionalProperties: false)",
    ("open", "forward"): "keep the field as it was, or close the schema (additionalProperties: false)",
    ("type", "backward"): "keep the field as it was and add another one with a default",
    ("type", "forward"): "keep the field as it was and add another one",
    ("name", "backward"): "keep the name, or give the new one the earlier name as an alias",
    ("name", "forward"): "keep the name",
    ("symbols", "backward"): "keep the value, or give the enumeration a default",
    ("symbols", "forward"): "earlier readers need a default in their enumeration before it gets new values",
    ("branch", "backward"): "keep the alternative",
    ("branch", "forward"): "earlier readers do not know the alternative: let them have it first",
    ("limits", "backward"): "keep the limits at least as wide",
    ("limits", "forward"): "keep the limits at least as narrow",
    ("meaning", "backward"): "keep the field as it was and add another one with a default",
    ("meaning", "forward"): "keep the field as it was and add another one",
    ("unknown", "backward"): "leave this part of the schema as it was",
    ("unknown", "forward"): "leave this part of the schema as it was",
}
"""What to do instead, by who reads."""
