"""Statements that were spoilt somewhere are refused with a place in them, whatever is left of them."""

from __future__ import annotations

import random

import pytest

from headwater.views.binding import Binder
from headwater.views.errors import BadStatement
from headwater.views.explaining import explained
from headwater.views.planning import plan_with
from headwater.views.texts import Text
from tests.views.corpus import CORPUS
from tests.views.selling import AUCTIONS, catalogue


def words_of(sql: str) -> list[str]:
    for sign in "(),":
        sql = sql.replace(sign, f" {sign} ")
    return sql.split()


WORDS = [word for case in CORPUS.values() for word in words_of(case.sql)]


def spoilt(chance: random.Random, words: list[str]) -> str:
    """A statement with one to three words left out, added, exchanged or replaced."""
    for _ in range(chance.choice([1, 1, 2, 3])):
        here, there = chance.randrange(len(words)), chance.randrange(len(words))
        match chance.randrange(4):
            case 0:
                words[here] = ""
            case 1:
                words.insert(here, chance.choice(WORDS))
            case 2:
                words[here] = chance.choice(WORDS)
            case _:
                words[here], words[there] = words[there], words[here]
    return " ".join(words)


@pytest.mark.parametrize("seeds", [pytest.param(60, id="some"), pytest.param(1500, id="many", marks=pytest.mark.slow)])
def test_a_spoilt_statement_is_understood_or_refused(seeds: int) -> None:
    places: list[tuple[int, int]] = []
    with Binder() as binder:
        for seed in range(seeds):
            chance = random.Random(seed)
            name = chance.choice(sorted(CORPUS))
            case = CORPUS[name]
            others = AUCTIONS if "nexmark" in name else ""
            text = f"{others}; {case.before}; CREATE TABLE v AS {spoilt(chance, words_of(case.sql))}"
            try:
                views = plan_with(binder, [Text(text)], catalogue())
            except BadStatement as told:
                places.append((told.line, text.count("\n") + 1))
            except Exception as error:
                raise AssertionError(f"seed {seed}: {text}") from error
            else:
                assert all(explained(view) for view in views), f"seed {seed}"
    assert all(1 <= line <= lines for line, lines in places)
    assert 0 < len(places) < seeds
