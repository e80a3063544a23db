"""The work of the child processes in tests of shared stores."""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import dataclasses
import multiprocessing
import random
import sys
import types
from typing import TYPE_CHECKING, Any

from botsession.errors import SessionConflictError
from botsession.protocol import SupportsClose, SupportsReplace
from botsession.sessions import Sessions

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from multiprocessing.synchronize import Barrier

    from botsession.protocol import SessionStore


def in_processes(function: Callable[..., Any], *arguments: object, processes: int = 1) -> None:
    """Run a function in so many new processes; each starts its work when all have opened their store."""
    spawn = multiprocessing.get_context("spawn")
    started = (spawn.Barrier(processes),)
    with concurrent.futures.ProcessPoolExecutor(processes, spawn, initializer=_meet_at, initargs=started) as pool:
        with _empty_main():
            outcomes = [pool.submit(function, *arguments) for _ in range(processes)]
        for running in outcomes:
            running.result()


@contextlib.contextmanager
def _empty_main() -> Iterator[None]:
    """Start processes without the `__main__` of this one, which would import pytest in each."""
    main = sys.modules["__main__"]
    sys.modules["__main__"] = types.ModuleType("__main__")
    try:
        yield
    finally:
        sys.modules["__main__"] = main


_meetings: list[Barrier] = []


def _meet_at(barrier: Barrier) -> None:
    _meetings.append(barrier)


def _wait_for_the_others() -> None:
    for barrier in _meetings:
        barrier.wait(timeout=60)


def increment(make: Callable[[], SessionStore], session_id: str, times: int) -> None:
    """Increment a session's `count` so many times, and retry after each conflict."""
    asyncio.run(_increment(make, session_id, times))


async def _increment(make: Callable[[], SessionStore], session_id: str, times: int) -> None:
    async with _open(make) as store:
        _wait_for_the_others()
        for _ in range(times):
            await count_up(store, session_id)


async def count_up(store: SessionStore, session_id: str) -> None:
    """Increment a session's `count` once, by compare-and-set."""
    while True:
        session = await store.read(session_id)
        if session is None or not isinstance(store, SupportsReplace):
            raise AssertionError("the session is absent, or the store does not support `replace`")
        session.state["count"] += 1
        with contextlib.suppress(SessionConflictError):
            await store.replace(session_id, session, expected=session.version)
            return
        await asyncio.sleep(random.uniform(0, 0.005))  # noqa: S311 - spreads retries, keeps no secret


def take_turns(make: Callable[[], SessionStore], session_id: str, times: int) -> None:
    """Increment a session's `count` in turns, which wait for each other and so never conflict."""
    asyncio.run(_take_turns(make, session_id, times))


async def _take_turns(make: Callable[[], SessionStore], session_id: str, times: int) -> None:
    async with _open(make) as store:
        sessions = Sessions(store)
        _wait_for_the_others()
        for _ in range(times):
            async with sessions.turn(session_id) as session:
                session.state["count"] += 1


def copy(make: Callable[[], SessionStore], session_id: str, copy_id: str) -> None:
    """Copy a session to another id."""
    asyncio.run(_copy(make, session_id, copy_id))


async def _copy(make: Callable[[], SessionStore], session_id: str, copy_id: str) -> None:
    async with _open(make) as store:
        session = await store.read(session_id)
        if session is None:
            raise AssertionError("the session is absent")
        await store.write(copy_id, dataclasses.replace(session, id=copy_id))


@contextlib.asynccontextmanager
async def _open(make: Callable[[], SessionStore]) -> AsyncIterator[SessionStore]:
    store = make()
    try:
        yield await store.init()
    finally:
        if isinstance(store, SupportsClose):
            await store.close()
