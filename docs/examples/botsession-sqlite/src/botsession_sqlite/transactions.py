"""What takes more than one statement, as the work of one transaction.

A lease is changed in the transaction that reads or stores its session, so that both are one step.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import aiosqlite

from botsession import (
    ANYTHING,
    Claim,
    CorruptSessionError,
    Held,
    Step,
)
from botsession_sqlite import rows, statements
from botsession_sqlite.batches import as_parameter
from botsession_sqlite.connection import fetch
from botsession_sqlite.leases import Leases


async def claim_and_read(
    db: aiosqlite.Connection, claims: Sequence[Claim], now: int
) -> list[Held | Sequence[Any] | None]:
    """Takes leases; returns for each the row of its session, `None` where that is absent, or that it is held."""
    leases = Leases(db)
    return [await leases.claim(claim) or await _row(db, claim.session_id, now) for claim in claims]


async def replace_and_release(
    db: aiosqlite.Connection, entries: str, holders: Mapping[str, str], now: int
) -> list[Any]:
    """Stores sessions whose leases are held as they should be, and gives up the leases of those that were stored.

    Args:
        db: The connection.
        entries: The parameter of `REPLACE_MANY`.
        holders: Who gives up, by session id; sessions that are not among them have no lease to mind.
        now: The present moment, for the deadlines of sessions.

    Returns:
        The rows of `REPLACE_MANY`.
    """
    leases = Leases(db)
    refused = await leases.lost(holders)
    stored = await fetch(
        db, statements.REPLACE_MANY, {"entries": entries, "refused": as_parameter(refused), "now": now}
    )
    for (session_id,) in stored:
        if session_id in holders:
            await leases.release(session_id, holders[session_id])
    return stored


async def destroy(db: aiosqlite.Connection, removals: Sequence[Step], now: int) -> list[bool]:
    """Removes sessions, and ends or gives up their leases; returns for each whether it was as expected."""
    leases = Leases(db)
    lost = set(await leases.lost({each.session_id: each.holder for each in removals if each.holder is not None}))
    entries = [
        (each.session_id, None if each.expected is ANYTHING else each.expected)
        for each in removals
        if each.session_id not in lost
    ]
    found = await fetch(db, statements.DESTROY_MANY, {"entries": as_parameter(entries), "now": now})
    removed = {session_id for (session_id,) in found}
    outcomes = [
        each.session_id not in lost and (each.expected is ANYTHING or each.session_id in removed) for each in removals
    ]
    done = list(itertools.compress(removals, outcomes))
    await leases.end([each.session_id for each in done if each.holder is None])
    for each in done:
        if each.holder is not None:
            await leases.release(each.session_id, each.holder)
    return outcomes


async def renew(db: aiosqlite.Connection, holders: Mapping[str, str], ttl: float) -> list[bool]:
    """Holds leases longer; returns for each whether the holder had it still."""
    leases = Leases(db)
    return [await leases.renew(session_id, holder, ttl) for session_id, holder in holders.items()]


async def release(db: aiosqlite.Connection, holders: Mapping[str, str]) -> None:
    """Gives up leases, or places in their queues."""
    leases = Leases(db)
    for session_id, holder in holders.items():
        await leases.release(session_id, holder)


async def purge_leases(db: aiosqlite.Connection) -> None:
    """Removes the leases that are over."""
    await Leases(db).purge()


async def put_aside(db: aiosqlite.Connection, session_id: str, now: int) -> int | None:
    """Moves an unreadable session into the quarantine; returns its number there, `None` where it is not unreadable."""
    row = await _row(db, session_id, now)
    if row is None:
        return None
    try:
        rows.to_session(row, "")
    except CorruptSessionError:
        [(number,)] = await fetch(db, statements.PUT_ASIDE, {"id": session_id, "now": now})
        await fetch(db, statements.DESTROY, {"id": session_id})
        return int(number)
    return None


async def _row(db: aiosqlite.Connection, session_id: str, now: int) -> Sequence[Any] | None:
    found = await fetch(db, statements.READ, {"id": session_id, "now": now})
    return found[0] if found else None
