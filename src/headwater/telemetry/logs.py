"""The log of a process as JSON, one line per event, without payloads unless these are wanted.

Events of headwater have a name and fields (`environment.logged`); of other lines in the log the text is a field. What
records contain, and what users' code says of them in exceptions, is `details`: it is left out by default, also where
it comes as an exception in a line of headwater's own.
"""

from __future__ import annotations

import json
import logging
import traceback
from datetime import UTC, datetime
from typing import TextIO

from headwater.errors import without_payload
from headwater.messages.times import time_text

OWN = "headwater"


class JsonLines(logging.Formatter):
    """Arguments: payloads: whether `details` are written; about: fields of every line."""

    def __init__(self, *, payloads: bool = False, about: dict[str, object] | None = None) -> None:
        super().__init__()
        self._payloads, self._about = payloads, about or {}

    def format(self, record: logging.LogRecord) -> str:
        line: dict[str, object] = {
            "time": time_text(datetime.fromtimestamp(record.created, UTC)),
            "level": record.levelname.lower(),
            "event": getattr(record, "event", "log"),
            "logger": record.name,
            **self._about,
        }
        line |= getattr(record, "fields", None) or {}
        if not hasattr(record, "event"):
            line["text"] = self._text(record)
        details = getattr(record, "details", None)
        if self._payloads and details is not None:
            line["details"] = details
        if record.exc_info is not None and record.exc_info[1] is not None:
            line |= self._exception(record.exc_info[1])
        return json.dumps(line, default=str)

    def _text(self, record: logging.LogRecord) -> str:
        """What a line says that is no event. Exceptions in it come without their words, if it is one of ours: with
        other lines, whoever writes them decides."""
        arguments = record.args
        if not self._payloads and record.name.partition(".")[0] == OWN and isinstance(arguments, tuple):
            arguments = tuple(without_payload(one) if isinstance(one, BaseException) else one for one in arguments)
            return str(record.msg) % arguments if arguments else str(record.msg)
        return record.getMessage()

    def _exception(self, error: BaseException) -> dict[str, object]:
        frames = traceback.extract_tb(error.__traceback__)
        found: dict[str, object] = {
            "error": type(error).__name__,
            "stack": [f"{frame.filename}:{frame.lineno} {frame.name}" for frame in frames],
        }
        if self._payloads:
            found["traceback"] = "".join(traceback.format_exception(error))
        return found


def log_as_json(
    stream: TextIO | None = None, *, payloads: bool = False, about: dict[str, object] | None = None
) -> logging.Handler:
    """Has everything that this process logs, from INFO on, written as JSON lines.

    Arguments: stream: None: standard error; others: as of `JsonLines`.
    """
    handler = logging.StreamHandler(stream)
    handler.setFormatter(JsonLines(payloads=payloads, about=about))
    root = logging.getLogger()
    root.addHandler(handler)
    if root.level == logging.NOTSET or root.level > logging.INFO:
        root.setLevel(logging.INFO)
    return handler
