"""What a verb shows: a table for people at a terminal, JSON lines for programs, a JSON document on demand.

`rows` takes mappings of plain values, datetimes, decimals and raw JSON. Nothing that a record holds can steer
the terminal: unprintable characters are shown as escapes.
"""

from __future__ import annotations

import itertools
import os
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal, TextIO, TypeVar

import click

from headwater.cli.ending import told

F = TypeVar("F", bound=Callable[..., Any])
Form = Literal["table", "json", "ndjson"]
Row = Mapping[str, Any]


class Text(click.ParamType[str]):
    """A text that says something: an empty one is a variable that was not set."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        if not value:
            self.fail("it is empty", param, ctx)
        return str(value)


def output_option(function: F) -> F:
    """`--output` and `--debug`, which every verb has."""
    function = click.option(
        "--output",
        "form",
        type=click.Choice(["table", "json", "ndjson"]),
        default=lambda: "table" if sys.stdout.isatty() else "ndjson",
        show_default="table on a terminal, ndjson otherwise",
        help="How results are written.",
    )(function)
    return debug_option(function)


def debug_option(function: F) -> F:
    return click.option(
        "--debug", is_flag=True, expose_value=False, callback=_debug, help="Show tracebacks and the library's own log."
    )(function)


def show_rows(
    form: Form, columns: Sequence[str], rows: Iterable[Row], *, empty: str = "nothing", beside: bool = False
) -> int:
    """Writes rows and returns how many. JSON carries whatever a row has, a table the columns that are named.

    Arguments: beside: a table goes to standard error.
    """
    import msgspec

    encode = msgspec.json.Encoder(enc_hook=str).encode
    if form == "ndjson":
        count = 0
        for row in rows:
            _write(encode(_plain(row)) + b"\n")
            count += 1
        return count
    everything = [_plain(row) for row in rows]
    if form == "json":
        _write(msgspec.json.format(encode(everything), indent=2) + b"\n")
    elif not everything:
        print(empty)
    else:
        stream = sys.stderr if beside else sys.stdout
        _print_table(columns, [[cell(row.get(name)) for name in columns] for row in everything], stream)
    return len(everything)


def distinct(names: Sequence[str]) -> list[str]:
    """Names of columns of which several may have one, as in `SELECT a.n, b.n`: the second is `n_1`, as DuckDB names it,
    unless another has that name."""
    found: list[str] = []
    for name in names:
        others = (f"{name}_{number}" for number in itertools.count(1))
        new = (other for other in others if other not in names and other not in found)
        found.append(next(new) if name in found else name)
    return found


def show_one(form: Form, thing: Row) -> None:
    """Writes one thing: in a table, a line per field."""
    import msgspec

    thing = _plain(thing)
    if form == "table":
        _print_table(None, [[name, cell(value)] for name, value in thing.items()], sys.stdout)
        return
    raw = msgspec.json.Encoder(enc_hook=str).encode(thing)
    _write((msgspec.json.format(raw, indent=2) if form == "json" else raw) + b"\n")


def cell(value: Any) -> str:
    """A value as a table shows it."""
    import msgspec

    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    text = value if isinstance(value, str) else msgspec.json.encode(value, enc_hook=str).decode()
    if not isinstance(value, str) and text.startswith('"'):
        text = str(msgspec.json.decode(text))  # a date or a decimal, without its quotes
    return text if text.isprintable() else "".join(c if c.isprintable() else repr(c)[1:-1] for c in text)


def note(text: str) -> None:
    """A remark for people, beside the output."""
    told(f"note: {' '.join(text.split())}")


def _debug(ctx: click.Context, parameter: click.Parameter, debug: bool) -> None:
    if debug:
        from headwater.cli.verbs import show_log

        show_log()


def _plain(row: Row) -> Row:
    """Decimals as people write them: the zero of a column with nine places would be 0E-9."""
    from decimal import Decimal

    return {name: f"{value:f}" if isinstance(value, Decimal) else value for name, value in row.items()}


def _write(raw: bytes) -> None:
    """Through the text layer, so that everything written to standard output keeps its order."""
    sys.stdout.write(raw.decode())
    sys.stdout.flush()


def _print_table(columns: Sequence[str] | None, rows: Sequence[Sequence[str]], stream: TextIO) -> None:
    from rich.box import SIMPLE_HEAD
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text as RichText

    style = "" if os.environ.get("NO_COLOR") else "bold"
    box = SIMPLE_HEAD if columns else None
    table = Table(box=box, show_header=columns is not None, header_style=style, pad_edge=False)
    for name in columns or ("field", "value"):
        numbers = columns is not None and all(row[columns.index(name)].lstrip("-").isdigit() for row in rows)
        table.add_column(name, overflow="fold", justify="right" if numbers else "left")
    for row in rows:
        table.add_row(*map(RichText, row))
    console = Console(file=stream, highlight=False)
    if not console.is_terminal:
        console.width = max(20, console.measure(table, options=console.options.update(max_width=100_000)).maximum)
    console.print(table)
