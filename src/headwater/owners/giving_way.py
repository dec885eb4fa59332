"""Old code beside newer code in one group: who gives way.

A member's name carries the version of its states (`order-owner-v2`), so everybody who looks at the group knows which
members are newer. Newer ones take over what older ones have; an older one that is given a partition with newer states
must not decide there, and cannot hand over one partition by itself. So it leaves the group as soon as a newer member
is there to take all of its partitions. While none is, it leaves these alone and serves the others.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from headwater.entities.schema import version_of
from headwater.environment import Environment
from headwater.errors import HeadwaterError, Unavailable
from headwater.log.port import Log, TopicPartition
from headwater.log.topology import owners_group, state_topic
from headwater.owners.partition import PartitionMemory
from headwater.owners.steps import StepMaker

LOOK_S = 1.0
"""How often an owner with a partition of newer code looks for a newer member."""


NAMED = re.compile(r"-owner-v([0-9]+)[-@]")
"""In a member's id, which a log makes of its name and something of its own."""


class GaveWay(HeadwaterError):
    """This process left the owners: newer code runs beside it, and has its partitions now."""


def owner_name(entity: str, schema: str) -> str:
    """What a member of the owners' group is called."""
    version = version_of(schema)
    return f"{entity}-owner-v{version}" if version > 1 else f"{entity}-owner"


def newer_member(log: Log, entity: str, schema: str) -> str | None:
    """A member of newer code, by its id in the group. Raises: Unavailable."""
    for group in log.groups([owners_group(entity)]):
        for member in group.members:
            found = NAMED.search(member)
            if found is not None and int(found[1]) > version_of(schema):
                return member
    return None


class GivingWay:
    """Arguments: log; maker: says its entity type and schema; environment."""

    def __init__(self, log: Log, maker: StepMaker, environment: Environment) -> None:
        self._log, self._entity, self._schema, self._environment = log, maker.entity, maker.schema, environment
        self._looked_s = environment.monotonic_s() - LOOK_S

    def look(self, memories: Mapping[int, PartitionMemory]) -> None:
        """Raises: GaveWay: there is a partition of newer code, and a newer member to take it. Unavailable."""
        left = [partition for partition, memory in memories.items() if memory.newer]
        now_s = self._environment.monotonic_s()
        if not left or now_s - self._looked_s < LOOK_S:
            return
        self._looked_s = now_s
        member = newer_member(self._log, self._entity, self._schema)
        if member is not None:
            names = ", ".join(str(TopicPartition(state_topic(self._entity), partition)) for partition in sorted(left))
            raise GaveWay(
                f"{names} hold states of newer code than version {version_of(self._schema)}, and {member} can serve "
                f"them: this process owns no {self._entity!r} any more; end it, and run the newer code"
            )


def refuse_beside_newer(log: Log, entity: str, schema: str) -> None:
    """Before an owner joins: each time that it did, partitions would move to it and back.

    Raises: Unavailable: a newer member is there.
    """
    member = newer_member(log, entity, schema)
    if member is not None:
        raise Unavailable(
            f"{member} owns {entity!r} with newer code: states of version {version_of(schema)} are not served beside "
            "it. Start the newer code; to go back for good, declare this code with a higher version"
        )
