"""Older code beside newer code whose schemas stand in files that the older one does not have."""

from __future__ import annotations

import shutil
from contextlib import ExitStack, closing
from pathlib import Path

import pytest

import headwater as hw
from headwater.log.memory import MemoryLog
from headwater.log.opening import open_log
from headwater.schemas.port import Schema, UnknownSchema
from headwater.schemas.registries import open_registry
from headwater.schemas.registries.late import LateRegistry
from headwater.schemas.registries.log_topic import LogRegistry
from headwater.schemas.registries.publishing import register_all
from headwater.testing import PrefixedLog, eventually
from headwater.testing.conformance.log.waiting import fresh
from headwater.testing.places import forget_on_kafka
from tests.counters import Add
from tests.owners.test_rolling import Deployment, Load, stop
from tests.schemas.rolling import new, old


@pytest.fixture
def apps(tmp_path: Path) -> tuple[hw.App, hw.App]:
    """Old and new, each with the directory of schemas that was deployed with it."""
    before, after = tmp_path / "old", tmp_path / "new"
    register_all(open_registry(str(before), None), old.app(str(before)).published())
    shutil.copytree(before, after)
    register_all(open_registry(str(after), None), new.app(str(after)).published())
    return old.app(str(before)), new.app(str(after))


def test_older_readers_read_what_newer_code_writes(apps: tuple[hw.App, hw.App], tmp_path: Path) -> None:
    """Also where an event is of a type that they do not know."""
    log, store = MemoryLog(), f"sqlite:///{tmp_path}/rows.db"
    before, after = apps
    with before.run(log, only=["projections"], store=store) as reader, after.run(log, only=["commands"]) as shop:
        for _ in range(3):
            shop.send(new.Add("a", 2))
        eventually(lambda: sums(reader) == {"a": 6})


def test_one_without_a_schema_anywhere_is_told_of_the_files(apps: tuple[hw.App, hw.App]) -> None:
    registry = LateRegistry(str(apps[0].schemas))
    registry.over(MemoryLog())
    with pytest.raises(UnknownSchema, match=f"there is no schema 7 in {apps[0].schemas}"):
        registry.schema(7)


def test_an_id_that_the_log_has_for_another_schema_is_refused(apps: tuple[hw.App, hw.App], tmp_path: Path) -> None:
    log, (before, _) = MemoryLog(), apps
    id = open_registry(str(before.schemas), None).revisions("counter-events/Added.v1")[0].id
    LogRegistry(log, "NONE").carry("other-events/Other.v1", Schema("avro", '"string"'), id)
    with pytest.raises(hw.Unavailable, match=f"has another schema with the id {id} of counter-events/Added.v1"):
        before.run(log, store="memory://").__enter__()


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(400)
def test_every_event_is_read_while_the_code_is_replaced(
    kafka_broker: str, apps: tuple[hw.App, hw.App], tmp_path: Path
) -> None:
    """Commands come all the time. One of two processes goes on with its older code and files until the end."""
    prefix = fresh("") + "-"
    url = f"{kafka_broker}?index_directory={tmp_path / 'index'}"
    directories = [str(app.schemas) for app in apps]
    with ExitStack() as opened:
        opened.callback(forget_on_kafka, kafka_broker, prefix)
        log = PrefixedLog(opened.enter_context(closing(open_log(url))), prefix)
        deployment = Deployment(url, prefix, log, opened, "tests.schemas.rolling.run")
        first, second = (deployment.started(directories[0]) for _ in range(2))
        store = f"sqlite:///{tmp_path}/rows.db"
        shop = opened.enter_context(apps[0].connect(log, store=store))
        load = Load(shop, lambda number: Add(f"c{number % 20}", 1), rate=100)
        eventually(lambda: len(load.answered_s) > 100)
        newer = deployment.replace(first, directories[1])
        mixed = len(load.answered_s)
        eventually(lambda: len(load.answered_s) > mixed + 300)
        load.end()
        assert load.wrong == []
        eventually(lambda: sum(sums(shop).values()) == len(load.answered_s))
        for process in (second, newer):
            stop(process)
    print(f"{len(load.answered_s)} commands, longest gap {load.longest_gap_s:.2f} s")


def sums(shop: hw.Shop) -> dict[str, int]:
    return {row.counter_id: row.total for row in shop.rows(old.Sum)}
