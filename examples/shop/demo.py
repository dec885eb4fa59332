"""`./scripts/demo`: 69,659 real purchases through orders, billing and analytics, and what can be asked afterwards.

Everything runs in this process, on a log in one SQLite file or on Kafka. Killed at any moment and started again,
it goes on where it was.
"""

import subprocess
import sys
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import click
from rich.console import Console

import headwater as hw
from examples.shop.app import shop as app
from examples.shop.importing import Counts, Stuck, bring_in, counts, first_missing, register, wait_for_all
from examples.shop.progress import Stages
from examples.shop.purchases import DATA, BadLine, Purchase, read_purchases
from examples.shop.report import Differences, compare_customers, show_biggest, show_customer, show_months
from examples.shop.straight import sums_of
from headwater.services import Services

BROKER = Path(__file__).parents[2] / "scripts" / "broker"
CUSTOMER, DAY = "07592", date(1997, 12, 31)


@click.command()
@click.option(
    "--on", default="sqlite", metavar="sqlite|kafka|URL", help="The log: a file, a broker started here, or yours."
)
@click.option(
    "--db", type=click.Path(path_type=Path, dir_okay=False), default=Path("shop.db"), help="The file of the log."
)
@click.option(
    "--file", type=click.Path(path_type=Path, exists=True, dir_okay=False), default=DATA, help="The purchases."
)
def main(on: str, db: Path, file: Path) -> None:
    """Imports the purchases of a real CD shop and shows what it earned."""
    if not db.name:
        raise click.BadParameter("it names no file", param_hint="--db")
    started, console = time.monotonic(), Console(highlight=False)
    purchases, bad_lines = load(file, db, console)
    if not purchases:
        raise click.ClickException(f"{file} holds no purchase")
    url = url_of(on, db)
    store = None if url.startswith("sqlite:") else f"sqlite:///{db.with_suffix('.kafka.models.db')}"
    console.print(f"{len(purchases):,} purchases, on {url}")
    try:
        running = app.run(url, store=store)
        with running as shop:
            bring_in_all(shop, purchases, console, lambda: stopped(running.services))
            took_s = time.monotonic() - started
            differences = show(shop, purchases, console)
    except (hw.HeadwaterError, Stuck) as error:
        raise click.ClickException(str(error)) from error
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on from here")
        sys.exit(130)
    console.print(f"{len(purchases):,} purchases were in place after {took_s:.1f} s")
    if bad_lines:
        console.print(f"{bad_lines} lines are no purchases: see {report_of(db)}")
    if differences:
        for difference in differences:
            print(f"different: {difference}", file=sys.stderr)
        sys.exit(1)
    console.print("Every figure equals the sum taken straight from the file.")


def load(file: Path, db: Path, console: Console) -> tuple[list[Purchase], int]:
    """The purchases of the file, and how many lines are none; those go into a report beside the database.

    Raises: ClickException: the report cannot be written.
    """
    purchases: list[Purchase] = []
    bad: list[BadLine] = []
    for line in read_purchases(file):
        if isinstance(line, BadLine):
            bad.append(line)
        else:
            purchases.append(line)
    if bad:
        write_report(report_of(db), bad)
        for line in bad[:5]:
            print(f"left out: {line}", file=sys.stderr)
        if len(bad) > 5:
            print(f"left out: {len(bad) - 5} more lines, see {report_of(db)}", file=sys.stderr)
    return purchases, len(bad)


def write_report(report: Path, bad: list[BadLine]) -> None:
    """Raises: ClickException."""
    try:
        report.write_text("".join(f"{line}\n" for line in bad))
    except OSError as error:
        raise click.ClickException(
            f"{len(bad)} lines are no purchases, and {report} cannot be written to name them: {error.strerror}"
        ) from error


def report_of(db: Path) -> Path:
    return db.with_suffix(".left-out.txt")


def url_of(on: str, db: Path) -> str:
    """The address of the log. For `kafka` a broker is started, unless it runs."""
    if on == "sqlite":
        return f"sqlite:///{db}"
    if on != "kafka":
        return on
    started = subprocess.run([BROKER, "start"], stdout=subprocess.PIPE, text=True, check=False)
    if started.returncode:
        raise click.ClickException("the broker did not start")
    return started.stdout.splitlines()[-1]


def stopped(services: Services | None) -> list[str]:
    """The services that do not run any more, each with what it died of."""
    statuses = services.statuses if services is not None else []
    return [f"{status.name}: {status.last_failure}" for status in statuses if not status.alive]


def bring_in_all(shop: hw.Shop, purchases: list[Purchase], console: Console, failures: Callable[[], list[str]]) -> None:
    """Sends what is missing and waits until every service has dealt with all of it. Raises: Stuck."""
    start = first_missing(shop, purchases)
    if start:
        console.print(f"the first {start:,} purchases are orders already; going on from there")
    with Stages(console, len(purchases)) as stages:
        looked_at = 0.0

        def tell(now: Counts) -> None:
            stages.show("payments", now.payments)
            stages.show("customers", now.customers)

        def sent(count: int) -> None:
            nonlocal looked_at
            stages.show("orders", start + count)
            if time.monotonic() - looked_at > 0.5:
                tell(counts(shop))
                looked_at = time.monotonic()

        register(shop, purchases, start, lambda *count: stages.show("registered", *count))
        new, before = bring_in(shop, purchases, start, sent)
        stages.show("orders", len(purchases))
        wait_for_all(shop, len(purchases), tell, failures)
    console.print(f"{new:,} orders were placed now, {start + before:,} had been before")


def show(shop: hw.Shop, purchases: list[Purchase], console: Console) -> Differences:
    """Prints what the shop knows. Returns: where it differs from the file."""
    straight = sums_of(purchases)
    customer = CUSTOMER if CUSTOMER in straight.by_customer else straight.biggest[0]
    return Differences(
        show_months(shop, straight, console)
        + show_biggest(shop, straight, console)
        + compare_customers(shop, straight)
        + show_customer(shop, customer, DAY, purchases, console)
    )


if __name__ == "__main__":
    main()
