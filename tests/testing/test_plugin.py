"""The pytest plug-in, in runs of its own."""

from __future__ import annotations

import subprocess
import sys
import time
from decimal import Decimal
from pathlib import Path

import pytest

from headwater.testing import given
from headwater.testing.conformance.log.waiting import attempts
from tests.bank import Account, Deposit, Deposited, Opened

pytest_plugins = ["pytester"]

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(autouse=True)
def the_suites_domain(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lets the test modules of inner runs import it."""
    monkeypatch.setenv("PYTHONPATH", str(ROOT))


def run(pytester: pytest.Pytester, *options: str) -> pytest.RunResult:
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", *options)


def test_it_costs_nothing_until_it_is_used() -> None:
    imported = "import sys; import headwater.testing.plugin; print([m for m in sys.modules if m in %r])"
    costly = ("msgspec", "headwater.app", "headwater.testing.stage", "confluent_kafka")
    done = subprocess.run([sys.executable, "-c", imported % (costly,)], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_its_options_stand_in_one_group(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--help")
    result.stdout.fnmatch_lines(
        ["event-sourced domains (headwater):", "*--hw-log=*", "*--hw-kafka=*"], consecutive=False
    )


def test_a_log_that_there_is_not(pytester: pytest.Pytester) -> None:
    result = run(pytester, "--hw-log", "paper")
    assert result.ret == pytest.ExitCode.USAGE_ERROR
    result.stderr.fnmatch_lines(["*--hw-log: invalid choice: 'paper'*"])


def test_a_question_without_an_end_fails(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from headwater.testing import given
        from tests.bank import Account, Open
        from decimal import Decimal
        from tests.orders import Billing, OrderPlaced

        def test_asks():
            given(Account).when(Open("a", "ann"))

        def test_listens():
            given(Billing).when(OrderPlaced("1", Decimal(3)))

        def test_ends():
            given(Account).when(Open("a", "ann")).state(owner="ann")
        """
    )
    result = run(pytester)
    result.assert_outcomes(passed=1, failed=2)
    result.stdout.fnmatch_lines(["*Open(account_id='a', owner='ann')", "*but what then? End with .then(…)*"])


def test_a_failure_points_at_the_users_line(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        from headwater.testing import given
        from tests.bank import Account, Open

        def test_opening():
            given(Account).when(Open("a", "ann")).nothing()
        """
    )
    result = run(pytester, "--tb=short")
    result.stdout.fnmatch_lines(["test_*.py:5: in test_opening", "E   AssertionError: given Account*"])
    result.stdout.no_fnmatch_line("*headwater/testing*")


@pytest.mark.parametrize("log", ["memory", "sqlite"])
def test_the_log_of_a_test_is_of_the_chosen_kind_and_empty(pytester: pytest.Pytester, log: str) -> None:
    pytester.makepyfile(
        f"""
        from headwater.log.port import TopicSpec

        def test_one(hw_log):
            assert hw_log.topics() == {{}}
            hw_log.create_topics([TopicSpec("t", 1)])
            inside = getattr(hw_log, "_log", hw_log)
            assert type(inside).__name__.lower() == "{log}log"

        test_two = test_one
        """
    )
    run(pytester, "--hw-log", log).assert_outcomes(passed=2)


@pytest.mark.slow
def test_workers_of_xdist_have_logs_of_their_own(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from decimal import Decimal
        from tests.orders import Order, PlaceOrder, app

        @pytest.mark.parametrize("turn", range(4))
        def test_order(hw_run, turn):
            shop = hw_run(app, only=["commands"])
            assert shop.find(Order, "1") is None
            shop.send(PlaceOrder("1", Decimal(3)))
            assert shop.get(Order, "1").version == 1
        """
    )
    run(pytester, "--hw-log", "sqlite", "-n", "2").assert_outcomes(passed=4)


def test_what_a_broken_test_opened_is_closed(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import threading
        from tests.orders import app

        def test_breaks(hw_run):
            hw_run(app)
            raise ZeroDivisionError

        def test_nothing_is_left():
            assert [t.name for t in threading.enumerate() if "order" in t.name or "billing" in t.name] == []
        """
    )
    run(pytester).assert_outcomes(passed=1, failed=1)


@pytest.mark.slow
@pytest.mark.alone  # it measures time
def test_a_scenario_in_memory_takes_less_than_20_ms() -> None:
    def scenario() -> float:
        started = time.perf_counter()
        one = Decimal(1)
        given(Account, Opened("a", "ann")).when(Deposit("a", one)).then(Deposited("a", one)).state(balance=one)
        return (time.perf_counter() - started) * 1000

    for _ in attempts(60, "half of the scenarios took less than 20 ms"):
        took = sorted(scenario() for _ in range(20))
        print(f"median {took[10]:.1f} ms, slowest {took[-1]:.1f} ms")
        if took[10] < 20:
            break
