"""How far behind the read models of an app are, and whether anybody brings them forward."""

from __future__ import annotations

from typing import NamedTuple

from headwater.client.read_models import ReadModels
from headwater.environment import SYSTEM, Environment
from headwater.projections.waiting import health


class ReadModelLag(NamedTuple):
    """A read model, as its store knows it.

    Arguments: events: still to apply, gaps of the log included; runner: "running", "held", "failed" or "none";
    last_failure: of whoever maintains it.
    """

    name: str
    events: int
    runner: str
    last_failure: str | None


def read_model_lags(models: ReadModels, environment: Environment = SYSTEM) -> list[ReadModelLag]:
    """All read models of an app. Raises: Unavailable."""
    behind = models.lag()
    lags = []
    for model in models.models:
        runner, failure = health(models.store.notes(model.runner), None, environment)
        lags.append(ReadModelLag(model.title, behind[model.title], runner, failure))
    return lags
