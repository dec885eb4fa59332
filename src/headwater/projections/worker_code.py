"""Which code the workers of a read model run: rows that one code has made anew must not be maintained by another one.

Each worker says it beside its note (see `Store.note`), when it begins; who is gone is removed by the next one.
"""

from __future__ import annotations

import msgspec

from headwater.environment import Environment
from headwater.errors import Unavailable
from headwater.projections.read_model import ReadModel
from headwater.projections.waiting import lives
from headwater.stores.port import Loading, Store, TableSchema, bookkeeping_table


class WorkerCode(msgspec.Struct):
    """Arguments: worker: as of `RunnerNote`; code: fingerprint of the code that it runs."""

    worker: str
    code: str


def code_table(runner: str) -> TableSchema[WorkerCode]:
    return bookkeeping_table("code", runner, WorkerCode, ("worker",))


def say_code(model: ReadModel, store: Store, worker: str) -> None:
    """Says which code a worker runs, and forgets those that have no note any more. Raises: Unavailable."""
    table = code_table(model.runner)
    there = {note.worker for note in store.notes(model.runner)}
    gone = [(row.worker,) for row in store.rows(table) if row.worker not in there]

    def work(loading: Loading) -> None:
        loading.delete(table, gone)
        loading.save(table, [WorkerCode(worker, model.code)])

    store.apply(model.runner, {}, {}, work)


def workers_of_other_code(model: ReadModel, store: Store, environment: Environment) -> list[str]:
    """Living workers that run another code than the one at hand, as "host, process 7". Raises: Unavailable."""
    try:
        codes = {row.worker: row.code for row in store.rows(code_table(model.runner))}
    except Unavailable:  # nobody has maintained it yet
        return []
    found = []
    for note in store.notes(model.runner):
        at_work = note.state in ("running", "held") and lives(note, environment)
        if at_work and codes.get(note.worker, model.code) != model.code:
            host, _, rest = note.worker.partition("/")
            found.append(f"{host}, process {rest.partition('/')[0]}")
    return found
