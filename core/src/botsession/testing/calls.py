"""One call of each method of a store, for rules that hold for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any, Final

from botsession.errors import StoreError, StoreUnavailableError
from botsession.lifetime import new_version
from botsession.protocol import (
    Claim,
    Step,
)
from botsession.session import Session
from botsession.testing.bench import ID

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Mapping

    from botsession.protocol import StoredSession
    from botsession.testing.bench import AnyStore


WRITING: Final = ("write", "replace", "commit", "commit of a restoration")
"""The calls that store the session that they get."""

REMOVING: Final = ("destroy", "commit of a removal")
"""The calls that remove it."""


def calls(
    store: AnyStore, session: StoredSession | None = None, over: StoredSession | None = None
) -> dict[str, Callable[[], Coroutine[Any, Any, object]]]:
    """Return the calls of all methods that the store has, by name.

    Args:
        store: The store.
        session: The session to write; by default a new one.
        over: The session to replace, or to restore over.
    """
    writing = session or Session(ID)
    expected = None if over is None else over.version
    restoring = dataclasses.replace(writing, version=new_version())
    each: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
        "read": lambda: store.read(writing.id),
        "write": lambda: store.write(writing.id, writing),
        "destroy": lambda: store.destroy(writing.id),
        "replace": lambda: store.replace(writing.id, writing, expected=expected),
        "touch": lambda: store.touch(writing.id, None),
        "scan": lambda: store.scan(""),
        "read_many": lambda: store.read_many([writing.id]),
        "commit": lambda: store.commit([Step.replace(writing, expected)]),
        "lease_many": lambda: store.lease_many([Claim(writing.id, "kit", 1, 1)]),
        "renew_leases": lambda: store.renew_leases({writing.id: "kit"}, 1),
        "release_leases": lambda: store.release_leases({writing.id: "kit"}),
        "commit of a restoration": lambda: store.commit([Step.restore(restoring, over)]),
        "quarantine": lambda: store.quarantine(writing.id),
        "commit of a removal": lambda: store.commit([Step.remove(writing.id)]),
    }
    present = {name: call for name, call in each.items() if hasattr(store, name.partition(" ")[0])}
    return present | {name: getattr(store, name) for name in ("purge", "ping", "diagnose") if hasattr(store, name)}


async def accepted(store: AnyStore) -> list[str]:
    """Call every method of a store that must refuse them all with a `StoreError`; return the names of those that work."""
    names = []
    for name, call in calls(store).items():
        try:
            await call()
        except StoreError:
            continue
        names.append(name)
    return names


async def late(tasks: Mapping[str, asyncio.Future[Any]], seconds: float) -> list[str]:
    """Wait for calls for so many seconds; cancel those that have not ended, and return their names."""
    _, pending = await asyncio.wait(tasks.values(), timeout=seconds)
    for task in pending:
        task.cancel()
    if pending:
        await asyncio.wait(pending, timeout=0.1)
    for task in tasks.values():
        if task.done() and not task.cancelled():
            task.exception()  # so that asyncio does not report it as never retrieved
    return [name for name, task in tasks.items() if task in pending]


async def when_it_is_back(store: AnyStore, session_id: str) -> StoredSession | None:
    """Read a session as soon as the backend answers again."""
    while True:
        with contextlib.suppress(StoreUnavailableError):
            return await store.read(session_id)
        await asyncio.sleep(0.02)


async def steps(number: int) -> None:
    """Let every task take so many steps of the event loop."""
    for _ in range(number):
        await asyncio.sleep(0)


async def cancel_after(number: int, task: asyncio.Future[object]) -> None:
    """Cancel a call after so many steps of the event loop, and wait until it ends."""
    await steps(number)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
