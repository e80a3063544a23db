"""aiocache's caches. The in-memory cache shares its objects with its callers."""

from __future__ import annotations

from typing import Any
from urllib.parse import urlsplit

from aiocache import RedisCache, SimpleMemoryCache
from aiocache.base import BaseCache

from benchmarks.contender import Plain
from benchmarks.workload import EXPIRES_IN


class _Aiocache(Plain):
    name = "aiocache"
    against = "bare client"
    cache: BaseCache

    async def close(self) -> None:
        await self.cache.close()

    async def read(self, session_id: str) -> dict[str, Any] | None:
        state: dict[str, Any] | None = await self.cache.get(session_id)
        return state

    async def write(self, session_id: str, state: dict[str, Any]) -> None:
        await self.cache.set(session_id, state, ttl=EXPIRES_IN)


class InMemory(_Aiocache):
    async def open(self) -> None:
        self.cache = SimpleMemoryCache()


class InRedis(_Aiocache):
    async def open(self) -> None:
        parts = urlsplit(self.place.url)
        self.cache = RedisCache(
            endpoint=parts.hostname,
            port=parts.port or 6379,
            password=parts.password,
            namespace=self.place.fresh("aiocache"),
        )


KINDS = {"memory": [InMemory], "redis": [InRedis]}
