"""A file of views that is damaged: who maintains it and who asks are told that it is made again from the log."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import closing
from decimal import Decimal
from pathlib import Path

import pytest

import headwater as hw
from headwater.errors import HeadwaterError, NotYet, Unavailable
from headwater.testing.waiting import eventually
from headwater.views.file import ViewFile
from tests.views.orders import SEED, Order, PlaceOrder

DAMAGES: dict[str, Callable[[bytes], bytes]] = {
    "empty": lambda content: b"",
    "its begin is missing": lambda content: content[5000:],
    "truncated": lambda content: content[: len(content) // 2],
    "cut short": lambda content: content[:5000],
    "overwritten": lambda content: content[:4096] + b"\xff" * 8192 + content[12288:],
}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "shop.views.duckdb"
    with closing(ViewFile(str(path))) as file, file.writing() as connection:
        connection.execute("CREATE TABLE hw.many AS SELECT range FROM range(300000)")
    return path


@pytest.mark.parametrize("damage", DAMAGES)
def test_who_maintains_it_is_told(damage: str, path: Path) -> None:
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    with pytest.raises(HeadwaterError, match=r"shop\.views\.duckdb .*delete it.* made again from the log"):
        ViewFile(str(path))


@pytest.mark.parametrize("damage", ["empty", "truncated"])
def test_who_asks_is_told_why_nobody_answers_until_it_is_made_again(
    damage: str, path: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "views.sql").write_text(SEED)
    apps = [hw.App("shop", aggregates=[Order], views="views.sql") for _ in range(2)]
    url = f"sqlite:///{tmp_path / 'shop.db'}"
    path.write_bytes(DAMAGES[damage](path.read_bytes()))
    total = "SELECT total FROM order_summary"
    with apps[0].run(url) as shop, apps[1].connect(url) as asking:
        receipt = shop.send(PlaceOrder("1", [Decimal(5)]))

        def answered() -> str:
            try:
                return str(asking.query(total, into=dict, after=receipt, timeout_s=1))
            except (Unavailable, NotYet) as error:
                return str(error)

        eventually(lambda: "cannot open them" in answered() and "made again from the log" in answered())
        if damage == "truncated":  # what may be something else's is not tried again
            path.unlink()
            eventually(lambda: answered() == "[{'total': Decimal('5.000000000')}]")
