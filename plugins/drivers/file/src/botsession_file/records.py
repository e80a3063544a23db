"""What the store does with the sessions and leases of its shards. Everything here blocks and runs in worker threads."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from botsession import (
    ANYTHING,
    Claim,
    CorruptSessionError,
    Held,
    Lifetime,
    SessionConflictError,
    StoreError,
    StoreUnavailableError,
)
from botsession.storage import Change, Found, records
from botsession_file import names
from botsession_file.errors import NotAFileError, store_error
from botsession_file.folder import Folder
from botsession_file.locks import Call
from botsession_file.shard import Shard, ShardWriter

if TYPE_CHECKING:
    from botsession.storage.leases import LeaseTable

Outcome = SessionConflictError | StoreError | None


class RecordFolder:
    """The records in the directory of a store.

    Args:
        name: The store, for errors.
        folder: The directory.
        lifetime: How long the store keeps its sessions.
    """

    def __init__(self, name: str, folder: Folder, lifetime: Lifetime) -> None:
        self._name = name
        self._folder = folder
        self._lifetime = lifetime

    def load(self, session_ids: Sequence[str]) -> list[Found]:
        """Return what is stored for each session."""
        return [self._load_one(session_id) for session_id in session_ids]

    def apply(self, shard_name: str, changes: Sequence[Change], call: Call) -> list[Outcome]:
        """Carry out the changes of one shard; return the outcome of each.

        The slow parts need no lock: the bytes become durable before it is taken, and the names after its release.
        """
        try:
            with self._folder.writer(shard_name) as shard:
                drafts = [self._draft(shard, change) for change in changes]
                with shard.locked(call) as lock, lock.leases() as leases:
                    return [
                        draft if isinstance(draft, StoreError) else self._apply_one(shard, change, draft, leases)
                        for change, draft in zip(changes, drafts, strict=True)
                    ]
        except OSError as error:
            return [store_error(error, self._folder.path) for _ in changes]

    def claim(self, shard_name: str, claims: Sequence[Claim], call: Call) -> list[Found | Held]:
        """Take leases in one shard and load the sessions."""
        try:
            with self._folder.writer(shard_name) as shard, shard.locked(call) as lock, lock.leases() as leases:
                now = time.monotonic()
                return [leases.claim(claim, now) or self._find(shard, claim.session_id) for claim in claims]
        except OSError as error:
            return [store_error(error, self._folder.path) for _ in claims]

    def renew(self, ttl: float, shard_name: str, holders: Sequence[tuple[str, str]], call: Call) -> list[bool]:
        """Hold leases in one shard for longer; return for each whether its holder still had it."""
        with self._folder.writer(shard_name) as shard, shard.locked(call) as lock, lock.leases() as leases:
            now = time.monotonic()
            return [leases.renew(session_id, holder, now, ttl=ttl) for session_id, holder in holders]

    def release(self, shard_name: str, holders: Sequence[tuple[str, str]], call: Call) -> list[None]:
        """Give up leases in one shard, or places in the queues for them."""
        with self._folder.writer(shard_name) as shard, shard.locked(call) as lock, lock.leases() as leases:
            now = time.monotonic()
            for session_id, holder in holders:
                leases.release(session_id, holder, now)
        return [None] * len(holders)

    def quarantine(self, session_id: str, record: bytes, suffix: str, call: Call) -> str | None:
        """Rename an unreadable record; return its new path, or `None` if something else is stored by now.

        Args:
            session_id: Where it is stored.
            record: What was read; empty for what is not a file.
            suffix: See `names.quarantined`.
            call: The call that does it.
        """
        place = names.place(session_id)
        with self._folder.writer(place.shard) as shard, shard.locked(call):
            found = self._find(shard, session_id)
            if isinstance(found, StoreUnavailableError):
                raise found
            if found != record and not isinstance(found, CorruptSessionError):
                return None
            name = names.quarantined(place.name, suffix)
            shard.rename(place.name, name)
        return str(self._folder.path / place.shard / name)

    def _load_one(self, session_id: str) -> Found:
        try:
            shard = self._folder.reader(names.place(session_id).shard)
        except OSError as error:
            return self._error(error, session_id)
        if shard is None:
            return None
        with shard:
            return self._find(shard, session_id)

    def _find(self, shard: Shard, session_id: str) -> Found:
        try:
            return shard.read(names.place(session_id).name)
        except OSError as error:
            return self._error(error, session_id)

    def _draft(self, shard: ShardWriter, change: Change) -> str | StoreError | None:
        record = change.record
        if record is None:
            return None
        try:
            return shard.draft(record if record.endswith(b"\n") else record + b"\n")
        except OSError as error:
            return self._error(error, change.session_id)

    def _apply_one(self, shard: ShardWriter, change: Change, draft: str | None, leases: LeaseTable) -> Outcome:
        session_id, holder = change.session_id, change.holder
        now = time.monotonic()
        if holder is not None and not leases.is_held_by(session_id, holder, now):
            return SessionConflictError(session_id)
        name = names.place(session_id).name
        try:
            if not self._allows(change, shard, name):
                return SessionConflictError(session_id)
            if draft is None:
                shard.remove(name)
            else:
                shard.put(draft, name)
        except StoreError as error:
            return error
        except OSError as error:
            return self._error(error, session_id)
        if holder is not None:
            leases.release(session_id, holder, now)
        elif draft is None:
            leases.end(session_id, now)
        return None

    def _allows(self, change: Change, shard: Shard, name: str) -> bool:
        """Return whether what is stored is what the change expects.

        Raises:
            CorruptSessionError: What is stored cannot be compared.
            OSError: It cannot be read, or is not a file and so must not be replaced.
        """
        if change.expected is ANYTHING:
            shard.check(name)
            return True
        raw = shard.read(name)
        if raw is None:
            return change.allows(None)
        session = records.decode(raw, change.session_id, store=self._name)
        return change.allows(None if self._lifetime.expired(session.expires_at) else raw)

    def _error(self, error: OSError, session_id: str) -> StoreError:
        if isinstance(error, NotAFileError):
            return CorruptSessionError(session_id, store=self._name, raw=b"", reason=str(error))
        return store_error(error, self._folder.path)
