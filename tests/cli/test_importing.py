"""`hw import`: every line at most once, whatever happens to the import; bad lines are told and set aside."""

from __future__ import annotations

import gzip
import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

import headwater as hw
from headwater.client.shop import Shop
from headwater.operations.importing import Import, Tally
from headwater.operations.importing_lines import ImportFile, LineReader
from headwater.operations.vocabulary import Vocabulary
from tests.bank import Account, amount_of
from tests.cli.conftest import Shell, an_app, at_work

ROOT = str(Path(__file__).parents[2])
"""On the path of another process, so that it finds the tests."""

NOON = "2024-04-10T12:00:00Z"


def opening(account: int) -> dict[str, Any]:
    return {"commandType": "Open", "accountId": str(account), "owner": "ann"}


def depositing(account: int, amount: str, **rest: Any) -> dict[str, Any]:
    return {"commandType": "Deposit", "accountId": str(account), "amount": amount, **rest}


def deposited(account: int, amount: str, **rest: Any) -> dict[str, Any]:
    return {"eventType": "Deposited", "accountId": str(account), "amount": amount, **rest}


def write(path: Path, *lines: dict[str, Any] | bytes) -> Path:
    path.write_bytes(b"".join((one if isinstance(one, bytes) else json.dumps(one).encode()) + b"\n" for one in lines))
    return path


def test_commands_are_carried_out_with_their_times_and_actors(shell: Shell, bank: Shop, project: Path) -> None:
    write(project / "in.ndjson", opening(1), depositing(1, "10", timestamp=NOON, actor="user:bob"), b"", opening(2))
    assert shell("import in.ndjson --actor import").one == {
        "file": "in.ndjson",
        "imported": 3,
        "repeated": 0,
        "rejected": 0,
    }
    first, second = bank.history(Account, "1")
    assert (first.meta.actor, second.meta.actor) == ("import", "user:bob")
    assert second.meta.time.isoformat() == "2024-04-10T12:00:00+00:00"


def test_events_are_appended_as_they_are(shell: Shell, bank: Shop, project: Path) -> None:
    write(project / "in.ndjson", deposited(1, "10", timestamp=NOON, eventVersion=1), deposited(1, "5"))
    assert shell("import in.ndjson").one["imported"] == 2
    assert bank.get(Account, "1").balance == 15
    assert bank.history(Account, "1")[0].meta.time.isoformat() == "2024-04-10T12:00:00+00:00"


def test_a_compressed_file_is_imported(shell: Shell, bank: Shop, project: Path) -> None:
    (project / "in.ndjson.gz").write_bytes(gzip.compress(json.dumps(opening(1)).encode()))
    assert shell("import in.ndjson.gz").one["imported"] == 1


@contextmanager
def a_pipe(content: bytes) -> Iterator[str]:
    """The path of a pipe that gives this once, as `<(…)` makes one."""
    reading, writing = os.pipe()
    with open(reading, "rb"), open(writing, "wb") as end:
        end.write(content)
        end.close()
        yield f"/dev/fd/{reading}"


@pytest.mark.parametrize("packed", [bytes, gzip.compress], ids=["plain", "gzipped"])
def test_a_pipe_is_imported_and_its_content_is_the_same_in_a_file(
    packed: Callable[[bytes], bytes], shell: Shell, bank: Shop, project: Path
) -> None:
    content = write(project / "in.ndjson", opening(1), depositing(1, "10")).read_bytes()
    with a_pipe(packed(content)) as path:
        assert shell(f"import {path}").one == {"file": path, "imported": 2, "repeated": 0, "rejected": 0}
    assert shell("import in.ndjson").one["repeated"] == 2
    assert bank.get(Account, "1").balance == 10


def test_lines_of_pipes_are_set_aside_in_files_of_their_own(shell: Shell, bank: Shop, project: Path) -> None:
    kept = set()
    for amount in ("ten", "nine"):
        with a_pipe(json.dumps(depositing(1, amount)).encode()) as path:
            ended = shell(f"import {path}")
        assert ended.code == 4
        kept.add(json.loads(ended.out)["rejectedFile"])
        assert ended.next == f"hw import {json.loads(ended.out)['rejectedFile']}"
    assert kept == {path.name for path in project.glob("pipe-*.rejected.ndjson")}
    assert len(kept) == 2


def test_that_nothing_came_is_told(shell: Shell, bank: Shop, project: Path) -> None:
    with a_pipe(b"") as path:
        ended = shell(f"import {path}")
    assert (ended.one["imported"], ended.err) == (0, f"note: {path} is empty\n")


def test_what_comes_through_a_named_pipe_may_be_another_thing_each_time(
    shell: Shell, bank: Shop, project: Path
) -> None:
    os.mkfifo(project / "queue")
    for amount in ("ten", "nine"):
        writer = threading.Thread(target=write, args=(project / "queue", depositing(1, amount)))
        writer.start()
        assert shell("import queue").code == 4
        writer.join()
    assert len(list(project.glob("queue-*.rejected.ndjson"))) == 2


@pytest.mark.parametrize("file", ["-", "/dev/stdin"])
def test_standard_input_is_imported(file: str, bank: Shop, project: Path) -> None:
    words = [sys.executable, "-m", "headwater", "import", file]
    lines = b"".join(json.dumps(line).encode() + b"\n" for line in (opening(1), depositing(1, "ten")))
    ended = subprocess.run(words, input=lines, env={**os.environ, "PYTHONPATH": ROOT}, capture_output=True, timeout=100)
    assert ended.returncode == 4, ended
    counts = json.loads(ended.stdout)
    assert (counts["imported"], counts["rejected"]) == (1, 1)
    assert f"rejected: {'standard input' if file == '-' else file}, line 2: " in ended.stderr.decode()
    assert re.fullmatch(r"stdin-[0-9a-f]{8}\.rejected\.ndjson", counts["rejectedFile"])
    assert (project / counts["rejectedFile"]).exists()


def test_a_pipe_that_there_is_no_room_for_is_refused(
    shell: Shell, bank: Shop, project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(project / "nowhere"))
    with a_pipe(json.dumps(opening(1)).encode()) as path:
        ended = shell(f"import {path}")
    assert ended.code == 2
    assert "TMPDIR names another directory" in ended.error


def test_importing_again_doubles_nothing_however_many_commands_an_entity_has(
    shell: Shell, bank: Shop, project: Path
) -> None:
    """More than an owner remembers by id: 128 of one entity."""
    write(project / "in.ndjson", opening(1), *[depositing(1, "1") for _ in range(300)], *map(opening, range(2, 9)))
    assert shell("import in.ndjson --in-flight 10").one["imported"] == 308
    assert shell("import in.ndjson").one == {"file": "in.ndjson", "imported": 0, "repeated": 308, "rejected": 0}
    assert bank.get(Account, "1").balance == 300
    assert bank.version(Account, "1") == 301


def test_importing_events_again_doubles_nothing(shell: Shell, bank: Shop, project: Path) -> None:
    write(project / "in.ndjson", *[deposited(1, "1") for _ in range(200)])
    assert shell("import in.ndjson").one["imported"] == 200
    assert shell("import in.ndjson").one["repeated"] == 200
    assert bank.get(Account, "1").balance == 200


def test_equal_lines_are_different_commands_and_equal_ids_the_same(shell: Shell, bank: Shop, project: Path) -> None:
    write(project / "in.ndjson", opening(1), depositing(1, "1"), depositing(1, "1"), depositing(1, "7", id="seven"))
    assert shell("import in.ndjson").one["imported"] == 4
    write(project / "next.ndjson", depositing(1, "7", id="seven"), depositing(1, "1"))
    counts = shell("import next.ndjson").one
    assert (counts["imported"], counts["repeated"]) == (1, 1)
    assert bank.get(Account, "1").balance == 10


BAD: dict[str, tuple[dict[str, Any] | bytes, str]] = {
    "no JSON": (b'{"commandType":"Open",', "this is no JSON"),
    "no text": (b'{"commandType":"\xff"}', "this is no JSON"),
    "no object": (b"[1,2]", "not an object"),
    "no type": ({"accountId": "1"}, 'no field "commandType" or "eventType"'),
    "unknown command": ({"commandType": "Opne", "accountId": "1"}, "no command 'Opne'; did you mean Open?"),
    "unknown event": ({"eventType": "Closed", "accountId": "1"}, "no event 'Closed'"),
    "wrong type": (depositing(1, "ten"), "$.amount"),
    "missing field": ({"commandType": "Deposit", "accountId": "1"}, "missing required field `amount`"),
    "misspelled field": (depositing(1, "1", amuont="2"), "no field 'amuont'; did you mean amount?"),
    "no key": (depositing(1, "1") | {"accountId": ""}, "accountId"),
    "time without a zone": (depositing(1, "1", timestamp="2024-04-10T12:00:00"), "no time zone"),
    "time that is none": (depositing(1, "1", timestamp=5), '"timestamp" is 5'),
    "time before the first year": (depositing(1, "1", timestamp="0001-01-01T00:00:00+14:00"), "years 1 to 9999"),
    "later version": (depositing(1, "1", commandVersion=2), "version 2 of Deposit is newer"),
    "2 MB": (depositing(1, "1") | {"accountId": "x" * 2_000_000}, "the line has 2,0"),
    "refused": (depositing(1, "1") | {"commandType": "Withdraw", "amount": "99"}, "The account has only 3."),
    "failed": ({"commandType": "Break", "accountId": "1", "how": "raise"}, "ZeroDivisionError"),
}


@pytest.mark.parametrize(("line", "reason"), BAD.values(), ids=list(BAD))
def test_a_bad_line_is_told_and_set_aside_and_the_others_go_on(
    line: dict[str, Any] | bytes, reason: str, shell: Shell, bank: Shop, project: Path
) -> None:
    write(project / "in.ndjson", opening(1), depositing(1, "3"), line, opening(2))
    ended = shell("import in.ndjson")
    assert ended.code == 4
    assert json.loads(ended.out)["imported"] == 3
    (told,) = (line for line in ended.err.splitlines() if line.startswith("rejected: "))
    assert told.startswith("rejected: in.ndjson, line 3: ")
    assert reason in told
    (kept,) = (project / "in.ndjson.rejected.ndjson").read_text().splitlines()
    assert json.loads(kept)["rejected"]["line"] == 3
    assert reason in json.loads(kept)["rejected"]["reason"]
    assert ended.next == "hw import in.ndjson.rejected.ndjson"
    assert bank.get(Account, "1").balance == 3


@pytest.mark.parametrize(("options", "aside"), [("", [2, 4]), ("--on-failure stop", [2, 3, 4, 5])])
def test_later_lines_of_the_entity_wait_in_the_file_in_order(
    options: str, aside: list[int], shell: Shell, bank: Shop, project: Path
) -> None:
    write(
        project / "in.ndjson",
        opening(1),
        depositing(1, "ten"),
        opening(2),
        depositing(1, "1"),
        depositing(2, "2"),
    )
    ended = shell("import in.ndjson", *options.split())
    assert (ended.code, bank.version(Account, "1")) == (4, 1)
    rejected = project / "in.ndjson.rejected.ndjson"
    assert [json.loads(line)["rejected"]["line"] for line in rejected.read_text().splitlines()] == aside
    assert "it waits for line 2, which could not be imported" in ended.err
    rejected.write_text(rejected.read_text().replace('"ten"', '"10"'))
    assert shell("import in.ndjson.rejected.ndjson").one["imported"] == len(aside)
    assert [amount_of(recorded.event) for recorded in bank.history(Account, "1")[1:]] == [10, 1]
    assert bank.get(Account, "2").balance == 2


def test_an_import_waits_for_the_app_to_come_back(project: Path, tmp_path: Path) -> None:
    app, url = an_app(project), f"sqlite:///{tmp_path / 'bank.db'}"
    write(project / "in.ndjson", opening(1), *(depositing(1, "1") for _ in range(40)))
    content = ImportFile.look_at(project / "in.ndjson")
    with ExitStack() as stack, ExitStack() as first:
        first.enter_context(at_work(app, url))
        shop = stack.enter_context(app.connect(url))
        missed: list[hw.Unavailable] = []

        class Watched:
            """Starts the app again when it was missed."""

            def send_many(self, *arguments: Any, **options: Any) -> Iterator[Any]:
                for outcome in shop.send_many(*arguments, **options):
                    if isinstance(outcome, hw.Unavailable) and not missed:
                        stack.enter_context(at_work(app, url))
                        missed.append(outcome)
                    yield outcome

        def progress(tally: Tally) -> None:
            if tally.imported == 10:
                first.close()

        reader = LineReader(Vocabulary(app.behaviours.values()), content.digest)
        work = Import(
            Watched(),  # type: ignore[arg-type]  # all that it asks of a shop
            content,
            reader,
            in_flight=2,
            timeout_s=60,
            set_aside=lambda bad: None,
            progress=progress,
        )
        tally = work.run()
        assert (tally.lines, tally.rejected, len(missed)) == (41, 0, 1)
        assert shop.get(Account, "1").balance == 40


def test_corrected_lines_are_imported_from_the_file_of_rejected_ones(shell: Shell, bank: Shop, project: Path) -> None:
    write(project / "in.ndjson", opening(1), depositing(1, "ten"))
    shell("import in.ndjson")
    rejected = project / "in.ndjson.rejected.ndjson"
    rejected.write_text(rejected.read_text().replace('"ten"', '"10"'))
    assert shell("import in.ndjson.rejected.ndjson").one["imported"] == 1
    assert shell("import in.ndjson.rejected.ndjson").one["repeated"] == 1
    assert bank.get(Account, "1").balance == 10


def test_a_file_that_was_corrected_instead_of_its_rejected_lines_is_refused(
    shell: Shell, bank: Shop, project: Path
) -> None:
    write(project / "in.ndjson", opening(1), depositing(1, "5"), deposited(1, "2"), depositing(1, "ten"))
    ended = shell("import in.ndjson")
    assert "note: correct in.ndjson.rejected.ndjson and import that" in ended.err
    write(project / "in.ndjson", opening(1), depositing(1, "5"), deposited(1, "2"), depositing(1, "10"))
    ended = shell("import in.ndjson")
    assert ended.code == 2
    assert "in.ndjson was imported with other content" in ended.error
    assert ended.next == "hw import in.ndjson.rejected.ndjson"
    assert bank.get(Account, "1").balance == 7
    (project / "in.ndjson.rejected.ndjson").rename("earlier.ndjson")
    assert shell("import in.ndjson").code == 4, "as a new file, since that was asked for: the account is open"
    assert bank.get(Account, "1").balance == 24


def test_a_corrected_file_whose_lines_have_ids_is_imported(shell: Shell, bank: Shop, project: Path) -> None:
    write(project / "in.ndjson", opening(1) | {"id": "1"}, b"", depositing(1, "ten", id="2"))
    assert shell("import in.ndjson").code == 4
    write(project / "in.ndjson", opening(1) | {"id": "1"}, b"", depositing(1, "10", id="2"))
    counts = shell("import in.ndjson").one
    assert (counts["imported"], counts["repeated"]) == (1, 1)
    assert bank.get(Account, "1").balance == 10


def test_unknown_fields_are_imported_only_on_request(shell: Shell, bank: Shop, project: Path) -> None:
    write(project / "in.ndjson", opening(1) | {"colour": "red"})
    assert shell("import in.ndjson").code == 4
    assert shell("import in.ndjson --ignore-unknown-fields").one["imported"] == 1


def test_a_line_of_the_other_kind_is_set_aside(shell: Shell, bank: Shop, project: Path) -> None:
    write(project / "in.ndjson", opening(1), deposited(1, "1"))
    ended = shell("import in.ndjson --as events")
    assert ended.code == 4
    assert 'line 1: Misuse: it has no field "eventType"' in ended.err


def test_without_anybody_who_runs_the_app_nothing_is_imported(shell: Shell, project: Path) -> None:
    with an_app(project).run("sqlite:///bank.db"):
        """Once, so that there is a log."""
    write(project / "in.ndjson", opening(1))
    ended = shell("import in.ndjson")
    assert ended.code == 3
    assert ended.next == "hw run bankapp:app --on sqlite:///bank.db"


KILLED_AT = 1000
KILLED = f"""
import os, signal
from contextlib import contextmanager
from headwater.cli import importing, main

@contextmanager
def progress(lines):
    yield lambda tally: tally.imported == {KILLED_AT} and os.kill(os.getpid(), signal.SIGKILL)

importing._progress = progress
main()
"""
"""`hw import` that kills itself when so many lines are answered: from outside it might be killed too late."""


def test_an_import_that_was_killed_goes_on_where_it_was(shell: Shell, bank: Shop, project: Path) -> None:
    lines = [opening(account) for account in range(20)]
    lines += [depositing(number % 20, "1") for number in range(4000)]
    write(project / "in.ndjson", *lines)
    words = [sys.executable, "-c", KILLED, "import", "in.ndjson", "--in-flight", "50"]
    ended = subprocess.run(words, env={**os.environ, "PYTHONPATH": ROOT}, capture_output=True, timeout=200)
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    assert 0 < bank.version(Account, "7") < 201
    counts = shell("import in.ndjson").one
    assert counts["imported"] > 0
    assert counts["repeated"] >= KILLED_AT
    assert counts["imported"] + counts["repeated"] == 4020
    assert {bank.get(Account, str(account)).balance for account in range(20)} == {Decimal(200)}
