"""From an address to a log: `memory://`, `sqlite:///shop.db`, `kafka://host:9092`."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlsplit

from headwater.errors import Misuse
from headwater.log.port import Log

FORMS = "memory://, sqlite:///shop.db (a path), or kafka://host:9092"


def open_log(url: str) -> Log:
    """Opens a log.

    Arguments: url: `memory://` (gone with the process); `sqlite:///relative.db` or `sqlite:////absolute.db`;
    `kafka://host:port[,host:port]`, with `?group_protocol=consumer` for KIP-848.
    Raises: Misuse: an address of no known form, or one whose package is not installed. Unavailable: nothing
    answers there, or the file is none of ours.
    """
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise Misuse(f"{url!r} is no address of a log; write {FORMS}")
    parts = urlsplit(url)
    options = dict(parse_qsl(parts.query))
    if scheme == "memory":
        from headwater.log.memory import MemoryLog

        return MemoryLog()
    if scheme == "sqlite":
        path = parts.path[1:]
        if parts.netloc or not path:
            raise Misuse(f"{url!r}: a file is named by sqlite:///shop.db, or sqlite:////absolute/path/shop.db")
        from headwater.log.sqlite import SqliteLog

        return SqliteLog(path)
    if scheme == "kafka":
        if not parts.netloc:
            raise Misuse(f"{url!r} names no broker; write kafka://host:9092")
        from headwater.log.kafka import KafkaLog

        return KafkaLog(parts.netloc, **options)
    raise Misuse(f"no log is called {scheme!r}; write {FORMS}")
