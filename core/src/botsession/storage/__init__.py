"""What drivers build on: a base for stores that keep text, the text itself, and a table of leases."""

from botsession.storage.record_store import Change, Entry, Found, LeasingRecordStore, RecordStore

__all__ = ["Change", "Entry", "Found", "LeasingRecordStore", "RecordStore"]
