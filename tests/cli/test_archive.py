"""`hw archive`, as it is typed."""

from __future__ import annotations

import json
import shlex
import sys
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

from headwater.log.sqlite import SqliteLog
from tests.bank import Deposit, Open
from tests.cli.conftest import Shell, an_app, caught_up, refuse_unknown_command


@pytest.fixture
def address(project: Path) -> str:
    """A bank that has worked, and the address of its log with an archive behind it."""
    with an_app(project).run("sqlite:///bank.db") as shop:
        for number in range(12):
            shop.send(Open(f"a{number}", "ann"))
            shop.send(Deposit(f"a{number}", Decimal(number)))
    address = f"sqlite:///bank.db?archive={(project / 'archive').as_uri()}"
    (project / "headwater.toml").write_text(f'app = "bankapp:app"\non = "{address}"\n')
    return address


def trim(project: Path, topic: str = "account-events") -> None:
    """Deletes all that is in the topic."""
    from headwater.log.port import TopicPartition

    with closing(SqliteLog(project / "bank.db")) as log:
        every = [TopicPartition(topic, p) for p in range(log.topics([topic])[topic].partitions)]
        log.delete_before(log.ends(every))


def test_a_log_is_archived_checked_and_read_from_there(shell: Shell, address: str, project: Path) -> None:
    done = shell("archive").rows
    assert {row["topic"] for row in done} == {"account-events"}
    assert sum(row["records"] for row in done) == 24
    assert sum(row["records"] for row in shell("archive").rows) == 0
    assert sum(row["records"] for row in shell("archive status").rows) == 24
    checked = shell("archive verify").rows
    assert {row["verdict"] for row in checked} == {"good"}
    assert sum(row["compared"] for row in checked) == 24
    before = shell("history account a7").rows
    trim(project)
    assert shell(f"history account a7 --on {address}").rows == before
    assert shell("history account a7 --on sqlite:///bank.db").out == ""
    assert shell("tail account --from earliest").rows == shell(f"tail account --from earliest --on {address}").rows
    assert len(shell("tail account --from earliest").rows) == 24
    assert sum(row["compared"] for row in shell("archive verify").rows) == 0
    Path("bank.models.db").unlink()
    with an_app(project).run(address) as shop:
        receipt = shop.send(Deposit("a7", Decimal(100)))
        row = shop.row(sys.modules["bankapp"].Balance, "a7", after=receipt)
        assert row is not None
        assert row.balance == 107


def test_an_archive_is_restored_into_a_new_file(shell: Shell, address: str, project: Path) -> None:
    shell("archive")
    before = shell("get account a7").one
    history = shell("history account a7").rows
    url = (project / "archive").as_uri()
    done = shell(f"archive restore --archive {url} --on sqlite:///new.db").rows
    assert sum(row["written"] for row in done) == 24
    again = shell(f"archive restore --archive {url} --on sqlite:///new.db").rows
    assert sum(row["found"] for row in again) == 24
    with an_app(project).run("sqlite:///new.db") as shop:
        shop.send(Deposit("a7", Decimal(1)))
        got = shell("get account a7 --on sqlite:///new.db").one
        assert (got["version"], got["balance"]) == (before["version"] + 1, "8")
    restored = shell("history account a7 --on sqlite:///new.db").rows
    same = ("id", "version", "time", "type")
    assert [[row.get(name) for name in same] for row in restored[: len(history)]] == [
        [row.get(name) for name in same] for row in history
    ]


def test_what_is_archived_may_be_deleted_from_the_log(shell: Shell, address: str, project: Path) -> None:
    shell("archive")
    history = shell("history account a7").rows
    assert not any(row["deleted"] for row in shell("archive trim --older-than P1D --execute").rows), "all are younger"
    planned = shell("archive trim --older-than PT0S").rows
    assert sum(row["compared"] for row in planned) == 24
    assert not any(row["deleted"] for row in planned)
    assert [row["begins"] for row in shell("archive trim --older-than PT0S").rows] == [0] * len(planned)
    done = shell("archive trim --older-than PT0S --execute").rows
    assert [row["wouldBegin"] for row in done] == [row["wouldBegin"] for row in planned]
    assert [row["begins"] for row in shell("archive trim --older-than PT0S").rows] == [
        row["wouldBegin"] for row in done
    ]
    assert shell("tail account --from earliest --on sqlite:///bank.db").out == ""
    assert shell("history account a7").rows == history
    ended = shell("history account a7 --on sqlite:///bank.db")
    assert ended.code == 3
    assert f"open it as sqlite:///bank.db?archive={(project / 'archive').as_uri()}" in ended.error
    assert ended.next == shlex.join(["hw", "topics", "--on", address])
    refuse_unknown_command(ended.next)
    assert shell("run --on sqlite:///bank.db").next == shlex.join(["hw", "run", "bankapp:app", "--on", address])
    [found] = {
        (row["level"], row["found"].partition(" is in the archive ")[2], row["todo"])
        for row in shell("doctor --on sqlite:///bank.db").rows
        if row["check"] == "history"
    }
    archive = address.partition("?archive=")[2]
    assert found == ("warning", f"{archive}, which is not looked at", shlex.join(["hw", "doctor", "--on", address]))
    assert {row["level"] for row in shell("doctor").rows} == {"ok"}


def test_a_read_model_is_rebuilt_from_archive_and_log(shell: Shell, address: str, project: Path) -> None:
    shell("archive")
    shell("archive trim --older-than PT0S --execute")
    with an_app(project).run(address) as shop:
        receipt = shop.send(Deposit("a7", Decimal(100)))
        row = shop.row(sys.modules["bankapp"].Balance, "a7", after=receipt)
        assert row is not None
        assert row.balance == 107
        caught_up(shop)
    assert shell("rebuild balance").code == 0
    [compared] = shell("rebuild balance --compare").rows
    assert (compared["newRows"], compared["changed"], compared["onlyOld"]) == (12, 0, 0)
    shell("replay --entity account a7 --to a7.ndjson")
    assert len((project / "a7.ndjson").read_text().splitlines()) == 3
    for verb in ("rebuild balance", "replay --entity account a7 --to short.ndjson", "preview"):
        ended = shell(f"{verb} --on sqlite:///bank.db")
        assert ended.code == 3
        assert f"open it as {address}" in ended.error
        refuse_unknown_command(ended.next)


def test_nothing_is_deleted_that_is_not_the_same_in_the_archive(shell: Shell, address: str, project: Path) -> None:
    shell("archive")
    ends = {row["partition"]: row["to"] for row in shell("archive status").rows}
    path = next(iter((project / "archive").rglob("*.parquet")))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    damaged = int(path.parent.name.partition("=")[2])
    ended = shell("archive trim --older-than PT0S --execute")
    assert ended.code == 4
    refuse_unknown_command(ended.next)
    begins = {
        row["partition"]: row["begins"]
        for row in map(json.loads, shell("archive trim --older-than PT0S").out.splitlines())
    }
    assert begins == {partition: 0 if partition == damaged else end or 0 for partition, end in ends.items()}


def test_damage_is_told_with_an_exit_code(shell: Shell, address: str, project: Path) -> None:
    shell("archive")
    path = next(iter((project / "archive").rglob("*.parquet")))
    path.write_bytes(path.read_bytes()[:-1] + b"?")
    ended = shell("archive verify")
    assert ended.code == 4
    assert "SHA-256" in ended.out
    refuse_unknown_command(ended.next)


@pytest.mark.parametrize(
    ("line", "code", "error"),
    [
        ("archive --on sqlite:///bank.db", 2, "no archive is named"),
        ("archive --on sqlite:///bank.db --archive ftp://host/x", 2, "no address of an archive"),
        ("archive --on sqlite:///bank.db --archive file://relative", 2, "file:///absolute/path"),
        ("archive --on sqlite:///bank.db --archive s3://", 2, "names no bucket"),
        ("archive --archive s3://key:secret@bucket/shop", 2, "no credentials: put them into AWS_ACCESS_KEY_ID"),
        ("archive --topic nothing", 2, "there is no topic nothing"),
        ("archive --topic account-state", 2, "compacted"),
        ("archive --on sqlite:///nowhere.db --archive file:///tmp/none", 3, "there is no log"),
        ("archive --topic x verify", 2, "write options behind verify"),
        ("archive verify --topic nothing", 2, "has no topic 'nothing'"),
        ("archive restore --topic account-events", 2, "the one that was archived"),
        ("topics --on 'sqlite:///bank.db?archive='", 2, "archive= names nothing"),
    ],
)
def test_mistakes_are_one_line_and_say_what_to_type_next(
    shell: Shell, address: str, line: str, code: int, error: str
) -> None:
    shell("archive")
    ended = shell(line)
    assert (ended.code, error in ended.error) == (code, True), ended
    assert "secret" not in ended.err
    refuse_unknown_command(ended.next)
