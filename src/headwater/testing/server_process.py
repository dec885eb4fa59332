"""The process of a real server on this machine: started apart from ours, found again by its id, ended by its id."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from headwater.errors import Unavailable

PAUSE_S = 0.01

AGAIN_S = 0.2
"""Before a server that has ended by itself is started once more."""

ANSWER_S = 100.0
"""How long a server may take to answer: it may stand still for some seconds, with the whole machine."""


def launched(command: Sequence[str], log: Path, **options: Any) -> int:
    """Starts a process in a session of its own; what it says is added to a file. Arguments: options: as of
    `subprocess.Popen`. Returns: its id."""
    with log.open("ab") as output:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            **options,
        )
    return process.pid


def told_of(pid: int, what: str) -> str:
    """What the system says about a process, however long (COLUMNS would cut it); empty: there is none."""
    return subprocess.run(
        ["ps", "-ww", "-o", f"{what}=", "-p", str(pid)], capture_output=True, text=True, check=False
    ).stdout


def lives(pid: int, mark: str) -> bool:
    """Whether a process lives. A process id alone may belong to somebody else by now. Arguments: pid: 0: none was
    started; mark: what only its command line has."""
    if not pid:
        return False
    with contextlib.suppress(ChildProcessError):
        # Of a child that is ending, ps may not know the command any more while it still writes files.
        if os.waitpid(pid, os.WNOHANG)[0] == 0:
            return True
    return mark in told_of(pid, "command")


def wait_until_gone(runs: Callable[[], bool], what: str, timeout_s: float = 60.0) -> None:
    """Raises: Unavailable: it still runs; what: which one that is."""
    deadline_s = time.monotonic() + timeout_s
    while runs():
        if time.monotonic() > deadline_s:
            raise Unavailable(f"{what} did not end within {timeout_s:g} s")
        time.sleep(PAUSE_S)


def bring_up(
    answers: Callable[[], bool], runs: Callable[[], bool], launch: Callable[[], None], timeout_s: float
) -> bool:
    """Launches a server until it answers: again, after a pause, where it has ended by itself. Returns: whether it
    answers in time."""
    deadline_s = time.monotonic() + timeout_s
    launched_once = False
    while not answers():
        if not runs():
            time.sleep(AGAIN_S * launched_once)
            launch()
            launched_once = True
        if time.monotonic() > deadline_s:
            return False
        time.sleep(PAUSE_S)
    return True


def last_lines(log: Path, lines: int) -> str:
    """What a server wrote last."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""


def asked(method: str, url: str, body: Any, content_type: str) -> Any:
    """One request to a server with JSON, as another program sends it. Returns: the content; None: no answer, or it
    refuses."""
    import urllib3

    content = None if body is None else json.dumps(body)
    with contextlib.suppress(urllib3.exceptions.HTTPError, OSError):
        headers = {"content-type": content_type}
        answer = urllib3.request(method, url, body=content, headers=headers, retries=False, timeout=ANSWER_S)
        if answer.status < 300:
            return answer.json() if answer.data else {}
    return None


def remember(state: Path, content: Mapping[str, Any]) -> None:
    """Writes what there is to know of a server, at one moment, for processes that find it there."""
    written = state.with_name(f"{state.name}.new")
    written.write_text(json.dumps(content, indent=1))
    written.replace(state)
