"""What a registry of others calls our subjects, by the strategies of Confluent's serialisers.

| strategy | `order-events/OrderPlaced.v1` | `order-events/OrderPlaced.v2` |
|---|---|---|
| topic_record (TopicRecordNameStrategy) | `order-events-OrderPlaced` | `order-events-OrderPlaced-v2` |
| record (RecordNameStrategy) | `OrderPlaced` | `OrderPlaced-v2` |
| topic (TopicNameStrategy) | `order-events-value` | `order-events-value-v2` |

The last one has room for one kind of record in a topic. It is refused where a topic has more of them: their schemas
would be taken for revisions of each other. An event of headwater's own, which any topic of an entity may have, keeps
the name that it has by the first: `order-events-hw.Reverted`.
"""

from __future__ import annotations

from typing import Final, Literal, get_args
from urllib.parse import quote

from headwater.errors import Misuse
from headwater.messages.builtin import Reverted
from headwater.schemas.subjects import is_subject, parsed_subject

Strategy = Literal["topic_record", "record", "topic"]
STRATEGIES: Final[tuple[Strategy, ...]] = get_args(Strategy)
OWN: Final = frozenset({Reverted.__hw__.wire_name})
DEFAULT_STRATEGY: Final[Strategy] = "topic_record"


class Names:
    """Thread-safe. Arguments: strategy."""

    def __init__(self, strategy: Strategy) -> None:
        self._strategy = strategy
        self._kinds: dict[str, str] = {}

    def quoted(self, subject: str) -> str:
        """For a path. What is no subject of ours is a name of the registry already.
        Raises: Misuse: the topic has another kind of record, and the strategy has one name for both."""
        return quote(self._named(subject) if is_subject(subject) else subject, safe="")

    def _named(self, subject: str) -> str:
        topic, name, version = parsed_subject(subject)
        if self._strategy == "topic" and name not in OWN:
            first = self._kinds.setdefault(topic, name)
            if first != name:
                raise Misuse(
                    f"{topic} has {first} and {name}, and with subjects=topic (TopicNameStrategy) a topic has one kind "
                    "of record: leave it out of the registry's address, or write subjects=record"
                )
            plain = f"{topic}-value"
        else:
            plain = name if self._strategy == "record" else f"{topic}-{name}"
        return plain if version == 1 else f"{plain}-v{version}"
