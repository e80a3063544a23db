from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

from botsession import SessionStore
from botsession.testing import StoreContract
from botsession_file import FileSessionStore
from botsession_file.names import place


class TestFile(StoreContract):
    store_type = FileSessionStore
    shared = True
    root: ClassVar[Path]

    @classmethod
    def setup_class(cls) -> None:
        cls.root = Path(tempfile.mkdtemp(prefix="botsession-file-"))

    @classmethod
    def teardown_class(cls) -> None:
        shutil.rmtree(cls.root)

    def options(self, namespace: str) -> Mapping[str, Any]:
        return {"dirname": self.root / namespace}

    async def corrupt(self, store: SessionStore, session_id: str) -> None:
        assert isinstance(store, FileSessionStore)
        shard, name = place(session_id)
        path = store.dirname / shard / name
        path.write_bytes(path.read_bytes()[:-10] + b"\xff")

    async def footprint(self, store: SessionStore) -> list[object]:
        assert isinstance(store, FileSessionStore)
        files = [path for path in store.dirname.rglob("*") if path.is_file() and path.name != ".lock"]
        records = [json.loads(path.read_bytes().strip() or b"{}") for path in store.dirname.rglob(".lock")]
        leases = [lease for record in records for lease in record.get("leases", {}).items()]
        return [*((path, path.read_bytes()) for path in files), *leases]

    async def quarantined(self, store: SessionStore, where: str) -> bytes:
        return await asyncio.to_thread(Path(where).read_bytes)

    @contextlib.asynccontextmanager
    async def outage(self, store: SessionStore) -> AsyncIterator[None]:
        assert isinstance(store, FileSessionStore)
        aside = store.dirname.with_suffix(".away")
        store.dirname.rename(aside)
        store.dirname.symlink_to(store.dirname)
        yield
        store.dirname.unlink()
        aside.rename(store.dirname)

    def unreachable(self, secret: str) -> Mapping[str, Any]:
        loop = self.root / "loop"
        loop.unlink(missing_ok=True)
        loop.symlink_to(loop)
        return {"dirname": loop / "sessions"}
