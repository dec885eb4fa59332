"""The pytest plug-in: on which log scenarios run, and fixtures for tests that want an app, a log or a clock.

    pytest                          scenarios in memory, in milliseconds; fixtures on a log in memory
    pytest --hw-log sqlite          the same tests from end to end on a SQLite file
    pytest --hw-log kafka           on a Kafka broker that is started for them
    pytest --hw-log kafka --hw-kafka kafka://localhost:9092

It is loaded with every pytest run of an environment in which headwater is installed, so it imports nothing of
headwater until a test wants something of it.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Generator, Iterator
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from headwater.app import App
    from headwater.client import Shop
    from headwater.log.port import Log
    from headwater.services import Part
    from headwater.testing.clock import VirtualEnvironment
    from headwater.testing.places import Kind
    from headwater.testing.stage import Place, Stage

ENVIRONMENT_VARIABLE = "HEADWATER_KAFKA"
OPENED = pytest.StashKey[ExitStack]()
PLACE = pytest.StashKey["Place"]()
BROKER = pytest.StashKey[str]()
STAGE = pytest.StashKey["Stage"]()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("headwater", "event-sourced domains (headwater)")
    group.addoption(
        "--hw-log",
        choices=("memory", "sqlite", "kafka"),
        default=None,
        help="run scenarios from end to end on this log, and give it to the hw_ fixtures "
        "(default: scenarios in the test's thread, fixtures on a log in memory)",
    )
    group.addoption(
        "--hw-kafka",
        metavar="kafka://HOST:PORT",
        default=None,
        help=f"the broker for --hw-log kafka (default: ${ENVIRONMENT_VARIABLE}, else one is started)",
    )


def pytest_configure(config: pytest.Config) -> None:
    config.stash[OPENED] = ExitStack()


def pytest_unconfigure(config: pytest.Config) -> None:
    config.stash[OPENED].close()


@pytest.hookimpl(optionalhook=True)
def pytest_configure_node(node: Any) -> None:
    """Tells the workers of pytest-xdist which broker to use: they share one."""
    config = node.config
    if config.getoption("--hw-log") == "kafka":
        node.workerinput["hw_kafka"] = _broker(config)


# --- stages: around each test


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup(item: pytest.Item) -> Generator[None, object, object]:
    if item.config.getoption("--hw-log") is not None or "headwater.testing.stage" in sys.modules:
        _stage(item)
    return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    result = yield
    stage = item.stash.get(STAGE, None)
    if stage is not None:
        stage.refuse_unanswered()
    return result


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown(item: pytest.Item) -> Generator[None, object, object]:
    try:
        return (yield)
    finally:
        stage = item.stash.get(STAGE, None)
        if stage is not None:
            from headwater.testing.stage import enter

            del item.stash[STAGE]
            enter(None)
            stage.close()


def _stage(item: pytest.Item) -> Stage:
    from headwater.testing.stage import Stage, enter

    if STAGE not in item.stash:
        place = None if item.config.getoption("--hw-log") is None else _place(item.config)
        item.stash[STAGE] = Stage(place)
        enter(item.stash[STAGE])
    return item.stash[STAGE]


def _place(config: pytest.Config) -> Place:
    """Opened when the first test wants it, closed at the end of the run."""
    from headwater.testing.places import open_place

    if PLACE not in config.stash:
        kind: Kind = config.getoption("--hw-log") or "memory"
        kafka = _broker(config) if kind == "kafka" else None
        place = open_place(kind, kafka)
        config.stash[OPENED].enter_context(place)
        config.stash[PLACE] = place
    return config.stash[PLACE]


def _given_broker(config: pytest.Config) -> str | None:
    return config.getoption("--hw-kafka") or os.environ.get(ENVIRONMENT_VARIABLE) or None


def _broker(config: pytest.Config) -> str:
    """The address that was given, or that of a broker that is started now."""
    worker = getattr(config, "workerinput", {})
    given = worker.get("hw_kafka") or _given_broker(config)
    if given is not None:
        return str(given)
    if BROKER not in config.stash:
        from headwater.testing.places import a_broker

        config.stash[BROKER] = config.stash[OPENED].enter_context(a_broker())
    return config.stash[BROKER]


# --- fixtures


@pytest.fixture
def hw_clock(request: pytest.FixtureRequest) -> VirtualEnvironment:
    """The test's virtual clock: of its scenarios, and of the apps that `hw_run` runs."""
    return _stage(request.node).clock


@pytest.fixture
def hw_log(request: pytest.FixtureRequest) -> Iterator[Log]:
    """An open log of the kind that `--hw-log` names (without it: in memory), of which nobody has seen anything."""
    with closing(_place(request.config).fresh_log()) as log:
        yield log


@pytest.fixture
def hw_run(request: pytest.FixtureRequest, hw_log: Log, hw_clock: VirtualEnvironment) -> Iterator[Callable[..., Shop]]:
    """Runs an app on `hw_log` and gives its shop; it is closed when the test ends.

    `hw_run(app)`, or `hw_run(app, only=["commands"])` for parts of it. Read models live in a fresh store beside
    the log; several apps of one test have one store per name of app.
    """
    stores: dict[str, str] = {}
    with ExitStack() as running:

        def run(app: App, *, only: tuple[Part, ...] | list[Part] | None = None) -> Shop:
            from headwater.app import PARTS

            store = stores.setdefault(app.name, _place(request.config).fresh_store())
            parts = PARTS if only is None else only
            return running.enter_context(app.run(hw_log, only=parts, store=store, environment=hw_clock))

        yield run
