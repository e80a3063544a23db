"""The conformance kit: the tests that every driver of botsession passes, for the author of one.

Needs the extra `testing` of `botsession-core`.
"""

import pytest

pytest.register_assert_rewrite(
    "botsession.testing.suite",
    "botsession.testing.bench",
    "botsession.testing.leases",
    "botsession.testing.machine",
    "botsession.testing.machine_leases",
)

from botsession.testing.clock import ManualClock  # noqa: E402 - assertions are rewritten at import
from botsession.testing.contract import StoreContract  # noqa: E402 - assertions are rewritten at import

__all__ = ["ManualClock", "StoreContract"]
