"""The same accounts, in the words of the package `eventsourcing`, on its SQLite module."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast
from uuid import UUID, uuid5

from eventsourcing.application import AggregateNotFoundError, Application
from eventsourcing.domain import Aggregate, event
from eventsourcing.persistence import IntegrityError
from eventsourcing.sqlite import SQLiteFactory

from benchmarks.accounts import Order

NAMESPACE = UUID(int=0)
FULL = 2


class Overdrawn(Exception):
    pass


class BankAccount(Aggregate):
    """An account; its events are Opened, Deposited, Withdrawn."""

    @event("Opened")
    def __init__(self, account_id: str) -> None:
        self.account_id, self.cents = account_id, 0

    @staticmethod
    def create_id(account_id: str) -> UUID:
        return uuid5(NAMESPACE, account_id)

    @event("Deposited")
    def deposit(self, cents: int) -> None:
        self.cents += cents

    def withdraw(self, cents: int) -> None:
        if cents > self.cents:
            raise Overdrawn
        self.withdrawn(cents)

    @event("Withdrawn")
    def withdrawn(self, cents: int) -> None:
        self.cents -= cents


class Bank(Application[UUID]):
    def order(self, order: Order) -> bool:
        """Has an order carried out, again where another thread was quicker; tells whether it was accepted."""
        while True:
            try:
                return self._order(order)
            except IntegrityError:
                continue

    def _order(self, order: Order) -> bool:
        account_id = BankAccount.create_id(order.account_id)
        try:
            account: BankAccount = self.repository.get(account_id)
        except AggregateNotFoundError:
            account = BankAccount(order.account_id)
        try:
            if order.cents < 0:
                account.withdraw(-order.cents)
            else:
                account.deposit(order.cents)
        except Overdrawn:
            return False
        self.save(account)
        return True

    def found(self, ids: Iterable[str], deposits: int, cents: int) -> None:
        """Makes accounts that have a history."""
        for id in ids:
            account = BankAccount(id)
            for _ in range(deposits):
                account.deposit(cents)
            self.save(account)

    def balance(self, account_id: str) -> int:
        account: BankAccount = self.repository.get(BankAccount.create_id(account_id))
        return account.cents


@contextmanager
def bank(file: Path, *, cached: bool) -> Iterator[Bank]:
    """The application on a new file, with synchronous=FULL and WAL.

    Arguments: cached: keep all aggregates in memory and trust that nobody else writes; else, as the package
    comes, each is loaded from its events.
    """
    settings = {"PERSISTENCE_MODULE": "eventsourcing.sqlite", "SQLITE_DBNAME": str(file)}
    if cached:
        settings |= {"AGGREGATE_CACHE_MAXSIZE": "0", "AGGREGATE_CACHE_FASTFORWARD": "n"}
    app = Bank(env=settings)
    try:
        for write in (True, False):
            with cast(SQLiteFactory, app.factory).datastore.get_connection(commit=write) as connection:
                cursor: Any = connection.cursor()
                cursor.execute("PRAGMA synchronous")
                synchronous = cursor.fetchone()[0]
                cursor.execute("PRAGMA journal_mode")
                journal = cursor.fetchone()[0]
                if (synchronous, journal) != (FULL, "wal"):  # no `assert`: it must hold under -O as well
                    raise RuntimeError(f"{file} has synchronous={synchronous} and journal_mode={journal}")
        yield app
    finally:
        app.close()
