"""`scripts/poison --events N --seed S`: the long run, and the table of docs/reliability.md."""

from __future__ import annotations

import random
import sys
import tempfile
from pathlib import Path

import click

from headwater.log.kafka.connection import cache_directory
from tests.faults.poison.run import one_run


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--events", type=click.IntRange(min=1000), default=1_000_000, show_default=True)
@click.option(
    "--poison", type=click.IntRange(min=50), default=500, show_default=True, help="How many of them are poison."
)
@click.option("--seed", type=int, help="Which ones, and who is killed when (default: drawn, and printed).")
@click.option("--every", "every_s", type=float, default=8.0, show_default=True, help="Seconds between two kills.")
def main(events: int, poison: int, seed: int | None, every_s: float) -> None:
    """Reads events, some of which are poison, into PostgreSQL, and kills readers and server meanwhile. Ends with 1
    where something was lost, counted twice or out of order."""
    seed = random.SystemRandom().getrandbits(31) if seed is None else seed
    click.echo(f"seed {seed}", err=True)
    with tempfile.TemporaryDirectory(prefix="headwater-poison-") as directory:
        findings = one_run(Path(directory), cache_directory(), str(seed), events, poison, every_s)
    click.echo(findings.table())
    for violation in findings.violations:
        click.echo(violation, err=True)
    sys.exit(1 if findings.violations else 0)


if __name__ == "__main__":
    main()
