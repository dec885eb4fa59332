"""`hw run`: does an app's work until it is told to stop."""

from __future__ import annotations

import logging
import os
import shlex
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import TYPE_CHECKING, cast

import click

from headwater.cli.ending import BAD, advised, then, told
from headwater.cli.output import Form, note, output_option, show_one
from headwater.cli.project import Project, on_option, store_option
from headwater.cli.run_troubles import Troubles, troubles
from headwater.cli.stopping import stop_signal
from headwater.cli.telling import Tellings, telling, telling_options
from headwater.environment import logged
from headwater.errors import Misuse

if TYPE_CHECKING:
    from headwater.app import Running
    from headwater.services import Part, Services

logger = logging.getLogger("headwater.cli")

LOOK_S = 0.25

STOP_S = 10.0
"""How long it may take to stop. A handler that has not come back by then may never do so."""

PLACES = {"headwater.log.": "the log", "headwater.stores.": "its store"}
"""What is waited for in modules whose names begin so."""


@click.command("run")
@click.argument("app", required=False, metavar="[MODULE:APP]")
@on_option
@click.option("--only", metavar="PARTS", help="Some of: commands,projections,views,processes. Default: all.")
@store_option
@click.option("--standby", is_flag=True, help="Follow what other processes own, to take over at once (Kafka).")
@click.option("--state-memory-mb", type=click.IntRange(1), metavar="MB", help="Memory for states (Kafka; default 256).")
@telling_options
@output_option
@click.pass_context
def command(
    ctx: click.Context,
    app: str | None,
    on: str | None,
    only: str | None,
    store: str | None,
    standby: bool,
    state_memory_mb: int | None,
    log: str,
    payloads: bool,
    metrics_port: str | None,
    alert_webhook: str | None,
    traces: bool,
    form: Form,
) -> None:
    """Run an app: own its entities, maintain its read models, react.

    Says when it is ready, tells failures of its parts, and stops cleanly on Ctrl-C or SIGTERM: within 10 s, or it says
    what did not end, and ends all the same; a second one ends it at once. Several processes may run the same app on one
    log: they share the work.

    \b
      hw run shop.app:app --on sqlite:///shop.db
      hw run shop.app:app --on kafka://localhost:9092 --only commands --standby
      hw run shop.app:app --on sqlite:///shop.db --metrics-port 9464 --log json
    """
    from headwater.owners.keeping import AS_USUAL
    from headwater.schemas.port import NotPublished

    project = Project(app, on, store)
    parts = _parts(only)
    url, found = project.on, project.load()
    if standby and not url.startswith("kafka:"):
        note(f"--standby is for Kafka: on {url} there is nothing to follow")
    options = Tellings(metrics_port, log, payloads, alert_webhook, traces)
    with telling(options, found.name) as environment:
        running = found.run(
            url,
            only=parts,
            store=project.store,
            views_store=project.views_store,
            state_memory_mb=state_memory_mb or AS_USUAL.memory_mb,
            standby=standby,
            environment=environment,
        )
        tell = told if log == "text" else _tell_nobody
        late = partial(_tell_late, running, tell)
        checked = then(NotPublished, f"hw schema check --app {shlex.quote(project.app_name)}{project.log_flags}")
        with stop_signal(STOP_S, late) as stop, project.reaching(), checked, running:
            assert running.services is not None
            about = {"app": found.name, "on": url, "parts": ",".join(parts), "pid": os.getpid()}
            words = f"{found.name} runs on {url}: {', '.join(parts)}; Ctrl-C stops it"
            _say(form, {"state": "running", **about}, words)
            logger.info("started: %s", about, extra=logged("process_started", on=url, parts=",".join(parts)))
            failed = _watch(running.services, stop, tell)
        logger.info("stopped: %s", found.name, extra=logged("process_stopped"))
    _say(form, {"state": "stopped", "app": found.name}, f"{found.name} stopped")
    if failed:
        ctx.exit(BAD)


def _parts(only: str | None) -> tuple[Part, ...]:
    from headwater.app import PARTS

    if only is None:
        return PARTS
    wanted = [part.strip() for part in only.split(",") if part.strip()]
    unknown = [part for part in wanted if part not in PARTS]
    if unknown or not wanted:
        what = f"no part is called {unknown[0]!r}" if unknown else "--only names no part"
        raise advised(Misuse(f"{what}; the parts are {', '.join(PARTS)}"), f"hw run --only {PARTS[0]}")
    return cast("tuple[Part, ...]", tuple(wanted))


def _tell_late(running: Running, tell: Callable[[str], None]) -> None:
    """What has not ended, after it was told to: which reader is where, and since when."""
    from headwater.readers.progress import place_of
    from headwater.readers.whereabouts import at_work_on

    found = []
    services = running.services
    for loop in () if services is None else services.loops:
        status = loop.status
        if status.thread is None or status.thread.ident is None or not status.thread.is_alive():
            continue
        since = datetime.now(UTC) - timedelta(seconds=time.monotonic() - status.step_s)
        waits_for, at = at_work_on(status.thread.ident, PLACES), place_of(status.thread.ident)
        text = f"{loop.group}: its reader {status.step}, since {since:%H:%M:%S} UTC; it waits for {waits_for}"
        found.append(text if waits_for == at else f"{text}; its thread is in {at}")
    main = threading.main_thread().ident
    assert main is not None, "it runs"
    found.append(f"the process itself is in {place_of(main)}")
    for text in found:
        tell(f"still: {text}")
    tell(
        f"error: not stopped within {STOP_S:g} s, so it is ended; what is not committed is done again at the next start"
    )
    text = "; ".join(found)
    logger.error("ended though not stopped: %s", text, extra=logged("process_ended", text=text))


def _tell_nobody(line: str) -> None:
    """The log of the process has it all."""


def _watch(services: Services, stop: threading.Event, tell: Callable[[str], None]) -> bool:
    """Tells failures of the parts as they come, and when they are over; ends with `stop`, or when no part is
    left. Returns whether a part had failed for good."""
    parts = Troubles(tell, time.monotonic)
    noticed: set[str] = set()
    while not stop.wait(LOOK_S):
        texts = services.notices
        noticed &= set(texts)  # what was so, and is so again, is told again
        for text in texts:
            if text not in noticed:
                noticed.add(text)
                tell(f"noticed: {text}")
                logger.warning("%s", text, extra=logged("noticed", text=text))
        parts.look(services.statuses)
        if services.statuses and not any(status.alive for status in services.statuses):
            break
    return any(state in ("failed", "stopped") for state, *_ in troubles(services.statuses).values())


def _say(form: Form, thing: dict[str, object], text: str) -> None:
    if form == "table":
        print(text, flush=True)
    else:
        show_one("ndjson", thing)
