"""From an address to a registry: `schemas/`, a directory; `log://`, the log itself; `https://host`, a server.

`?compatibility=FULL_TRANSITIVE` behind any of them says what new schemas have to be; BACKWARD_TRANSITIVE if it is not
there.
"""

from __future__ import annotations

from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from headwater.errors import Misuse
from headwater.log.port import Log
from headwater.schemas.compatibility import DEFAULT_LEVEL, Level, level_named
from headwater.schemas.registries.local import LocalRegistry
from headwater.schemas.registries.port import Registry

FORMS = "schemas/ (a directory), log:// (the log itself), or https://user:password@host (a registry's REST interface)"


def open_registry(address: str, log: Log | None) -> Registry:
    """Opens a registry.

    Arguments: address; log: the app's, which `log://` is about, and which may have a place on this machine to remember
    schemas in (None: there is none at hand).
    Raises: Misuse: an address of no known form, or files that are not as they were registered. Unavailable: it cannot
    be read.
    """
    place, _, query = address.partition("?")
    options = dict(parse_qsl(query, keep_blank_values=True))
    level = level_named(options.pop("compatibility", DEFAULT_LEVEL))
    if place.startswith(("http://", "https://")):
        return _confluent(f"{place}?{urlencode(options)}", level, log)
    if options:
        raise Misuse(f"{place} has no option {next(iter(options))!r}: write {place}?compatibility=…")
    if place == "log://":
        return _of_log(log, level)
    if "://" in place or not place:
        raise Misuse(f"{place!r} is no address of schemas; write {FORMS}")
    return LocalRegistry(Path(place), level)


def _of_log(log: Log | None, level: Level) -> Registry:
    from headwater.schemas.registries.log_topic import LogRegistry

    if log is None:
        raise Misuse("log:// is the log of an app, and none is open here")
    return LogRegistry(log, level)


def _confluent(url: str, level: Level, log: Log | None) -> Registry:
    try:
        from headwater.schemas.registries.confluent import ConfluentRegistry
        from headwater.schemas.registries.confluent_connection import address_of
    except ModuleNotFoundError as error:
        if error.name != "urllib3":
            raise
        raise Misuse("a registry's REST interface needs urllib3: pip install 'headwater[registry]'") from error
    from headwater.schemas.registries.remembered import Remembered, folder_for

    address = address_of(url)
    cache = None if log is None or log.cache is None else log.cache / "schemas" / folder_for(address.base)
    return ConfluentRegistry(address, level, Remembered(cache))
