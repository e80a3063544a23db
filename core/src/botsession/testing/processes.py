"""What the tests of shared stores do in other processes."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import multiprocessing
import random
from typing import TYPE_CHECKING, Any

from botsession.errors import SessionConflictError
from botsession.protocol import SupportsClose, SupportsReplace

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from botsession.protocol import SessionStore


def in_processes(function: Callable[..., Any], *arguments: object, processes: int = 1) -> list[Any]:
    """Runs a function in so many new processes at the same time; returns what each returned."""
    spawn = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(processes, mp_context=spawn) as pool:
        running = [pool.submit(function, *arguments) for _ in range(processes)]
        return [future.result() for future in running]


def increment(make: Callable[[], SessionStore], session_id: str, times: int) -> None:
    """Counts up a session's `count`, again after each conflict."""
    asyncio.run(_increment(make, session_id, times))


async def _increment(make: Callable[[], SessionStore], session_id: str, times: int) -> None:
    async with _open(make) as store:
        for _ in range(times):
            await count_up(store, session_id)


async def count_up(store: SessionStore, session_id: str) -> None:
    """Counts up a session's `count` once, by compare-and-set."""
    while True:
        session = await store.read(session_id)
        if session is None or not isinstance(store, SupportsReplace):
            raise AssertionError("the session is not there, or the store cannot replace it")
        session.state["count"] += 1
        with contextlib.suppress(SessionConflictError):
            await store.replace(session_id, session, expected=session.version)
            return
        await asyncio.sleep(random.uniform(0, 0.005))  # noqa: S311 - spreads retries, keeps no secret


def copy(make: Callable[[], SessionStore], session_id: str, copy_id: str) -> None:
    """Reads a session and writes its state under another id."""
    asyncio.run(_copy(make, session_id, copy_id))


async def _copy(make: Callable[[], SessionStore], session_id: str, copy_id: str) -> None:
    async with _open(make) as store:
        session = await store.read(session_id)
        if session is None:
            raise AssertionError("the session is not there")
        await store.write(copy_id, dataclasses.replace(session, id=copy_id))


@contextlib.asynccontextmanager
async def _open(make: Callable[[], SessionStore]) -> AsyncIterator[SessionStore]:
    store = make()
    try:
        yield await store.init()
    finally:
        if isinstance(store, SupportsClose):
            await store.close()
