"""The processes that own, as the run sees them: started, killed, frozen, told where to die, and started again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from headwater.services import Part
from tests.faults.run.owner import GAVE_UP

ROOT = Path(__file__).resolve().parents[3]
START_S = 90.0
END_S = 60.0


class OwnerProcess:
    """One of them. Arguments: number; arguments: of `owner`; output: a file that takes what it prints, added to."""

    def __init__(self, number: int, arguments: Sequence[str], output: Path) -> None:
        self.number, self.id, self.ready = number, "", threading.Event()
        self.output = output
        with output.open("ab") as file:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "tests.faults.run.owner", *arguments],
                cwd=output.parent,  # where a core would be left
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=file,
                text=True,
                env=os.environ | {"PYTHONFAULTHANDLER": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])},
            )
        threading.Thread(target=self._listen, daemon=True).start()

    @property
    def runs(self) -> bool:
        return self._child.poll() is None

    @property
    def exit_code(self) -> int | None:
        return self._child.poll()

    def has_ended(self) -> bool:
        return not self.runs

    def tell(self, *order: str | int) -> None:
        """Gives an order (see `owner`), to which a dead one does not listen."""
        assert self._child.stdin is not None
        try:
            self._child.stdin.write("\t".join(map(str, order)) + "\n")
            self._child.stdin.flush()
        except BrokenPipeError:
            return

    def kill(self) -> None:
        self._child.kill()
        self._child.wait()

    def freeze(self) -> None:
        self._child.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._child.send_signal(signal.SIGCONT)

    def end(self) -> int | None:
        """Asks it to end in an orderly way. Returns its exit code; None: it did not end, and was killed."""
        assert self._child.stdin is not None
        try:
            self._child.stdin.close()
            return self._child.wait(END_S)
        except BrokenPipeError:
            return self._child.wait(END_S)
        except subprocess.TimeoutExpired:
            self._child.send_signal(signal.SIGABRT)  # it prints what each thread is at
            try:
                self._child.wait(5)
            except subprocess.TimeoutExpired:
                self.kill()
            return None

    def _listen(self) -> None:
        assert self._child.stdout is not None
        for line in self._child.stdout:
            if line.startswith("running "):
                self.id = line.split()[1]
                self.ready.set()


class Owners:
    """All of them. The first one maintains the read models as well: a file of SQLite has one process that does.

    Arguments: url; store; count; directory: for what they print.
    """

    def __init__(self, url: str, store: str, count: int, directory: Path) -> None:
        self._url, self._store, self._directory = url, store, directory
        self.findings: list[str] = []
        self.all = [self._start(number) for number in range(count)]

    @property
    def running(self) -> list[OwnerProcess]:
        return [one for one in self.all if one.runs]

    def tend(self) -> None:
        """Starts again who is dead, and notes who should not be."""
        for number, one in enumerate(self.all):
            if one.exit_code is not None:
                self._look_at(one)
                self.all[number] = self._start(number)

    def wait_ready(self) -> None:
        """Until each of them says that it runs."""
        deadline = time.monotonic() + START_S
        while not all(one.ready.is_set() for one in self.all):
            self.tend()
            if time.monotonic() > deadline:
                raise AssertionError(f"the owners did not start within {START_S:g} s, see {self._directory}")
            threading.Event().wait(0.05)

    def end(self) -> None:
        """Ends them all in an orderly way, and notes who did not."""
        for one in self.all:
            running = one.runs
            code = one.end() if running else one.exit_code
            if running and code != 0:
                self.findings.append(f"owner {one.number} was asked to end and {_told(code)}, see {one.output}")

    def kill(self) -> None:
        for one in self.all:
            one.kill()

    def _start(self, number: int) -> OwnerProcess:
        parts: list[Part] = ["commands", "processes"]
        if number == 0:
            parts.append("projections")
        return OwnerProcess(number, [self._url, self._store, *parts], self._directory / f"owner-{number}.log")

    def _look_at(self, one: OwnerProcess) -> None:
        """Killed is what faults do to it, and who cannot start while the cluster is away is started again. All else
        is wrong."""
        code = one.exit_code
        if code == -signal.SIGKILL or (code == 1 and not one.ready.is_set()):
            return
        self.findings.append(f"owner {one.number} {_told(code)}, see {one.output}")


def _told(code: int | None) -> str:
    if code is None:
        return "did not end"
    if code == GAVE_UP:
        return "gave up"
    return f"ended with code {code}" if code >= 0 else f"was ended by {signal.Signals(-code).name}"
