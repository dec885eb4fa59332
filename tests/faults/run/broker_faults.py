"""Brokers that are killed, frozen, restarted, and whose disk is full."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from headwater.log.port import TopicPartition
from tests.faults.run.bank import PARTITIONS
from tests.faults.run.kinds import Kind
from tests.faults.run.scene import SMALL, Missed, Scene

TOPICS = [
    *(f"{entity}-{what}" for entity in ("account", "transfer") for what in ("events", "state", "commands", "replies")),
    *("transfers-commands", "transfers-state"),
]
GROUPS = ["account-owners", "transfer-owners", "transfers-owners", "transfers"]

START_S = 240
"""How long brokers may take to start on a machine that is busy with everybody else, who has lost them."""

Find = Callable[[Scene, random.Random], tuple[int, str]]
"""Finds a broker, and says why it."""


def leader(scene: Scene, chance: random.Random) -> tuple[int, str]:
    partition = TopicPartition(chance.choice(TOPICS), chance.randrange(PARTITIONS))
    return scene.leader(partition), f"leader of {partition}"


def group_coordinator(scene: Scene, chance: random.Random) -> tuple[int, str]:
    group = chance.choice(GROUPS)
    return scene.group_coordinator(group), f"coordinator of group {group}"


def transaction_coordinator(scene: Scene, chance: random.Random) -> tuple[int, str]:
    client = chance.choice(["account-owners-", "transfers-owners-"])
    return scene.transaction_coordinator(client), f"coordinator of transactions of {client}"


def controller(scene: Scene, chance: random.Random) -> tuple[int, str]:
    return scene.controller(), "controller"


def any_broker(scene: Scene, chance: random.Random) -> tuple[int, str]:
    return chance.choice([node.id for node in scene.cluster.nodes]), "any"


@contextmanager
def killed(find: Find, scene: Scene, chance: random.Random) -> Iterator[str]:
    node, why = find(scene, chance)
    scene.cluster.kill(node)
    yield f"broker {node}, {why}"
    scene.cluster.restart(node, START_S)


@contextmanager
def frozen(scene: Scene, chance: random.Random) -> Iterator[str]:
    node, _ = any_broker(scene, chance)
    scene.cluster.pause(node)
    yield f"broker {node}"
    scene.cluster.resume(node)


@contextmanager
def several_killed(count: int, scene: Scene, chance: random.Random) -> Iterator[str]:
    nodes = chance.sample([node.id for node in scene.cluster.nodes], count)
    for node in nodes:
        scene.cluster.kill(node)
    yield f"brokers {nodes}"
    scene.cluster.start(START_S)


@contextmanager
def rolling_restart(scene: Scene, chance: random.Random) -> Iterator[str]:
    nodes = chance.sample([node.id for node in scene.cluster.nodes], len(scene.cluster.nodes))
    for node in nodes:
        scene.cluster.end(node)
        scene.cluster.restart(node, START_S)
    yield f"brokers {nodes}"


@contextmanager
def disk_full(scene: Scene, chance: random.Random) -> Iterator[str]:
    """A broker that cannot write ends itself."""
    disk = scene.disk
    if disk is None:
        raise Missed("no small disk can be mounted here")
    disk.fill()
    yield f"broker {SMALL}"
    disk.make_room()
    if SMALL in scene.cluster.pids:
        scene.cluster.kill(SMALL)
    scene.cluster.restart(SMALL, START_S)


KINDS = [
    Kind("leader killed", partial(killed, leader), 1, 6),
    Kind("group coordinator killed", partial(killed, group_coordinator), 1, 6),
    Kind("transaction coordinator killed", partial(killed, transaction_coordinator), 1, 6),
    Kind("controller killed", partial(killed, controller), 1, 6),
    Kind("two brokers killed", partial(several_killed, 2), 1, 6),
    Kind("all brokers killed", partial(several_killed, 3), 0, 4),
    Kind("broker frozen", frozen, 2, 8),
    Kind("rolling restart", rolling_restart),
    Kind("disk of a broker full", disk_full, 4, 8, disk=True),
]
