"""The long run: `scripts/faults --minutes N --seed S`. Prints what it found as the table of docs/reliability.md."""

from __future__ import annotations

import os
import random
import sys
import tempfile
import time
from pathlib import Path

import click

from headwater.errors import HeadwaterError
from headwater.log.kafka.connection import cache_directory
from tests.faults.run.planted import planted_bugs
from tests.faults.run.report import table
from tests.faults.run.striking import KINDS, Findings, one_round, shuffled

ROUND_S = 600.0
"""After so long a round is audited and a new one begins, on new brokers."""


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--minutes", type=click.FloatRange(min=0), default=10, show_default=True, help="How long faults strike.")
@click.option("--seed", type=int, help="Which faults strike whom and when (default: drawn, and printed).")
@click.option("--only", help="Only kinds of faults whose name contains this.")
@click.option(
    "--directory", type=click.Path(path_type=Path), help="Where logs and histories are kept (default: a new one)."
)
def main(minutes: float, seed: int | None, only: str | None, directory: Path | None) -> None:
    """Strikes faults at three real brokers and the owners on them, and audits what came of it. Ends with 1 where an
    invariant was violated."""
    seed = random.SystemRandom().getrandbits(31) if seed is None else seed
    directory = directory or Path(tempfile.mkdtemp(prefix="headwater-faults-"))
    click.echo(f"seed {seed}, {minutes:g} minutes, logs and histories in {directory}", err=True)
    findings, kinds = Findings(), (kind for kind in shuffled(str(seed)) if only is None or only in kind.name)
    if not any(only is None or only in kind.name for kind in KINDS):
        raise click.UsageError(f"no kind of fault is called so; there are: {', '.join(kind.name for kind in KINDS)}")
    end_s = time.monotonic() + minutes * 60
    while findings.rounds == 0 or time.monotonic() < end_s:
        number = findings.rounds + 1
        deadline_s = min(end_s, time.monotonic() + ROUND_S)
        one_round(directory / f"round-{number}", cache_directory(), f"{seed}/{number}", kinds, deadline_s, findings)
        click.echo(f"round {number}: {findings.events} events so far, {len(findings.violations)} violations", err=True)
    planted = planted_bugs()
    click.echo(table(findings, [kind.name for kind in KINDS if only is None or only in kind.name], planted))
    sys.exit(1 if findings.violations or planted[0] < planted[1] else 0)


if __name__ == "__main__":
    try:
        main()
    except HeadwaterError as error:
        click.echo(f"Error: {error}", err=True)
        os._exit(1)
