"""How far the import is: bars on a terminal, a line per twentieth elsewhere."""

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

STEPS = 20


class Stages:
    """One bar, or series of lines, per stage. Arguments: console; total: of a stage that names no other."""

    def __init__(self, console: Console, total: int) -> None:
        self._console, self._total = console, total
        self._bars = Progress(
            TextColumn("{task.description:>10}"),
            BarColumn(bar_width=None),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            disable=not console.is_terminal,
        )
        self._tasks: dict[str, TaskID] = {}
        self._step: dict[str, int] = {}

    def __enter__(self) -> "Stages":
        self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._bars.stop()

    def show(self, stage: str, done: int, total: int | None = None) -> None:
        """Moves a stage to `done`; one that was never shown starts here."""
        total = self._total if total is None else total
        if self._console.is_terminal:
            if stage not in self._tasks:
                self._tasks[stage] = self._bars.add_task(stage, total=total)
            self._bars.update(self._tasks[stage], completed=done)
            return
        step = done * STEPS // max(1, total)
        if step > self._step.get(stage, -1):
            self._step[stage] = step
            self._console.print(f"{stage}: {done:,} of {total:,}")
            self._console.file.flush()
