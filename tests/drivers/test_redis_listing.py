"""Listing with the Redis driver: prefixes, cursors and pages."""

from __future__ import annotations

import asyncio
import uuid

import pytest
from redis_setups import everything, opened, put

from botsession import (
    CorruptSessionError,
    Session,
    StoreError,
)
from botsession.protocol import Step

ID = "telegram:42"


def test_prefixes_and_globs_are_plain_text():
    async def main():
        base = uuid.uuid4().hex
        ids = ["a*b:1", "axb:1", "a?b:1", "a[x]b:1", "a\\b:1", "a^b-c:1"]
        for infix in ("", "[ab]*", "\\"):
            async with opened(f"{base}{infix}?:", expires_in=1) as (store, _), opened(f"{base}{infix}x:") as (other, _):
                await put(other, "other:1")
                for session_id in ids:
                    await put(store, session_id)
                assert await everything(store) == sorted(ids)
                for session_id in ids:
                    assert await everything(store, session_id[:-1]) == [session_id]

    asyncio.run(main())


def test_a_store_whose_key_prefix_begins_with_anothers_is_not_listed_there():
    async def main():
        base = uuid.uuid4().hex
        async with opened(f"{base}:") as (outer, _), opened(f"{base}:b:") as (inner, _):
            await put(outer, "telegram:1")
            await put(inner, "telegram:2")
            assert await everything(outer) == ["telegram:1"]
            assert await everything(inner) == ["telegram:2"]
            with pytest.raises(CorruptSessionError):
                await outer.read("b:telegram:2")

    asyncio.run(main())


def test_scan_pages_through_many_and_takes_the_longest_ids():
    async def main():
        async with opened(expires_in=5) as (store, _):
            ids = [f"t:{i}" for i in range(700)] + ['"' * 512, "\\" * 512, "\N{GRINNING FACE}" * 128]
            assert await store.commit([Step.replace(Session(i, {"x": "y" * 3000}), None) for i in ids]) == [None] * 703
            assert await everything(store) == sorted(ids)
            assert await everything(store, limit=7) == sorted(ids)
            page = await store.scan(limit=50)
            assert len(page.sessions) < 200
            for after in ("", "x", "1", "-1@", "99999999999999999999999@", "0@nowhere:1"):
                with pytest.raises(StoreError):
                    await store.scan(after=after)
            assert await store.commit([Step.remove(each) for each in ids]) == [None] * len(ids)
            assert await everything(store) == []

    asyncio.run(main())
