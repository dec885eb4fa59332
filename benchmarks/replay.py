"""A typed fold of all events of many accounts, from Kafka and from one SQLite file.

    library   `shop.replay(Account)`: every account's state by id
    floor     a loop over confluent-kafka's messages, or over the rows of the file, with msgspec and a dict

The events carry the headers that headwater's events carry. Both sides read the same records and must come to the
same balances and versions. The floors are as tight as we could write them: one loop that calls nothing but the two
libraries, structs of only the fields that the fold asks for, the consumer's settings those of headwater's reader.
"""

from __future__ import annotations

import gc
import itertools
import random
import sqlite3
import sys
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import msgspec
from confluent_kafka import Consumer, KafkaError, KafkaException, Message, Producer, TopicPartition

import headwater as hw
from benchmarks import bare
from benchmarks.accounts import Account
from benchmarks.brokers import one_broker
from benchmarks.rounds import Different, Options, Report, check_equal, options, take_turns
from headwater.log.opening import open_log
from headwater.log.partitioning import partition_of
from headwater.log.port import NewRecord

ACCOUNTS = 20_000
TOPIC = "account-events"
OFFSET_BITS = 40
CONSUMED = 2_000  # messages at a time: more of them leave the processor's caches before they are folded
TARGETS = {"kafka_vs_floor": ("≥", 0.7), "sqlite_vs_floor": ("≥", 0.6)}

Balances = dict[str, tuple[int, int]]
"""By account: version and cents."""


def events(count: int) -> Iterator[tuple[bytes, int, bytes, list[bare.Header]]]:
    """So many events as headwater writes them: key, partition, value, headers. The same ones each time."""
    draw, ids, time_text = random.Random(7), bare.Ids(), bare.now_text()
    versions = [0] * ACCOUNTS
    keys = [f"{number:06d}" for number in range(ACCOUNTS)]
    partitions = [partition_of(key.encode(), bare.PARTITIONS) for key in keys]
    time_header, mark = time_text.encode(), ("hw_txn", b"bench;1;0=1000")
    for _ in range(count):
        number, cents = draw.randrange(ACCOUNTS), draw.randint(1, 5000)
        kind = bare.Deposited if draw.random() < 0.7 else bare.Withdrawn
        versions[number] += 1
        key = keys[number].encode()
        headers = bare.event_headers(ids.new(), kind, time_header, key, versions[number], ids.new().encode(), mark)
        yield key, partitions[number], bare.encode(kind(1, keys[number], cents, time_text)), headers


class Deposited(msgspec.Struct, rename="camel", tag_field="eventType", frozen=True):
    account_id: str
    cents: int


class Withdrawn(msgspec.Struct, rename="camel", tag_field="eventType", frozen=True):
    account_id: str
    cents: int


decode_event = msgspec.json.Decoder(Deposited | Withdrawn).decode


def fold(pairs: Iterable[tuple[bytes, bytes]]) -> dict[bytes, bare.Account]:
    """What a floor does with keys and values of events."""
    states: dict[bytes, bare.Account] = {}
    decode, get = decode_event, states.get
    for key, value in pairs:
        event = decode(value)
        state = get(key)
        if state is None:
            state = states[key] = bare.Account(event.account_id)
        if type(event) is Deposited:
            state.cents += event.cents
        else:
            state.cents -= event.cents
        state.version += 1
    return states


def balances_of(states: Iterable[bare.Account] | Iterable[Account]) -> Balances:
    return {state.id: (state.version, state.cents) for state in states}


def kafka_floor(bootstrap: str) -> Balances:
    consumer = Consumer(
        {
            "bootstrap.servers": bootstrap,
            "group.id": "none",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
            "fetch.wait.max.ms": 20,
            "isolation.level": "read_committed",
            "fetch.queue.backoff.ms": 1,
            "queued.max.messages.kbytes": 32_768,
        }
    )
    consumer.assign([TopicPartition(TOPIC, partition, 0) for partition in range(bare.PARTITIONS)])
    states: dict[bytes, bare.Account] = {}
    decode, get, consume = decode_event, states.get, consumer.consume
    left = bare.PARTITIONS
    while left:
        for message in consume(CONSUMED, 0.02):
            key = message.key()
            if key is None:  # no event: a partition's end, or trouble
                left -= is_end(message)
                continue
            event = decode(message.value())  # type: ignore[arg-type] # what has a key here is an event
            state = get(key)
            if state is None:
                state = states[key] = bare.Account(event.account_id)
            if type(event) is Deposited:
                state.cents += event.cents
            else:
                state.cents -= event.cents
            state.version += 1
    consumer.close()
    return balances_of(states.values())


def is_end(message: Message) -> bool:
    """Raises: KafkaException: anything else than a partition's end."""
    error = message.error()
    if error is None or error.code() != KafkaError._PARTITION_EOF:
        raise KafkaException(error)
    return True


def sqlite_floor(file: Path) -> Balances:
    """Reads the library's own file, by one statement."""
    connection = sqlite3.connect(file)
    (slot,) = connection.execute("SELECT first_slot FROM topics WHERE name = ?", [TOPIC]).fetchone()
    rows = connection.execute(
        "SELECT key, value FROM records WHERE place >= ? AND place < ? ORDER BY place",
        [slot << OFFSET_BITS, slot + bare.PARTITIONS << OFFSET_BITS],
    )
    states = fold(rows)
    connection.close()
    return balances_of(states.values())


def fill_kafka(bootstrap: str, count: int) -> None:
    producer = Producer(
        {"bootstrap.servers": bootstrap, "enable.idempotence": True, "linger.ms": 20, "batch.size": 1_000_000}
    )
    for key, partition, value, headers in events(count):
        while True:
            try:
                producer.produce(TOPIC, value, key, partition, headers=[*headers])
                break
            except BufferError:
                producer.poll(0.1)
    if producer.flush(60):
        raise RuntimeError("the broker did not take all events within a minute")


def fill_sqlite(url: str, count: int) -> None:
    log = open_log(url)
    made = events(count)
    while part := [NewRecord(TOPIC, p, key, value, headers) for key, p, value, headers in itertools.islice(made, 5000)]:
        log.append(part)
    log.close()


def expected(count: int) -> Balances:
    """By arithmetic, without records."""
    return balances_of(fold((key, value) for key, _, value, _ in events(count)).values())


@dataclass
class Side:
    """One of those compared, with its rates: events per second."""

    name: str
    fold: Callable[[], Balances]
    rates: list[float] = field(default_factory=list)

    def turn(self, count: int, right: Balances) -> None:
        """Raises: Different."""
        gc.collect()
        started = time.perf_counter()
        found = self.fold()
        self.rates.append(count / (time.perf_counter() - started))
        check_equal(f"{self.name}: wrong balances", [key for key in right if found.get(key) != right[key]], [])
        check_equal(f"{self.name}: how many accounts", len(found), len(right))


def compare(
    app: hw.App, url: str, by_hand: Callable[[], Balances], rounds: int, count: int, right: Balances
) -> list[Side]:
    """Both sides in turns. Raises: Different."""
    with app.connect(url, store="memory://") as shop:
        sides = [Side("library", lambda: balances_of(shop.replay(Account).values())), Side("floor", by_hand)]
        take_turns(rounds, [lambda index, side=side: side.turn(count, right) for side in sides])  # type: ignore[misc] # mypy infers no lambda with a default
    return sides


def measure(asked: Options) -> Report:
    """Raises: Different."""
    rounds, count = (3, 200_000) if asked.quick else (5, 1_000_000)
    app = hw.App("bench", aggregates=[Account], partitions=bare.PARTITIONS)
    right = expected(count)
    report = Report("replay", TARGETS)
    report.figures["events"] = count

    def keep(log: str, sides: list[Side]) -> None:
        for side in sides:
            report.figure(f"{log}_{side.name}_events_per_s", side.rates)
        report.ratio(f"{log}_vs_floor", sides[0].rates, sides[1].rates)

    with one_broker() as broker:
        with app.run(broker.url, store="memory://"):
            pass  # makes the topics
        fill_kafka(broker.bootstrap, count)
        keep("kafka", compare(app, broker.url, lambda: kafka_floor(broker.bootstrap), rounds, count, right))
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as directory:
        file = Path(directory) / "log.db"
        url = f"sqlite:///{file}"
        with app.run(url, store="memory://"):
            pass
        fill_sqlite(url, count)
        keep("sqlite", compare(app, url, lambda: sqlite_floor(file), rounds, count, right))
    return report


def main() -> int:
    asked = options("replay", "A typed fold of all events, from Kafka and from SQLite, beside bare loops.")
    try:
        report = measure(asked)
    except Different as error:
        print(f"replay: {error}", file=sys.stderr)
        return 1
    return report.finish(asked)


if __name__ == "__main__":
    sys.exit(main())
