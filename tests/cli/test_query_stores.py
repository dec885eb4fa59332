"""`hw query` on stores without SQL: what it says to type next works there."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest

from tests.bank import Deposit, Open
from tests.cli.conftest import Shell, an_app, at_work, caught_up

URL = "sqlite:///bank.db"


def test_redis_answers_no_question_so_read_models_are_listed(shell: Shell, project: Path, redis_url: str) -> None:
    with at_work(an_app(project), store=redis_url) as shop:
        shop.send(Open("1", "ann"))
        shop.send(Deposit("1", Decimal(7)))
        caught_up(shop)
        refused = shell("query 'SELECT * FROM balance' --store", redis_url)
        assert (refused.code, "Redis has no SQL" in refused.error) == (2, True)
        assert refused.next == f"hw lag --store '{redis_url}'"
        listed = shell(refused.next.removeprefix("hw "))
        assert listed.code == 0
        assert "balance" in [row.get("readModel") for row in listed.rows]


@pytest.mark.slow
@pytest.mark.parametrize("server", ["opensearch", "elasticsearch"])
def test_a_search_server_is_asked_in_its_own_language(
    shell: Shell, project: Path, server: str, request: pytest.FixtureRequest
) -> None:
    url: str = request.getfixturevalue(f"{server}_url")
    (project / "headwater.toml").write_text(f'app = "bankapp:app"\non = "{URL}"\nstore = "{url}"\n')
    with at_work(an_app(project), store=url) as shop:
        shop.send(Open("1", "ann"), timeout_s=60)
        shop.send(Deposit("1", Decimal(7)), timeout_s=60)
        caught_up(shop)
        for wrong, table in (("SELECT * FROM account", "account"), ("SELECT name FROM hw_tables", "balance")):
            refused = shell("query", wrong)
            assert (refused.code, "a search as JSON" in refused.error) == (2, True)
            assert refused.next == f"""hw query '{{"index": "{table}", "query": {{"match_all": {{}}}}}}'"""
            assert shell(refused.next.removeprefix("hw ")).code == 0
        assert Decimal(shell(refused.next.removeprefix("hw ")).one["balance"]) == 7
