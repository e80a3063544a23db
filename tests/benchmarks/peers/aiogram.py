"""aiogram's storages for its finite state machine. The in-memory and MongoDB storages have no expiry."""

from __future__ import annotations

from typing import Any

from aiogram.fsm.storage.base import BaseStorage, StorageKey
from aiogram.fsm.storage.memory import MemoryStorage
from aiogram.fsm.storage.mongo import MongoStorage
from aiogram.fsm.storage.pymongo import PyMongoStorage
from aiogram.fsm.storage.redis import RedisStorage

from benchmarks.contender import Plain
from benchmarks.workload import EXPIRES_IN


class _Aiogram(Plain):
    storage: BaseStorage
    name = "aiogram"
    against = "bare client"

    async def close(self) -> None:
        await self.storage.close()

    async def read(self, session_id: str) -> dict[str, Any] | None:
        return await self.storage.get_data(_key(session_id)) or None

    async def write(self, session_id: str, state: dict[str, Any]) -> None:
        await self.storage.set_data(_key(session_id), state)


class InMemory(_Aiogram):
    """aiogram's in-memory storage, which shares nested objects of the state with its callers."""

    async def open(self) -> None:
        self.storage = MemoryStorage()


class InRedis(_Aiogram):
    async def open(self) -> None:
        self.storage = RedisStorage.from_url(self.place.url, data_ttl=EXPIRES_IN)


class WithMotor(_Aiogram):
    name = "aiogram (motor)"
    against = "bare motor"

    async def open(self) -> None:
        self.storage = MongoStorage.from_url(
            self.place.url, db_name="bench", collection_name=self.place.fresh("aiogram")
        )


class WithPyMongo(_Aiogram):
    name = "aiogram (pymongo)"
    against = "bare pymongo"

    async def open(self) -> None:
        self.storage = PyMongoStorage.from_url(
            self.place.url, db_name="bench", collection_name=self.place.fresh("aiogram")
        )


KINDS = {"memory": [InMemory], "redis": [InRedis], "mongo": [WithMotor, WithPyMongo]}


def _key(session_id: str) -> StorageKey:
    chat = int(session_id.rpartition(":")[2])
    return StorageKey(bot_id=1, chat_id=chat, user_id=chat)
