"""Requests to a registry's REST interface, over urllib3.

Nothing is repeated here: registering and looking up can be done again by whoever asked.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple
from urllib.parse import parse_qsl, unquote, urlsplit

import msgspec
import urllib3

from headwater.errors import Misuse, Unavailable
from headwater.schemas.registries.confluent_answers import refusal
from headwater.schemas.registries.confluent_naming import DEFAULT_STRATEGY, STRATEGIES, Strategy

MEDIA_TYPE: Final = "application/vnd.schemaregistry.v1+json"
ACCEPTED: Final = f"{MEDIA_TYPE}, application/json"
CONNECT_S: Final = 5.0
ANSWER_S: Final = 15.0
KEPT: Final = 4
FORM: Final = "https://user:password@host:8081/path, with ?subjects=, token= and ca_certs="


class Address(NamedTuple):
    """Where a registry is. Arguments: base: without secrets; headers: that prove who asks; ca_certs: a file of
    authorities to trust (None: the system's); strategy: what it calls subjects."""

    base: str
    headers: dict[str, str]
    ca_certs: str | None
    strategy: Strategy


class _Refused(msgspec.Struct):
    error_code: int = 0
    message: str = ""


def address_of(url: str) -> Address:
    """Reads the address of a registry. Raises: Misuse: it is none; no secret is repeated."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        raise Misuse(f"the registry's address is none: write {FORM}") from None
    options = dict(parse_qsl(parts.query, keep_blank_values=True))
    named = options.get("subjects", DEFAULT_STRATEGY)
    strategy = next((one for one in STRATEGIES if one == named), None)
    if unknown := sorted(options.keys() - {"subjects", "token", "ca_certs"}):
        raise Misuse(f"the registry's address has no option {unknown[0]!r}: write {FORM}")
    if host is None or strategy is None:
        wrong = "it has no host" if host is None else f"subjects is one of {', '.join(STRATEGIES)}"
        raise Misuse(f"the registry's address is wrong, {wrong}: write {FORM}")
    shown = f"[{host}]" if ":" in host else host
    headers: dict[str, str] = {}
    if parts.username is not None:
        user = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
        headers = dict(urllib3.make_headers(basic_auth=user))
    if "token" in options:
        headers = {"authorization": f"Bearer {options['token']}"}
    base = f"{parts.scheme}://{shown}{f':{port}' if port else ''}{parts.path.rstrip('/')}"
    return Address(base, headers, options.get("ca_certs"), strategy)


class Connection:
    """A registry, over as many connections as are used at once. Thread-safe."""

    def __init__(self, address: Address) -> None:
        self._address = address
        more: dict[str, Any] = {} if address.ca_certs is None else {"ca_certs": address.ca_certs}
        self._pool = urllib3.PoolManager(num_pools=1, maxsize=KEPT, retries=False, **more)

    def ask(self, method: str, path: str, body: object = None, *, subject: str | None = None) -> Any:
        """One request. Arguments: path: quoted; body: written as JSON; subject: that it is about, for errors.

        Returns: the answer's JSON.
        Raises: Unavailable: it cannot be reached, or does not let us in. UnknownSchema: it has no such thing.
        Incompatible, Misuse: it refuses what was sent.
        """
        place = self._address.base
        try:
            answer = self._pool.request(
                method,
                f"{place}{path}",
                body=None if body is None else msgspec.json.encode(body),
                headers={
                    **self._address.headers,
                    "content-type": MEDIA_TYPE,
                    "accept": f"{MEDIA_TYPE}, application/json",
                },
                timeout=urllib3.Timeout(connect=CONNECT_S, read=ANSWER_S),
            )
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise Unavailable(f"{place} cannot be reached: {error}") from error
        try:
            if answer.status < 300:
                return msgspec.json.decode(answer.data)
            refused = msgspec.json.decode(answer.data, type=_Refused)
        except (msgspec.DecodeError, UnicodeDecodeError):
            if answer.status < 300:
                raise Unavailable(f"{place} is no schema registry: it answers with something else than JSON") from None
            refused = _Refused(0, answer.data[:200].decode(errors="replace"))  # of a proxy in between
        raise refusal(answer.status, refused.error_code, refused.message, place, subject)

    def close(self) -> None:
        self._pool.clear()
