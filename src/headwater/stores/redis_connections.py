"""The way to a Redis server: its address, its scripts, what it must be like, and its errors in our words.

What a server loses when it crashes (it writes its log of commands once a second, or keeps only snapshots; a replica
follows a little behind) it loses from the end, a whole script at a time. So rows and positions fall back together, and
the events are applied again from the log. What would lose rows and keep positions is refused: a server that evicts keys
when its memory is full, and a cluster, where the keys of one script may live on several servers.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from headwater.errors import HeadwaterError, Misuse, Unavailable

OLDEST_SERVER = 7
PREFIX = re.compile(r"[A-Za-z0-9_.:{}-]+")
DEFAULT_PREFIX = "headwater"
CONNECT_S = 10
ANSWER_S = 60
"""A script that writes a large batch may keep the server for seconds."""

TLS_OPTIONS = ("ssl_ca_certs", "ssl_certfile", "ssl_keyfile", "ssl_check_hostname")
FORM = "redis://user:password@host:6379/0?prefix=shop (rediss:// with TLS)"


class Address:
    """`redis://[user[:password]@]host[:port][/database][?prefix=…]`, or `rediss://` with TLS, whose files are
    `ssl_ca_certs`, `ssl_certfile` and `ssl_keyfile`.

    Raises: Misuse: it is none, without repeating its password.
    """

    def __init__(self, url: str) -> None:
        try:
            parts = urlsplit(url)
            port, host = parts.port or 6379, parts.hostname
        except ValueError:
            raise Misuse(f"the store's address is none of Redis: write {FORM}") from None
        self.prefix, options = DEFAULT_PREFIX, {}
        for name, value in parse_qsl(parts.query, keep_blank_values=True):
            if name == "prefix":
                self.prefix = value
            elif name in TLS_OPTIONS and parts.scheme == "rediss":
                options[name] = value
            else:
                known = ["prefix", *(TLS_OPTIONS if parts.scheme == "rediss" else ())]
                raise Misuse(f"the store's address has an option {name!r}: {parts.scheme}:// takes {', '.join(known)}")
        database = parts.path.removeprefix("/") or "0"
        if not host or not database.isdecimal():
            raise Misuse(f"the store's address is none of Redis: write {FORM}")
        if not PREFIX.fullmatch(self.prefix):
            raise Misuse(f"prefix={self.prefix!r} cannot begin the names of keys: use A-Z, a-z, 0-9 and _ . : - {{ }}")
        credentials = f"{parts.netloc.rpartition('@')[0]}@" if "@" in parts.netloc else ""
        query = f"?{urlencode(options, quote_via=quote)}" if options else ""
        where = f"[{host}]" if ":" in host else host
        self.url = f"{parts.scheme}://{credentials}{where}:{port}/{database}{query}"
        self.place = f"{parts.scheme}://{where}:{port}/{database}?prefix={self.prefix}"


class Server:
    """A server and its scripts. Thread-safe.

    Raises: Misuse: read models cannot be kept there. Unavailable: it cannot be reached.
    """

    def __init__(self, address: Address) -> None:
        self.place = address.place
        self.prefix = f"{address.prefix}:"
        self._texts: dict[str, str] = {}
        with translated(self.place):
            # no attempt of the client's own: what came of the first one would not be known
            once: Any = {"retry": Retry(NoBackoff(), 0), "protocol": 2}
            self._client = redis.Redis.from_url(
                address.url,
                socket_connect_timeout=CONNECT_S,
                socket_timeout=ANSWER_S,
                socket_keepalive=True,
                **once,
            )
        try:
            self._refuse_unfit()
        except BaseException:
            self.close()
            raise

    def call(self, *command: str | bytes | int) -> Any:
        """Runs a command. Raises: Unavailable, Misuse."""
        with translated(self.place):
            return self._client.execute_command(*command)

    def run(self, script: str, *arguments: str | bytes | int) -> Any:
        """Runs a script, which gets the prefix of all keys before its arguments. Raises: Unavailable, Misuse."""
        digest = self._texts.get(script)
        if digest is None:
            digest = self._texts[script] = hashlib.sha1(script.encode(), usedforsecurity=False).hexdigest()
        given = (0, self.prefix, *arguments)
        with translated(self.place):
            try:
                return self._client.execute_command("EVALSHA", digest, *given)
            except redis.exceptions.NoScriptError:  # new to this server, or it was started again
                return self._client.execute_command("EVAL", script, *given)

    def remembered(self, name: str, value: str) -> str:
        """What a store keeps under a name; the value, where it has kept nothing yet. Raises: as `call`."""
        store = f"{self.prefix}hw_store"
        stored = self.call("HGET", store, name)
        if stored is None:
            self.call("HSETNX", store, name, value)
            stored = self.call("HGET", store, name)
        return str(stored, "utf-8")

    def close(self) -> None:
        self._client.close()

    def _refuse_unfit(self) -> None:
        told: dict[str, Any] = {}
        with translated(self.place):
            for section in ("server", "memory", "cluster"):
                told.update(self._client.info(section))
        version = str(told["redis_version"])
        if int(version.partition(".")[0]) < OLDEST_SERVER:
            raise Misuse(f"{self.place} is Redis {version}: read models need {OLDEST_SERVER}.0 or later")
        if told.get("cluster_enabled"):
            raise Misuse(
                f"{self.place} is a part of a Redis cluster, where one read model's keys may live on several servers "
                "and cannot be written at once: use a server of its own (with replicas, if you like)"
            )
        policy = told.get("maxmemory_policy", "noeviction")
        if policy != "noeviction":
            raise Misuse(
                f"{self.place} removes keys when its memory is full (maxmemory-policy {policy}): rows would vanish and "
                "nobody would notice. Set maxmemory-policy noeviction; a full server then refuses writes, and the read "
                "models wait for room"
            )


@contextmanager
def translated(place: str) -> Iterator[None]:
    """Turns the client's errors into ours."""
    try:
        yield
    except redis.RedisError as error:
        raise in_our_words(error, place) from error


def in_our_words(error: redis.RedisError, place: str) -> HeadwaterError:
    words = str(error)
    if isinstance(error, redis.AuthenticationError) or words.startswith(("NOAUTH", "WRONGPASS")):
        return Unavailable(f"{place} does not accept the user or the password: {words}")
    if "OOM" in words or "maxmemory" in words:
        return Unavailable(f"{place} has no memory left: {words}; nothing of this write was kept")
    if isinstance(error, redis.ReadOnlyError) or "READONLY" in words:
        return Unavailable(f"{place} can only be read now (a replica?): {words}; it is tried again")
    if "WRONGTYPE" in words:
        return Misuse(f"another program has keys of other types under the same prefix in {place}: {words}")
    if isinstance(error, redis.DataError) or "DB index is out of range" in words:
        return Misuse(f"{place}: {words}")
    return Unavailable(f"{place}: {words}")


def texts(answer: Sequence[bytes | None]) -> list[str | None]:
    return [None if part is None else part.decode() for part in answer]
