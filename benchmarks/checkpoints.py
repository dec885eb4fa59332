"""Embedded stores for a local checkpoint: SQLite, LMDB and RocksDB, each with the same entities in the same order.

    fill, rewrite    batches of entities in random order, with a position in each
    read             entities in random order
    open             a new process: from opening to the first entity read, without the import
    killed           a process is killed in the midst of writing: what is there must be what it had committed

Each store has a process of its own for the first part, so its memory is its own, too (its highest, without what the
imports take; pages that a store maps count like others). What each waits for says `checkpoint_stores`.
"""

from __future__ import annotations

import hashlib
import multiprocessing
import random
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from pathlib import Path

from benchmarks.checkpoint_stores import STORES, Store
from benchmarks.rounds import Different, Options, Report, check_equal, options, take_turns

SIZE_BYTES = 300
BATCHES = (100, 1000)
FILLED_BY = 1000
KILLED_KEYS, KILLED_BATCH = 20_000, 500

_apart = multiprocessing.get_context("spawn")


def key_of(number: int) -> bytes:
    return b"entity-%08d" % number


def value_of(number: int, batch: int) -> bytes:
    """What a batch writes of an entity: half of it says something new, as in JSON."""
    noise = hashlib.blake2b(b"%d %d" % (number, batch)).hexdigest().encode()
    return (b'{"id":"entity-%08d","batch":%d,"noise":"%b","state":"' % (number, batch, noise)).ljust(
        SIZE_BYTES - 2, b"x"
    ) + b'"}'


def batches_of(numbers: list[int], size: int) -> Iterator[list[int]]:
    for first in range(0, len(numbers), size):
        yield numbers[first : first + size]


@dataclass
class Side:
    """A store, and what its rounds measured, by figure."""

    name: str
    measured: dict[str, list[float]] = field(default_factory=dict)

    def note(self, figures: dict[str, float]) -> None:
        for name, value in figures.items():
            self.measured.setdefault(name, []).append(value)


def in_its_process(name: str, directory: Path, entities: int, seed: int, answer: Connection) -> None:
    """Fills, rewrites and reads a store, and sends the figures."""
    draw = random.Random(seed)
    numbers = list(range(entities))
    before_kb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    store = STORES[name](directory)
    figures: dict[str, float] = {}

    def write(figure: str, order: list[int], size: int, first: int) -> int:
        batch = first
        started_s, worked_s = time.perf_counter(), time.process_time()
        for part in batches_of(order, size):
            store.write({key_of(number): value_of(number, batch) for number in part}, batch)
            batch += 1
        figures[f"{figure}_per_s"] = len(order) / (time.perf_counter() - started_s)
        figures[f"{figure}_cpu_us"] = (time.process_time() - worked_s) / len(order) * 1e6
        return batch

    draw.shuffle(numbers)
    batch = write(f"fill_by_{FILLED_BY}", numbers, FILLED_BY, 1)
    for size in BATCHES:
        draw.shuffle(numbers)
        batch = write(f"rewrite_by_{size}", numbers[: entities // 20], size, batch)
    draw.shuffle(numbers)
    asked = numbers[: entities // 5]
    started_s = time.perf_counter()
    missing = sum(store.get(key_of(number)) is None for number in asked)
    figures["read_per_s"] = len(asked) / (time.perf_counter() - started_s)
    figures["position_off"] = store.position() - batch + 1 + missing
    figures["memory_mb"] = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kb) / 1024
    store.close()
    figures["size_mb"] = sum(file.stat().st_blocks * 512 for file in directory.rglob("*")) / 2**20
    answer.send(figures)


def opened(name: str, directory: Path, answer: Connection) -> None:
    started_s = time.perf_counter()
    store = STORES[name](directory)
    there = store.get(key_of(0)) is not None
    answer.send({"open_ms": (time.perf_counter() - started_s) * 1000, "position_off": float(not there)})
    store.close()


def write_on(name: str, directory: Path, seed: int, answer: Connection) -> None:
    """Writes batches until it is killed, and says before each what it is up to. The batch's number is the position."""
    store = STORES[name](directory)
    batch = store.position()
    while True:
        batch += 1
        answer.send(batch)
        store.write({key_of(n): value_of(n, batch) for n in written_by(seed, batch)}, batch)


def written_by(seed: int, batch: int) -> list[int]:
    return random.Random(seed * 1_000_000 + batch).sample(range(KILLED_KEYS), KILLED_BATCH)


def survives(name: str, directory: Path, seed: int, kills: int) -> dict[str, float]:
    """Kills a writer again and again. Raises: Different: what is there is no prefix of what it wrote."""
    draw = random.Random(seed)
    expected: dict[int, int] = {}
    done, worst_ms = 0, 0.0
    for _ in range(kills):
        inbox, outbox = _apart.Pipe(duplex=False)
        writer = _apart.Process(target=write_on, args=(name, directory, seed, outbox), daemon=True)
        writer.start()
        outbox.close()
        begun = inbox.recv()
        time.sleep(draw.uniform(0.05, 0.5))
        writer.kill()
        writer.join()
        try:
            while True:
                begun = inbox.recv()
        except EOFError:
            pass
        started_s = time.perf_counter()
        store = STORES[name](directory)
        position = store.position()
        worst_ms = max(worst_ms, (time.perf_counter() - started_s) * 1000)
        check_equal(
            f"{name}, killed (seed {seed}), has batch {position} of {begun}: the last one",
            position in (begun - 1, begun),
            True,
        )
        for batch in range(done + 1, position + 1):
            expected.update(dict.fromkeys(written_by(seed, batch), batch))
        done = position
        check_killed(name, store, expected)
        store.close()
    return {"open_when_killed_ms": worst_ms}


def check_killed(name: str, store: Store, expected: dict[int, int]) -> None:
    wrong = [n for n in range(KILLED_KEYS) if store.get(key_of(n)) != wanted(n, expected)]
    check_equal(f"{name}, killed: entities that are not as they were committed", wrong, [])


def wanted(number: int, expected: dict[int, int]) -> bytes | None:
    batch = expected.get(number)
    return None if batch is None else value_of(number, batch)


def ask(target: Callable[..., object], *arguments: object) -> dict[str, float]:
    """What a function sends from a process of its own."""
    inbox, outbox = _apart.Pipe(duplex=False)
    process = _apart.Process(target=target, args=(*arguments, outbox))
    process.start()
    outbox.close()
    found: dict[str, float] = inbox.recv()
    process.join()
    return found


def turn(side: Side, entities: int, kills: int, seed: int) -> None:
    with tempfile.TemporaryDirectory(prefix="headwater-bench-") as place:
        directory = Path(place) / "filled"
        directory.mkdir()
        for figures in (
            ask(in_its_process, side.name, directory, entities, seed),
            ask(opened, side.name, directory),
        ):
            check_equal(f"{side.name}: what is missing", figures.pop("position_off"), 0)
            side.note(figures)
        directory = Path(place) / "killed"
        directory.mkdir()
        side.note(survives(side.name, directory, seed, kills))


def measure(asked: Options) -> Report:
    """Raises: Different."""
    rounds, entities, kills = (1, 100_000, 2) if asked.quick else (1, 1_000_000, 10)
    sides = [Side(name) for name in STORES]
    take_turns(rounds, [lambda index, side=side: turn(side, entities, kills, index + 1) for side in sides])  # type: ignore[misc] # mypy infers no lambda with a default
    report = Report("checkpoints", {})
    for side in sides:
        for figure, samples in side.measured.items():
            report.figure(f"{side.name}_{figure}", samples, 2)
    return report


def main() -> int:
    asked = options("checkpoints", "SQLite, LMDB and RocksDB as the place of a local checkpoint.")
    try:
        return measure(asked).finish(asked)
    except Different as error:
        print(f"checkpoints: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
