"""A process that maintains one read model until it is killed: `maintain LOG STORE PROJECTION [STEP BATCH]`.

It says "ready" on its standard output when it owns partitions. With a step, it kills itself there: "loaded",
"saved", "positions written" (all inside the transaction of the given batch, the latter in PostgreSQL), "sent" (to
Redis, which has not answered) or "committed"; or, from the given batch on, "published" (dead letters are in their topic
and not marked in the store).
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from headwater.log.port import Positions
from headwater.log.sqlite import SqliteLog
from headwater.projections import shelving
from headwater.projections.declare import Projection
from headwater.projections.read_model import read_models_of
from headwater.projections.runner import ProjectionRunner
from headwater.projections.shelving import Shelving
from headwater.stores import postgres
from headwater.stores.opening import open_store
from headwater.stores.redis import RedisStore
from headwater.stores.redis_scripts import COMMIT
from tests.projections import trade
from tests.projections.everyone import Everyone
from tests.projections.fragile import Fragile
from tests.projections.once import Once


class Mortal:
    """Makes the process die at a step of a batch that is applied to a store."""

    def __init__(self, store: Any, step: str = "", batch: str = "0") -> None:
        self._apply, self._step, self._left = store.apply, step, int(batch)
        self._write_positions = vars(postgres)["write_positions"]
        store.apply = self.apply
        self._mark = Shelving._mark
        vars(shelving)["Shelving"]._mark = lambda shelving, *arguments: self.mark(shelving, *arguments)
        vars(postgres)["write_positions"] = self.write_positions
        if isinstance(store, RedisStore):
            self._server, self._run = store._server, store._server.run
            vars(store._server)["run"] = self.run

    def apply(self, runner: str, start: Positions, to: Positions, work: Callable[[Any], None]) -> None:
        if not to:  # it is no batch
            self._apply(runner, start, to, work)
            return
        self._left -= 1

        def watched(loading: Any) -> None:
            work(Watched(loading, self.die))
            self.die("saved")

        self._apply(runner, start, to, watched)
        self.die("committed")

    def write_positions(self, *arguments: Any) -> None:
        self._write_positions(*arguments)
        self.die("positions written")

    def run(self, script: str, *arguments: Any) -> Any:
        if script is COMMIT and self._step == "sent":
            connection = self._server._client.connection_pool.get_connection()
            connection.send_command("EVAL", script, 0, self._server.prefix, *arguments)
            self.die("sent")
            return connection.read_response()
        return self._run(script, *arguments)

    def mark(self, *arguments: Any) -> None:
        self.die("published")
        self._mark(*arguments)

    def die(self, step: str) -> None:
        if step == self._step and self._left <= 0:
            os.kill(os.getpid(), signal.SIGKILL)


class Watched:
    """`Loading` that tells when rows were loaded."""

    def __init__(self, loading: Any, die: Callable[[str], None]) -> None:
        self._loading, self._die = loading, die
        self.save, self.delete = loading.save, loading.delete

    def load(self, table: Any, keys: Any) -> Any:
        rows = self._loading.load(table, keys)
        self._die("loaded")
        return rows


def main() -> None:
    log_path, store_url, name, *step = sys.argv[1:]
    projections: dict[str, type[Projection]] = {
        "Everyone": Everyone,
        "OpenTrade": trade.OpenTrade,
        "Fragile": Fragile,
        "Once": Once,
    }
    [model] = read_models_of("test", [projections[name]])
    log = SqliteLog(log_path, session_timeout_s=1.0)
    store = open_store(store_url)
    Mortal(store, *step)
    runner = ProjectionRunner(model, log, store)
    loop = runner.loop()
    loop._batch_records = 7  # many commits
    loop.start()
    pause = threading.Event()
    while not loop.status.owned:
        pause.wait(0.001)
    print("ready", flush=True)
    pause.wait()


if __name__ == "__main__":
    main()
