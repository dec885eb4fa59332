"""Times as people type them."""

from __future__ import annotations

import math
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import click

DURATION = re.compile(
    r"P(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?", re.I
)


class Moment(click.ParamType[datetime]):
    """A time with a zone, or a date. A date means its end (UTC): what had happened by then includes that day."""

    name = "time"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, datetime):
            return value
        try:
            time = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is no time; write 2024-04-10T10:30:00Z, or 2024-04-10 for the end of that day")
        if len(value) == 10:
            return time.replace(tzinfo=UTC) + timedelta(days=1, microseconds=-1)
        if time.tzinfo is None:
            self.fail(f"{value!r} has no time zone; write {value}Z for UTC")
        try:
            return time.astimezone(UTC)
        except OverflowError:
            self.fail(f"{value!r} is outside of the years 1 to 9999 in UTC")


class Instant(Moment):
    """A time with a zone; a date would leave open which hour is meant."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, str) and len(value) == 10:
            self.fail(f"{value!r} leaves the hour open; write {value}T00:00:00Z")
        return super().convert(value, param, ctx)


class ToolTime(Instant):
    """As kafka-consumer-groups takes it: without a zone it is UTC."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime:
        if isinstance(value, str) and re.search(r"T[\d:.]+$", value):
            value += "Z"
        return super().convert(value, param, ctx)


class Duration(click.ParamType[timedelta]):
    """PnDTnHnMnS (ISO 8601)."""

    name = "duration"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> timedelta:
        found = DURATION.fullmatch(str(value))
        parts = {} if found is None else {name: float(n) for name, n in found.groupdict().items() if n is not None}
        if not parts:
            self.fail(f"{value!r} is no duration; write PnDTnHnMnS, such as PT1H30M or P7D", param, ctx)
        try:
            return timedelta(**parts)
        except OverflowError:
            self.fail(f"{value!r} is longer than a duration can be", param, ctx)


class Seconds(click.ParamType[float]):
    """How long to wait. Arguments: least: the smallest that makes sense; None: any that is more than nothing."""

    name = "seconds"
    MOST = 1_000_000.0

    def __init__(self, least: float | None = None) -> None:
        self._least = least

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> float:
        try:
            seconds = float(value)
        except ValueError:
            seconds = math.nan
        enough = seconds > 0 if self._least is None else seconds >= self._least
        if not enough or not seconds <= self.MOST:
            what = "more than 0" if self._least is None else f"{self._least:g}"
            self.fail(f"{value!r} is no time to wait; write seconds, {what} up to {self.MOST:,.0f}", param, ctx)
        return seconds
