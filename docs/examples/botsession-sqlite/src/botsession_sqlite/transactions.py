"""What takes more than one statement, as the work of one transaction.

A lease is changed in the transaction that reads or stores its session, so that both are one step.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import aiosqlite

from botsession import Claim, CorruptSessionError, Held
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
    """Stores sessions whose leases nobody else holds, and gives up the leases of those that were stored.

    Args:
        db: The connection.
        entries: The parameter of `REPLACE_MANY`.
        holders: Who gives up, by session id; sessions that are not among them have no lease to mind.
        now: The present moment, for the deadlines of sessions.

    Returns:
        The rows of `REPLACE_MANY`.
    """
    leases = Leases(db)
    refused = [
        session_id for session_id, holder in holders.items() if await leases.is_held_by_another(session_id, holder)
    ]
    stored = await fetch(
        db, statements.REPLACE_MANY, {"entries": entries, "refused": as_parameter(refused), "now": now}
    )
    for (session_id,) in stored:
        if session_id in holders:
            await leases.release(session_id, holders[session_id])
    return stored


async def renew(db: aiosqlite.Connection, session_id: str, holder: str, ttl: float) -> bool:
    """Holds a lease longer; returns whether the holder had it still."""
    return await Leases(db).renew(session_id, holder, ttl)


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
