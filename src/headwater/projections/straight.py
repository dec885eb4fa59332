"""The calls of a batch in columns, where each event's own key names the only row that it changes.

    records ─┐
    events ──┼─► each key once ─► load ─► row, event, row, event, … ─► save
    keys ────┘

Most batches are like that, and their handlers want row and event only. Then nothing has to be made for each event: no
tuple of a call, no tuple of a key. Whoever goes through the calls one by one finds the same ones here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import repeat
from operator import length_hint
from typing import Any, overload

from headwater.errors import Unavailable
from headwater.log.port import Record
from headwater.projections.folding import Call, Handler, Stopped, TableRows, call_each, failure, settled
from headwater.stores.port import Loading


class Straight(Sequence[Call]):
    """Calls of handlers that are `straight`, of one table.

    Arguments: records; events: of these records; keys: the only column of the key of each one's row; handlers: by the
    events' class.
    """

    __slots__ = ("_handlers", "events", "keys", "records")

    def __init__(
        self, records: Sequence[Record], events: Sequence[Any], keys: Sequence[Any], handlers: Mapping[Any, Handler]
    ) -> None:
        self.records, self.events, self.keys, self._handlers = records, events, keys, handlers

    @property
    def handlers(self) -> Iterator[Handler]:
        """Of each event."""
        return map(self._handlers.__getitem__, map(type, self.events))

    @property
    def functions(self) -> Iterator[Callable[[Any, Any], object]]:
        """What is called for each event, with row and event."""
        short: Any = {event: handler.short for event, handler in self._handlers.items()}
        return map(short.__getitem__, map(type, self.events))

    def __len__(self) -> int:
        return len(self.records)

    def __iter__(self) -> Iterator[Call]:
        return zip(self.records, self.events, repeat(None), self.handlers, zip(self.keys, strict=True))

    @overload
    def __getitem__(self, index: int) -> Call: ...
    @overload
    def __getitem__(self, index: slice) -> Straight: ...
    def __getitem__(self, index: int | slice) -> Call | Straight:
        if isinstance(index, slice):
            return Straight(self.records[index], self.events[index], self.keys[index], self._handlers)
        event = self.events[index]
        return self.records[index], event, None, self._handlers[type(event)], (self.keys[index],)


def is_straight(handler: Handler) -> bool:
    """Whether a handler is called with row and event, and changes that row or deletes it."""
    return handler.short is not None and not handler.replaces


def fold_straight(loading: Loading, calls: Straight) -> None:
    """As `folding.fold`."""
    handler = next(calls.handlers, None)
    if handler is None:
        return
    table = TableRows(handler.table)
    keys = {key: (key,) for key in dict.fromkeys(calls.keys)}
    table.load(loading, list(keys.values()))
    table.written.update(dict.fromkeys(keys.values()))
    done = _call_straight(table.rows, keys, handler, calls)
    if done < len(calls):
        call_each(loading, {handler.table: table}, calls[done:])
    table.save(loading)


def _call_straight(now: dict[Any, Any], keys: Mapping[Any, Any], any_handler: Handler, calls: Straight) -> int:
    """Calls the handlers of events in order, up to the first that leaves another row than the one it was given.

    Arguments: now: rows, None where there is none yet; keys: of them, by their only column; any_handler: makes rows.
    Returns: how many events are done with. Raises: Stopped.
    """
    try:
        for key in [key for key in keys.values() if now[key] is None]:
            now[key] = any_handler.make(*key)
    except Exception:  # noqa: BLE001 -- raised again where the first event of that row has its turn
        return 0
    rows = {key: now[whole] for key, whole in keys.items()}
    left = iter(calls.events)
    steps = zip(calls.functions, map(rows.__getitem__, calls.keys), left, strict=True)
    try:
        for function, row, event in steps:
            result = function(row, event)
            if result is not None:
                done = len(calls) - length_hint(left)
                _, _, _, handler, key = calls[done - 1]
                now[key] = settled(result, handler)
                return done
    except Unavailable:
        raise
    except Exception as error:  # the author's function may raise anything
        call = calls[len(calls) - length_hint(left) - 1]
        raise Stopped(call[0], failure(call, error)) from error
    return len(calls)
