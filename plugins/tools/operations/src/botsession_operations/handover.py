"""Handover: the last step of a move without downtime, after which the new store holds every session."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable, Sequence
from contextlib import aclosing
from typing import Final

from botsession.errors import StoreError, StoreUnavailableError
from botsession.protocol import SessionStore, Step
from botsession.session import Session
from botsession_operations.listing import pages, read_all
from botsession_operations.migration import MigrationReport
from botsession_operations.mirror import MirrorSessionStore
from botsession_operations.mirror.marks import are_same, as_kept_copy, is_copy, original
from botsession_operations.restoration import check_commits

_CONCURRENT: Final = 64


async def hand_over(
    old: SessionStore, new: SessionStore, report: MigrationReport, *, prefix: str = ""
) -> AsyncGenerator[int]:
    """Make the new store lead all sessions while bots run with a mirror whose `lead` is `new`.

    No bot may still use the old store directly, or a mirror whose `lead` is `old`. Afterwards, bots can use the new store
    directly. It can be repeated.

    Args:
        old: The open store to move away from.
        new: The open store to move to.
        report: Updated as the handover proceeds: `copied` counts sessions that the old store led, `kept` those that the new
            one already led.
        prefix: Only ids that start with this.

    Yields:
        After each page of the old store, the number of sessions in it.

    Raises:
        ConfigError: The stores keep sessions for different times.
        UnsupportedError: A store cannot be mirrored, or cannot list its sessions.
        StoreError: A backend failed; what was handed over before stays handed over.
    """
    mirror = MirrorSessionStore(old, new, lead="new")
    async with aclosing(pages(old, prefix)) as listing:
        async for page in listing:
            report.unreadable += page.unreadable
            led = [info.id for info in page.sessions if not is_copy(info)]
            report.kept += len(page.sessions) - len(led)
            await _hand_over_each(mirror, await _hand_over_in_sync(old, new, led, report), report)
            yield len(page.sessions)
    async with aclosing(pages(new, prefix)) as listing:
        async for page in listing:
            report.unreadable += page.unreadable
            settled = MigrationReport()
            await _hand_over_each(mirror, [info.id for info in page.sessions if is_copy(info)], settled)
            report.failed += settled.failed


async def _hand_over_in_sync(
    old: SessionStore, new: SessionStore, session_ids: Sequence[str], report: MigrationReport
) -> list[str]:
    """Hand over, in one batch, the sessions that are the same in both stores; return the ids of the others."""
    copies, sessions = await read_all(new, session_ids), await read_all(old, session_ids)
    same = [
        (session, copy)
        for session, copy in zip(sessions, copies, strict=True)
        if isinstance(session, Session) and isinstance(copy, Session)
        if not is_copy(session) and are_same(copy, session)
    ]
    outcomes = await _commit(old, [Step.restore(as_kept_copy(session), session) for session, _ in same])
    handed_over = [copy for (_, copy), outcome in zip(same, outcomes, strict=True) if outcome is None]
    ending = [copy for copy in handed_over if is_copy(copy)]
    outcomes = await _commit(new, [Step.restore(original(copy), copy) for copy in ending])
    unsettled = {copy.id for copy, outcome in zip(ending, outcomes, strict=True) if outcome is not None}
    settled = {copy.id for copy in handed_over} - unsettled
    report.copied += len(handed_over)
    report.kept -= len(unsettled)
    return [session_id for session_id in session_ids if session_id not in settled]


async def _commit(store: SessionStore, steps: Sequence[Step]) -> Sequence[Exception | None]:
    return await check_commits(store).commit(steps) if steps else []


async def _hand_over_each(mirror: MirrorSessionStore, session_ids: Iterable[str], report: MigrationReport) -> None:
    async def attempt(session_id: str) -> None:
        async with semaphore:
            try:
                if await mirror.hand_over(session_id):
                    report.copied += 1
                else:
                    report.kept += 1
            except StoreUnavailableError:
                raise
            except StoreError as error:
                report.failed.append(error)

    semaphore = asyncio.Semaphore(_CONCURRENT)
    try:
        async with asyncio.TaskGroup() as group:
            for session_id in session_ids:
                group.create_task(attempt(session_id))
    except ExceptionGroup as failures:
        raise failures.exceptions[0] from None
