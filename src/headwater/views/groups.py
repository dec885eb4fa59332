"""The groups of a view whose positions and dead letters are in the log; those of its rows are with the rows."""

from __future__ import annotations

from headwater.views import runner, streaming
from headwater.views.plan import View


def groups_in_log(app: str, view: View) -> dict[str, str]:
    """By what they do: `stream` writes the rows of a stream, `repartition` the topic in which what is joined is
    together."""
    groups: dict[str, str | None]
    if view.target == "stream":
        groups = {"stream": streaming.group_of(app, view), "repartition": streaming.repartition_of(app, view)}
    else:
        groups = {"repartition": runner.repartition_of(app, view)}
    return {does: group for does, group in groups.items() if group is not None}
