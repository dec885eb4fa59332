"""`hw archive`, as it is typed."""

from __future__ import annotations

import json
import shlex
import shutil
import sys
from contextlib import closing
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from headwater.log.port import NewRecord, TopicSpec
from headwater.log.sqlite import SqliteLog
from tests.bank import Deposit, Open
from tests.cli.conftest import Ended, Shell, an_app, caught_up, refuse_unknown_command


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


@pytest.fixture
def trimmed(shell: Shell, address: str, project: Path) -> Path:
    """Two topics in an archive, and the events of accounts nowhere else; the folder of those."""
    shell("archive")
    with closing(SqliteLog(project / "bank.db")) as log:
        log.create_topics([TopicSpec("other", 1)])
        log.append([NewRecord("other", 0, b"key", b"value")])
    shell("archive --topic other")
    shell("archive trim --older-than PT0S --execute")
    assert {row["verdict"] for row in shell("archive verify").rows} == {"good"}
    return project / "archive" / "account-events"


def told(ended: Ended) -> list[dict[str, Any]]:
    """The rows of a verb, whether it found something wrong or not."""
    return [json.loads(line) for line in ended.out.splitlines()]


def verdicts(ended: Ended) -> dict[str, str]:
    return {row["topic"]: row["verdict"] for row in told(ended)}


def test_an_archive_that_is_not_mounted_is_no_good_archive(shell: Shell, trimmed: Path, project: Path) -> None:
    trimmed.parent.rename(project / "elsewhere")
    ended = shell("archive verify")
    assert ended.code == 4
    assert "the log does not have its first events" in verdicts(ended)["account-events"]
    refuse_unknown_command(ended.next)
    for verb in ("archive status", "archive restore --on sqlite:///new.db --archive " + trimmed.parent.as_uri()):
        ended = shell(verb)
        assert (ended.code, ended.out) == (3, "")
        assert "is not there, or nothing is archived in it" in ended.error
        refuse_unknown_command(ended.next)
    assert not (project / "new.db").exists()
    ended = shell("archive")
    assert ended.code == 3
    assert "would begin with a gap" in ended.error
    refuse_unknown_command(ended.next)
    assert not trimmed.parent.exists(), "no second archive is begun"
    (project / "elsewhere").rename(trimmed.parent)
    assert shell("archive").code == 0
    assert set(verdicts(shell("archive verify")).values()) == {"good"}


def test_an_address_where_nothing_is_archived_is_told_without_a_log(shell: Shell, directory: Path) -> None:
    ended = shell(f"archive verify --archive {(directory / 'none').as_uri()}")
    assert (ended.code, ended.out) == (4, "")
    assert "is not there, or nothing is archived in it" in ended.err
    refuse_unknown_command(ended.next)


@pytest.mark.parametrize("gone", ["the topic", "its manifest", "half of its manifest"])
def test_a_topic_that_is_gone_is_told_and_the_others_are_checked(
    shell: Shell, trimmed: Path, project: Path, gone: str
) -> None:
    (manifest,) = trimmed.rglob("manifest.json")
    if gone == "the topic":
        shutil.rmtree(trimmed)
    elif gone == "its manifest":
        manifest.unlink()
    else:
        manifest.write_bytes(manifest.read_bytes()[:500])
    ended = shell("archive verify")
    assert ended.code == 4
    found = verdicts(ended)
    assert found["other"] == "good"
    assert ("is damaged" if gone == "half of its manifest" else "has no manifest of it") in found["account-events"]
    assert "may be deleted" not in ended.err
    ended = shell("archive")
    assert ended.code == 3
    assert "manifest" in ended.error


@pytest.mark.parametrize("gone", ["its manifest", "half of its manifest"])
def test_a_restore_names_what_it_cannot_restore(shell: Shell, trimmed: Path, gone: str) -> None:
    (manifest,) = trimmed.rglob("manifest.json")
    if gone == "its manifest":
        manifest.unlink()
    else:
        manifest.write_bytes(manifest.read_bytes()[:500])
    ended = shell(f"archive restore --archive {trimmed.parent.as_uri()} --on sqlite:///new.db")
    assert ended.code == 4
    assert [(row["topic"], row["written"]) for row in told(ended)] == [("other", 1)]
    assert "topic account-events is not restored" in ended.err
    refuse_unknown_command(ended.next)


def test_a_manifest_of_long_ago_is_found(shell: Shell, address: str, project: Path) -> None:
    shell("archive")
    (manifest,) = (project / "archive").rglob("manifest.json")
    old = manifest.read_bytes()
    with an_app(project).run("sqlite:///bank.db") as shop:
        shop.send(Deposit("a7", Decimal(1)))
    shell("archive")
    shell("archive trim --older-than PT0S --execute")
    assert shell("archive verify").code == 0
    manifest.write_bytes(old)
    ended = shell("archive verify")
    assert ended.code == 4
    assert "are neither in the archive nor in the log" in "".join(row["verdict"] for row in told(ended))
    assert "may be deleted" not in ended.err


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
