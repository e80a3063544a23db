"""py-key-value-aio's stores."""

from __future__ import annotations

import warnings
from typing import Any

from key_value.aio.protocols import AsyncKeyValue
from key_value.aio.stores.base import BaseContextManagerStore
from key_value.aio.stores.filetree import FileTreeStore
from key_value.aio.stores.memory import MemoryStore
from key_value.aio.stores.mongodb import MongoDBStore
from key_value.aio.stores.redis import RedisStore

from benchmarks.contender import Plain
from benchmarks.workload import EXPIRES_IN

warnings.filterwarnings("ignore", message="A configured store is unstable")


class _KeyValue(Plain):
    name = "key-value"
    against = "bare client"
    store: AsyncKeyValue

    async def close(self) -> None:
        if isinstance(self.store, BaseContextManagerStore):
            await self.store.close()

    async def read(self, session_id: str) -> dict[str, Any] | None:
        return await self.store.get(session_id)

    async def write(self, session_id: str, state: dict[str, Any]) -> None:
        await self.store.put(session_id, state, ttl=EXPIRES_IN)


class InMemory(_KeyValue):
    async def open(self) -> None:
        self.store = MemoryStore()


class InRedis(_KeyValue):
    async def open(self) -> None:
        self.store = RedisStore(url=self.place.url, default_collection=self.place.fresh("keyvalue"))


class InMongo(_KeyValue):
    name = "key-value (pymongo)"
    against = "bare pymongo"

    async def open(self) -> None:
        self.store = MongoDBStore(url=self.place.url, db_name="bench", coll_name=self.place.fresh("keyvalue"))


class InFiles(_KeyValue):
    async def open(self) -> None:
        folder = self.place.folder / self.place.fresh("keyvalue")
        folder.mkdir()
        self.store = FileTreeStore(data_directory=folder)


KINDS = {"memory": [InMemory], "redis": [InRedis], "mongo": [InMongo], "file": [InFiles]}
