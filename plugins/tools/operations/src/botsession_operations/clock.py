"""The clock by which the sessions of a store end."""

from __future__ import annotations

from datetime import datetime

from botsession.lifetime import utc_now
from botsession.protocol import SessionStore, StoredSession, SupportsExpiry


def now(store: SessionStore) -> datetime:
    """Returns the present moment by the store's clock; by the system's for a store that has none."""
    return store.lifetime.now() if isinstance(store, SupportsExpiry) else utc_now()


def live(store: SessionStore, session: StoredSession | None) -> StoredSession | None:
    """Returns a session that was read, or `None` if it has expired: a store without a clock returns it all the same."""
    if session is None or isinstance(store, SupportsExpiry) or session.expires_at is None:
        return session
    return session if session.expires_at > now(store) else None
