"""Checked by mypy and never run: every store has the capabilities it claims, with the protocol's signatures."""

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
    """What each built-in store is."""


class SweepingStore(EveryStore, SupportsPurge, Protocol):
    """What a store is if its backend does not remove expired sessions."""


def built_in_stores(
    memory: MemorySessionStore, file: FileSessionStore, redis: RedisSessionStore, mongo: MongoSessionStore
) -> tuple[SweepingStore, SweepingStore, EveryStore, EveryStore]:
    return memory, file, redis, mongo
