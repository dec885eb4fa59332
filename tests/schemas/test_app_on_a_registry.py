"""An app whose schemas are on a server: what it writes carries the server's ids, also while the server is away."""

from __future__ import annotations

from contextlib import closing
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import pytest

import headwater as hw
from headwater.errors import Unavailable
from headwater.log.memory import MemoryLog
from headwater.log.opening import open_log
from headwater.log.port import Log, TopicPartition
from headwater.schemas.registries import open_registry
from headwater.testing.registry import RegistryServer
from tests.bank import Account, Deposit, Open
from tests.schemas.front import front
from tests.schemas.test_compatibility_avro import avro_schema

EVENTS = "account-events"


def app_on(url: str) -> hw.App:
    return hw.App("bank", aggregates=[Account], codecs={EVENTS: "avro"}, schemas=f"{url}?token=t0ken", partitions=1)


def first_values(log: Log) -> list[bytes]:
    reader = log.reader()
    partition = TopicPartition(EVENTS, 0)
    reader.assign({partition: 0})
    records = reader.read(100, 5).records
    reader.close()
    return [record.value or b"" for record in records]


def test_a_registry_that_goes_away_stops_neither_writers_nor_readers(registry_server: RegistryServer) -> None:
    log = MemoryLog()
    with front(registry_server.url, "Bearer t0ken") as url:
        running = app_on(url).run(log)
        shop = running.__enter__()
    try:
        shop.send(Open("1", "ann"))
        shop.send(Deposit("1", Decimal(5)))
        assert [one.event.account_id for one in shop.history(Account, "1")] == ["1", "1"]
    finally:
        running.close()
    values = first_values(log)
    registry = open_registry(registry_server.url, None)
    names = [registry.schema(int.from_bytes(value[1:5], "big")).text for value in values]
    assert ['"Opened"' in names[0], '"Deposited"' in names[1]] == [True, True]


def test_an_app_that_was_never_started_does_not_start_without_its_registry(registry_server: RegistryServer) -> None:
    with front(registry_server.url, "Bearer t0ken") as url:
        pass
    with pytest.raises(Unavailable, match="cannot be reached"):
        app_on(url).run("memory://").__enter__()


@pytest.mark.kafka
def test_on_kafka_what_was_learned_is_there_after_a_restart(
    registry_server: RegistryServer, kafka_broker: str, tmp_path: Path
) -> None:
    subject = f"t{uuid4().hex[:12]}-events/Placed.v1"
    address = f"{kafka_broker}?index_directory={tmp_path}"
    with front(registry_server.url, "Bearer t0ken") as url, closing(open_log(address)) as log:
        registered = open_registry(f"{url}?token=t0ken", log).register(subject, avro_schema())
    with closing(open_log(address)) as log:
        again = open_registry(f"{url}?token=t0ken", log)
        assert again.id_of(subject, avro_schema()) == registered.id
        assert again.schema(registered.id) == avro_schema()
