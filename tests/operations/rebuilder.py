"""A process that rebuilds a read model: `rebuilder LOG STORE ACTION [STEP BATCH]`.

ACTION is build, switch, roll_back or drop. With a step, it kills itself there: "taken" (the lease), "forgotten" (what
was beside), "opened" (tables), "loaded", "saved" or "committed" (of the given batch), "exchanged" (in the transaction,
before its commit) or "switched". It says "done" at the end.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
from collections.abc import Callable
from typing import Any

from headwater.environment import SYSTEM
from headwater.log.sqlite import SqliteLog
from headwater.operations.rebuild import Rebuilding
from headwater.operations.rebuild_state import OPERATOR, this_process
from headwater.projections.read_model import read_models_of
from headwater.stores import postgres, sqlite
from headwater.stores.opening import open_store
from tests.projections.maintain import Watched
from tests.projections.trade import Revenue

BATCH = 7


class Mortal:
    """Makes the process die at a step of what is done to a store."""

    def __init__(self, store: Any, step: str = "", batch: str = "0") -> None:
        self._step, self._left = step, int(batch)
        self._apply = store.apply
        store.apply = self.apply
        store.forget = self.after(store.forget, "forgotten")
        store.open_tables = self.after(store.open_tables, "opened", but=OPERATOR)
        store.switch = self.after(store.switch, "switched")
        for module in (sqlite, postgres):
            vars(module)["carry_out"] = self.after(vars(module)["carry_out"], "exchanged")

    def after(self, function: Callable[..., Any], step: str, but: str = "") -> Callable[..., Any]:
        def call(*arguments: Any) -> Any:
            found = function(*arguments)
            if arguments[0] != but:
                self.die(step)
            return found

        return call

    def apply(self, runner: str, start: Any, to: Any, work: Callable[[Any], None]) -> None:
        if runner == OPERATOR:
            self._apply(runner, start, to, work)
            self.die("taken")
            return
        self._left -= 1

        def watched(loading: Any) -> None:
            work(Watched(loading, self.die_late))
            self.die_late("saved")

        self._apply(runner, start, to, watched)
        self.die_late("committed")

    def die_late(self, step: str) -> None:
        if self._left <= 0:
            self.die(step)

    def die(self, step: str) -> None:
        if step == self._step:
            os.kill(os.getpid(), signal.SIGKILL)


def main() -> None:
    log_path, store_url, action, *step = sys.argv[1:]
    [model] = read_models_of("test", [Revenue])
    log, store = SqliteLog(log_path), open_store(store_url)
    one = Rebuilding(model, store, log, this_process("ann", SYSTEM), SYSTEM)
    Mortal(store, *step)
    if action == "build":
        one.build(lambda progress: None, threading.Event(), BATCH * 10_000 if not step else BATCH * 10)
    elif action == "drop":
        one.drop()
    else:
        getattr(one, action)(lambda progress: None)
    print("done", flush=True)


if __name__ == "__main__":
    main()
