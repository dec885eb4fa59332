"""Which app and which log a verb is about: from its options, the environment, or `headwater.toml`.

The first of these that names one counts. The current directory is importable, as with `python -m`.
"""

from __future__ import annotations

import importlib
import os
import re
import shlex
import sys
import tomllib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeVar

import click

from headwater.cli.ending import advised, then
from headwater.errors import Misuse, Unavailable

if TYPE_CHECKING:
    from headwater.app import App
    from headwater.log.port import Log

F = TypeVar("F", bound=Callable[..., Any])

FILE = "headwater.toml"
VIEWS_STORE = "headwater.views-store"
LOCAL_BROKER = re.compile(r"kafka://(?:localhost|127\.\d+\.\d+\.\d+|\[::1\]):(\d+)(?![^/?])")
"""The address of one broker on this machine."""

FORMS = "sqlite:///shop.db or kafka://localhost:9092"
FIRST = {"views flink": "kafka://localhost:9092"}
"""Verbs that do not work on SQLite, with a log that they do work on."""


def app_option(function: F) -> F:
    return click.option("--app", "app", metavar="MODULE:APP", help="The app, such as shop.app:app.")(function)


def on_option(function: F) -> F:
    return click.option("--on", "on", metavar="URL", help=f"The log: {FORMS}.")(function)


def store_option(function: F) -> F:
    text = "Where read models live, if not beside the log: sqlite:///models.db, postgresql://… or redis://…."
    return click.option("--store", metavar="URL", help=text)(views_store_option(function))


def views_store_option(function: F) -> F:
    """Goes with `--store`: a `Project` of the same call knows what was typed."""
    text = "Where the state of views is kept, if not in a file of DuckDB: sqlite:///views.db or postgresql://…."

    def remember(context: click.Context, _: click.Parameter, value: str | None) -> None:
        context.meta[VIEWS_STORE] = value

    option = click.option("--views-store", metavar="URL", help=text, expose_value=False, callback=remember)
    return option(function)


class Project:
    """What a verb was told of app and log.

    Arguments: app, on, store: as typed (None: not); verb: for advice.
    """

    def __init__(self, app: str | None, on: str | None, store: str | None = None, *, verb: str = "run") -> None:
        self._verb = verb
        context = click.get_current_context(silent=True)
        views_store = None if context is None else context.meta.get(VIEWS_STORE)
        told = _from_file() if None in (app, on, store, views_store) else {}
        self._app = app or os.environ.get("HEADWATER_APP") or told.get("app")
        self._on = on or os.environ.get("HEADWATER_URL") or told.get("on")
        self.store = store or told.get("store")
        self.views_store = views_store or told.get("views_store")
        self._typed = {"--app": app, "--on": on, "--store": store, "--views-store": views_store}
        self._loaded: App | None = None
        self._opened: Log | None = None

    @property
    def on(self) -> str:
        """The log's address. Raises: Misuse: none is named."""
        if self._on is None:
            text = f'no log is named: pass --on URL ({FORMS}), set HEADWATER_URL, or write on = "…" to {FILE}'
            raise advised(Misuse(text), f"hw {self._verb} --on {FIRST.get(self._verb, 'sqlite:///shop.db')}")
        return self._on

    @property
    def app_name(self) -> str:
        """The app as "module:attribute". Raises: Misuse: none is named."""
        if self._app is None:
            text = f'no app is named: pass MODULE:APP (--app), set HEADWATER_APP, or write app = "…" to {FILE}'
            raise advised(Misuse(text), "hw new shop")
        return self._app

    @property
    def flags(self) -> str:
        """What was typed of it, to be repeated in a command to type next."""
        return "".join(f" {flag} {shlex.quote(value)}" for flag, value in self._typed.items() if value is not None)

    @property
    def log_flags(self) -> str:
        """As `flags`, for verbs that need no app."""
        on = self._typed["--on"]
        return "" if on is None else f" --on {shlex.quote(on)}"

    @property
    def knows_app(self) -> bool:
        return self._app is not None

    @property
    def knows_log(self) -> bool:
        return self._on is not None

    @property
    def run_command(self) -> str:
        """The command that does the app's work, with the same stores."""
        return self._run_command(self.on, self._typed["--store"])

    def _run_command(self, on: str, store: str | None) -> str:
        stores = {"--store": store, "--views-store": self._typed["--views-store"]}
        line = f"hw run {shlex.quote(self._app or 'MODULE:APP')} --on {shlex.quote(on)}"
        return line + "".join(f" {flag} {shlex.quote(url)}" for flag, url in stores.items() if url is not None)

    @property
    def file(self) -> Path | None:
        """The file of the log; None: it is none. Raises: Misuse: the address names it wrongly."""
        if not self.on.startswith("sqlite://"):
            return None

        from headwater.log.opening import sqlite_path

        return Path(sqlite_path(self.on))

    def load(self) -> App:
        """Imports the app. Raises: Misuse: there is no such module or attribute, or importing it fails."""
        with then(Misuse, "hw run --help"):
            self._loaded = _load(self.app_name)
        self._tell_app()
        return self._loaded

    def check_reachable_from_here(self) -> None:
        """Refuses logs that no other process can be on.

        Raises: Misuse: a log in memory. Unavailable: a file that is not there.
        """
        on = self.on
        if on.startswith("memory:"):
            text = "memory:// lives and ends with the process that opened it: nothing can be asked from here"
            raise advised(Misuse(text), f"hw {self._verb} --on sqlite:///shop.db")
        if self.file is not None and not self.file.exists():
            raise advised(Unavailable(f"there is no log {on}: no app has run on it"), self.run_command)
        if self.file is not None and self.file.is_file() and not self.file.stat().st_size:
            raise advised(
                Unavailable(f"there is no log {on}: the file is empty, no app has run on it"), self.run_command
            )

    @contextmanager
    def log(self) -> Iterator[Log]:
        """The log, open. Raises: Misuse, Unavailable, as `open_log`."""
        from headwater.log.opening import open_log

        self.check_reachable_from_here()
        with self.reaching():
            log = self._opened = open_log(self.on)
            self._tell_app()
            try:
                yield log
            finally:
                self._opened = None
                log.close()

    def _tell_app(self) -> None:
        """Schemas may be in the log itself."""
        if self._loaded is not None and self._loaded.registry is not None and self._opened is not None:
            self._loaded.registry.over(self._opened)

    @contextmanager
    def whole_log(self) -> Iterator[Log]:
        """As `log`, for verbs that read from the beginning. Raises: InArchive: the address does not name it."""
        from headwater.log.topology import Topology

        with self.log() as log:
            Topology.read(log).check_beginnings()
            yield log

    @contextmanager
    def reaching(self) -> Iterator[None]:
        """What to type when the log cannot be reached, or its address is wrong."""
        from headwater.log.topology import InArchive
        from headwater.stores.bound import OtherLog

        with then(Misuse, f"hw {self._verb} --help"), then(Unavailable, self._way_on):
            try:
                yield
            except OtherLog as error:
                advised(error, self._run_command(self.on, error.example))
                raise
            except InArchive as error:
                run = self._run_command(error.address, self._typed["--store"])
                advised(error, run if self._verb == "run" else f"hw topics --on {shlex.quote(error.address)}")
                raise

    @property
    def _way_on(self) -> str:
        """What to type where nothing answers at the log's address. The same once more would fail once more."""
        if self.on.startswith("kafka:"):
            broker = LOCAL_BROKER.match(self.on)
            if broker is None:
                return f"hw {self._verb} --help"
            return f"python -m headwater.testing.broker_command start --port {broker[1]}"
        if self.file is not None and not self.file.exists():  # it cannot be made there
            return self._run_command(f"sqlite:///{self.file.name}", self._typed["--store"])
        return f"hw topics --on {shlex.quote(self.on)}"


def _from_file() -> dict[str, str]:
    path = Path(FILE)
    if not path.is_file():
        return {}
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise advised(Misuse(f"{FILE} cannot be read: {error}"), "hw new shop") from error
    for name in ("app", "on", "store", "views_store"):
        if not isinstance(content.get(name, ""), str):
            raise advised(Misuse(f'{FILE}: {name} must be a text, such as {name} = "…"'), "hw new shop")
    return content


def _load(name: str) -> App:
    module_name, _, attribute = name.partition(":")
    if not module_name or not attribute:
        raise Misuse(f"{name!r} names no app; write MODULE:APP, such as shop.app:app")
    if (here := os.getcwd()) not in sys.path:
        sys.path.insert(0, here)
    module = _imported(module_name)

    from headwater.app import App

    found = getattr(module, attribute, None)
    if isinstance(found, App):
        return found
    apps = [f"{module_name}:{key}" for key, value in vars(module).items() if isinstance(value, App)]
    there = f"the apps there: {', '.join(apps)}" if apps else "no app is there"
    if found is None:
        raise Misuse(f"module {module_name} has no {attribute!r}; {there}")
    raise Misuse(f"{name} is {type(found).__name__}, not an hw.App; {there}")


def _imported(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and (name == error.name or name.startswith(f"{error.name}.")):
            raise Misuse(f"there is no module {error.name!r} in {os.getcwd()} or among what is installed") from error
        raise Misuse(f"{name} cannot be imported: {error}") from error
    except SystemExit as error:
        raise Misuse(f"{name} cannot be imported: it ends the program{_place(error, name)}") from error
    except Exception as error:
        raise Misuse(f"{name} cannot be imported: {type(error).__name__}: {error}{_place(error, name)}") from error


def _place(error: BaseException, name: str) -> str:
    """Where in the user's own files it happened."""
    if isinstance(error, SyntaxError) and error.filename:
        return f" ({os.path.relpath(error.filename)}, line {error.lineno})"
    place, trace = "", error.__traceback__
    while trace is not None:
        file = trace.tb_frame.f_code.co_filename
        if not file.startswith("<") and file.startswith(os.getcwd()):
            place = f" ({os.path.relpath(file)}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return place
