"""Step of sessions: those named, or all whose ids begin in the same way."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from botsession.errors import CorruptSessionError, InvalidSessionIdError
from botsession.ids import check_session_id
from botsession.protocol import (
    SessionStore,
    Step,
    SupportsCommit,
    SupportsPurge,
    unsupported,
)
from botsession_operations.exports import read_all
from botsession_operations.listing import pages

_AT_ONCE: Final = 500


async def present(store: SessionStore, session_ids: Sequence[str]) -> list[str]:
    """Returns which of these sessions are there, unreadable ones included.

    Raises:
        InvalidSessionIdError: One of them is no session id.
        StoreError: The backend failed.
    """
    found: list[str] = []
    for batch in _batches(session_ids, 50):
        outcomes = await read_all(store, batch)
        found += [session_id for session_id, outcome in zip(batch, outcomes, strict=True) if outcome is not None]
    return found


async def delete(store: SessionStore, session_ids: Iterable[str]) -> AsyncGenerator[int, None]:
    """Removes sessions, unreadable ones too; those that are absent are no error.

    Yields:
        After each batch, how many of its ids have no session any more.

    Raises:
        InvalidSessionIdError: One of them is no session id.
        CorruptSessionError: What lies there is another program's, and stays; raised in the end, when all others are removed.
        StoreError: The backend failed; batches before that are removed.
    """
    refusals: list[CorruptSessionError] = []
    for batch in _batches(session_ids, _AT_ONCE):
        before = len(refusals)
        if isinstance(store, SupportsCommit):
            for outcome in await store.commit([Step.remove(session_id) for session_id in dict.fromkeys(batch)]):
                if isinstance(outcome, CorruptSessionError):
                    refusals.append(outcome)
                elif outcome is not None:
                    raise outcome
        else:
            for session_id in batch:
                try:
                    await store.destroy(session_id)
                except CorruptSessionError as error:
                    refusals.append(error)
        yield len(batch) - (len(refusals) - before)
    if refusals:
        raise refusals[0]


async def delete_prefix(store: SessionStore, prefix: str) -> AsyncGenerator[int, None]:
    """Removes the sessions whose ids begin with the prefix, unreadable ones too, page by page.

    What others store under such an id meanwhile may go or stay. An unreadable record that does not tell its id stays.

    Args:
        store: The store, open.
        prefix: How the ids begin, not empty.

    Yields:
        After each batch, how many were removed.

    Raises:
        ValueError: The prefix is empty.
        UnsupportedError: The store cannot list its sessions.
        CorruptSessionError: As `delete` raises it.
        StoreError: The backend failed; batches before that are removed.
    """
    if not prefix:
        raise ValueError("an empty prefix would remove every session")
    refusal: CorruptSessionError | None = None
    async for page in pages(store, prefix):
        doomed = [info.id for info in page.sessions]
        doomed += [error.session_id for error in page.unreadable if removable(error, prefix)]
        try:
            async for count in delete(store, doomed):
                yield count
        except CorruptSessionError as error:
            refusal = refusal or error
    if refusal is not None:
        raise refusal


def removable(error: CorruptSessionError, prefix: str) -> bool:
    """Tells whether an unreadable record has told an id by which it can be removed, and that begins with the prefix."""
    try:
        check_session_id(error.session_id)
    except InvalidSessionIdError:
        return False
    return error.session_id.startswith(prefix)


async def purge(store: SessionStore) -> int:
    """Removes what has expired, where the backend does not do so itself; returns how many sessions.

    Raises:
        UnsupportedError: The store cannot, since its backend removes them by itself or keeps them.
        StoreError: The backend failed.
    """
    if not isinstance(store, SupportsPurge):
        raise unsupported(store, "purge", "purge expired sessions")
    return await store.purge()


def _batches(session_ids: Iterable[str], size: int) -> Iterator[list[str]]:
    rest = iter(session_ids)
    while batch := list(islice(rest, size)):
        yield batch
