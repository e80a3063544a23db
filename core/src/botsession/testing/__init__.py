"""The conformance kit: the tests that every driver of botsession passes.

It needs the extra `testing` of `botsession-core`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from botsession.testing.clock import ManualClock

if TYPE_CHECKING:
    from botsession.testing.contract import StoreContract

__all__ = ["ManualClock", "StoreContract"]

_ASSERTING = ("bench", "calls", "leases", "machine", "machine_leases", "suite")


def __getattr__(name: str) -> object:
    """Import the suite on first use: the child processes of its tests need neither pytest nor Hypothesis."""
    if name != "StoreContract":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    import pytest

    pytest.register_assert_rewrite(*(f"{__name__}.{module}" for module in _ASSERTING))
    from botsession.testing.contract import StoreContract

    globals()[name] = StoreContract
    return StoreContract
