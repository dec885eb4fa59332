"""The purchases of the CDNOW file, and the commands that they become.

A line such as ` 00002 19970112  5   77.00` (customer, day, CDs, dollars) is one order of that customer: an item
per CD, placed on that day (UTC). Order id and command id follow from the line's number, so that sending a line
again is the same command again. Whoever buys for the first time is registered that day.
"""

import gzip
import re
import uuid
import zlib
from collections.abc import Iterable, Iterator
from datetime import UTC, date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import headwater as hw
from examples.shop.contract import Item, PlaceOrder, RegisterCustomer

DATA = Path(__file__).parent / "data" / "cdnow_purchases.txt.gz"
HEADER = ["customer_id", "date", "number_of_cds", "dollar_value"]
COMMAND_IDS = uuid.UUID("4be0643f-1d98-573b-97cd-ca98a65347dd")
PURCHASE = re.compile(r"\s*(?P<customer>\d+)\s+(?P<day>\S+)\s+(?P<cds>\S+)\s+(?P<dollars>\S+)\s*", re.ASCII)


class Purchase(NamedTuple):
    """A line of the file. `line`: its number, from 1 (the header); `cents`: what all CDs cost together."""

    line: int
    customer_id: str
    day: date
    cds: int
    cents: int

    @property
    def order_id(self) -> str:
        return f"cdnow-{self.line:05d}"

    @property
    def amount(self) -> Decimal:
        return Decimal(self.cents).scaleb(-2)


class BadLine(NamedTuple):
    """A line that is no purchase, and why. Its text form names file and line."""

    file: str
    line: int
    reason: str

    def __str__(self) -> str:
        return f"{self.file}, line {self.line}: {self.reason}"


def read_purchases(file: Path) -> Iterator[Purchase | BadLine]:
    """The lines of a file (gzip or plain text), in order, without header and blank lines.

    A line that cannot be read is a `BadLine`, and so is the rest of a damaged archive; reading never raises
    because of content. Raises: OSError: the file cannot be opened.
    """
    number = 0
    with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as lines:
        try:
            for raw in lines:
                number += 1
                text = raw.decode("utf-8", "backslashreplace")
                if text.strip() and text.split() != HEADER:
                    try:
                        yield parse(number, text)
                    except ValueError as error:
                        yield BadLine(str(file), number, str(error))
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            yield BadLine(str(file), number + 1, f"the archive is damaged from here on: {error}")


def parse(line: int, text: str) -> Purchase:
    """One line as a purchase. Raises: ValueError: says what is wrong with it."""
    found = PURCHASE.fullmatch(text)
    if found is None:
        raise ValueError(f"expected customer, date, number of CDs and dollars, found {text.strip()!r}")
    customer, day, cds, dollars = found.groups()
    if not re.fullmatch(r"\d{8}", day, re.ASCII):
        raise ValueError(f"the date {day!r} is not written as YYYYMMDD")
    try:
        bought = date(int(day[:4]), int(day[4:6]), int(day[6:]))
    except ValueError:
        raise ValueError(f"there is no date {day!r}") from None
    if not re.fullmatch(r"[1-9]\d{0,3}", cds, re.ASCII):
        raise ValueError(f"the number of CDs is {cds!r}, not 1 to 9999")
    if not re.fullmatch(r"\d{1,9}\.\d\d", dollars, re.ASCII):
        raise ValueError(f"{dollars!r} is no amount in dollars and cents")
    return Purchase(line, customer, bought, int(cds), int(dollars.replace(".", "")))


def items_of(purchase: Purchase) -> list[Item]:
    """One item per CD. Cents that do not divide evenly go to the first CDs, so the items add up exactly."""
    each, left = divmod(purchase.cents, purchase.cds)
    return [Item(f"CD-{number + 1}", Decimal(each + (number < left)).scaleb(-2)) for number in range(purchase.cds)]


def first_days(purchases: Iterable[Purchase]) -> dict[str, date]:
    """Customer -> the day of their first purchase."""
    days: dict[str, date] = {}
    for purchase in purchases:
        days[purchase.customer_id] = min(purchase.day, days.get(purchase.customer_id, purchase.day))
    return days


def as_sending(purchase: Purchase) -> hw.Sending:
    """The command of a purchase, with its own id and the day as the time when it happened."""
    return _sent(
        PlaceOrder(purchase.order_id, purchase.customer_id, items_of(purchase)), purchase.order_id, purchase.day
    )


def as_registration(customer_id: str, day: date) -> hw.Sending:
    """The command that registers a customer, with its own id and the day as the time when it happened."""
    return _sent(RegisterCustomer(customer_id, day), f"customer-{customer_id}", day)


def _sent(command: hw.Command, name: str, day: date) -> hw.Sending:
    return hw.Sending(command, command_id=str(uuid.uuid5(COMMAND_IDS, name)), time=datetime.combine(day, time(), UTC))
