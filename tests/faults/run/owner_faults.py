"""Owners that are killed at a step or at any time, frozen, and joined by others that leave at once."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial

from headwater.errors import HeadwaterError
from tests.faults.run.bank import make_app
from tests.faults.run.kinds import Kind
from tests.faults.run.owner import WRITERS
from tests.faults.run.owners import OwnerProcess
from tests.faults.run.scene import SESSION_S, Missed, Scene
from tests.processes.mortal import STEPS, STEPS_OF_OWNERS

DIES_S = 10.0
"""How long one owner may take to come to a step before another one is told to die there."""
WHEN_ASSIGNED = ("settling", "restoring")


@contextmanager
def killed_at(step: str, scene: Scene, chance: random.Random) -> Iterator[str]:
    """At a step of a transaction: whoever of the owners comes there."""
    writers = [writer for writer in WRITERS if step in STEPS or writer != "forwarder"]
    writer, count = chance.choice(writers), chance.randint(1, 3)
    owners = [one for one in scene.owners.running if one.ready.is_set()]
    for owner in chance.sample(owners, len(owners)):
        owner.tell("die", writer, step, count)
        try:
            scene.happens(owner.has_ended, f"{writer} comes to the step", DIES_S)
        except Missed:
            owner.tell("live")
        else:
            yield f"owner {owner.number}, {writer}, transaction {count}"
            return
    raise Missed(f"no {writer} came to the step")


@contextmanager
def killed_when_assigned(step: str, scene: Scene, chance: random.Random) -> Iterator[str]:
    """An owner is killed, and who takes its partitions over as well."""
    writer, first = chance.choice([one for one in WRITERS if one != "forwarder"]), scene.any_owner(chance)
    others = [one for one in scene.owners.running if one is not first]
    for other in others:
        other.tell("die", writer, step, 1)
    first.kill()
    try:
        dead = scene.happens(lambda: [one for one in others if not one.runs], f"{writer} takes over")
    finally:
        for other in others:
            other.tell("live")
    yield f"owner {first.number}, then {_names(dead)}, {writer}"


@contextmanager
def killed_at_any_time(scene: Scene, chance: random.Random) -> Iterator[str]:
    owner = scene.any_owner(chance)
    owner.kill()
    yield f"owner {owner.number}"


@contextmanager
def all_killed(scene: Scene, chance: random.Random) -> Iterator[str]:
    for owner in scene.owners.all:
        owner.kill()
    yield "all owners"


@contextmanager
def frozen(scene: Scene, chance: random.Random) -> Iterator[str]:
    owner = scene.any_owner(chance)
    owner.freeze()
    yield f"owner {owner.number}"
    owner.thaw()


@contextmanager
def storm(scene: Scene, chance: random.Random) -> Iterator[str]:
    """Other owners come, work for a moment and go."""
    stays = [round(chance.uniform(0.0, 1.0), 2) for _ in range(8)]
    with ThreadPoolExecutor(2) as visiting:
        visits = [visiting.submit(visit, scene, stay) for stay in stays]
        came = sum(one.result() for one in visits)
    if not came:
        raise Missed("nobody got ready")
    yield f"{came} of {len(stays)} owners came and went"


def visit(scene: Scene, stay_s: float) -> bool:
    """An owner in this process. Returns whether it got ready."""
    try:
        with make_app().run(scene.url, only=["commands", "processes"], store="memory://"):
            threading.Event().wait(stay_s)
    except HeadwaterError as error:
        scene.note(f"a visitor: {error}")
        return False
    return True


def _names(owners: list[OwnerProcess]) -> str:
    return " and ".join(str(one.number) for one in owners)


KINDS = [
    *(Kind(f"owner killed: {step}", partial(killed_at, step), 0, 2) for step in STEPS_OF_OWNERS[:-2]),
    *(Kind(f"owner killed: {step}", partial(killed_when_assigned, step), 0, 2) for step in WHEN_ASSIGNED),
    Kind("owner killed at any time", killed_at_any_time, 0, 5),
    Kind("all owners killed", all_killed, 0, 3),
    Kind("owner frozen within its session", frozen, SESSION_S / 4, SESSION_S / 2),
    Kind("owner frozen past its session", frozen, SESSION_S + 2, 2 * SESSION_S),
    Kind("rebalance storm", storm),
]
