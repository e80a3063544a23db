from __future__ import annotations

import ast

from botsession import SessionStore
from botsession.testing import StoreContract
from botsession_memory import MemorySessionStore


class TestMemory(StoreContract):
    store_type = MemorySessionStore

    async def corrupt(self, store: SessionStore, session_id: str) -> None:
        assert isinstance(store, MemorySessionStore)
        store._entries[session_id] = store._entries[session_id][:-9]

    async def quarantined(self, store: SessionStore, where: str) -> bytes:
        assert isinstance(store, MemorySessionStore)
        name, _, _ = where.removeprefix("quarantined[").partition("] of this ")
        return store.quarantined[ast.literal_eval(name)]
