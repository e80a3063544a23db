"""Deleting sessions by id or by prefix, and purging expired ones."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator, Sequence
from itertools import islice
from typing import Final

from botsession.errors import CorruptSessionError, InvalidSessionIdError
from botsession.ids import check_session_id
from botsession.protocol import SessionStore, Step, SupportsCommit, SupportsPurge, unsupported
from botsession_operations.listing import pages, read_all

_BATCH: Final = 500
_READ_BATCH: Final = 50


async def find_existing(store: SessionStore, session_ids: Sequence[str]) -> list[str]:
    """Return those of the ids under which the store has a session, readable or not.

    Raises:
        InvalidSessionIdError: One of them is not a session id.
        StoreError: The backend failed.
    """
    existing: list[str] = []
    for batch in _batches(session_ids, _READ_BATCH):
        outcomes = await read_all(store, batch)
        existing += [session_id for session_id, outcome in zip(batch, outcomes, strict=True) if outcome is not None]
    return existing


async def delete(store: SessionStore, session_ids: Iterable[str]) -> AsyncGenerator[int, None]:
    """Delete sessions, readable or not; absent ones are not an error.

    Yields:
        After each batch, how many of its ids no longer have a session.

    Raises:
        InvalidSessionIdError: One of them is not a session id.
        CorruptSessionError: The record belongs to another program and stays; raised after all others were deleted.
        StoreError: The backend failed; earlier batches are deleted.
    """
    refusals: list[CorruptSessionError] = []
    for batch in _batches(session_ids, _BATCH):
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
    """Delete all sessions whose ids start with the prefix, readable or not, page by page.

    A session that is created while this runs may or may not be deleted. An unreadable record that does not reveal its id
    stays.

    Args:
        store: The open store.
        prefix: How the ids start; not empty.

    Yields:
        After each batch, how many sessions were deleted.

    Raises:
        ValueError: The prefix is empty.
        UnsupportedError: The store cannot list its sessions.
        CorruptSessionError: See `delete`.
        StoreError: The backend failed; earlier batches are deleted.
    """
    if not prefix:
        raise ValueError("an empty prefix would delete every session")
    refusal: CorruptSessionError | None = None
    async for page in pages(store, prefix):
        session_ids = [info.id for info in page.sessions]
        session_ids += [error.session_id for error in page.unreadable if is_deletable(error, prefix)]
        try:
            async for count in delete(store, session_ids):
                yield count
        except CorruptSessionError as error:
            refusal = refusal or error
    if refusal is not None:
        raise refusal


def is_deletable(error: CorruptSessionError, prefix: str) -> bool:
    """Return whether an unreadable record reveals a valid session id that starts with the prefix."""
    try:
        check_session_id(error.session_id)
    except InvalidSessionIdError:
        return False
    return error.session_id.startswith(prefix)


async def purge(store: SessionStore) -> int:
    """Remove expired sessions from a backend that does not do so itself, and return how many were removed.

    Raises:
        UnsupportedError: The store cannot purge: its backend removes expired sessions itself, or keeps them.
        StoreError: The backend failed.
    """
    if not isinstance(store, SupportsPurge):
        raise unsupported(store, "purge", "purge expired sessions")
    return await store.purge()


def _batches(session_ids: Iterable[str], size: int) -> Iterator[list[str]]:
    rest = iter(session_ids)
    while batch := list(islice(rest, size)):
        yield batch
