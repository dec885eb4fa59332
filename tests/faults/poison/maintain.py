"""A process that maintains the read model until it is killed: `maintain LOG STORE`. It says "ready"."""

from __future__ import annotations

import sys

from tests.faults.poison.ledger import app


def main(log: str, store: str) -> None:
    with app.run(log, only=["projections"], store=store):
        print("ready", flush=True)
        sys.stdin.read()


if __name__ == "__main__":
    main(*sys.argv[1:])
