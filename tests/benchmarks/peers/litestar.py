"""litestar's stores, holding msgspec's bytes as its own sessions do. The file store does not sync."""

from __future__ import annotations

from typing import Any

import msgspec
from litestar.stores.base import Store
from litestar.stores.file import FileStore
from litestar.stores.memory import MemoryStore
from litestar.stores.redis import RedisStore

from benchmarks.contender import Plain
from benchmarks.workload import EXPIRES_IN


class _Litestar(Plain):
    name = "litestar"
    against = "bare client"
    store: Store

    async def read(self, session_id: str) -> dict[str, Any] | None:
        raw = await self.store.get(session_id)
        return None if raw is None else msgspec.json.decode(raw)

    async def write(self, session_id: str, state: dict[str, Any]) -> None:
        await self.store.set(session_id, msgspec.json.encode(state), expires_in=EXPIRES_IN)


class InMemory(_Litestar):
    async def open(self) -> None:
        self.store = MemoryStore()


class InRedis(_Litestar):
    async def open(self) -> None:
        self.store = RedisStore.with_client(self.place.url, namespace=self.place.fresh("litestar"))

    async def close(self) -> None:
        await self.store.__aexit__(None, None, None)


class InFiles(_Litestar):
    name = "litestar (no fsync)"

    async def open(self) -> None:
        self.store = FileStore(self.place.folder / self.place.fresh("litestar"))


KINDS = {"memory": [InMemory], "redis": [InRedis], "file": [InFiles]}
