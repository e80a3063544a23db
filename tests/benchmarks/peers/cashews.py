"""cashews' caches. The Redis cache pickles; a failed command raises an error here instead of reading as absent."""

from __future__ import annotations

from typing import Any

from cashews import Cache

from benchmarks.contender import Plain
from benchmarks.ours import MOST
from benchmarks.workload import EXPIRES_IN


class _Cashews(Plain):
    name = "cashews"
    against = "bare client"
    cache: Cache

    async def close(self) -> None:
        await self.cache.close()

    async def read(self, session_id: str) -> dict[str, Any] | None:
        state: dict[str, Any] | None = await self.cache.get(session_id)
        return state

    async def write(self, session_id: str, state: dict[str, Any]) -> None:
        await self.cache.set(session_id, state, expire=EXPIRES_IN)


class InMemory(_Cashews):
    """cashews' in-memory cache, which shares its objects with its callers."""

    async def open(self) -> None:
        self.cache = Cache()
        self.cache.setup("mem://", size=MOST)


class InRedis(_Cashews):
    async def open(self) -> None:
        self.cache = Cache()
        self.cache.setup(self.place.url, suppress=False)
        self._prefix = self.place.fresh("cashews")

    async def read(self, session_id: str) -> dict[str, Any] | None:
        return await super().read(f"{self._prefix}:{session_id}")

    async def write(self, session_id: str, state: dict[str, Any]) -> None:
        await super().write(f"{self._prefix}:{session_id}", state)


KINDS = {"memory": [InMemory], "redis": [InRedis]}
