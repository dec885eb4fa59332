"""A process that owns the accounts of a file until its input ends: for tests that kill or freeze it."""

from __future__ import annotations

import sys

import headwater as hw
from headwater.log.sqlite import SqliteLog
from tests.bank import Account

SESSION_S = 60.0


def main(path: str) -> None:
    app = hw.App("bank", aggregates=[Account], partitions=3)
    with app.run(SqliteLog(path, session_timeout_s=SESSION_S), only=["commands"]):
        print("running", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(sys.argv[1])
