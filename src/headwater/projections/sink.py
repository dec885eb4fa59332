"""The store's own cursor for a handler, in the transaction that commits the position.

    @hw.on(OrderPlaced)
    def placed(self, event: OrderPlaced, sink: hw.Sink[psycopg.Cursor]) -> None:
        sink.cursor.execute("INSERT INTO shipments (order_id) VALUES (%s)", [event.order_id])

What it writes is there exactly when the position is past the event. The rows of the batch are written after all its
handlers have run, so the cursor does not see them yet.
"""

from __future__ import annotations

from typing import Any, Generic, Protocol, TypeVar, cast, runtime_checkable

from headwater.errors import Misuse
from headwater.stores.port import Loading

C = TypeVar("C")


@runtime_checkable
class OwnCursor(Protocol):
    """A `Loading` of a store that lets handlers write beside the rows."""

    def own_cursor(self) -> Any:
        """A cursor of the store's client, in the transaction. It must not end it."""
        ...


class Sink(Generic[C]):
    """What a handler gets that asks for `sink: hw.Sink`. Valid only in the handler. Argument: loading: of its batch."""

    def __init__(self, loading: Loading) -> None:
        self._loading = loading
        self._cursor: C | None = None

    @property
    def cursor(self) -> C:
        """`sqlite3.Cursor` or `psycopg.Cursor`, the same one for the whole batch.

        Raises: Misuse: the store has no transactions that other statements could be a part of.
        """
        if self._cursor is None:
            if not isinstance(self._loading, OwnCursor):
                raise Misuse(
                    "a handler with hw.Sink needs a store with transactions of its own, SQLite or PostgreSQL: what "
                    "another one has been sent cannot be taken back when the batch fails"
                )
            self._cursor = cast("C", self._loading.own_cursor())
        return self._cursor
