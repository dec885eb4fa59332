"""The tables of a read model: made where they are missing, and made again where they may be."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from headwater.errors import Misuse
from headwater.failures.held import tables_of
from headwater.log.port import Log
from headwater.projections.read_model import ReadModel
from headwater.stores.port import Store, TableSchema

logger = logging.getLogger("headwater.projections")


def open_tables(model: ReadModel, log: Log, store: Store, beside: Sequence[TableSchema[Any]] = ()) -> None:
    """Makes the tables of a read model where they are missing, for the process that maintains it.

    Arguments: beside: other tables of the runner.
    Raises: Misuse: the shape of a table changed without a new version, or the store is of another log.
    """
    store.bind(log.id)
    tables = [*model.tables, *tables_of(model.runner), *beside]
    try:
        code = store.open_tables(model.runner, tables, model.code)
    except Misuse:
        if not model.remade:
            raise
        code = ""
    if code == model.code:
        return
    if model.remade:
        logger.info("%s has changed: its table is made again from the log", model.title)
        store.forget(model.runner)
        store.open_tables(model.runner, tables, model.code)
        return
    logger.warning(
        "the code of read model %s changed, but its rows were made by the old code: `hw rebuild %s` makes them anew "
        "beside these, or leave it if the rows would be the same",
        model.title,
        model.title,
    )
