"""What an owner has in memory of its entities is bounded; what it left out is read again when it is needed."""

from __future__ import annotations

from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

import headwater as hw
from headwater.log.memory import MemoryLog
from headwater.log.port import NewRecord
from headwater.owners.deciding import Decider
from headwater.owners.keeping import Checkpoints
from headwater.owners.known import WEIGHT_BYTES, Knowledge
from headwater.owners.partition import PartitionMemory
from headwater.owners.state_record import encode_entry
from headwater.owners.states import StatesInMemory
from headwater.owners.writing import Outgoing
from tests.bank import Account, Deposit

app = hw.App("bank", aggregates=[Account], partitions=1)
LIVE_BYTES = 40 * WEIGHT_BYTES


def test_so_many_entities_are_decoded_as_the_memory_allows() -> None:
    maker = Decider(app.behaviours[Account], "bank", lambda: "an id", None)
    known = Knowledge(maker, LIVE_BYTES)
    known.assigned([0])
    known.restored({0: PartitionMemory(StatesInMemory())})
    keys = [b"a%03d" % number for number in range(200)]
    for round_number in (1, 2):
        for number, key in enumerate(keys):
            entry = known.entry(0, key, {})
            assert entry.version == (number if round_number == 2 else 0)
            entry.version = number
            value = encode_entry(entry, maker.schema, 0, 0, -1)
            known.keep(Outgoing([NewRecord("account-state", 0, key, value)]), {})
            assert sum(known.has(0, key) for key in keys) * WEIGHT_BYTES <= LIVE_BYTES
            assert known.has(0, key)


def test_an_owner_whose_new_states_nobody_takes_waits_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headwater.owners.keeping.PATIENCE_S", 0.01)
    with closing(MemoryLog()) as log:
        with app.run(log, only=["commands"]) as bank:
            bank.send(Deposit("a", Decimal(1)))
        keeper = Checkpoints(log, "account", 1, "schema", tmp_path, memory_bytes=400, standby=False)
        (states,) = keeper.take([0]).values()
        states.keep({b"a": b"x" * 100})
        keeper.make_room()
        states.keep({b"b": b"x"})
        with pytest.raises(hw.Unavailable, match="new states of account-state are in memory, and no checkpoint takes"):
            keeper.make_room()
        keeper.release([0])
        keeper.make_room()
        keeper.close()
