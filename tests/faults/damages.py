"""Read and change stored data without going through the store, on each backend outside the process."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import bson
from bson.raw_bson import RawBSONDocument
from pymongo import MongoClient
from redis import Redis

from botsession_file.names import place


class Stored(Protocol):
    """The data that a backend holds under an id."""

    def get(self, session_id: str) -> bytes | None:
        """Return the stored bytes, or `None` if there are none."""
        ...

    def put(self, session_id: str, raw: bytes) -> None:
        """Store bytes, which `get` then returns, possibly as rewritten by the backend."""
        ...

    def plain(self, raw: bytes) -> bytes:
        """Return the raw bytes of an error without what a running turn has added to them."""
        ...

    def damaged(self, raw: bytes, chance: random.Random) -> list[bytes]:
        """Return versions of the bytes as a disk, a tool or a careless person damages them."""
        ...


class _Lines:
    """The common part of backends that store lines of JSON."""

    def plain(self, raw: bytes) -> bytes:
        return raw

    def damaged(self, raw: bytes, chance: random.Random) -> list[bytes]:
        cuts = [raw[:length] for length in sorted(chance.sample(range(len(raw) - 1), 6))]
        flipped = []
        for _ in range(4):  # a quotation mark; without it, the line is not JSON
            at = chance.choice([index for index, byte in enumerate(raw) if byte == ord('"')])
            flipped.append(raw[:at] + bytes([chance.choice(b"\x00\x80\xff{")]) + raw[at + 1 :])
        noise = [chance.randbytes(length) for length in (1, 40, 4000)]
        zeros = [b"\0" * len(raw), raw[: len(raw) // 2] + b"\0" * (len(raw) - len(raw) // 2)]
        others = [b"", b"{}", b"null", b"[]", b'{"version":""}', raw + raw, raw.replace(b"damaged:", b"another:")]
        return [*cuts, *flipped, *noise, *zeros, *others]


class _File(_Lines):
    def __init__(self, dirname: str) -> None:
        self._folder = Path(dirname)

    def get(self, session_id: str) -> bytes | None:
        path = self._path(session_id)
        return path.read_bytes() if path.exists() else None

    def put(self, session_id: str, raw: bytes) -> None:
        beside = self._path(session_id).with_suffix(".by-hand")
        beside.write_bytes(raw)
        os.replace(beside, self._path(session_id))  # noqa: PTH105 - the plain call

    def _path(self, session_id: str) -> Path:
        return self._folder.joinpath(*place(session_id))


class _Redis(_Lines):
    def __init__(self, client: Redis, key_prefix: str) -> None:
        self._client = client
        self._key_prefix = key_prefix

    def get(self, session_id: str) -> bytes | None:
        raw: Any = self._client.get(self._key_prefix + session_id)
        return raw

    def put(self, session_id: str, raw: bytes) -> None:
        self._client.set(self._key_prefix + session_id, raw)


class _Mongo:
    """MongoDB, which stores only documents, so damage is limited to their fields."""

    def __init__(self, client: MongoClient[Any], collection: str) -> None:
        self._documents = client.get_default_database().get_collection(
            collection, codec_options=bson.CodecOptions(document_class=RawBSONDocument)
        )

    def get(self, session_id: str) -> bytes | None:
        found = self._documents.find_one({"_id": session_id})
        return None if found is None else bytes(found.raw)

    def put(self, session_id: str, raw: bytes) -> None:
        self._documents.replace_one({"_id": session_id}, RawBSONDocument(raw), upsert=True)

    def plain(self, raw: bytes) -> bytes:
        fields = {key: value for key, value in RawBSONDocument(raw).items() if key != "lease"}
        return bson.encode(fields)

    def damaged(self, raw: bytes, chance: random.Random) -> list[bytes]:
        document = bson.decode(raw)
        wrong: list[Any] = [5, -1.5, True, [], "{", chance.randbytes(9).hex(), {"a": 1.5, "b": [None]}]
        required = ["version", "expires_at", "last_activity", "created_at", "user", "state"]
        less = [{key: value for key, value in document.items() if key != missing} for missing in required]
        right = {("version", str), ("user", dict), ("state", dict)}
        right |= {("expires_at", kind) for kind in (int, float, bool)}  # NX-27017 treats this as a time in the past
        changed = [
            {**document, field: value}
            for field in required
            for value in chance.sample(wrong, 3)
            if (field, type(value)) not in right
        ]
        return [bson.encode(each) for each in [*less, *changed]]


@contextlib.contextmanager
def stored(driver: str, options: dict[str, Any]) -> Iterator[Stored]:
    """Yield access to the stored bytes of a backend."""
    if driver == "file":
        yield _File(options["dirname"])
    elif driver == "redis":
        with Redis.from_url(options["url"]) as client:
            yield _Redis(client, options["key_prefix"])
    else:
        with MongoClient(options["url"]) as mongo:
            yield _Mongo(mongo, options["collection_name"])
