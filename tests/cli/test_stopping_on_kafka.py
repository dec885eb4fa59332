"""`hw run` on a real broker is told to stop while a decision does not come back."""

from __future__ import annotations

import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from headwater.testing.waiting import eventually
from tests.cli.conftest import Shell
from tests.cli.test_mistakes import WAITING
from tests.cli.test_on_kafka import PAY, TILL_APP, entity
from tests.cli.test_run import Process

pytestmark = [pytest.mark.kafka, pytest.mark.slow]

__all__ = ["entity"]

HANGS = """
        if Path("hang").exists():
            Path("hangs").touch()
            threading.Event().wait()
        return Paid("""


def test_it_ends_in_time_says_which_owner_is_where_and_the_next_one_goes_on(
    shell: Shell, entity: str, directory: Path, kafka_broker: str
) -> None:
    app = TILL_APP.format(entity=entity).replace("\n        return Paid(", HANGS)
    (directory / "hanging.py").write_text(f"import threading\nfrom pathlib import Path\n{app}")
    (directory / "hang").touch()
    process, again = Process("hanging:app"), None
    send = [sys.executable, "-c", "from headwater.cli import main; main()", *shlex.split(PAY)]
    try:
        process.said()
        asking = subprocess.Popen(send)
        eventually((directory / "hangs").exists, saying="the decision is at work")
        begun_s = time.monotonic()
        assert process.stop(signal.SIGTERM) == WAITING
        assert time.monotonic() - begun_s < 20
        still = process.told(f"still: {entity}-owners")
        assert re.search(r"it waits for the handler Till\.pay \(hanging\.py:\d+\)", still)
        asking.wait(60)
        (directory / "hang").unlink()
        again = Process("hanging:app")
        again.said()
        # as of one that was killed, its group finds out with the end of its session
        eventually(lambda: shell(PAY).code == 0, 120, saying="commands are carried out again")
        assert again.stop(signal.SIGTERM) == 0
    finally:
        for one in (process, again):
            if one is not None:
                one.popen.kill()
                one.popen.wait()
