"""What the verbs of `hw deadletters` are given, each group of options as one value."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields
from functools import wraps
from typing import Any

import click

from headwater.cli.output import Form, output_option
from headwater.cli.project import Project, app_option, on_option, store_option
from headwater.cli.times import Seconds

Verb = Callable[..., None]
Option = Callable[[Verb], Verb]


@dataclass(frozen=True)
class Where:
    """Whose dead letters. Arguments: app, on, store: as of `Project`; form: how results are written."""

    app: str | None
    on: str | None
    store: str | None
    form: Form

    def project(self, verb: str) -> Project:
        return Project(self.app, self.on, self.store, verb=f"deadletters {verb}")


@dataclass(frozen=True)
class Choice:
    """Which of them: as `operations.deadletters.Selection`, which is imported when it is needed."""

    ids: tuple[str, ...] = ()
    readers: tuple[str, ...] = ()
    handlers: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()
    keys: tuple[str, ...] = ()

    @property
    def narrow(self) -> bool:
        """Whether it says anything."""
        return self != Choice()


@dataclass(frozen=True)
class Manner:
    """How they are worked off. Arguments: everything: all there are; who: for the audit; yes: without asking; rate: per
    second; timeout: in seconds, to wait for each outcome."""

    everything: bool
    who: str | None
    yes: bool
    rate: float
    timeout: float


def as_one(name: str, struct: type[Any], options: Sequence[Option]) -> Option:
    """Options whose values reach the verb as one argument."""
    names = [field.name for field in fields(struct)]

    def decorate(verb: Verb) -> Verb:
        @wraps(verb)
        def gathered(*arguments: Any, **given: Any) -> None:
            value = struct(**{one: given.pop(one) for one in names})
            verb(*arguments, **given, **{name: value})

        decorated: Verb = gathered
        for option in reversed(options):
            decorated = option(decorated)
        return decorated

    return decorate


def _any_of(flag: str, metavar: str, help: str) -> Option:
    """An option that chooses more with each time that it is given."""
    name = f"{flag.removeprefix('--')}s"
    return click.option(flag, name, multiple=True, metavar=metavar, help=f"{help} May be given often.")


where_option = as_one("where", Where, [app_option, on_option, store_option, output_option])

choice_option = as_one(
    "choice",
    Choice,
    [
        click.argument("ids", nargs=-1, metavar="[ID]..."),
        _any_of("--reader", "NAME", "Those of a read model, or of a reader of a process."),
        _any_of("--handler", "NAME", "Those of a handler, as `list` names it."),
        _any_of("--error", "NAME", "Those of an error, as `list` names it."),
        _any_of("--key", "KEY", "Those of an entity."),
    ],
)

manner_option = as_one(
    "manner",
    Manner,
    [
        click.option("--all", "everything", is_flag=True, help="All dead letters there are."),
        click.option("--who", metavar="WHO", help="For the audit.  [default: user:YOUR LOGIN NAME]"),
        click.option("--yes", is_flag=True, help="Do it without asking; needed without a terminal."),
        click.option("--rate", type=click.FloatRange(min=0.1), default=100.0, show_default=True, metavar="PER_SECOND"),
        click.option("--timeout", type=Seconds(), default=30.0, show_default=True, help="To wait for each outcome."),
    ],
)
