"""All sessions of a store, page by page."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from typing import Final

from botsession.protocol import (
    ScanPage,
    SessionStore,
    SupportsExpiry,
    SupportsScan,
    unsupported,
)
from botsession.storage import check_page_size
from botsession_operations.clock import now

_PAGE: Final = 500


async def pages(
    store: SessionStore, prefix: str = "", *, after: str | None = None, limit: int | None = None
) -> AsyncGenerator[ScanPage, None]:
    """Goes through the sessions of a store, in the order in which the backend gives them.

    What is there from the beginning to the end is found at least once. Where others write meanwhile, some backends find a
    session twice.

    Args:
        store: The store, open.
        prefix: How the ids begin.
        after: Where to go on: the `next` of an earlier page.
        limit: Ends after about so many sessions, with the page in which that number is reached; `None` means all.

    Yields:
        Pages with `sessions`, with `unreadable` for what is no session, and with `next` to go on later. The errors among
        `unreadable` that could not tell an id have an empty one.

    Raises:
        ConfigError: `limit` is no number of sessions above zero.
        UnsupportedError: The store cannot list its sessions.
        StoreError: `after` is no cursor of this store, or the backend failed.
    """
    check_page_size(limit)
    if not isinstance(store, SupportsScan):
        raise unsupported(store, "scan", "list its sessions")
    left = limit
    while left is None or left > 0:
        page = await store.scan(prefix, after=after, limit=None if left is None else min(left, _PAGE))
        if not isinstance(store, SupportsExpiry):
            moment = now(store)
            live = [info for info in page.sessions if info.expires_at is None or info.expires_at > moment]
            page = ScanPage(live, page.next, page.unreadable)
        yield page
        after = page.next
        if after is None:
            return
        if left is not None:
            left -= len(page.sessions) + len(page.unreadable)
