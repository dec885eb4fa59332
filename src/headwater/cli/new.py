"""`hw new`: writes a small project that runs. Its files are the templates in `starter/`."""

from __future__ import annotations

import keyword
import re
import shlex
import sys
from importlib import resources
from importlib.util import find_spec
from itertools import count
from pathlib import Path
from string import Template

import click

from headwater.cli.ending import advised
from headwater.cli.output import debug_option
from headwater.errors import Misuse, Unavailable

FILES = {
    "headwater.toml": "headwater.toml.txt",
    "pyproject.toml": "pyproject.toml.txt",
    "README.md": "readme.md.txt",
    ".gitignore": "gitignore.txt",
    "{name}/__init__.py": "init.py.txt",
    "{name}/contract.py": "contract.py.txt",
    "{name}/order.py": "order.py.txt",
    "{name}/open_orders.py": "open_orders.py.txt",
    "{name}/app.py": "app.py.txt",
    "tests/test_order.py": "test_order.py.txt",
}
"""File of the project -> its template."""

TAKEN = frozenset({"headwater", "tests", "test"}) | sys.stdlib_module_names
MOST_CHARACTERS = 50
NAME = re.compile(r"[a-z][a-z0-9_]*")


@click.command("new")
@click.argument("directory", metavar="NAME", type=click.Path(path_type=Path))
@debug_option
def command(directory: Path) -> None:
    """Write a small project that runs, in a new directory NAME: orders with commands, events, a table and tests.

    \b
      hw new shop
    """
    name = directory.name
    if name in ("", ".."):
        raise advised(Misuse(f"{str(directory)!r} is no name for a project: name a new directory"), "hw new shop")
    _check_name(name)
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        other = shlex.quote(str(_other(directory)))
        raise advised(Misuse(f"{directory} exists and is not empty; nothing was written"), f"hw new {other}")
    try:
        for path, template in FILES.items():
            target = directory / path.format(name=name)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(_filled(template, name), encoding="utf-8")
    except OSError as error:
        raise advised(
            Unavailable(f"{directory} cannot be written: {error.strerror or error}"), "hw new --help"
        ) from error
    click.echo(f"{directory} is there; next: cd {shlex.quote(str(directory))} && hw run")


def _filled(template: str, name: str) -> str:
    text = resources.files("headwater.cli").joinpath("starter", template).read_text(encoding="utf-8")
    return Template(text).substitute(name=name)


def _check_name(name: str) -> None:
    if (why := _refused(name)) is not None:
        raise advised(Misuse(why), f"hw new {_likely(name)}")


def _refused(name: str) -> str | None:
    """Why a project cannot have a name; None: it can."""
    if len(name) > MOST_CHARACTERS:
        return f"{name[:MOST_CHARACTERS]!r}… has {len(name):,} characters: a name has at most {MOST_CHARACTERS}"
    if name in TAKEN or keyword.iskeyword(name):
        return f"{name!r} is the name of something else in Python"
    if not NAME.fullmatch(name):
        return f"{name!r} cannot name a package: use a-z, 0-9 and _"
    found = find_spec(name)
    if found is not None and found.origin is not None:
        return f"{name!r} is installed here ({found.origin}), and the project would stand in its place"
    return None


def _likely(name: str) -> str:
    """A name that can be had, and looks as what was typed."""
    likely = re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")[: MOST_CHARACTERS - len("my_")]
    proposals = [likely, f"my_{likely}"] if likely else ["shop", "my_shop"]
    return next((one for one in proposals if _refused(one) is None), "new_project")


def _other(directory: Path) -> Path:
    """The first of name_2, name_3 … that can be had and is not there."""
    stem = directory.name[: MOST_CHARACTERS - len("_1000")]
    others = (directory.with_name(f"{stem}_{number}") for number in count(2))
    return next(one for one in others if _refused(one.name) is None and not one.exists())
