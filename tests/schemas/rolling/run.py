"""A process that owns counters and reads their events until its input ends. The directory's name says which code."""

from __future__ import annotations

import faulthandler
import importlib
import signal
import sys
from pathlib import Path

import headwater as hw
from headwater.log.opening import open_log
from headwater.testing import PrefixedLog


def main(directory: str, url: str, prefix: str) -> None:
    path = Path(directory)
    app: hw.App = importlib.import_module(f"tests.schemas.rolling.{path.name}").app(directory)
    with app.run(PrefixedLog(open_log(url), prefix), store=f"sqlite:///{path.parent}/rows.db"):
        print("running", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    faulthandler.register(signal.SIGUSR1)
    main(*sys.argv[1:])
