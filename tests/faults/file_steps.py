"""Operations on one session of the file driver, and a process that kills itself at a chosen point in one."""

from __future__ import annotations

import asyncio
import os
import signal
import threading
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from botsession import Sessions
from botsession_file import FileSessionStore

T = TypeVar("T")
Step = Callable[[FileSessionStore], Awaitable[T]]

ID = "killed:1"
LENGTH = 20_000

_SYSTEM = ("posix", "fcntl", "_io")
"""The modules through which Python makes system calls."""


async def change(store: FileSessionStore) -> None:
    async with Sessions(store, lease_ttl=0.2).turn(ID) as session:
        session.state["n"] = session.state.get("n", 0) + 1
        session.state["text"] = "x" * LENGTH


async def renew(store: FileSessionStore) -> None:
    assert await store.touch(ID, store.lifetime.now().replace(year=2999))


async def destroy(store: FileSessionStore) -> None:
    await store.destroy(ID)


async def look(store: FileSessionStore) -> int | None:
    """Return `n` of the session's state, or `None` if the session is absent."""
    session = await store.read(ID)
    if session is None:
        return None
    assert len(session.state["text"]) == LENGTH
    return int(session.state["n"])


async def look_and_go_on(store: FileSessionStore) -> int | None:
    """Return the result of `look`, after checking that the next turn works."""
    found = await look(store)
    await change(store)
    assert await look(store) == (found or 0) + 1
    return found


def done(folder: Path, step: Step[T]) -> T:
    """Run one step in a store that is opened and closed for it."""

    async def main() -> T:
        async with asyncio.timeout(30):
            store = await FileSessionStore(folder).init()
            try:
                return await step(store)
            finally:
                await store.close()

    return asyncio.run(main())


def done_until_killed(folder: Path, step: Step[Any], place: int) -> None:
    """Run one step in a process that kills itself before its n-th system call."""
    count = 0
    is_counted = threading.Event()

    def watch(frame: object, event: str, function: Any) -> None:
        nonlocal count
        if event == "c_call" and is_counted.is_set() and _module(function) in _SYSTEM:
            if count == place:
                os.kill(os.getpid(), signal.SIGKILL)
            count += 1

    async def counted(store: FileSessionStore) -> None:
        is_counted.set()
        await step(store)
        is_counted.clear()

    threading.setprofile(watch)
    done(folder, counted)


def _module(function: Any) -> str:
    """Return the module of a function, or of the type of a bound method."""
    return str(function.__module__ or type(function.__self__).__module__)
