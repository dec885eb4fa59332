"""What the names of tables show in Redis, and what the script that commits is told of an exchange of tables.

The rows of a table are at a place: under the table's own name, until they are exchanged (`shop:hw_places`). A name
points to the place of the rows that it shows, for clients of their own: `GET shop:account`, then `HGETALL` of a row
there.
"""

from __future__ import annotations

from msgspec import json

from headwater.errors import HeadwaterError, Unavailable
from headwater.stores.redis_connections import Server
from headwater.stores.redis_scripts import SHOWN
from headwater.stores.redis_tables import Entry, version_name
from headwater.stores.switching import Behind, Shown, Switch, refuse_unmade


def shown_by(server: Server, name: str) -> Shown | None:
    """What a name shows."""
    found = server.run(SHOWN, name)
    if found is None or len(found) == 1:
        return None
    _, table, entry, code = (one.decode() for one in found)
    return Shown(int(table.rpartition("_v")[2]), json.decode(entry, type=Entry).runner, code)


def entry_of(server: Server, name: str, version: int) -> Entry:
    """What the list of tables says of a version. Raises: Unavailable: nobody has opened it."""
    found = server.call("HGET", f"{server.prefix}hw_tables", version_name(name, version))
    if found is None:
        raise refuse_unmade(name, version, server.place)
    return json.decode(found, type=Entry)


def exchange(server: Server, switch: Switch) -> dict[str, object]:
    """What the script is told. Raises: Unavailable: a version that nobody has opened."""
    shown: list[dict[str, object]] = []
    for name, version in switch.shown.items():
        now = [text.decode() for text in server.run(SHOWN, name) or ()]
        shown.append(
            {
                "name": name,
                "table": version_name(name, version),
                "runner": entry_of(server, name, version).runner,
                "pointer": now[0] if now else False,
                "before": now[1] if len(now) > 1 else False,
            }
        )
    pairs = [
        (version_name(one.name, one.version), version_name(other.name, other.version)) for one, other in switch.tables
    ]
    topics = dict.fromkeys(switch.topics, True)
    return {"runner": switch.runner, "other": switch.other, "pairs": pairs, "shown": shown, "topics": topics}


def refusal(said: str, place: str) -> HeadwaterError:
    """The error of an exchange that the script has not made."""
    if said == "lost":
        return Unavailable(f"{place} has lost tables that were to be exchanged: they are made again from the log")
    _, name, partition, before, then = json.decode(said)
    return Behind(
        f"{name} shows the rows of position {before} of {partition}, and what is to be shown has come to {then}"
    )
