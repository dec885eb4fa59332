"""A revert is an event: read models that react to it follow, and the others say that they do not."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

import headwater as hw
from headwater.errors import Misuse
from headwater.log.port import NewRecord
from headwater.messages.envelope import event_headers
from headwater.messages.json_codec import JsonCodec
from headwater.operations.catalogue import catalogue_of
from headwater.projections.read_model import read_models_of
from headwater.projections.straight import Straight
from headwater.schemas.codec import Format
from headwater.schemas.registries import open_registry
from headwater.schemas.registries.publishing import register_all
from tests.projections.trade import (
    START,
    TOPIC,
    Audited,
    OpenTrade,
    Paid,
    Placed,
    Reading,
    Revenue,
    TradeEvent,
    append,
    make_log,
    placed,
)

PAGE = Path(__file__).resolve().parents[2] / "docs" / "reverting.md"


class Trade(hw.Aggregate[TradeEvent]):
    customer: str = ""
    due: Decimal = Decimal(0)

    @hw.evolves
    def placed(self, event: Placed) -> None:
        self.customer, self.due = event.customer, event.total

    @hw.evolves
    def paid(self, event: Paid) -> None:
        self.due -= event.amount


class Due(hw.Projection):
    trade_id: hw.Key[str]
    due: Decimal = Decimal(0)

    @hw.on(Placed)
    def placed(self, event: Placed) -> None:
        self.due = event.total

    @hw.on(Paid)
    def paid(self, event: Paid) -> None:
        self.due -= event.amount

    @hw.on(hw.Reverted)
    def reverted(self, event: hw.Reverted) -> None:
        self.due = event.state_as(Trade).due


def revert(log: Any, trade_id: str, state: bytes, to_version: int = 1) -> None:
    """As the owner does."""
    codec: JsonCodec[hw.Event] = JsonCodec([hw.Reverted])
    headers = event_headers(
        id=f"back-{trade_id}", source="test", type="hw.Reverted", time=START, subject=trade_id, entity_version=3
    )
    value = codec.encode(hw.Reverted(msgspec.Raw(state), to_version), START)
    log.append([NewRecord(TOPIC, 0, trade_id.encode(), value, headers)])


STATE = msgspec.json.encode(Trade("t1", 1, "ann", Decimal(10)))


@pytest.mark.parametrize("batch_records", [1, 100])
def test_the_row_of_the_reverted_entity_follows(batch_records: int) -> None:
    log = make_log()
    append(log, [placed("t1"), placed("t2"), Paid("t1", Decimal(10)), Paid("t2", Decimal(4))])
    revert(log, "t1", STATE)
    append(log, [Paid("t1", Decimal(1))])
    reading = Reading(log, Due)
    reading.read(batch_records)
    assert reading.store.rows(reading.model.tables[0]) == [Due("t1", Decimal(9)), Due("t2", Decimal(6))]
    assert reading.runner.notices == []


def test_batches_without_a_revert_are_applied_in_columns_all_the_same() -> None:
    log = make_log()
    append(log, [placed("t1"), Paid("t1", Decimal(10))])
    reading = Reading(log, Due)
    records = reading.reader.read(10, 1.0).records
    assert isinstance(reading.model.gather(records).calls, Straight)


@pytest.mark.parametrize(
    ("read", "wanted"),
    [
        (lambda event: event.state_as(Trade).customer, "ann"),
        (lambda event: event.state_as(dict)["customer"], "ann"),
        (lambda event: msgspec.json.decode(event.state)["customer"], "ann"),
        (lambda event: event.state_as(Customer).customer, "ann"),
    ],
    ids=["aggregate", "dict", "JSON", "value"],
)
def test_the_state_is_there_in_several_forms(read: Callable[[hw.Reverted], str], wanted: str) -> None:
    assert read(hw.Reverted(msgspec.Raw(STATE), 1)) == wanted


class Customer(hw.Value):
    customer: str


def test_a_state_of_another_form_is_refused() -> None:
    with pytest.raises(Misuse, match=r"the state of version 1 cannot be read as Placed: .*tradeId"):
        hw.Reverted(msgspec.Raw(STATE), 1).state_as(Placed)


def test_a_key_function_names_other_rows() -> None:
    class Debt(hw.Projection):
        customer: hw.Key[str]
        due: Decimal = Decimal(0)

        @hw.on(Placed, key=lambda event, meta: event.customer)
        def placed(self, event: Placed) -> None:
            self.due = event.total

        @hw.on(hw.Reverted, key=lambda event, meta: event.state_as(Customer).customer)
        def reverted(self, event: hw.Reverted, meta: hw.Meta) -> None:
            assert (meta.entity, meta.entity_id) == ("trade", "t1")
            self.due += event.state_as(Trade).due

    log = make_log()
    append(log, [placed("t1")])
    revert(log, "t1", STATE)
    reading = Reading(log, Debt)
    reading.read()
    assert reading.store.rows(reading.model.tables[0]) == [Debt("ann", Decimal(20))]


class ParcelEvent(hw.Event, entity="parcel"):
    number: hw.Key[int]


class ParcelSent(ParcelEvent):
    pass


def test_an_id_becomes_a_key_of_the_row_s_type() -> None:
    class Journey(hw.Projection):
        number: hw.Key[int]
        back: bool = False

        @hw.on(ParcelSent)
        def sent(self, event: ParcelSent) -> None: ...

        @hw.on(hw.Reverted)
        def reverted(self, event: hw.Reverted) -> None:
            self.back = True

    class Parcel(hw.Aggregate[ParcelEvent]):
        pass

    with hw.App("parcels", aggregates=[Parcel], projections=[Journey]).run("memory://") as shop:
        shop.append(Parcel, "7", [ParcelSent(7), ParcelSent(7)])
        reverted = shop.revert(Parcel, "7", to_version=1)
        assert shop.rows(Journey, after=reverted) == [Journey(7, back=True)]


def test_only_entities_whose_own_key_names_the_row_are_meant_without_a_key_function() -> None:
    class Both(hw.Projection):
        trade_id: hw.Key[str]

        @hw.on(Placed)
        def placed(self, event: Placed) -> None: ...

        @hw.on(ParcelSent, key=lambda event, meta: "t1")
        def sent(self, event: ParcelSent) -> None: ...

        @hw.on(hw.Reverted)
        def reverted(self, event: hw.Reverted) -> None: ...

    [model] = read_models_of("test", [Both])
    assert {topic.entity: sorted(topic.types) for topic in model.topics} == {
        "parcel": ["ParcelSent"],
        "trade": ["Placed", "hw.Reverted"],
    }


def test_a_revert_of_nobody_is_refused() -> None:
    with pytest.raises(Misuse, match=r"Alone\.reverted: a revert .* say the events of which entity it reacts to"):

        class Alone(hw.Projection):
            trade_id: hw.Key[str]

            @hw.on(hw.Reverted)
            def reverted(self, event: hw.Reverted) -> None: ...


def test_a_revert_for_an_unknown_row_is_refused() -> None:
    with pytest.raises(Misuse, match=r"say which row .* it is for: @hw.on\(hw.Reverted, key=lambda event, meta: …\)"):

        class Days(hw.Projection):
            day: hw.Key[str]

            @hw.on(Placed, key=lambda event, meta: str(meta.time.date()))
            def placed(self, event: Placed) -> None: ...

            @hw.on(hw.Reverted)
            def reverted(self, event: hw.Reverted) -> None: ...


def test_a_read_model_that_does_not_follow_says_so_once() -> None:
    log = make_log()
    append(log, [placed("t1"), Audited("t1", "x")])
    reading = Reading(log, Revenue)
    reading.read()
    assert reading.runner.notices == []
    for trade_id in ("t1", "t2"):
        revert(log, trade_id, STATE)
    reading.read(1)
    [notice] = reading.runner.notices
    assert notice.startswith("read model revenue met a revert of trade and has no reaction to it")


def test_a_revert_that_an_other_topic_form_brings_is_noticed_as_well() -> None:
    """Where the type does not stand at the beginning of the value, only decoding tells it."""
    log = make_log()
    log.append([NewRecord(TOPIC, 0, b"t1", b'{"toVersion":1,"state":{},"eventType":"hw.Reverted"}')])
    reading = Reading(log, OpenTrade)
    reading.read()
    assert len(reading.runner.notices) == 1


def test_an_app_with_a_reaction_to_reverts_knows_its_events_by_entity() -> None:
    app = hw.App("trades", aggregates=[Trade], projections=[Due])
    assert [event.__hw__.entity for event in app.known_events()] == ["trade"]
    assert app.listened() == {}
    found = catalogue_of("trades", list(app.behaviours.values()), app.projections, app.processes, [])
    assert [entity.name for entity in found.entities] == ["trade"]


@pytest.mark.parametrize("format", ["json", "json-schema", "avro"])
def test_the_page_runs(format: Format, tmp_path: Path) -> None:
    names: dict[str, Any] = {"__name__": __name__}
    code = "".join(part.partition("```")[0] for part in PAGE.read_text().split("```python\n")[1:])
    exec(compile(code, PAGE, "exec", dont_inherit=True), names)
    order, open_order, owed, share = (names[name] for name in ("Order", "OpenOrder", "Owed", "Share"))
    placed, cancelled = names["OrderPlaced"]("1", "ann", Decimal(5)), names["OrderCancelled"]("1", "late")

    class Placements(hw.Projection):
        """Does not follow."""

        order_id: hw.Key[str]

        @hw.on(names["OrderPlaced"])
        def placed(self, event: hw.Event) -> None: ...

    projections = [open_order, owed, share, Placements]
    schemas, codecs = str(tmp_path), {"order-events": format}
    app = hw.App("shop", aggregates=[order], projections=projections, schemas=schemas, codecs=codecs)
    register_all(open_registry(schemas, None), app.published())
    running = app.run("memory://")
    with running as shop:
        ended = shop.append(order, "1", [placed, cancelled])
        assert shop.rows(open_order, after=ended) == []
        assert shop.rows(owed, after=ended) == [owed("ann", Decimal(0))]
        for version in (1, 2, 1):
            ended = shop.revert(order, "1", to_version=version)
        assert shop.rows(open_order, after=ended) == [open_order("1", "ann", Decimal(5))]
        assert shop.rows(owed, after=ended) == [owed("ann", Decimal(5))]
        assert shop.rows(Placements, after=ended) == [Placements("1")]
        assert running.services is not None
        [notice] = running.services.notices
        assert notice.startswith("read model placements met a revert of order")
