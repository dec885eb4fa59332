"""`--on kafka` starts a broker of its own and gives the totals of the file."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from headwater.errors import Unavailable
from headwater.testing.kafka_files import kafka_libraries
from tests.conftest import CACHE, absent
from tests.examples.demos import ROOT, Demo

BROKER = ROOT / "scripts" / "broker"


@pytest.fixture
def own_cache(tmp_path: Path) -> Iterator[dict[str, str]]:
    """An environment in which `scripts/broker` keeps a broker that is nobody else's."""
    try:
        libraries = kafka_libraries(CACHE)
    except Unavailable as error:
        absent(str(error))
    cache = tmp_path / "cache"
    cache.mkdir()
    (cache / "kafka").symlink_to(libraries.parents[1].resolve())
    environment = {"HEADWATER_CACHE": str(cache)}
    yield environment
    subprocess.run([BROKER, "stop", "--delete"], env={**os.environ, **environment}, check=True, timeout=200)


@pytest.mark.kafka
@pytest.mark.slow
@pytest.mark.alone
@pytest.mark.timeout(900)
def test_on_kafka_the_totals_are_the_files_and_a_second_start_places_no_order(
    tmp_path: Path, own_cache: dict[str, str]
) -> None:
    first = Demo(tmp_path, "--on", "kafka", environment=own_cache).end(timeout_s=800)
    assert "2,500,315.63" in first
    assert "customer 07592 now: 201 purchases, 13,990.93 dollars" in first
    assert "Every figure equals the sum taken straight from the file." in first
    second = Demo(tmp_path, "--on", "kafka", environment=own_cache).end(timeout_s=200)
    assert "0 orders were placed now, 69,659 had been before" in second
