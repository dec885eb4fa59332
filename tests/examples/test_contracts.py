"""The services of the shop could live in three repositories: each imports the contract and nothing of the others."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

SHOP = Path(__file__).parents[2] / "examples" / "shop"
SERVICES = {
    "orders": ["orders", "customers", "loyalty"],
    "billing": ["payments", "billing"],
    "analytics": ["analytics"],
}


def imports_of(module: Path) -> set[str]:
    found: set[str] = set()
    for node in ast.walk(ast.parse(module.read_text())):
        if isinstance(node, ast.Import):
            found |= {name.name for name in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add(node.module or "")
    return found


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_imports_nothing_of_the_others(service: str) -> None:
    own = {f"examples.shop.{module}" for module in [*SERVICES[service], "contract"]}
    for module in SERVICES[service]:
        of_the_shop = {name for name in imports_of(SHOP / f"{module}.py") if name.startswith("examples")}
        assert of_the_shop <= own, f"{module}.py imports {sorted(of_the_shop - own)}"


def test_the_contract_imports_nothing_of_the_services() -> None:
    assert not [name for name in imports_of(SHOP / "contract.py") if name.startswith("examples")]
