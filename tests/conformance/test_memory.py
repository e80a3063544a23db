from __future__ import annotations

import ast

from botsession import SessionStore
from botsession.testing import StoreContract
from botsession_memory import MemorySessionStore


class TestMemory(StoreContract):
    store_type = MemorySessionStore
    expires_by_itself = True

    async def corrupt(self, store: SessionStore, session_id: str) -> None:
        assert isinstance(store, MemorySessionStore)
        record, expires_at = store._records[session_id]
        store._records[session_id] = record[:-9], expires_at

    async def footprint(self, store: SessionStore) -> list[object]:
        assert isinstance(store, MemorySessionStore)
        return [*store._records.items(), *store._leases.items(), *store.quarantined.items()]

    async def quarantined(self, store: SessionStore, where: str) -> bytes:
        assert isinstance(store, MemorySessionStore)
        name, _, _ = where.removeprefix("quarantined[").partition("] of this ")
        return store.quarantined[ast.literal_eval(name)]
