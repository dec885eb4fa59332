"""Where a process of `hw run` tells how it is: metrics, alerts, traces and its log, as its options say."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple, TypeVar

import click

from headwater.cli.ending import advised, told
from headwater.environment import Alert, AlertSink, Environment, KeptTelemetry, Labels, System, Tracing, logged
from headwater.errors import Misuse

logger = logging.getLogger("headwater.cli")

F = TypeVar("F", bound=Callable[..., Any])


class Tellings(NamedTuple):
    """The options. Arguments: metrics: where to be scraped; log: "text" or "json"; payloads; webhook: for alerts;
    traces: whether commands are followed."""

    metrics: str | None
    log: str = "text"
    payloads: bool = False
    webhook: str | None = None
    traces: bool = False


def metrics_option(function: F) -> F:
    """Adds `--metrics-port` alone."""
    return click.option("--metrics-port", metavar="[HOST:]PORT", help="Serve /metrics for Prometheus.")(function)


def telling_options(function: F) -> F:
    """Adds the options to a verb, which gets them by their names."""
    for option in (
        click.option("--traces", is_flag=True, help="Follow commands with OpenTelemetry; see docs/telemetry.md."),
        click.option("--alert-webhook", metavar="URL", help="POST alerts there as JSON."),
        metrics_option,
        click.option("--payloads", is_flag=True, help="Log and send what data and your own code said, too."),
        click.option("--log", type=click.Choice(["text", "json"]), default="text", help="One JSON line per event."),
    ):
        function = option(function)
    return function


@contextmanager
def telling(options: Tellings, app: str) -> Iterator[Environment]:
    """The environment of a process that tells as it is asked to. Raises: Misuse, Unavailable: that is not possible."""
    about: dict[str, object] = {"app": app}
    sinks: list[AlertSink] = []
    with ExitStack() as opened:
        if options.log == "text":
            sinks.append(_tell_alert)
        else:
            from headwater.telemetry.logs import log_as_json

            log_as_json(payloads=options.payloads, about=about)
        if options.webhook is not None:
            from headwater.telemetry.webhook import Webhook

            webhook = Webhook(options.webhook, about=about, payloads=options.payloads)
            opened.callback(webhook.close)
            sinks.append(webhook)
        kept = KeptTelemetry(sinks)
        tracing = _tracing(app, opened) if options.traces else None
        if options.metrics is not None:
            from importlib.metadata import version

            from headwater.telemetry.serving import MetricsServer, host_and_port

            host, port = host_and_port(options.metrics)
            kept.gauge("headwater_info", {"app": app, "version": version("headwater")}, 1)
            server = MetricsServer(kept, port, host)
            opened.callback(server.close)
            logger.info("metrics are served at %s", server.url, extra=logged("metrics_served", url=server.url))
        yield System(kept, tracing)


def _tell_alert(name: str, labels: Labels, alert: Alert, on: bool) -> None:
    details = f": {alert.details}" if on and alert.details is not None else ""
    told(" ".join(f"{'alert' if on else 'over'}: {alert.text}{details}".split()))


def _tracing(app: str, opened: ExitStack) -> Tracing:
    try:
        from headwater.telemetry.spans import OpenTelemetryTracing, provider_of_environment
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "opentelemetry":
            raise
        raise advised(Misuse("traces need OpenTelemetry"), "pip install 'headwater[traces]'") from error
    provider, end = provider_of_environment(app)
    opened.callback(end)
    return OpenTelemetryTracing(provider)
