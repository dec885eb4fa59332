"""What people type wrong: each mistake is one line, an exit code and the command to type next."""

from __future__ import annotations

import re
import socket
import sqlite3
from decimal import Decimal
from pathlib import Path
from typing import NamedTuple

import pytest

from headwater.client.shop import Shop
from tests.bank import Deposit, Open
from tests.cli.conftest import Shell, an_app, refuse_unknown_command
from tests.timing import in_time

REFUSED, USAGE, WAITING, BAD = 1, 2, 3, 4

ON = "--on sqlite:///bank.db"
APP = "--app bankapp:app"
OPEN = """send Open '{"accountId":"1","owner":"ann"}'"""

COUNTING = "WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c) SELECT count(*) FROM c"


class Mistake(NamedTuple):
    """What was typed, the error that must be told (a pattern), the exit code, and how `next:` begins."""

    typed: str
    error: str
    code: int
    next: str


ON_THEIR_OWN = {
    "misspelled verb": Mistake("snd x", r"there is no verb 'snd'; did you mean send\?", USAGE, "hw --help"),
    "unknown option": Mistake("topics --frm x", r"No such option.*--frm", USAGE, "hw topics --help"),
    "missing argument": Mistake(f"send Open {APP} {ON}", r"Missing argument 'JSON'", USAGE, "hw send --help"),
    "missing option of a verb's verb": Mistake(
        "deadletters discard x", r"Missing option '--reason'", USAGE, "hw deadletters discard --help"
    ),
    "no log named": Mistake("topics", r"no log is named: pass --on URL", USAGE, "hw topics --on sqlite:///"),
    "no app named": Mistake(f"run {ON}", r"no app is named: pass MODULE:APP", USAGE, "hw new shop"),
    "no address at all": Mistake("topics --on bank.db", r"'bank.db' is no address of a log", USAGE, "hw topics"),
    "unknown scheme": Mistake("topics --on mysql://h", r"no log is called 'mysql'", USAGE, "hw topics --help"),
    "file as a host": Mistake("topics --on sqlite://bank.db", r"sqlite:///shop.db", USAGE, "hw topics --help"),
    "options of a file": Mistake(
        "topics --on 'sqlite:///bank.db?mode=ro'",
        r"has no options but archive=, so '\?mode=ro' means nothing; write sqlite:///bank.db,",
        USAGE,
        "hw topics --help",
    ),
    "options of a file to be made": Mistake(
        "run bankapp:app --on 'sqlite:///a b.db?x=1'", r"write sqlite:///a b.db,", USAGE, "hw run --help"
    ),
    "a part of a file": Mistake("topics --on 'sqlite:///bank.db#1'", r"'#1' means nothing", USAGE, "hw topics --help"),
    "options of a store": Mistake(
        f"run bankapp:app {ON} --store 'sqlite:///m.db?x=1'", r"write sqlite:///m.db,", USAGE, "hw run --help"
    ),
    "no file named": Mistake("topics --on sqlite:///", r"a file is named by sqlite:///shop.db", USAGE, "hw topics"),
    "no broker": Mistake("topics --on kafka://", r"names no broker", USAGE, "hw topics --help"),
    "a log in memory": Mistake("topics --on memory://", r"lives and ends with the process", USAGE, "hw topics --on"),
    "reset to nowhere": Mistake(f"reset --group g --topic t {ON}", r"where to\? say one of", USAGE, "hw reset --help"),
    "reset to two places": Mistake(
        f"reset --group g --to-latest --to-offset 1 {ON}", r"More than one answer", USAGE, "hw reset --help"
    ),
    "reset of nothing": Mistake(f"reset --to-latest {ON}", r"which group is meant\?", USAGE, "hw reset --help"),
    "no duration": Mistake(
        f"reset --group g --by-duration 2h {ON}", r"'2h' is no duration; .*PT1H30M", USAGE, "hw reset --help"
    ),
    "no partitions": Mistake(
        f"reset --group g --topic t:a --to-latest {ON}", r"'t:a' names no partitions; write t:0", USAGE, "hw reset"
    ),
    "no file of positions": Mistake(
        f"reset --group g --from-file no.csv {ON}", r"no.csv cannot be read: No such file", USAGE, "hw reset --help"
    ),
    "a file without positions": Mistake(
        f"reset --group g --from-file notes.txt {ON}", r"notes.txt, line 1: .* is no position", USAGE, "hw reset"
    ),
    "done and not done": Mistake(
        f"reset --group g --to-latest --execute --dry-run {ON}", r"leave one out", USAGE, "hw reset --help"
    ),
    "no such file": Mistake(f"topics {ON}", r"there is no log sqlite:///bank.db", WAITING, "hw run MODULE:APP --on"),
    "an empty file": Mistake(
        "topics --on sqlite:///empty.db", r"no log sqlite:///empty.db: the file is empty", WAITING, "hw run MODULE:APP"
    ),
    "a module that ends the program": Mistake(
        f"run ending:app {ON}", r"ending cannot be imported: it ends the program \(ending.py, line 2\)", USAGE, "hw run"
    ),
    "project without a name": Mistake("new .", r"'\.' is no name for a project", USAGE, "hw new shop"),
    "project above": Mistake("new ..", r"'\.\.' is no name for a project", USAGE, "hw new shop"),
    "no such directory": Mistake(
        "run bankapp:app --on sqlite:///no/such/bank.db", r"no/such", WAITING, f"hw run bankapp:app {ON}"
    ),
    "directory not writable": Mistake(
        "run bankapp:app --on sqlite:////proc/bank.db", r"/proc/bank.db", WAITING, f"hw run bankapp:app {ON}"
    ),
    "a text as a log": Mistake("topics --on sqlite:///notes.txt", r"notes.txt", USAGE, "hw topics --help"),
    "another program's file": Mistake("topics --on sqlite:///other.db", r"other.db", USAGE, "hw topics --help"),
    "app without an attribute": Mistake(f"run bankapp {ON}", r"'bankapp' names no app", USAGE, "hw run --help"),
    "module missing": Mistake(f"run bnkapp:app {ON}", r"there is no module 'bnkapp'", USAGE, "hw run --help"),
    "module broken": Mistake(
        f"run broken:app {ON}", r"broken cannot be imported: ZeroDivisionError.*broken.py, line 2", USAGE, "hw run"
    ),
    "module with a syntax error": Mistake(
        f"run unfinished:app {ON}", r"unfinished cannot be imported.*unfinished.py, line 1", USAGE, "hw run --help"
    ),
    "module that needs another": Mistake(
        f"run needing:app {ON}", r"needing cannot be imported: No module named 'not_there'", USAGE, "hw run --help"
    ),
    "attribute missing": Mistake(
        f"run bankapp:ap {ON}", r"has no 'ap'; the apps there: bankapp:app", USAGE, "hw run --help"
    ),
    "attribute is no app": Mistake(
        f"run bankapp:no_app {ON}", r"bankapp:no_app is int, not an hw.App", USAGE, "hw run --help"
    ),
    "unknown part": Mistake(
        f"run bankapp:app {ON} --only comands", r"no part is called 'comands'; .*commands", USAGE, "hw run --only"
    ),
    "import file missing": Mistake(
        f"import no.ndjson {APP} {ON}", r"no.ndjson cannot be read: No such file", USAGE, "hw import --help"
    ),
    "project there already": Mistake("new taken", r"taken exists and is not empty", USAGE, "hw new taken_2"),
    "project that would hide what is installed": Mistake(
        "new click", r"'click' is installed here \(.*click", USAGE, "hw new my_click"
    ),
    "project with a word of Python as its name": Mistake(
        "new True", r"'True' is the name of something else in Python", USAGE, "hw new true"
    ),
    "project of Python's own": Mistake("new Email", r"'Email' cannot name a package", USAGE, "hw new my_email"),
    "project with a long name": Mistake(
        f"new {'a' * 300}", r"has 300 characters: a name has at most 50", USAGE, f"hw new {'a' * 30}"
    ),
    "project without a letter": Mistake("new __", r"'__' cannot name a package", USAGE, "hw new shop"),
    "project with a bad name": Mistake("new My-Shop", r"'My-Shop' cannot name a package", USAGE, "hw new my_shop"),
    "port out of range": Mistake(
        "topics --on kafka://localhost:99999", r"'localhost:99999' is no broker", USAGE, "hw topics"
    ),
    "unknown option of a broker": Mistake(
        "topics --on kafka://localhost:9092?group=classic", r"no option is called 'group'", USAGE, "hw topics --help"
    ),
    "port no number": Mistake(
        "topics --on kafka://localhost:port", r"'localhost:port' is no broker", USAGE, "hw topics"
    ),
}

MADE = {"__pycache__", "bank.db"}
"""What a mistake may leave: the log of the app that was named."""

WITH_A_BANK = {
    "unknown command": Mistake("send Opn '{}'", r"no command 'Opn'; did you mean Open\?", USAGE, "hw send --help"),
    "an event as a command": Mistake("send Opened '{}'", r"no command 'Opened'", USAGE, "hw send --help"),
    "no JSON": Mistake("send Open '{accountId:1}'", r"this is no JSON", USAGE, "hw send --help"),
    "no object": Mistake("send Open '[1]'", r"JSON, but not an object", USAGE, "hw send --help"),
    "wrong type": Mistake(
        """send Deposit '{"accountId":"1","amount":"ten"}'""", r"Deposit: .*\$\.amount", USAGE, "hw send --help"
    ),
    "missing field": Mistake(
        """send Open '{"accountId":"1"}'""", r"missing required field `owner`", USAGE, "hw send --help"
    ),
    "misspelled field": Mistake(
        """send Open '{"accountId":"1","owner":"ann","owners":"x"}'""",
        r"Open has no field 'owners'; did you mean owner\?",
        USAGE,
        "hw send --help",
    ),
    "empty key": Mistake(
        """send Open '{"accountId":"","owner":"ann"}'""", r"length >= 1 .*accountId", USAGE, "hw send --help"
    ),
    "bad time": Mistake(f"{OPEN} --time yesterday", r"'yesterday' is no time", USAGE, "hw send --help"),
    "time without a zone": Mistake(
        "get account 1 --as-of 2024-04-10T10:30:00", r"has no time zone; write .*Z", USAGE, "hw get --help"
    ),
    "time before the first year": Mistake(
        f"{OPEN} --time 0001-01-01T00:00:00+14:00", r"outside of the years 1 to 9999", USAGE, "hw send --help"
    ),
    "moment after the last year": Mistake(
        "get account 1 --as-of 9999-12-31T23:59:59-14:00", r"outside of the years 1 to 9999", USAGE, "hw get --help"
    ),
    "no time to wait": Mistake(f"{OPEN} --timeout 0", r"'0' is no time to wait", USAGE, "hw send --help"),
    "no number to wait": Mistake(f"{OPEN} --timeout nan", r"'nan' is no time to wait", USAGE, "hw send --help"),
    "waiting for ever": Mistake("query 'SELECT 1' --timeout inf", r"'inf' is no time to wait", USAGE, "hw query"),
    "another command in the JSON": Mistake(
        """send Open '{"commandType":"Rename","accountId":"1","owner":"ann"}'""",
        r"Open was to be sent, and the JSON says that it is 'Rename'",
        USAGE,
        "hw send --help",
    ),
    "an empty id": Mistake(f"{OPEN} --id ''", r"Invalid value for '--id': it is empty", USAGE, "hw send --help"),
    "rejected": Mistake(OPEN, r"AlreadyOpen: The account is open already", REFUSED, "hw history account 1"),
    "conflict": Mistake(
        """send Deposit '{"accountId":"1","amount":1}' --expected-version 7""",
        r"account '1' is at version 2, not 7",
        REFUSED,
        "hw get account 1",
    ),
    "rejected, and not there": Mistake(
        """send Withdraw '{"accountId":"99","amount":1}'""", r"has only 0", REFUSED, "hw tail account"
    ),
    "conflict, and not there": Mistake(
        """send Deposit '{"accountId":"99","amount":1}' --expected-version 7""",
        r"account '99' is at version 0, not 7",
        REFUSED,
        "hw tail account",
    ),
    "a handler that fails": Mistake(
        """send Break '{"accountId":"1","how":"raise"}'""",
        r"ZeroDivisionError.*nothing was written",
        BAD,
        "hw history account 1",
    ),
    "a handler that fails, and nothing is there": Mistake(
        """send Break '{"accountId":"99","how":"raise"}'""", r"ZeroDivisionError", BAD, "hw tail account"
    ),
    "unknown entity type": Mistake(
        "get acount 1", r"no entity type 'acount'; did you mean account\?", USAGE, "hw get --help"
    ),
    "no such entity": Mistake("get account 99", r"there is no account '99'", REFUSED, "hw tail account"),
    "no history": Mistake("history account 99", r"there is no account '99'", REFUSED, "hw tail account"),
    "before its first event": Mistake(
        "get account 1 --as-of 1990-01-01",
        r"account '1' had no events by then: the first happened at 20\d\d-.*Z$",
        REFUSED,
        "hw history account 1",
    ),
    "before it was known": Mistake(
        "get account 1 --known-at 1990-01-01",
        r"account '1' had no events by then: the first was recorded at 20\d\d-.*Z$",
        REFUSED,
        "hw history account 1",
    ),
    "never there, also in the past": Mistake(
        "get account 99 --as-of 1990-01-01", r"there is no account '99'", REFUSED, "hw tail account"
    ),
    "unknown version": Mistake(
        "get account 1 --at-version 9", r"version 9 does not exist", USAGE, "hw history account 1"
    ),
    "revert to an unknown version": Mistake(
        "revert account 1 --to-version 9 --yes", r"version 9 does not exist", USAGE, "hw history account 1"
    ),
    "revert without a terminal": Mistake(
        "revert account 1 --to-version 1",
        r"nobody is there to be asked",
        USAGE,
        "hw revert account 1 --to-version 1 --",
    ),
    "bad SQL": Mistake("query 'SELEC 1'", r"SQLite does not understand the query", USAGE, "hw query"),
    "a query without an end": Mistake(
        f"query '{COUNTING}' --timeout 0.2", r"did not end within 0.2 s and was stopped", WAITING, "hw query 'WITH"
    ),
    "too few values": Mistake(
        "query 'SELECT * FROM balance WHERE account_id = ?'",
        r"^the query has 1 place \(\?\), and 0 values were given$",
        USAGE,
        "hw query --help",
    ),
    "too many values": Mistake(
        "query 'SELECT * FROM balance WHERE account_id = ?' 1 2",
        r"^the query has 1 place \(\?\), and 2 values were given$",
        USAGE,
        "hw query --help",
    ),
    "no such table": Mistake("query 'SELECT * FROM balances'", r"no such table: balances", USAGE, "hw query"),
    "writing SQL": Mistake("query 'DELETE FROM balance'", r"can only read", USAGE, "hw query"),
    "no such topic": Mistake("tail acount", r"no topic 'acount' and no 'acount-events'", USAGE, "hw topics"),
    "reset of no such group": Mistake(
        "reset --group bank-blance-v1 --all-topics --to-earliest",
        r"app 'bank' has no group 'bank-blance-v1'; it has bank-account-table, bank-balance-v1",
        USAGE,
        "hw groups",
    ),
    "reset of no such topic": Mistake(
        "reset --group account-owners --topic acount-commands --to-latest",
        r"there is no topic 'acount-commands'",
        USAGE,
        "hw topics",
    ),
    "reset of another topic": Mistake(
        "reset --group account-owners --topic account-events --to-latest",
        r"group account-owners does not read account-events; it reads account-commands",
        USAGE,
        "hw topics",
    ),
    "reset while it runs": Mistake(
        "reset --group bank-balance-v1 --all-topics --to-earliest --execute",
        r"group bank-balance-v1 is being read by",
        WAITING,
        "hw groups",
    ),
    "reset of rows elsewhere": Mistake(
        "reset --group bank-balance-v1 --all-topics --to-offset 1",
        r"it can begin anew, in all its partitions",
        USAGE,
        "hw reset --group bank-balance-v1 --all-topics --to-earliest",
    ),
    "bad start": Mistake("tail account --from start", r"'start' is no place to start", USAGE, "hw tail --help"),
    "unknown output": Mistake("topics --output xml", r"--output.*'xml'", USAGE, "hw topics --help"),
}


def check(shell: Shell, mistake: Mistake) -> None:
    ended = shell(mistake.typed)
    assert re.search(mistake.error, ended.error), ended.err
    assert ended.code == mistake.code, ended.err
    assert ended.next.startswith(mistake.next), ended.err
    assert "Traceback" not in ended.err
    refuse_unknown_command(ended.next)


@pytest.mark.parametrize("mistake", ON_THEIR_OWN.values(), ids=list(ON_THEIR_OWN))
def test_a_mistake_is_told_with_the_command_to_type_next(mistake: Mistake, shell: Shell, directory: Path) -> None:
    (directory / "notes.txt").write_text("no database, but long enough to be looked at\n" * 100)
    with sqlite3.connect(directory / "other.db") as other:
        other.execute("CREATE TABLE theirs (x)")
    other.close()
    (directory / "broken.py").write_text("x = 1\nx / 0\n")
    (directory / "unfinished.py").write_text("def f(:\n")
    (directory / "needing.py").write_text("import not_there\n")
    (directory / "ending.py").write_text("import sys\nsys.exit()\n")
    (directory / "empty.db").touch()
    (directory / "taken").mkdir()
    (directory / "taken" / "file").touch()
    before = set(directory.iterdir())
    check(shell, mistake)
    assert {path.name for path in set(directory.iterdir()) - before} <= MADE
    assert (directory / "notes.txt").read_text().startswith("no database"), "somebody else's file was touched"


@pytest.mark.parametrize("mistake", WITH_A_BANK.values(), ids=list(WITH_A_BANK))
def test_a_mistake_in_talking_to_an_app_is_told(mistake: Mistake, shell: Shell, bank: Shop) -> None:
    bank.send(Open("1", "ann"))
    bank.send(Deposit("1", Decimal(5)))
    check(shell, mistake)


NO_OWNER = Mistake(OPEN, r"no live owner of 'account' on sqlite:///bank.db$", WAITING, f"hw run bankapp:app {ON}")


def test_nobody_runs_the_app(shell: Shell, project: Path) -> None:
    with an_app(project).run("sqlite:///bank.db"):
        """It ran once, so that the log is there."""
    in_time(2, lambda: check(shell, NO_OWNER))


def test_nobody_runs_on_the_broker(shell: Shell, project: Path) -> None:
    with socket.socket() as closed:  # bound, and nobody listens
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        not_there = rf"127\.0\.0\.1:{port} is not available: .*; check the address, and whether a broker runs there$"
        start = f"python -m headwater.testing.broker_command start --port {port}"
        check(shell, Mistake(f"topics --on kafka://127.0.0.1:{port}", not_there, WAITING, start))
        several = f"kafka://127.0.0.1:{port},127.0.0.2:{port}?connect_timeout_s=1"
        check(shell, Mistake(f"topics --on '{several}'", "is not available", WAITING, "hw topics --help"))


def test_a_broken_headwater_toml(shell: Shell, directory: Path) -> None:
    (directory / "headwater.toml").write_text("app = \n")
    check(shell, Mistake("topics", r"headwater.toml cannot be read: .*line 1", USAGE, "hw new"))


def test_the_traceback_is_for_those_who_ask(shell: Shell) -> None:
    ended = shell("topics --on mysql://h --debug")
    assert "Traceback" in ended.err
    assert ended.error.startswith("no log is called 'mysql'")


@pytest.mark.parametrize("typed", ["query 'SELECT 1'", "deadletters list", "rebuild", "reset --group bank-balance-v1"])
def test_the_command_to_type_next_names_the_stores_that_were_typed(typed: str, shell: Shell, project: Path) -> None:
    with an_app(project).run("sqlite:///bank.db", store="memory://"):
        """It ran once, so that the log is there, and its read models are nowhere."""
    stores = "--store sqlite:///m.db --views-store sqlite:///v.db"
    where = " --all-topics --to-earliest" if typed.startswith("reset") else ""
    check(
        shell,
        Mistake(
            f"{typed}{where} {stores}",
            "there are no read models at sqlite:///m.db",
            WAITING,
            f"hw run bankapp:app {ON} {stores}",
        ),
    )


def test_another_store_takes_the_place_of_the_one_that_was_typed(shell: Shell, project: Path) -> None:
    with an_app(project).run("sqlite:///bank.db", store="sqlite:///m.db"):
        """The store belongs to this log now."""
    other = "--on sqlite:///two.db"
    with an_app(project).run("sqlite:///two.db", store="memory://"):
        """Another log."""
    typed = f"query 'SELECT 1' {other} --store sqlite:///m.db --views-store sqlite:///v.db"
    next = f"hw run bankapp:app {other} --store sqlite:///m-2.models.db --views-store sqlite:///v.db"
    check(shell, Mistake(typed, "were made from the log", USAGE, next))
