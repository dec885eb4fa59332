"""A process that owns counters until its input ends."""

from __future__ import annotations

import faulthandler
import importlib
import signal
import sys

import headwater as hw
from headwater.log.opening import open_log
from headwater.testing import PrefixedLog


def main(version: str, url: str, prefix: str) -> None:
    app: hw.App = importlib.import_module(f"tests.owners.rolling.{version}").app
    try:
        with app.run(PrefixedLog(open_log(url), prefix), only=["commands"]):
            print("running", flush=True)
            sys.stdin.read()
    except hw.Unavailable as error:
        print(f"unavailable: {error}", flush=True)


if __name__ == "__main__":
    faulthandler.register(signal.SIGUSR1)
    main(*sys.argv[1:])
