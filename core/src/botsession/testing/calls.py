"""One call of each method that a store has, for what holds for all of them."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
from typing import TYPE_CHECKING, Any

from botsession.errors import StoreError
from botsession.lifetime import new_version
from botsession.protocol import Claim, Removal, Replacement, Restoration
from botsession.session import Session
from botsession.testing.bench import ID

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from botsession.protocol import StoredSession
    from botsession.testing.bench import AnyStore


def calls(
    store: AnyStore, session: StoredSession | None = None, over: StoredSession | None = None
) -> dict[str, Callable[[], Coroutine[Any, Any, object]]]:
    """Returns, by the method's name, a function that calls it; only of those methods that the store has.

    Args:
        store: The store.
        session: What to write; a new session where not given.
        over: The session over which to replace or restore.
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
        "replace_many": lambda: store.replace_many([Replacement(writing, expected)]),
        "lease_many": lambda: store.lease_many([Claim(writing.id, "kit", 1, 1)]),
        "renew_leases": lambda: store.renew_leases({writing.id: "kit"}, 1),
        "release_leases": lambda: store.release_leases({writing.id: "kit"}),
        "restore_many": lambda: store.restore_many([Restoration(restoring, over)]),
        "quarantine": lambda: store.quarantine(writing.id),
        "destroy_many": lambda: store.destroy_many([Removal(writing.id)]),
    }
    present = {name: call for name, call in each.items() if hasattr(store, name)}
    return present | {name: getattr(store, name) for name in ("purge", "ping", "diagnose") if hasattr(store, name)}


async def accepted(store: AnyStore) -> list[str]:
    """Calls each method of a store that must refuse them all with `StoreError`; returns the names of those that work."""
    names = []
    for name, call in calls(store).items():
        try:
            await call()
        except StoreError:
            continue
        names.append(name)
    return names


async def cancel_after(steps: int, task: asyncio.Future[object]) -> None:
    """Cancels a call after so many steps of the event loop, and waits for its end."""
    for _ in range(steps):
        await asyncio.sleep(0)
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task
