"""Sessions in MongoDB: the driver `mongo` of botsession."""

from __future__ import annotations

from typing import TYPE_CHECKING

from botsession import (
    Clock,
    SessionStore,
    construct,
    hookimpl,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from botsession_mongo.store import MongoSessionStore

__all__ = ["MongoSessionStore", "open_store"]


@hookimpl
def open_store(options: Mapping[str, object], clock: Clock) -> SessionStore:
    """Return a `MongoSessionStore` that is not open yet."""
    from botsession_mongo.store import MongoSessionStore

    return construct(MongoSessionStore, options, clock=clock)


def __getattr__(name: str) -> object:
    if name == "MongoSessionStore":
        from botsession_mongo.store import MongoSessionStore

        return MongoSessionStore
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
