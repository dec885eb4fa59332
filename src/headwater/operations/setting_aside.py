"""Where lines go that could not be imported: a file beside the imported one, ready to be corrected.

A line of it is the original line with a field that says why (or, if it is no JSON object, the text in a field);
once corrected, the file is imported like any other.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import IO, Any

import msgspec

from headwater.errors import Misuse
from headwater.operations.importing_lines import REASON_FIELD, BadLine
from headwater.operations.vocabulary import read_object


class RejectedFile:
    """The file of rejected lines, made with the first of them; an earlier one is kept as `….old`.

    Arguments: imported: the file that is imported.
    """

    def __init__(self, imported: Path) -> None:
        self.path = imported.with_name(f"{imported.name}.rejected.ndjson")
        self._imported = imported
        self._file: IO[bytes] | None = None
        self.count = 0

    def add(self, bad: BadLine) -> None:
        """Writes a line, at once. Raises: Misuse: the file cannot be written."""
        try:
            if self._file is None:
                if self.path.exists():
                    self.path.replace(self.path.with_name(f"{self.path.name}.old"))
                self._file = self.path.open("wb")
            self._file.write(msgspec.json.encode(self._entry(bad)) + b"\n")
            self._file.flush()
            self.count += 1
        except OSError as error:
            raise Misuse(f"rejected lines cannot be written to {self.path}: {error.strerror or error}") from error

    def _entry(self, bad: BadLine) -> dict[str, Any]:
        why = {"file": self._imported.name, "line": bad.line.number, "kind": bad.kind, "reason": bad.reason}
        try:
            read_object(bad.line.raw)
            fields: dict[str, Any] = msgspec.json.decode(bad.line.raw, type=dict[str, msgspec.Raw])
        except (Misuse, msgspec.DecodeError):
            fields = {"text": bad.line.raw.decode(errors="backslashreplace")}
        return {**fields, REASON_FIELD: why}

    def close(self) -> None:
        if self._file is not None:
            self._file.close()

    def __enter__(self) -> RejectedFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
