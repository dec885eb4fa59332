"""What users test their domain with, and the suites that every implementation of a port must pass.

    from headwater.testing import given, eventually

The names are imported when they are first used: a test run without scenarios does not pay for them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # for the checkers; HOMES says the same at run time
    from headwater.testing.clock import VirtualEnvironment
    from headwater.testing.given import given
    from headwater.testing.golden import golden
    from headwater.testing.prefixed import PrefixedLog
    from headwater.testing.waiting import eventually

HOMES = {
    "VirtualEnvironment": "headwater.testing.clock",
    "given": "headwater.testing.given",
    "golden": "headwater.testing.golden",
    "PrefixedLog": "headwater.testing.prefixed",
    "eventually": "headwater.testing.waiting",
}

__all__ = ["PrefixedLog", "VirtualEnvironment", "eventually", "given", "golden"]


if not TYPE_CHECKING:  # else a misspelled name would pass the checkers

    def __getattr__(name: str) -> Any:
        if name not in HOMES:
            raise AttributeError(f"module 'headwater.testing' has no attribute {name!r}")
        value = getattr(import_module(HOMES[name]), name)
        globals()[name] = value
        return value
