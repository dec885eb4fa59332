"""What lies between clients and brokers: cut, slow, and answers or requests that are lost or late."""

from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial

from headwater.testing.proxy import Api, Fault
from headwater.testing.proxy.protocol import name_of
from tests.faults.run.kinds import Kind
from tests.faults.run.scene import SESSION_S, Scene

WRITERS = ["account-owners-", "transfer-owners-", "transfers-owners-", "transfers-forward-"]
LOST_OR_LATE = [Api.PRODUCE, Api.INIT_PRODUCER_ID, Api.TXN_OFFSET_COMMIT, Api.END_TXN]


@contextmanager
def all_cut(scene: Scene, chance: random.Random) -> Iterator[str]:
    """Every connection ends once, also those between brokers."""
    yield f"{scene.proxy.cut()} connections"


@contextmanager
def broker_apart(scene: Scene, chance: random.Random) -> Iterator[str]:
    """A broker lives, and nobody reaches it: the other brokers cannot copy from it, either."""
    node = chance.choice(scene.cluster.nodes)
    scene.proxy.part(node.port)
    yield f"broker {node.id}"
    scene.proxy.join(node.port)


@contextmanager
def owner_cut_off(scene: Scene, chance: random.Random) -> Iterator[str]:
    """Nothing that an owner sends arrives. It does not know, and is replaced meanwhile."""
    owner = scene.any_owner(chance)
    silence = scene.proxy.silence(owner.id)
    yield f"owner {owner.number}"
    silence.discard()


@contextmanager
def owners_are_slow(scene: Scene, chance: random.Random) -> Iterator[str]:
    seconds = round(chance.uniform(0.03, 0.3), 3)
    delays = [scene.proxy.delay(seconds, client=writer) for writer in WRITERS]
    yield f"answers to writers, by {seconds:g} s"
    for delay in delays:
        delay.release()


@contextmanager
def everybody_is_slow(scene: Scene, chance: random.Random) -> Iterator[str]:
    seconds = round(chance.uniform(0.02, 0.1), 3)
    delay = scene.proxy.delay(seconds)
    yield f"all answers, by {seconds:g} s"
    delay.release()


@contextmanager
def answers_lost(api: Api, scene: Scene, chance: random.Random) -> Iterator[str]:
    """In silence, so that the client waits until its time is out, or with the connection, so that it asks again."""
    writer, cut, times = _writer(api, chance), chance.random() < 0.6, chance.randint(1, 3)
    lost = scene.proxy.drop_answer(api, client=writer, times=times, cut=cut)
    yield from _when_caught(scene, lost, api, writer, f"{times} of {writer}, {'cut' if cut else 'in silence'}")


@contextmanager
def answers_late(api: Api, scene: Scene, chance: random.Random) -> Iterator[str]:
    writer, seconds, times = _writer(api, chance), round(chance.uniform(0.2, 3.0), 2), chance.randint(1, 5)
    late = scene.proxy.keep_answer(api, client=writer, times=times, for_s=seconds)
    yield from _when_caught(scene, late, api, writer, f"{times} of {writer}, by {seconds:g} s")


def _writer(api: Api, chance: random.Random) -> str:
    return chance.choice([*WRITERS, "appender@"] if api == Api.PRODUCE else WRITERS)


def _when_caught(scene: Scene, fault: Fault, api: Api, writer: str, target: str) -> Iterator[str]:
    try:
        if api == Api.INIT_PRODUCER_ID:
            scene.proxy.cut(writer)  # a doubt: producers are replaced
        scene.happens(lambda: fault.caught, f"{writer} sends {name_of(api)}")
        yield target
    finally:
        fault.discard()


@contextmanager
def commit_past_the_next(scene: Scene, chance: random.Random) -> Iterator[str]:
    """A commit is kept back and its client repeats it by itself; it arrives in the midst of a later transaction of the
    same id."""
    writer = chance.choice(WRITERS)
    kept = scene.proxy.keep_request(Api.END_TXN, client=writer, cut=True)
    try:
        caught = scene.happens(lambda: kept.caught, f"{writer} commits")[0].client
        behind = len(scene.proxy.requests)

        def writes_again() -> bool:
            later = scene.proxy.requests[behind:]
            return any((one.api, one.client) == (Api.PRODUCE, caught) for _, one in later)

        scene.happens(writes_again, f"{caught} begins another transaction")
        kept.release()
        scene.happens(lambda: kept.answered, "the late commit is answered")
        yield f"{caught}, answered with {kept.errors}"
    finally:
        kept.discard()


KINDS = [
    Kind("connections cut", all_cut),
    Kind("broker out of reach", broker_apart, 3, 9),
    Kind("owner cut off past its session", owner_cut_off, SESSION_S + 2, 2 * SESSION_S),
    Kind("answers to writers delayed", owners_are_slow, 3, 8),
    Kind("all answers delayed", everybody_is_slow, 3, 8),
    *(Kind(f"answers of {name_of(api)} lost", partial(answers_lost, api), 0, 2) for api in LOST_OR_LATE),
    *(Kind(f"answers of {name_of(api)} late", partial(answers_late, api), 0, 2) for api in LOST_OR_LATE),
    Kind("EndTxn held past the next transaction", commit_past_the_next),
]
