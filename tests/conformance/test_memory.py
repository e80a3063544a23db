from __future__ import annotations

from botsession.testing import StoreContract
from botsession_memory import MemorySessionStore


class TestMemory(StoreContract):
    store_type = MemorySessionStore
