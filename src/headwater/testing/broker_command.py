"""`scripts/broker start|stop|status`: the brokers of this checkout, or of any directory, by hand."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from headwater.errors import HeadwaterError
from headwater.log.kafka.connection import cache_directory
from headwater.testing.brokers import Cluster, start_brokers


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--directory",
    type=click.Path(path_type=Path),
    help="Where settings and data are kept (default: broker/ in the cache).",
)
@click.pass_context
def command(context: click.Context, directory: Path | None) -> None:
    """Kafka brokers on this machine."""
    context.obj = (directory or cache_directory() / "broker").resolve()


@command.command()
@click.option("--nodes", type=click.IntRange(1, 5), help="How many brokers (default: 1, or as they are).")
@click.option("--port", type=int, help="The first broker's port (default: a free one, kept from then on).")
@click.pass_obj
def start(directory: Path, nodes: int | None, port: int | None) -> None:
    """Starts the brokers, or says that they run. The last line printed is their address."""
    known = Cluster.load(directory)
    nodes = nodes or (len(known.nodes) if known else 1)
    cluster = start_brokers(nodes, directory, port=port)
    click.echo(f"{nodes} broker(s) run, data in {directory}", err=True)
    click.echo(cluster.url)


@command.command()
@click.option("--delete", is_flag=True, help="Remove the data too.")
@click.pass_obj
def stop(directory: Path, delete: bool) -> None:
    """Stops the brokers; their data stays unless --delete is given."""
    cluster = Cluster.load(directory)
    if cluster is None:
        click.echo(f"no brokers were ever started in {directory}")
        return
    running = len(cluster.pids)
    cluster.delete() if delete else cluster.stop()
    click.echo(f"stopped {running} broker(s)" + (", data removed" if delete else ""))


@command.command()
@click.pass_context
def status(context: click.Context) -> None:
    """One line per broker, then the address. Exit code 3 when one of them does not run."""
    directory: Path = context.obj
    cluster = Cluster.load(directory)
    if cluster is None:
        click.echo(f"no brokers were started yet in {directory}: {context.find_root().command_path} start")
        sys.exit(3)
    running = cluster.pids
    for node in cluster.nodes:
        state = f"runs as process {node.pid}" if node.id in running else "does not run"
        click.echo(f"broker {node.id} on 127.0.0.1:{node.port} {state}")
    click.echo(cluster.url)
    sys.exit(0 if len(running) == len(cluster.nodes) else 3)


def main(name: str | None = None) -> None:
    """Arguments: name: what it was called by, if that is not `python -m headwater.testing.broker_command`."""
    try:
        command(prog_name=name)
    except HeadwaterError as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
