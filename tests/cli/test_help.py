"""What `hw --help` says, and how soon."""

from __future__ import annotations

import subprocess
import sys
import time

import pytest

from headwater.cli.ending import CODES
from headwater.cli.verbs import VERBS
from tests.cli.conftest import Shell

HELP = "from headwater.cli import run; import sys; code = run(['--help']); "


@pytest.mark.slow
@pytest.mark.alone
def test_help_comes_in_less_than_200_milliseconds() -> None:
    """The quickest of five, since the machine may be busy with other things."""
    taken = []
    for _ in range(5):
        started = time.perf_counter()
        subprocess.run([sys.executable, "-c", HELP + "sys.exit(code)"], check=True, capture_output=True)
        taken.append(time.perf_counter() - started)
    assert min(taken) < 0.2, f"seconds: {taken}"


def test_help_imports_nothing_that_only_verbs_need() -> None:
    heavy = "{'headwater.app', 'headwater.messages', 'msgspec', 'rich', 'confluent_kafka', 'sqlite3', 'asyncio'}"
    check = f"found = {heavy} & set(sys.modules); sys.exit(str(found) if found else code)"
    ended = subprocess.run([sys.executable, "-c", HELP + check], capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr


def test_help_lists_every_verb_and_exit_code(shell: Shell) -> None:
    ended = shell("--help")
    assert ended.code == 0
    for verb, (_, text) in VERBS.items():
        assert f"  {verb} " in ended.out
        assert text in ended.out
    for code in CODES:
        assert f"  {code} " in ended.out


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_explains_itself(verb: str, shell: Shell) -> None:
    ended = shell(f"{verb} --help")
    assert ended.code == 0
    assert ended.out.startswith(f"Usage: hw {verb}")


def test_the_package_gives_every_name_that_it_lists() -> None:
    import headwater

    assert not [name for name in headwater.__all__ if not hasattr(headwater, name)]
    assert sorted(" ".join(headwater.HOMES.values()).split()) == sorted(headwater.__all__)
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        headwater.Nothing  # type: ignore[attr-defined] # noqa: B018 -- that is the test
