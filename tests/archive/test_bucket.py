"""An archive in a bucket, on a server that speaks S3's protocol and keeps its objects on the disk."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

import pytest

from headwater.environment import SYSTEM
from headwater.errors import Unavailable
from headwater.log.archive import Archive, ArchivedLog, open_archive
from headwater.log.opening import open_log
from headwater.log.port import Log, TopicPartition
from headwater.log.sqlite import SqliteLog
from headwater.operations.archive_checking import check_archive
from headwater.operations.archive_restoring import restore_topic
from headwater.operations.archiving import archive_topic
from headwater.testing.brokers import free_ports
from headwater.testing.conformance.log.waiting import attempts
from tests.archive.trail import PATIENCE_S, SMALL, TOPIC, archive_all, everything, fill, without_offsets


class Server:
    """Arguments: process; port; directory: where it keeps buckets."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, directory: Path) -> None:
        self.process, self.port, self.directory = process, port, directory

    @property
    def url(self) -> str:
        """Of an archive there."""
        return f"s3://records/the%20shop?scheme=http&endpoint_override={quote(f'127.0.0.1:{self.port}')}"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    directory = tmp_path / "buckets"
    (directory / "records").mkdir(parents=True)
    with closing(free_ports()) as free:
        port = next(free)
    for name, value in {"ACCESS_KEY_ID": "k", "SECRET_ACCESS_KEY": "s", "REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    command = [sys.executable, "-m", "localbucket", "--port", str(port), str(directory)]
    with (tmp_path / "server.log").open("w") as out:
        process = subprocess.Popen(command, stdout=out, stderr=out)
    try:
        for _ in attempts(PATIENCE_S, "the server answers"):
            assert process.poll() is None, (tmp_path / "server.log").read_text()
            with closing(socket.socket()) as asking:
                if asking.connect_ex(("127.0.0.1", port)) == 0:
                    break
        yield Server(process, port, directory)
    finally:
        process.kill()
        process.wait()


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with closing(SqliteLog(tmp_path / "log.db")) as log:
        yield log


@pytest.fixture
def archive(server: Server) -> Archive:
    return open_archive(server.url)


def test_a_bucket_holds_an_archive_like_a_directory(log: Log, archive: Archive, server: Server, tmp_path: Path) -> None:
    assert archive.topics() == []
    fill(log, 30)
    archived = {TopicPartition(TOPIC, done.partition): done.end for done in archive_all(log, archive)}
    original = everything(log)
    (topic,) = archive.topics()
    assert [found.faults for found in check_archive(archive, [topic], log, SYSTEM)] == [[], []]
    log.delete_before(archived)
    with closing(open_log(f"sqlite:///{tmp_path / 'log.db'}?archive={server.url}")) as both:
        assert isinstance(both, ArchivedLog)
        assert everything(both) == original
    with closing(SqliteLog(tmp_path / "restored.db")) as other:
        assert sum(done.written for done in restore_topic(archive, topic, other, SYSTEM)) == 30
        assert without_offsets(everything(other)) == without_offsets(original)
    path = next(server.directory.rglob("partition=1/*.parquet"))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    (fault,) = [fault for found in check_archive(archive, [topic], log, SYSTEM) for fault in found.faults]
    assert path.name in fault


def test_a_second_writer_is_refused_when_it_has_written(log: Log, archive: Archive, server: Server) -> None:
    fill(log, 30)
    first = archive_topic(log, archive, TOPIC, SYSTEM, limits=SMALL)
    next(first)
    archive_all(log, open_archive(server.url))
    with pytest.raises(Unavailable, match="another process archives"):
        list(first)
    assert [found.faults for found in check_archive(archive, archive.topics(), log, SYSTEM)] == [[], []]


def test_a_server_that_is_gone_is_unavailable(log: Log, archive: Archive, server: Server) -> None:
    fill(log, 10)
    server.process.kill()
    server.process.wait()
    with pytest.raises(Unavailable, match="cannot be used"):
        archive_all(log, archive)
