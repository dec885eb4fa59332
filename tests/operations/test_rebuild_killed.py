"""A rebuild may be killed anywhere: names show the old rows or the new ones, and the next process goes on."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from headwater.environment import SYSTEM
from headwater.errors import Misuse
from headwater.log.sqlite import SqliteLog
from headwater.operations.rebuild import Rebuilding, Status
from headwater.operations.rebuild_state import Who
from headwater.projections.declare import table_of
from headwater.stores.opening import open_store
from headwater.stores.switching import SwitchingStore, beside_runner
from tests.operations.rebuilder import BATCH
from tests.projections.trade import START, Reading, Revenue, append, make_log, placed

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
EVENTS = 100
WRONG = Revenue(START.date(), Decimal(-1), 0)


class Scene:
    """A log, and a store with a read model of which a row is wrong. Arguments: directory; url: of the store."""

    def __init__(self, directory: Path, url: str) -> None:
        self._place, self._url = str(directory / "log.db"), url
        self.log = make_log(1, SqliteLog(self._place))
        append(self.log, [placed(f"t{n}", total="0.01") for n in range(EVENTS)])
        store = open_store(url)
        assert isinstance(store, SwitchingStore)
        self.store, self.reading = store, Reading(self.log, Revenue, store=store)
        self.reading.read()
        self.right = self.rows()
        self.store.apply("an operator", {}, {}, lambda loading: loading.save(table_of(Revenue), [WRONG]))
        self.wrong = self.rows()
        assert self.wrong != self.right

    def rows(self) -> list[tuple[Any, ...]]:
        """What the name shows."""
        shown = self.store.shown("revenue")
        assert shown is not None
        found = self.store.scan("revenue", shown.version).dicts()
        return sorted((str(row["day"]), Decimal(row["revenue"]), int(row["orders"])) for row in found)

    @property
    def before_commit(self) -> list[str]:
        """Steps between the exchange and its commit; in Redis both are one script."""
        return [] if self._url.startswith("redis") else ["exchanged"]

    def killed(self, action: str, step: str, batch: int = 1) -> None:
        """Runs an action in a process that kills itself at a step."""
        child = self._run(action, step, str(batch))
        assert child.returncode == -signal.SIGKILL, (action, step, child.stderr)

    def done(self, action: str) -> None:
        """Runs an action in a process to its end."""
        child = self._run(action)
        assert (child.returncode, child.stdout) == (0, "done\n"), child.stderr

    def status(self) -> Status:
        return Rebuilding(self.reading.model, self.store, self.log, Who("here/1/x", "bob"), SYSTEM).status()

    @property
    def progress(self) -> int:
        return sum(self.store.positions(beside_runner(self.reading.model.runner)).values())

    def _run(self, *words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "tests.operations.rebuilder", self._place, self._url, *words]
        return subprocess.run(command, capture_output=True, text=True, cwd=ROOT, timeout=60)


@pytest.fixture(params=["sqlite", "postgres", "redis"])
def scene(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Scene]:
    sqlite = request.param == "sqlite"
    url = f"sqlite:///{tmp_path}/m.db" if sqlite else request.getfixturevalue(f"{request.param}_url")
    scene = Scene(tmp_path, url)
    with closing(scene.log), closing(scene.store):
        yield scene


def test_killed_at_every_step_it_goes_on_and_names_show_whole_rows(scene: Scene) -> None:
    for step in ("taken", "forgotten", "opened"):
        scene.killed("build", step)
        assert (scene.status().state, scene.progress) == ("paused", 0), step
    for step, batch, progress in (("loaded", 3, 2), ("saved", 2, 3), ("committed", 2, 5)):
        scene.killed("build", step, batch)
        assert (scene.status().state, scene.progress) == ("paused", progress * BATCH), step
        assert scene.rows() == scene.wrong
    scene.done("build")
    assert (scene.status().state, scene.progress) == ("built", EVENTS)
    for step in ("taken", "opened", *scene.before_commit):
        scene.killed("switch", step)
        assert (scene.status().state, scene.rows()) == ("built", scene.wrong), step
    scene.killed("switch", "switched")
    assert (scene.status().state, scene.rows()) == ("switched", scene.right)
    for step in scene.before_commit:
        scene.killed("roll_back", step)
        assert (scene.status().state, scene.rows()) == ("switched", scene.right)
    scene.killed("roll_back", "switched")
    assert (scene.status().state, scene.rows()) == ("built", scene.wrong)
    scene.done("switch")
    assert (scene.status().state, scene.rows()) == ("switched", scene.right)
    scene.killed("drop", "forgotten")
    assert scene.rows() == scene.right
    scene.done("drop")
    assert (scene.status().state, scene.rows()) == ("", scene.right)
    with pytest.raises(Misuse, match="nothing is being rebuilt"):
        Rebuilding(scene.reading.model, scene.store, scene.log, Who("here/1/x", "bob"), SYSTEM).compare()
