"""The group `hw`: knows its verbs by name and one line each, and imports a verb's file when it is typed."""

from __future__ import annotations

import difflib
import importlib

import click

from headwater.cli.ending import CODES

VERBS: dict[str, tuple[str, str]] = {
    "new": ("new", "Write a small project that runs."),
    "run": ("run", "Run an app: its commands, projections and processes."),
    "send": ("send", "Send a command and wait for its outcome."),
    "get": ("get", "Show an entity, now or at a moment of the past."),
    "history": ("history", "Show the events of an entity."),
    "query": ("query", "Ask the read models in SQL."),
    "views": ("views", "Explain the views that an app has in SQL."),
    "tail": ("tail", "Show the records of a topic as they are."),
    "revert": ("revert", "Bring an entity back to an earlier version, by one more event."),
    "preview": ("preview", "Show what changed code would do with the history."),
    "rebuild": ("rebuild", "Make a read model anew beside the old one, compare, switch."),
    "import": ("importing", "Load a file of commands or events."),
    "archive": ("archive", "Copy topics to long-term storage, and bring them back."),
    "topics": ("topics", "List the topics of a log."),
    "groups": ("groups", "List the groups that read a log, and their members."),
    "lag": ("lag", "Show how far behind groups and read models are."),
    "replay": ("replay", "Take the events of entities into a file, a topic or a test."),
    "reset": ("reset", "Set where groups go on reading; a dry run by default."),
    "deadletters": ("deadletters", "Work with records that could not be applied."),
    "catalogue": ("catalogue", "Write a page of all events, and an AsyncAPI document."),
    "schema": ("schema", "Register schemas of events, and see what a change breaks."),
    "rules": ("rules", "Print alert rules for Prometheus."),
    "doctor": ("doctor", "Look for what is unsafe about a log, and say what to do."),
}
"""Verb -> (its file here, what it does)."""


class LazyGroup(click.Group):
    """A group whose commands are imported when they are asked for; listing them imports nothing."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        module = importlib.import_module(f"headwater.cli.{VERBS[cmd_name][0]}")
        command = module.command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in VERBS and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], VERBS, 1)
            guess = f"; did you mean {near[0]}?" if near else ""
            raise click.UsageError(f"there is no verb {args[0]!r}{guess}", ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Verbs"):
            formatter.write_dl([(name, text) for name, (_, text) in VERBS.items()])
        with formatter.section("Exit codes"):
            formatter.write_dl([(str(code), text) for code, text in CODES.items()])


@click.group(
    cls=LazyGroup,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Where --app and --on are not given, HEADWATER_APP and HEADWATER_URL are looked at, then `app` and `on` in "
    "headwater.toml in the current directory. `hw VERB --help` tells more of each verb.",
)
@click.option("--debug", is_flag=True, help="Show tracebacks and the library's own log; also after a verb.")
@click.version_option(package_name="headwater", prog_name="headwater")
def hw(debug: bool) -> None:
    """Event sourcing and CQRS on Apache Kafka, or on one SQLite file until you need Kafka."""
    import logging

    # Python would print what nobody handles; verbs tell failures themselves.
    logging.getLogger("headwater").addHandler(logging.NullHandler())
    if debug:
        show_log()


def show_log() -> None:
    """Lets the library's own log through to standard error."""
    import logging

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
