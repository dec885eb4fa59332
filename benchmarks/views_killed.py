"""A process of `views_groups` that is killed, or goes on.

    python -m benchmarks.views_killed URL NAME DIRECTORY [RECORDS]

With a number of records it kills itself once so many are in the view; without, it goes on until all are, and writes the
rows down.
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path
from threading import Event

from benchmarks.views_side import ASKED, LOOK_S, Total, views_app


def main(url: str, name: str, directory: str, records: str = "") -> None:
    pause, running = Event(), views_app(name, directory, "order_summary").run(url, only=["views"])
    with running as shop:
        assert running.services is not None
        if records:
            [status] = running.services.statuses
            while status.records < int(records):
                pause.wait(LOOK_S)
            os.kill(os.getpid(), signal.SIGKILL)
        while shop.lag()["order_summary"]:
            pause.wait(LOOK_S)
        rows = shop.query(ASKED["order_summary"], into=Total)
        Path("rows.tsv").write_text("".join(f"{row.name}\t{row.total}\n" for row in rows))


if __name__ == "__main__":
    main(*sys.argv[1:])
