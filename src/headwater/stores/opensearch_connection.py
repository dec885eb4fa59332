"""Requests to a search server, over urllib3, and its answers in our words.

Nothing is repeated here: a request whose answer is lost may have been carried out, and only who sent it knows what
that means. OpenSearch and Elasticsearch answer alike to what is asked here, so one implementation serves both.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Any, NamedTuple
from urllib.parse import parse_qsl, quote, unquote, urlsplit

import msgspec
import urllib3

from headwater.errors import HeadwaterError, Misuse, Unavailable

PORT = 9200
PREFIX = "headwater"
CONNECT_S = 10.0
ANSWER_S = 60.0
KEPT = 8
OPTIONS = ("tls", "ca_certs", "api_key")
FORM = "opensearch://user:password@host:9200/prefix (or elasticsearch://…), with ?tls=true, ca_certs= and api_key="
_PREFIX = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")


class TimedOut(Unavailable):
    """The server did not answer in time."""


class Gone(Unavailable):
    """An index that this process has known is not there any more."""


class Cause(msgspec.Struct):
    """Why a request or an item of it was refused."""

    type: str = ""
    reason: str | None = None
    caused_by: Cause | None = None
    root_cause: list[Cause] = []

    @property
    def words(self) -> str:
        """The innermost reason, which says most."""
        inner = self.caused_by or next(iter(self.root_cause), None)
        if inner is not None and inner.words:
            return inner.words
        return f"{self.type}: {self.reason}" if self.reason else self.type


class _Refused(msgspec.Struct):
    error: Cause | str = ""


class Reply(NamedTuple):
    """An answer: the HTTP status, and the body as it came."""

    status: int
    body: bytes

    @property
    def cause(self) -> Cause:
        try:
            error = msgspec.json.decode(self.body, type=_Refused).error
        except (msgspec.DecodeError, UnicodeDecodeError):  # of a proxy in between
            error = self.body[:200].decode(errors="replace")
        return Cause(error) if isinstance(error, str) else error


class Address(NamedTuple):
    """Where a store is. Arguments: base: scheme, host and port; prefix: of the names of its indices; place: for errors,
    without secrets; headers: that prove who asks; ca_certs: a file of authorities to trust (None: the system's)."""

    base: str
    prefix: str
    place: str
    headers: dict[str, str]
    ca_certs: str | None


def address_of(url: str) -> Address:
    """Reads the address of a store. Raises: Misuse: it is none; no secret is repeated."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port or PORT
    except ValueError:
        raise Misuse(f"the store's address is none of a search server: write {FORM}") from None
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    unknown = sorted(options.keys() - set(OPTIONS))
    prefix = parts.path.strip("/") or PREFIX
    if host is None or unknown or options.get("tls", "false") not in ("true", "false"):
        wrong = f"it has no option {unknown[0]!r}" if unknown else "host or tls is missing or wrong"
        raise Misuse(f"the store's address is none of a search server ({wrong}): write {FORM}")
    if not _PREFIX.fullmatch(prefix):
        raise Misuse(f"{prefix!r} cannot begin the names of indices: use a-z, 0-9, _ and -")
    tls = options.get("tls") == "true" or "ca_certs" in options
    shown = f"[{host}]" if ":" in host else host
    headers: dict[str, str] = {}
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = dict(urllib3.make_headers(basic_auth=user))
    if "api_key" in options:
        headers = {"authorization": f"ApiKey {options['api_key']}"}
    place = f"{parts.scheme}://{shown}:{port}/{prefix}"
    return Address(f"http{'s' if tls else ''}://{shown}:{port}", prefix, place, headers, options.get("ca_certs"))


class Connection:
    """A server, over as many connections as are used at once. Thread-safe. Arguments: address."""

    def __init__(self, address: Address) -> None:
        self.address, self.place = address, address.place
        more: dict[str, Any] = {} if address.ca_certs is None else {"ca_certs": address.ca_certs}
        self._pool = urllib3.PoolManager(num_pools=1, maxsize=KEPT, retries=False, headers=address.headers, **more)
        self._closed = False

    def ask(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        accept: Collection[int] = (),
        timeout_s: float | None = None,
        query: bool = False,
    ) -> Reply:
        """One request.

        Arguments: path: with its parameters; body: a value to be written as JSON, or bytes (one JSON value a line);
        accept: statuses beside 2xx that the caller understands; timeout_s: for the answer; query: whether the body is
        somebody's question, and mistakes in it are theirs.
        Raises: Unavailable: the server cannot be reached, has no room, or does not let us in; where the request had
        been sent, nobody knows whether it was carried out. Misuse: it does not accept what was sent.
        """
        if self._closed:
            raise Misuse("the store is closed")
        kind = "application/x-ndjson" if isinstance(body, bytes) else "application/json"
        content = body if body is None or isinstance(body, bytes) else msgspec.json.encode(body)
        try:
            answer = self._pool.request(
                method,
                f"{self.address.base}{path}",
                body=content,
                headers={**self.address.headers, "content-type": kind},
                timeout=urllib3.Timeout(connect=CONNECT_S, read=timeout_s or ANSWER_S),
            )
        except urllib3.exceptions.ReadTimeoutError as error:
            raise TimedOut(f"{self.place} did not answer within {timeout_s or ANSWER_S:g} s") from error
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(f"{self.place} cannot be reached: {error}") from error
        reply = Reply(answer.status, answer.data)
        if reply.status < 300 or reply.status in accept:
            return reply
        raise refusal(reply.status, reply.cause, self.place, query=query)

    def close(self) -> None:
        self._closed = True
        self._pool.clear()


def refusal(status: int, cause: Cause, place: str, *, query: bool = False) -> HeadwaterError:
    """What it means that a server refused a request, or an item. Arguments: query: whether it was a user's question."""
    words = cause.words
    if status == 401 or (status == 403 and cause.type == "security_exception"):
        return Unavailable(f"{place} does not accept the user, the password or the key: {words}")
    if cause.type == "cluster_block_exception":
        return Unavailable(f"{place} cannot be written now (is its disk full?): {words}; it is tried again")
    if status in (408, 429) or status >= 500:
        return Unavailable(f"{place}: {words}; it is tried again")
    if cause.type == "index_not_found_exception" and not query:
        return Gone(f"{place}: {words}; it was removed")
    if query:
        return Misuse(f"the search server does not understand the query: {words}")
    if status == 400:
        return Misuse(f"a value cannot be kept in {place}: {words}")
    return Unavailable(f"{place}: {words}")


def path_of(index: str, *parts: str) -> str:
    """A path of an index. Arguments: parts: an operation, and an id, which may be any text."""
    return "/" + "/".join(quote(part, safe="") for part in (index, *parts))
