"""The bare clients: a single turn written by hand, directly against each client.

None of them uses compare-and-set, serializes the turns of a session or validates what it reads: the last writer wins.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec

from benchmarks.contender import Contender, Plain
from benchmarks.ours import MOST
from benchmarks.place import Place
from benchmarks.workload import EXPIRES_IN, Workload

_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder().decode


class BareMemory(Plain):
    """cachetools, holding msgspec's bytes, so that callers share no state."""

    name = against = "bare client"

    async def open(self) -> None:
        from cachetools import TLRUCache

        self._cache: TLRUCache[str, bytes] = TLRUCache(MOST, ttu=lambda _id, _raw, now: now + EXPIRES_IN)

    async def turn(self, session_id: str, *, pause: bool = False) -> None:
        raw = self._cache.get(session_id)
        state = self.workload.initial() if raw is None else _decode(raw)
        if pause:
            await asyncio.sleep(0)
        self.workload.change(state)
        self._cache[session_id] = _encode(state)

    async def read(self, session_id: str) -> dict[str, Any] | None:
        raw = self._cache.get(session_id)
        return None if raw is None else _decode(raw)

    async def write(self, session_id: str, state: dict[str, Any]) -> None:
        self._cache[session_id] = _encode(state)


class BareRedis(Plain):
    """redis-py with hiredis: GET, and SET with PX. Tasks in excess of the connections wait for one."""

    name = against = "bare client"

    async def open(self) -> None:
        from redis.asyncio import BlockingConnectionPool, Redis

        self._client = Redis.from_pool(BlockingConnectionPool.from_url(self.place.url, max_connections=64))
        self._prefix = f"{self.place.fresh('bare')}:"

    async def close(self) -> None:
        await self._client.aclose()

    async def read(self, session_id: str) -> dict[str, Any] | None:
        raw = await self._client.get(self._prefix + session_id)
        return None if raw is None else _decode(raw)

    async def write(self, session_id: str, state: dict[str, Any]) -> None:
        await self._client.set(self._prefix + session_id, _encode(state), px=EXPIRES_IN * 1000)


class BareMongo(Plain):
    """`find_one`, and `replace_one` with `upsert`."""

    def __init__(self, place: Place, workload: Workload, api: str) -> None:
        super().__init__(place, workload)
        self.name = self.against = f"bare {api}"
        self._api = api

    async def open(self) -> None:
        self._client: Any
        if self._api == "motor":
            from motor.motor_asyncio import AsyncIOMotorClient

            self._client = AsyncIOMotorClient(self.place.url)
        else:
            from pymongo import AsyncMongoClient

            self._client = AsyncMongoClient(self.place.url)
        self._sessions = self._client["bench"][self.place.fresh("bare")]
        await self._sessions.create_index("expires_at", expireAfterSeconds=0)

    async def close(self) -> None:
        closing = self._client.close()
        if closing is not None:
            await closing

    async def read(self, session_id: str) -> dict[str, Any] | None:
        document = await self._sessions.find_one({"_id": session_id})
        return None if document is None else document["state"]

    async def write(self, session_id: str, state: dict[str, Any]) -> None:
        expires_at = datetime.now(UTC) + timedelta(seconds=EXPIRES_IN)
        document = {"_id": session_id, "state": state, "expires_at": expires_at}
        await self._sessions.replace_one({"_id": session_id}, document, upsert=True)


class BareFile(Plain):
    """One thread hop to read; one to write a temporary file, sync it and rename it."""

    name = against = "bare client"

    async def open(self) -> None:
        from aiofiles.os import wrap

        self._folder = self.place.folder / self.place.fresh("bare")
        self._folder.mkdir()
        self._read, self._write = wrap(_read_file), wrap(_write_file)

    async def read(self, session_id: str) -> dict[str, Any] | None:
        raw = await self._read(self._folder / quote(session_id, safe=""))
        record = None if raw is None else _decode(raw)
        return None if record is None or record["expires_at"] <= time.time() else record["state"]

    async def write(self, session_id: str, state: dict[str, Any]) -> None:
        record = {"expires_at": time.time() + EXPIRES_IN, "state": state}
        await self._write(self._folder / quote(session_id, safe=""), _encode(record))


def bare_clients(place: Place, workload: Workload) -> Sequence[Contender]:
    """Return the bare clients of the backend; MongoDB has two."""
    match place.backend:
        case "memory":
            return [BareMemory(place, workload)]
        case "redis":
            return [BareRedis(place, workload)]
        case "mongo":
            return [BareMongo(place, workload, "motor"), BareMongo(place, workload, "pymongo")]
        case _:
            return [BareFile(place, workload)]


def _read_file(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _write_file(path: Path, raw: bytes) -> None:
    descriptor, temporary = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "wb") as file:
        file.write(raw)
        file.flush()
        os.fsync(file.fileno())
    Path(temporary).replace(path)
