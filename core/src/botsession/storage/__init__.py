"""What drivers build on: a base for stores that keep text, the text itself, leases, and the event loop a store belongs to."""

from botsession.storage.record_store import (
    Change,
    Entry,
    Found,
    LeasingRecordStore,
    RecordStore,
    check_page_size,
    raise_if_unavailable,
)

__all__ = [
    "Change",
    "Entry",
    "Found",
    "LeasingRecordStore",
    "RecordStore",
    "check_page_size",
    "raise_if_unavailable",
]
