"""The demo on a few hundred of the purchases: what it prints, where it goes on, what it refuses."""

from __future__ import annotations

import gzip
import json
import shlex
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path

import pytest
from examples.shop.analytics import Buyer
from examples.shop.app import shop as app
from examples.shop.contract import CustomerRegistered, PurchaseRecorded
from examples.shop.customers import Customer
from examples.shop.demo import show
from examples.shop.importing import Counts, Stuck, bring_in, counts, first_missing, register, wait_for_all
from examples.shop.purchases import DATA, Purchase, first_days, read_purchases
from rich.console import Console

import headwater as hw
from tests.examples.demos import ROOT, Demo, events_in

CUSTOMER = "07592"


def some_lines(count: int = 300) -> list[bytes]:
    """The header, the first lines, and all lines of the biggest customer."""
    lines = gzip.decompress(DATA.read_bytes()).splitlines(keepends=True)
    return lines[: count + 1] + [line for line in lines[count + 1 :] if line.split()[0].decode() == CUSTOMER]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    written = tmp_path / "some.txt"
    written.write_bytes(b"".join(some_lines()))
    return written


@pytest.fixture
def purchases(file: Path) -> list[Purchase]:
    return [found for found in read_purchases(file) if isinstance(found, Purchase)]


@pytest.fixture
def shop() -> Iterator[hw.Shop]:
    with app.run("memory://") as opened:
        yield opened


def import_all(shop: hw.Shop, purchases: list[Purchase]) -> None:
    register(shop, purchases, 0, lambda *count: None)
    bring_in(shop, purchases, 0, lambda count: None)
    wait_for_all(shop, len(purchases), lambda now: None, list)


def test_it_prints_what_the_shop_earned_and_agrees_with_the_file(tmp_path: Path, file: Path) -> None:
    output = Demo(tmp_path, "--file", str(file)).end(timeout_s=200)
    assert "Revenue by month" in output
    assert "Biggest customers" in output
    assert f"customer {CUSTOMER} on 1997-12-31: " in output
    assert f"customer {CUSTOMER} now: 201 purchases, 13,990.93 dollars" in output
    assert "Every figure equals the sum taken straight from the file." in output
    assert "\x1b" not in output


def test_its_log_answers_what_the_readme_asks(tmp_path: Path, file: Path) -> None:
    Demo(tmp_path, "--file", str(file)).end(timeout_s=200)
    questions = (ROOT / "README.md").read_text().split("```sh\n")[2].split("```")[0]
    answers = []
    for question in questions.splitlines():
        program, *words = shlex.split(question.replace("sqlite:///shop.db", f"sqlite:///{tmp_path}/shop.db"))
        asked: list[str | Path] = [Path(sys.executable).with_name(Path(program).name), *words]
        ran = subprocess.run(asked, cwd=ROOT, capture_output=True, text=True, timeout=200, check=False)
        assert ran.returncode == 0, ran.stderr
        answers.append([json.loads(line) for line in ran.stdout.splitlines()])
    [[customer], months] = answers
    assert (customer["id"], customer["purchases"], customer["total"]) == (CUSTOMER, 143, "10417.05")
    assert customer["since"] == "1997-01-29"
    assert "1998-06" in [row["month"] for row in months]


def test_a_second_start_places_no_order(tmp_path: Path, file: Path, purchases: list[Purchase]) -> None:
    first = Demo(tmp_path, "--file", str(file)).end(timeout_s=200)
    assert f"{len(purchases)} orders were placed now, 0 had been before" in first
    second = Demo(tmp_path, "--file", str(file)).end(timeout_s=200)
    assert f"0 orders were placed now, {len(purchases)} had been before" in second
    customers = list(events_in(f"sqlite:///{tmp_path}/shop.db", "customer"))
    assert len(customers) == len(first_days(purchases)) + len(purchases), "nobody is registered twice"


def test_a_malformed_line_is_reported_and_the_import_goes_on(tmp_path: Path, file: Path) -> None:
    lines = file.read_bytes().splitlines(keepends=True)
    lines[10] = b" 00004 19970101  two   20.76\n"
    file.write_bytes(b"".join(lines))
    demo = Demo(tmp_path, "--file", str(file))
    output, errors = demo.process.communicate(timeout=200)
    assert demo.process.returncode == 0
    complaint = f"{file}, line 11: the number of CDs is 'two', not 1 to 9999"
    assert errors == f"left out: {complaint}\n"
    assert (tmp_path / "shop.left-out.txt").read_text() == f"{complaint}\n"
    assert "1 lines are no purchases: see shop.left-out.txt" in output


def test_a_file_without_purchases_is_refused(tmp_path: Path) -> None:
    empty = tmp_path / "empty.txt"
    empty.write_text("customer_id date number_of_cds dollar_value\n")
    demo = Demo(tmp_path, "--file", str(empty))
    _, errors = demo.process.communicate(timeout=200)
    assert (demo.process.returncode, errors) == (1, f"Error: {empty} holds no purchase\n")


def test_a_report_that_cannot_be_written_is_one_line(tmp_path: Path, file: Path) -> None:
    file.write_bytes(file.read_bytes() + b" 00004 19970101  two   20.76\n")
    demo = Demo(tmp_path, "--file", str(file), "--db", "no/such/shop.db")
    _, errors = demo.process.communicate(timeout=200)
    told = "1 lines are no purchases, and no/such/shop.left-out.txt cannot be written to name them"
    assert (demo.process.returncode, errors) == (1, f"Error: {told}: No such file or directory\n")


@pytest.mark.parametrize("name", ["", "."])
def test_a_database_that_is_no_file_is_refused(tmp_path: Path, file: Path, name: str) -> None:
    demo = Demo(tmp_path, "--file", str(file), "--db", name)
    _, errors = demo.process.communicate(timeout=200)
    assert demo.process.returncode == 2
    assert "Traceback" not in errors


def test_every_order_is_paid_and_counts_for_its_customer(shop: hw.Shop, purchases: list[Purchase]) -> None:
    import_all(shop, purchases)
    assert counts(shop) == Counts(len(purchases), len(purchases), len(purchases))
    customer = shop.get(Customer, CUSTOMER)
    assert (customer.since, customer.purchases, customer.total) == (date(1997, 1, 29), 201, Decimal("13990.93"))


def test_everybody_is_a_customer_since_the_first_purchase(shop: hw.Shop, purchases: list[Purchase]) -> None:
    import_all(shop, purchases)
    days = first_days(purchases)
    assert {row.customer_id: row.since for row in shop.rows(Buyer)} == days
    for customer_id, day in days.items():
        registered, *others = shop.history(Customer, customer_id)
        assert registered.event == CustomerRegistered(customer_id, day)
        assert (registered.meta.version, registered.meta.time.date()) == (1, day)
        assert {type(other.event) for other in others} == {PurchaseRecorded}
    assert shop.find(Customer, CUSTOMER, as_of=datetime(1997, 1, 28, 23, 59, tzinfo=UTC)) is None


def test_a_day_of_the_past_knows_what_had_been_bought_by_then(shop: hw.Shop, purchases: list[Purchase]) -> None:
    import_all(shop, purchases)
    bought = [one for one in purchases if one.customer_id == CUSTOMER and one.day <= date(1997, 6, 30)]
    then = shop.get(Customer, CUSTOMER, as_of=datetime(1997, 6, 30, 23, 59, tzinfo=UTC))
    assert (then.purchases, then.total) == (len(bought), sum(one.amount for one in bought))
    assert 0 < then.purchases < 201


def test_a_figure_that_is_not_the_files_is_told(shop: hw.Shop, purchases: list[Purchase]) -> None:
    import_all(shop, purchases)
    console = Console(quiet=True)
    assert show(shop, purchases, console) == []
    last = next(one for one in reversed(purchases) if one.customer_id == CUSTOMER)
    changed = [one._replace(cents=one.cents + 1) if one == last else one for one in purchases]
    first = next(one for one in changed if one.customer_id == CUSTOMER)
    changed = [one._replace(day=date(1996, 12, 31)) if one == first else one for one in changed]
    told = "\n".join(show(shop, changed, console))
    assert f"{last.day:%Y-%m}, orders" in told
    assert "all months" in told
    assert f"customer {CUSTOMER} now" in told
    assert f"customer {CUSTOMER} since: the shop says 1997-01-29, the file 1996-12-31" in told
    assert f"registration of customer {CUSTOMER}" in told


def test_more_than_the_file_holds_is_noticed(shop: hw.Shop, purchases: list[Purchase]) -> None:
    import_all(shop, purchases)
    twice = PurchaseRecorded(CUSTOMER, "cdnow-00000", Decimal("1.00"), date(1997, 1, 1))
    receipt = shop.append(Customer, CUSTOMER, [twice])
    shop.row(Buyer, CUSTOMER, after=receipt)
    with pytest.raises(Stuck, match="was another file imported here before"):
        wait_for_all(shop, len(purchases), lambda now: None, list)


@pytest.mark.parametrize("there", [0, 1, 17, 200, 300])
def test_an_import_goes_on_where_it_was(
    shop: hw.Shop, purchases: list[Purchase], there: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("examples.shop.importing.IN_FLIGHT", 5)
    register(shop, purchases, 0, lambda *count: None)
    bring_in(shop, purchases[:there], 0, lambda count: None)
    start = first_missing(shop, purchases)
    assert there - 10 <= start <= there
    register(shop, purchases, start, lambda *count: None)
    new, _ = bring_in(shop, purchases, start, lambda count: None)
    assert new == len(purchases) - there
    wait_for_all(shop, len(purchases), lambda now: None, list)
