"""The suite that a driver's author subclasses."""

from __future__ import annotations

from botsession.testing.suite.any_order import AnyOrder
from botsession.testing.suite.commit import Commit
from botsession.testing.suite.compare_and_set import CompareAndSet
from botsession.testing.suite.concurrency import Concurrency
from botsession.testing.suite.diagnosis import Diagnosis
from botsession.testing.suite.expiry import Expiry
from botsession.testing.suite.faults import Faults
from botsession.testing.suite.identifiers import Identifiers
from botsession.testing.suite.interruptions import Interruptions
from botsession.testing.suite.large_numbers import LargeNumbers
from botsession.testing.suite.leases import Leases
from botsession.testing.suite.leases_and_sessions import LeasesAndSessions
from botsession.testing.suite.leftovers import Leftovers
from botsession.testing.suite.lifecycle import Lifecycle
from botsession.testing.suite.listing import Listing
from botsession.testing.suite.networks import Networks
from botsession.testing.suite.quarantine import Quarantine
from botsession.testing.suite.reads_and_writes import ReadsAndWrites
from botsession.testing.suite.removals import Removals
from botsession.testing.suite.restorations import Restorations
from botsession.testing.suite.stamps import Stamps
from botsession.testing.suite.time_zones import TimeZones
from botsession.testing.suite.touch import Touch


class StoreContract(
    Lifecycle,
    ReadsAndWrites,
    Identifiers,
    Stamps,
    CompareAndSet,
    Expiry,
    Touch,
    TimeZones,
    Listing,
    Commit,
    Leases,
    LeasesAndSessions,
    Removals,
    Restorations,
    Quarantine,
    LargeNumbers,
    Concurrency,
    Interruptions,
    Faults,
    Networks,
    Diagnosis,
    Leftovers,
    AnyOrder,
):
    """All that is asked of a store, as pytest tests.

    A driver's suite is a subclass whose name begins with `Test`:

        from botsession.testing import StoreContract

        class TestSomeStore(StoreContract):
            store_type = SomeStore
            shared = True

            def options(self, namespace):
                return {"url": URL, "prefix": f"{namespace}:"}

    What a store may have and has not is skipped, with the reason. The tests need no asyncio plugin: each runs in an event
    loop of its own. See `Hooks` for what else a suite can say.
    """
