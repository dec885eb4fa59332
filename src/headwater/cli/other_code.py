"""Code in another folder, asked from here: it runs in a process of its own, since two versions of a module cannot be
imported into one.

`OtherCode` starts that process and asks it; `main` answers there. Questions and answers are JSON lines; what the other
code prints goes to standard error.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager
from io import BytesIO
from pathlib import Path
from typing import Any

import msgspec

from headwater.errors import HeadwaterError, Misuse
from headwater.log.port import Positions, TopicPartition
from headwater.operations.preview_sides import LocalSide, Rows
from headwater.operations.shadow import Folded, Traced

Place = tuple[str, int, int]


class Ask(msgspec.Struct):
    """A question: which method of `Side`, with its arguments; `ends` as (topic, partition, position)."""

    method: str
    name: str
    ends: list[Place] = []
    names: list[str] = []


@contextmanager
def folder_of(against: str) -> Iterator[Path]:
    """The folder with the other code: as it is, or what a revision of git has of the current one.

    Raises: Misuse: it is neither.
    """
    if Path(against).is_dir():
        yield Path(against).resolve()
        return
    try:
        tar = subprocess.run(["git", "archive", "--format=tar", against], capture_output=True, check=False)
    except FileNotFoundError as error:
        raise Misuse(f"{against!r} is no folder, and there is no git to ask for it") from error
    if tar.returncode:
        why = tar.stderr.decode(errors="replace").strip()
        raise Misuse(f"{against!r} is neither a folder nor a revision of git: {why}")
    with tempfile.TemporaryDirectory(prefix="hw-preview-") as name:
        with tarfile.open(fileobj=BytesIO(tar.stdout)) as content:
            content.extractall(name, filter="data")
        yield Path(name)


class OtherCode:
    """A `Side`: an app as it is in a folder. Arguments: folder; app: "module:attribute"; url: of the log.

    Raises: Misuse: there is no such app in the folder.
    """

    def __init__(self, folder: Path, app: str, url: str) -> None:
        self._folder = folder
        self._process = subprocess.Popen(
            [sys.executable, "-m", "headwater.cli.other_code", app, url, str(Path.cwd())],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": _path_from(folder), "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._answer()

    def schemas(self, entity: str) -> set[str]:
        return msgspec.convert(self._ask(Ask("schemas", entity)), set[str])

    def fields(self, entity: str) -> list[str]:
        return msgspec.convert(self._ask(Ask("fields", entity)), list[str])

    def folded(self, entity: str, ends: Positions, names: Sequence[str]) -> dict[str, Folded]:
        answer = self._ask(Ask("folded", entity, _flat(ends), list(names)))
        return msgspec.convert(answer, dict[str, Folded])

    def traced(self, entity: str, ends: Positions, ids: Collection[str]) -> dict[str, list[Traced]]:
        answer = self._ask(Ask("traced", entity, _flat(ends), list(ids)))
        return msgspec.convert(answer, dict[str, list[Traced]])

    def rows(self, table: str, ends: Positions) -> Rows | None:
        return msgspec.convert(self._ask(Ask("rows", table, _flat(ends))), Rows | None)

    def close(self) -> None:
        """Ends the process."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.stdout.close()
        self._process.wait(30)

    def _ask(self, ask: Ask) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(msgspec.json.encode(ask) + b"\n")
        self._process.stdin.flush()
        return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise Misuse(f"the code in {self._folder} ended with code {self._process.wait(30)}")
        answer = msgspec.json.decode(line)
        if answer["error"] is not None:
            raise Misuse(f"the code in {self._folder}: {answer['error']}")
        return answer["found"]


def _path_from(folder: Path) -> str:
    """Where the other process looks for modules: in its own folder first."""
    own = [str(folder), str(folder / "src")]
    return os.pathsep.join([*own, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])


def _flat(ends: Positions) -> list[Place]:
    return [(tp.topic, tp.partition, position) for tp, position in ends.items()]


def main(app: str, url: str, here: str) -> None:
    """Answers questions until there are no more."""
    with os.fdopen(os.dup(1), "wb") as answers:
        os.dup2(2, 1)

        def answer(found: Any, error: str | None = None) -> None:
            answers.write(msgspec.json.encode({"found": found, "error": error}) + b"\n")
            answers.flush()

        try:
            _serve(app, url, Path(here), answer)
        except HeadwaterError as error:
            answer(None, str(error))


def _serve(app: str, url: str, here: Path, answer: Any) -> None:
    from headwater.cli.project import Project
    from headwater.environment import SYSTEM
    from headwater.log.opening import open_log
    from headwater.projections.read_model import read_models_of

    found = Project(app, url).load()
    module = sys.modules[app.partition(":")[0]]
    file = Path(module.__file__ or "").resolve()
    if not file.is_relative_to(Path.cwd().resolve()):
        raise Misuse(f"{module.__name__} is imported from {file}, not from here: it is installed, or a path says so")
    behaviours = {one.entity: one for one in found.behaviours.values()}
    os.chdir(here)  # an address may be relative
    with closing(open_log(url)) as log:
        side = LocalSide(behaviours, read_models_of(found.name, found.projections, found.codecs), log, SYSTEM)
        answer(None)
        for line in sys.stdin.buffer:
            answer(_reply(side, msgspec.json.decode(line, type=Ask)))


def _reply(side: LocalSide, ask: Ask) -> Any:
    ends: Mapping[TopicPartition, int] = {TopicPartition(topic, p): position for topic, p, position in ask.ends}
    match ask.method:
        case "schemas":
            return side.schemas(ask.name)
        case "fields":
            return side.fields(ask.name)
        case "folded":
            return side.folded(ask.name, ends, ask.names)
        case "traced":
            return side.traced(ask.name, ends, set(ask.names))
        case _:
            return side.rows(ask.name, ends)


if __name__ == "__main__":
    main(*sys.argv[1:])
