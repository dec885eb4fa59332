"""`hw rules`: the rules that Prometheus is to load."""

from __future__ import annotations

import sys

import click


@click.command("rules")
def command() -> None:
    """Print alert rules for Prometheus, about what `hw run --metrics-port` serves.

    \b
      hw rules > headwater.rules.yml
    """
    from headwater.telemetry.rules import rules_file

    sys.stdout.write(rules_file())
