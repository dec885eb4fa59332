"""A process that does the bank's work, and dies where it is told: `owner URL STORE PART...`.

It prints `running ID` when every partition has an owner; the ID is part of the names of its clients. It takes one
order a line: `die WRITER STEP COUNT` and `live`. It ends with its input; with 3 and a sentence when a part of it gave
up, which nothing that happens to brokers, network and other owners may lead to.
"""

from __future__ import annotations

import logging
import os
import sys
import threading
from collections.abc import Mapping, Sequence
from typing import cast

from headwater.log.kafka import KafkaLog
from headwater.log.opening import open_log
from headwater.services import Part, Services
from tests.faults.run.bank import make_app
from tests.processes.mortal import Death, MortalLog

WRITERS = {
    "account owner": "account-owners-",
    "transfer owner": "transfer-owners-",
    "process owner": "transfers-owners-",
    "forwarder": "transfers-forward-",
}
"""What the names of the writers begin with."""

GAVE_UP = 3
LOOK_S = 0.2


def main(url: str, store: str, parts: Sequence[Part]) -> None:
    deaths = {begin: Death() for begin in WRITERS.values()}
    log = open_log(url)
    assert isinstance(log, KafkaLog)
    running = make_app().run(cast(KafkaLog, MortalLog(log, deaths)), only=parts, store=store)
    over = threading.Event()
    with running:
        print("running", log._connection.process, flush=True)
        threading.Thread(target=obey, args=(deaths, over), daemon=True).start()
        assert running.services is not None
        while not over.wait(LOOK_S):
            if why := given_up(running.services):
                print("gave up:", why, file=sys.stderr, flush=True)
                os._exit(GAVE_UP)
    log.close()


def obey(deaths: Mapping[str, Death], over: threading.Event) -> None:
    """Takes orders until there are no more."""
    for line in sys.stdin:
        order, *arguments = line.rstrip("\n").split("\t")
        for death in deaths.values():
            death.armed = False
        if order == "die":
            writer, step, count = arguments
            deaths[WRITERS[writer]].is_due(step, int(count))
            deaths[WRITERS[writer]].armed = True
    over.set()


def given_up(services: Services) -> str:
    """What does not go on by itself; empty: nothing."""
    found = [f"{status.name}: {status.last_failure}" for status in services.statuses if not status.alive]
    found += [
        f"{status.name}, partition {p}: {why}" for status in services.statuses for p, why in status.stopped.items()
    ]
    return "; ".join(found)


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(threadName)s %(name)s %(levelname)s %(message)s")
    logging.getLogger("headwater.log.kafka").setLevel(logging.DEBUG)
    main(sys.argv[1], sys.argv[2], cast("Sequence[Part]", sys.argv[3:]))
