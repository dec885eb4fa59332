"""An open log says where it is: what is told of it and what lies beside it are as with its address."""

from __future__ import annotations

from contextlib import closing
from pathlib import Path

import pytest

import headwater as hw
from headwater.log.archive import ArchivedLog
from headwater.log.memory import MemoryLog
from headwater.log.opening import open_log, split_archive
from tests.bank import Account, Open

app = hw.App("bank", aggregates=[Account], partitions=1)


@pytest.fixture(params=["absolute", "relative"])
def url(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.chdir(tmp_path)
    return f"sqlite:///{tmp_path / 'bank.db'}" if request.param == "absolute" else "sqlite:///bank.db"


def test_a_file_says_its_address(url: str) -> None:
    with closing(open_log(url)) as log:
        assert log.url == url


def test_a_log_in_memory_has_none_for_others() -> None:
    assert MemoryLog().url == "memory://"


@pytest.mark.kafka
def test_a_cluster_says_its_address(kafka_broker: str) -> None:
    with closing(open_log(f"{kafka_broker}?answer_timeout_s=60")) as log:
        assert log.url == kafka_broker


@pytest.mark.kafka
def test_an_archive_is_the_last_option_of_an_address(kafka_broker: str, url: str, tmp_path: Path) -> None:
    there = tmp_path.as_uri()
    for address, options in ((kafka_broker, "?answer_timeout_s=60&"), (kafka_broker, "?"), (url, "?")):
        with closing(open_log(f"{address}{options}archive={there}")) as log:
            assert isinstance(log, ArchivedLog)
            assert (log.url, log.archive.url) == (address, there)
            assert log.topics(["nowhere"]) == {}
    bucket = "s3://records/shop?scheme=http&endpoint_override=localhost:9000"
    assert split_archive(f"{kafka_broker}?group_protocol=classic&archive={bucket}") == (
        f"{kafka_broker}?group_protocol=classic",
        bucket,
    )


def test_read_models_lie_beside_an_open_log(url: str, tmp_path: Path) -> None:
    with closing(open_log(url)) as log:
        with app.run(log) as bank:
            bank.rows(Account, after=bank.send(Open("a", "ann")))
        with app.connect(url) as client:
            assert [one.owner for one in client.rows(Account)] == ["ann"]
    assert (tmp_path / "bank.models.db").exists()


def test_a_client_of_an_open_log_is_told_its_address(url: str) -> None:
    with closing(open_log(url)) as log:
        with app.run(log, only=["commands"]):
            pass
        with app.connect(log) as client, pytest.raises(hw.Unavailable, match=f"start one with: .* --on {url}$"):
            client.send(Open("a", "ann"))
