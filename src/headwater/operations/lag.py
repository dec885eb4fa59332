"""How far behind the read models of an app are, and whether anybody brings them forward."""

from __future__ import annotations

from typing import NamedTuple

from headwater.client.read_models import ReadModels
from headwater.environment import SYSTEM, Environment
from headwater.projections.seen_rows import tallies_in
from headwater.projections.waiting import health


class ReadModelLag(NamedTuple):
    """A read model, as its store knows it.

    Arguments: events: still to apply, gaps of the log included; runner: "running", "held", "failed" or "none";
    last_failure: of whoever maintains it; duplicates: records that were left out as copies of others, of a read model
    that looks for them; missing: numbers that its sources have counted and that did not come.
    """

    name: str
    events: int
    runner: str
    last_failure: str | None
    duplicates: int | None = None
    missing: int | None = None


def read_model_lags(models: ReadModels, environment: Environment = SYSTEM) -> list[ReadModelLag]:
    """All read models of an app. Raises: Unavailable."""
    behind = models.lag()
    lags = []
    for model in models.models:
        runner, failure = health(models.store.notes(model.runner), None, environment)
        lag = ReadModelLag(model.title, behind[model.title], runner, failure)
        if model.dedupe is not None:
            tallies = tallies_in(models.store, model)
            missing = sum(tally.skipped - tally.late for tally in tallies)
            lag = lag._replace(duplicates=sum(tally.duplicates for tally in tallies), missing=missing)
        lags.append(lag)
    return lags
