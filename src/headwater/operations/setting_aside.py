"""Where lines go that could not be imported: a file beside the imported one, ready to be corrected.

A line of it is the original line with a field that says why (or, if it is no JSON object, the text in a field);
once corrected, the file is imported like any other.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import IO, Any

import msgspec

from headwater.errors import Misuse
from headwater.operations.importing_lines import REASON_FIELD, BadLine
from headwater.operations.vocabulary import read_object

DIGEST_FIELD = "digest"
"""Where the reason says of which content of the file the line is."""


class RejectedFile:
    """The file of rejected lines, made with the first of them; an earlier one is kept as `….old`.

    Arguments: imported: the file that is imported; digest: of its content.
    """

    def __init__(self, imported: Path, digest: str) -> None:
        self.path = imported.with_name(f"{imported.name}.rejected.ndjson")
        self._imported, self._digest = imported, digest
        self._file: IO[bytes] | None = None
        self.count = 0

    @property
    def of_other_content(self) -> bool:
        """Whether lines are there that were set aside when the imported file had other content."""
        return _digest_in(self.path) not in (None, self._digest)

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
        why = {
            "file": self._imported.name,
            "line": bad.line.number,
            "kind": bad.kind,
            "reason": bad.reason,
            DIGEST_FIELD: self._digest,
        }
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


class _Why(msgspec.Struct):
    digest: str | None = None


class _Rejected(msgspec.Struct):
    rejected: _Why = msgspec.field(default_factory=_Why)


def _digest_in(path: Path) -> str | None:
    """Of which content the lines of a file of rejected ones are; None: there is no such file, or it does not say."""
    try:
        with path.open("rb") as file:
            for raw in file:
                with suppress(msgspec.DecodeError, msgspec.ValidationError):
                    digest = msgspec.json.decode(raw, type=_Rejected).rejected.digest
                    if digest is not None:
                        return digest
    except FileNotFoundError:
        return None
    except OSError as error:
        raise Misuse(f"{path} cannot be read: {error.strerror or error}") from error
    return None
