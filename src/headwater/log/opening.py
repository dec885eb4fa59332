"""From an address to a log: `memory://`, `sqlite:///shop.db`, `kafka://host:9092`.

`archive=` is the last option of any of them, and everything behind it is the archive's own address, as it stands:

    sqlite:///shop.db?archive=file:///mnt/archive
    kafka://host:9092?group_protocol=consumer&archive=s3://bucket/shop?scheme=http&endpoint_override=localhost:9000
"""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from headwater.errors import Misuse
from headwater.log.port import Log

KAFKA_OPTIONS = (
    "group_protocol",
    "connect_timeout_s",
    "answer_timeout_s",
    "session_timeout_s",
    "poll_timeout_s",
    "transaction_timeout_s",
    "index_directory",
)
_ARCHIVE = re.compile("[?&]archive=")
FORMS = "memory://, sqlite:///shop.db (a path), or kafka://host:9092"


def open_log(url: str) -> Log:
    """Opens a log.

    Arguments: url: `memory://` (gone with the process); `sqlite:///relative.db` or `sqlite:////absolute.db`;
    `kafka://host:port[,host:port]`, with `?group_protocol=consumer` for KIP-848. With `?archive=file:///directory` or
    `?archive=s3://bucket/prefix`, what was archived and is in the log no more is read from there.
    Raises: Misuse: an address of no known form, or one whose package is not installed. Unavailable: nothing
    answers there, or the file is none of ours.
    """
    url, archive = split_archive(url)
    if archive is not None:
        from headwater.log.archive import ArchivedLog, open_archive

        opened = open_archive(archive)
        return ArchivedLog(open_log(url), opened)
    scheme, separator, _ = url.partition("://")
    if not separator:
        raise Misuse(f"{url!r} is no address of a log; write {FORMS}")
    if scheme == "memory":
        from headwater.log.memory import MemoryLog

        return MemoryLog()
    if scheme == "sqlite":
        path = sqlite_path(url)
        from headwater.log.sqlite import SqliteLog

        return SqliteLog(path)
    if scheme == "kafka":
        parts = urlsplit(url)
        if not parts.netloc:
            raise Misuse(f"{url!r} names no broker; write kafka://host:9092")
        _check_ports(url, parts.netloc)
        options: Any = _options(url, parts.query)
        from headwater.log.kafka import KafkaLog

        return KafkaLog(parts.netloc, **options)
    raise Misuse(f"no log is called {scheme!r}; write {FORMS}")


def split_archive(url: str) -> tuple[str, str | None]:
    """The address of a log without its archive, and the archive's. Raises: Misuse: it is empty."""
    found = _ARCHIVE.search(url)
    if found is None:
        return url, None
    if found.end() == len(url):
        raise Misuse(f"{url!r}: archive= names nothing; write archive=file:///directory or archive=s3://bucket/prefix")
    return url[: found.start()], url[found.end() :]


def sqlite_path(url: str) -> str:
    """The path in the address of an SQLite file, as it stands there: nothing in it is decoded.

    Raises: Misuse: it names no file, or has options other than an archive.
    """
    url, _ = split_archive(url)
    path = url.removeprefix("sqlite:///")
    if path == url or not path:
        raise Misuse(f"{url!r}: a file is named by sqlite:///shop.db, or sqlite:////absolute/path/shop.db")
    for sign in "?#":
        name, found, rest = path.partition(sign)
        if found:
            raise Misuse(
                f"{url!r}: the address of an SQLite file has no options but archive=, so {sign + rest!r} means "
                f"nothing; write sqlite:///{name}, and give a file whose name has a {sign} another one"
            )
    return path


def _options(url: str, query: str) -> dict[str, str]:
    """What stands behind the `?`. Raises: Misuse: an option that does not exist, or seconds that are no number."""
    found = dict(parse_qsl(query, keep_blank_values=True))
    for name, value in found.items():
        if name not in KAFKA_OPTIONS:
            raise Misuse(f"{url!r}: no option is called {name!r}; there are {', '.join(KAFKA_OPTIONS)}")
        if name.endswith("_s"):
            try:
                float(value)
            except ValueError:
                raise Misuse(f"{url!r}: {name} is {value!r}, and no number of seconds") from None
    return found


def _check_ports(url: str, hosts: str) -> None:
    """Else a port that cannot exist looks like a broker that is down. Raises: Misuse."""
    for host in hosts.split(","):
        name, colon, port = host.rpartition(":")
        if colon and not port.endswith("]") and not (port.isdecimal() and 0 < int(port) < 65536 and name):
            raise Misuse(f"{url!r}: {host!r} is no broker; write host:port, with a port of 1 to 65535")
