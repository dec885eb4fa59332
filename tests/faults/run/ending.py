"""The end of a round: what became of every command is found out, what is left is done, and everything is audited."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from decimal import Decimal
from pathlib import Path
from typing import Any, NamedTuple

import msgspec

import headwater as hw
from headwater.errors import HeadwaterError, Unavailable
from headwater.log.port import Log
from headwater.messages.rejection import Rejected
from headwater.projections.read_model import ReadModel
from headwater.stores.opening import open_store
from headwater.stores.port import Store
from headwater.testing.audit import (
    Contents,
    Journal,
    ModelRows,
    RecordedShop,
    audit,
    collect,
    collect_rows,
    models_of,
    rows_folds,
    state_folds,
)
from tests.faults.run.bank import Account, Transfer
from tests.faults.run.watching import READ, partitions_of

TOLD_S = 120.0
"""How long after the last fault it may take until everybody is told what became of a command."""
DONE_S = 120.0
"""How long after it work may be left."""
PAUSE_S = 0.2

AGGREGATES: dict[str, type[hw.Aggregate[Any]]] = {"account": Account, "transfer": Transfer}


class Ended(NamedTuple):
    """Arguments: violations: what is wrong, a sentence each; events: in the log; outcomes: how many calls of each
    outcome there were."""

    violations: list[str]
    events: int
    outcomes: Counter[str]


def resolve(journal: Journal, clients: list[RecordedShop]) -> None:
    """Asks what became of each command without an answer, each client by itself; who asks in vain asks again."""
    journal.settled()
    deadline = time.monotonic() + TOLD_S
    for call in journal.unknown():
        for client in clients:
            while time.monotonic() < deadline:
                try:
                    client.outcome(AGGREGATES[call.entity], call.id, call.command_id)
                except Rejected:
                    pass
                except HeadwaterError:
                    time.sleep(PAUSE_S)
                    continue
                break


def read_at_last(clients: list[RecordedShop], journal: Journal) -> None:
    """Each client reads every account that somebody sent something to."""
    for id in sorted({one.id for one in journal.history().commands if one.entity == "account"}):
        for client in clients:
            with suppress(HeadwaterError):
                client.find(Account, id)
                client.history(Account, id)


def wait_until_done(log: Log, store: Store, models: Sequence[ReadModel]) -> str:
    """Waits until nothing is left to do. Returns what is, when the time is over; empty: nothing."""
    deadline = time.monotonic() + DONE_S
    while True:
        try:
            left = _left(log, store, models)
        except Unavailable as error:
            left = str(error)
        if not left or time.monotonic() > deadline:
            return left
        threading.Event().wait(PAUSE_S)


def _left(log: Log, store: Store, models: Sequence[ReadModel]) -> str:
    """Positions are looked at first, so that nothing that is written meanwhile can be missed."""
    stands = {group: (log.committed(group, partitions), partitions) for group, partitions in READ.items()}
    for model in models:
        partitions = [tp for topic in model.topics for tp in partitions_of(topic.name)]
        stands[model.runner] = store.positions(model.runner), partitions
    return "; ".join(
        f"{reader} stands at {stood.get(tp, 0)} of {end} in {tp}"
        for reader, (stood, partitions) in stands.items()
        for tp, end in log.ends(partitions, committed=False).items()
        if stood.get(tp, 0) < end
    )


def check(app: hw.App, journal: Journal, open_log: Callable[[], Log], store_url: str, seen: Contents) -> Ended:
    """Audits it all. Arguments: seen: what a reader saw of the events while they were written."""
    history = journal.history()
    with closing(open_log()) as log:
        contents = collect(log, app)
    with closing(open_log()) as log:
        again = collect(log, app)
    with closing(open_store(store_url)) as store:
        models = collect_rows(store, models_of(app))
    states, rows = state_folds(app), rows_folds(app)
    found = audit(history, contents, states=states, models=models, rows=rows, scans=[again, seen])
    wrong = [str(one) for one in found] + list(check_money(contents, models))
    events = sum(len(list(contents.records(f"{entity}-events"))) for entity in contents.entities())
    return Ended(wrong, events, Counter(one.outcome for one in history.commands))


def check_money(contents: Contents, models: list[ModelRows]) -> Iterator[str]:
    """All that was sent was received and recorded, once; and the balances are what was paid in, less what was paid
    out."""
    values = [
        _fields(record.value) for name in ("account-events", "transfer-events") for record in contents.records(name)
    ]
    kinds = {
        kind: [one for one in values if one["eventType"] == kind] for kind in {str(one["eventType"]) for one in values}
    }
    sent = Counter(str(one["transferId"]) for one in kinds.get("MoneySent", []))
    for kind in ("MoneyReceived", "TransferRecorded"):
        there = Counter(str(one["transferId"]) for one in kinds.get(kind, []))
        for id in sorted(sent.keys() | there.keys()):
            if sent[id] != there[id]:
                yield f"transfer {id} was sent {sent[id]} times, and of {kind} there are {there[id]}"
    paid = {
        kind: sum((Decimal(str(one["amount"])) for one in kinds.get(kind, [])), Decimal(0))
        for kind in ("PaidIn", "PaidOut")
    }
    for model in models:
        balances = [
            Decimal(str(_fields(row)["balance"])) for name, row in model.rows.items() if name.startswith("account ")
        ]
        if balances and sum(balances) != paid["PaidIn"] - paid["PaidOut"]:
            yield f"the balances add up to {sum(balances)}; {paid['PaidIn']} were paid in, {paid['PaidOut']} out"


def _fields(value: bytes | None) -> dict[str, object]:
    found: dict[str, object] = msgspec.json.decode(value or b"{}")
    return found


def keep(directory: Path, journal: Journal) -> None:
    """Leaves the history for a later look."""
    (directory / "history.json").write_bytes(msgspec.json.encode(journal.history()))
