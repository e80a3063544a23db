"""starsessions' stores, with its JSON serializer. The in-memory store has no expiry."""

from __future__ import annotations

from typing import Any

from redis.asyncio import Redis
from starsessions.serializers import JsonSerializer
from starsessions.stores.base import SessionStore
from starsessions.stores.memory import InMemoryStore
from starsessions.stores.redis import RedisStore

from benchmarks.contender import Plain
from benchmarks.workload import EXPIRES_IN


class _Starsessions(Plain):
    name = "starsessions"
    against = "bare client"
    store: SessionStore
    serializer = JsonSerializer()

    async def read(self, session_id: str) -> dict[str, Any] | None:
        return self.serializer.deserialize(await self.store.read(session_id, EXPIRES_IN)) or None

    async def write(self, session_id: str, state: dict[str, Any]) -> None:
        await self.store.write(session_id, self.serializer.serialize(state), EXPIRES_IN, EXPIRES_IN)


class InMemory(_Starsessions):
    async def open(self) -> None:
        self.store = InMemoryStore()


class InRedis(_Starsessions):
    async def open(self) -> None:
        self._client = Redis.from_url(self.place.url)
        self.store = RedisStore(connection=self._client, prefix=self.place.fresh("starsessions"))

    async def close(self) -> None:
        await self._client.aclose()


KINDS = {"memory": [InMemory], "redis": [InRedis]}
