"""Every store has the capabilities it claims, with the protocol's signatures. Checked by mypy, never run."""

from typing import Protocol

from botsession import (
    SessionStore,
    SupportsClose,
    SupportsCommit,
    SupportsDiagnosis,
    SupportsExpiry,
    SupportsLease,
    SupportsPing,
    SupportsPurge,
    SupportsQuarantine,
    SupportsReplace,
    SupportsScan,
    SupportsTouch,
)
from botsession_file import FileSessionStore
from botsession_memory import MemorySessionStore
from botsession_mongo import MongoSessionStore
from botsession_redis import RedisSessionStore


class EveryStore(
    SessionStore,
    SupportsExpiry,
    SupportsClose,
    SupportsReplace,
    SupportsTouch,
    SupportsScan,
    SupportsCommit,
    SupportsLease,
    SupportsQuarantine,
    SupportsPing,
    SupportsDiagnosis,
    Protocol,
):
    """The protocols that every built-in store implements."""


class SweepingStore(EveryStore, SupportsPurge, Protocol):
    """The protocols of a store whose backend does not remove expired sessions."""


def built_in_stores(
    memory: MemorySessionStore, file: FileSessionStore, redis: RedisSessionStore, mongo: MongoSessionStore
) -> tuple[SweepingStore, SweepingStore, EveryStore, EveryStore]:
    return memory, file, redis, mongo
