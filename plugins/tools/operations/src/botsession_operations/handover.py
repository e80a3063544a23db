"""The last step of a move without a stop: every session is handed over to the new store."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing

from botsession.errors import StoreError, StoreUnavailableError
from botsession.protocol import SessionStore, Step
from botsession.session import Session
from botsession_operations.exports import read_all
from botsession_operations.listing import pages
from botsession_operations.migration import Migrated
from botsession_operations.mirror import MirrorSessionStore
from botsession_operations.mirror.marks import (
    are_same,
    is_copy,
    kept,
    original,
)
from botsession_operations.restoration import check_restores

_AT_ONCE = 64


async def hand_over(old: SessionStore, new: SessionStore, done: Migrated, *, prefix: str = "") -> AsyncGenerator[int]:
    """Makes the new store lead all sessions, while bots with a mirror go on whose `lead` is `new`.

    No bot may use the old store by itself any more, nor a mirror whose `lead` is `old`. Afterwards bots can use the new store
    by itself. It may be run again.

    Args:
        old: The store to move away from; open.
        new: The store to move to; open.
        done: Counted up meanwhile: `copied` are those that the old store led, `kept` those that the new one led already.
        prefix: How the ids begin.

    Yields:
        After each page of the old store, how many sessions were looked at.

    Raises:
        ConfigError: The stores keep sessions for different times.
        UnsupportedError: A store cannot be mirrored, or cannot list its sessions.
        StoreError: A backend failed; what was handed over before stays so.
    """
    mirror = MirrorSessionStore(old, new, lead="new")
    async with aclosing(pages(old, prefix)) as found:
        async for page in found:
            done.unreadable += page.unreadable
            led = [info.id for info in page.sessions if not is_copy(info)]
            done.kept += len(page.sessions) - len(led)
            await _hand_over_all(mirror, await _hand_over_what_is_copied(old, new, led, done), done)
            yield len(page.sessions)
    async with aclosing(pages(new, prefix)) as found:
        async for page in found:
            done.unreadable += page.unreadable
            settled = Migrated()
            await _hand_over_all(mirror, [info.id for info in page.sessions if is_copy(info)], settled)
            done.failed += settled.failed


async def _hand_over_what_is_copied(
    old: SessionStore, new: SessionStore, session_ids: Sequence[str], done: Migrated
) -> list[str]:
    """Hands over, all at once, the sessions of which the new store holds what the old one holds; returns the others."""
    copies, sessions = await read_all(new, session_ids), await read_all(old, session_ids)
    same = [
        (session, copy)
        for session, copy in zip(sessions, copies, strict=True)
        if isinstance(session, Session) and isinstance(copy, Session)
        if not is_copy(session) and are_same(copy, session)
    ]
    outcomes = await _restored(old, [Step.restore(kept(session), session) for session, _ in same])
    handed = [copy for (_, copy), outcome in zip(same, outcomes, strict=True) if outcome is None]
    ending = [copy for copy in handed if is_copy(copy)]
    outcomes = await _restored(new, [Step.restore(original(copy), copy) for copy in ending])
    unsettled = {copy.id for copy, outcome in zip(ending, outcomes, strict=True) if outcome is not None}
    settled = {copy.id for copy in handed} - unsettled
    done.copied += len(handed)
    done.kept -= len(unsettled)
    return [session_id for session_id in session_ids if session_id not in settled]


async def _restored(store: SessionStore, restorations: Sequence[Step]) -> Sequence[Exception | None]:
    return await check_restores(store).commit(restorations) if restorations else []


async def _hand_over_all(mirror: MirrorSessionStore, session_ids: Iterable[str], done: Migrated) -> None:
    async def attempt(session_id: str) -> None:
        async with room:
            try:
                if await mirror.hand_over(session_id):
                    done.copied += 1
                else:
                    done.kept += 1
            except StoreUnavailableError:
                raise
            except StoreError as error:
                done.failed.append(error)

    room = asyncio.Semaphore(_AT_ONCE)
    try:
        async with asyncio.TaskGroup() as group:
            for session_id in session_ids:
                group.create_task(attempt(session_id))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
