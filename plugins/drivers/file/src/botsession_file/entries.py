"""Sessions in the directory of a store, one by one and many at once. All of it blocks, and runs in worker threads."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import NamedTuple

from botsession import (
    ANYTHING,
    Claim,
    CorruptSessionError,
    Held,
    Lifetime,
    SessionConflictError,
    SessionInfo,
    Step,
    StoredSession,
    StoreError,
)
from botsession.storage import records
from botsession_file import names
from botsession_file.failures import reported
from botsession_file.folder import Folder
from botsession_file.leases import Leases
from botsession_file.locking import Call
from botsession_file.shard import ChangingShard, Draft, NoFileError, Shard


class Change(NamedTuple):
    """One session to be stored.

    Attributes:
        session_id: Its id.
        place: Where it lies.
        raw: What to store.
        expected: The version that must be stored there now, or the session that must be there untouched; `None` means
            that it must be absent.
        holder: Who holds the lease and gives it up by this; `None` without a lease.
    """

    session_id: str
    place: names.Place
    raw: bytes
    expected: str | StoredSession | SessionInfo | None
    holder: str | None = None


class Entries:
    """The sessions in a directory.

    Args:
        folder: The directory.
        lifetime: When they end.
    """

    def __init__(self, folder: Folder, lifetime: Lifetime) -> None:
        self._folder = folder
        self._lifetime = lifetime

    def read(self, session_id: str) -> StoredSession | None:
        """Returns a session; `None` where it is absent or expired."""
        place = names.place(session_id)
        shard = self._folder.shard(place.shard)
        if shard is None:
            return None
        with shard:
            found = self._load(shard, place.name, session_id)
        return None if found is None else found[1]

    def read_many(self, session_ids: Sequence[str]) -> list[StoredSession | StoreError | None]:
        """Returns what `read` returns for each, or the error that it raised."""
        outcomes: list[StoredSession | StoreError | None] = []
        for session_id in session_ids:
            try:
                outcomes.append(self.read(session_id))
            except CorruptSessionError as error:
                outcomes.append(error)
        return outcomes

    def write(self, session_id: str, raw: bytes, call: Call) -> None:
        """Stores a session, whatever file was there."""
        place = names.place(session_id)
        with self._folder.changing(place.shard) as shard:
            draft = shard.draft(raw)
            with shard.locked(call):
                self._check(shard, place.name, session_id)
                shard.put(draft, place.name)

    def replace_many(
        self, shard_name: str, changes: Sequence[Change], call: Call
    ) -> list[SessionConflictError | StoreError | None]:
        """Stores those sessions of one subdirectory that are as expected; returns each one's error.

        What takes long is done without the lock: first the bytes become durable, and in the end the names.
        """
        try:
            with self._folder.changing(shard_name) as shard:
                drafts = [self._draft(shard, change) for change in changes]
                with shard.locked(call) as lock:
                    leases = lock.leases() if any(change.holder for change in changes) else None
                    outcomes = [
                        draft if isinstance(draft, StoreError) else self._outcome(shard, change, draft, leases)
                        for change, draft in zip(changes, drafts, strict=True)
                    ]
                    if leases is not None:
                        leases.save()
            return outcomes
        except OSError as error:
            return [reported(error, self._folder.path) for _ in changes]

    def lease_many(
        self, shard_name: str, claims: Sequence[Claim], call: Call
    ) -> list[StoredSession | Held | StoreError | None]:
        """Takes leases of sessions in one subdirectory, and reads the sessions."""
        try:
            with self._folder.changing(shard_name) as shard, shard.locked(call) as lock:
                leases = lock.leases()
                outcomes = [self._claim(shard, leases, claim) for claim in claims]
                leases.save()
            return outcomes
        except OSError as error:
            return [reported(error, self._folder.path) for _ in claims]

    def renew_leases(self, ttl: float, shard_name: str, holders: Sequence[tuple[str, str]], call: Call) -> list[bool]:
        """Holds leases of sessions in one subdirectory longer; returns for each whether it had not ended yet."""
        with self._folder.changing(shard_name) as shard, shard.locked(call) as lock:
            leases = lock.leases()
            renewed = [leases.renew(session_id, holder, ttl) for session_id, holder in holders]
            leases.save()
            return renewed

    def release_leases(self, holders: Mapping[str, str], call: Call) -> None:
        """Gives up leases, or places in their queues."""
        by_shard = sorted(holders, key=lambda session_id: names.place(session_id).shard)
        for shard_name, group in itertools.groupby(by_shard, lambda session_id: names.place(session_id).shard):
            with self._folder.changing(shard_name) as shard, shard.locked(call) as lock:
                leases = lock.leases()
                for session_id in group:
                    leases.release(session_id, holders[session_id])
                leases.save()

    def touch(self, session_id: str, expires_at: datetime | None, call: Call) -> bool:
        """Moves a session's deadline; returns whether it is there."""
        place = names.place(session_id)
        with self._folder.changing(place.shard) as shard, shard.locked(call):
            found = self._load(shard, place.name, session_id)
            if found is None:
                return False
            raw = records.renew(found[0], expires_at=expires_at, last_activity=self._lifetime.now())
            shard.put(shard.draft(raw), place.name)
            return True

    def destroy_many(
        self, shard_name: str, removals: Sequence[Step], call: Call
    ) -> list[SessionConflictError | StoreError | None]:
        """Removes those sessions of one subdirectory that are as expected; returns each one's error."""
        try:
            with self._folder.changing(shard_name) as shard, shard.locked(call) as lock:
                leases = lock.leases()
                outcomes = [self._removed(shard, removal, leases) for removal in removals]
                leases.save()
            return outcomes
        except OSError as error:
            return [reported(error, self._folder.path) for _ in removals]

    def quarantine(self, session_id: str, call: Call) -> str | None:
        """Puts aside what lies in a session's place and is none; returns where it lies then."""
        place = names.place(session_id)
        with self._folder.changing(place.shard) as shard, shard.locked(call):
            try:
                self._load(shard, place.name, session_id)
            except CorruptSessionError:
                return str(self._folder.path / place.shard / shard.put_aside(place.name))
        return None

    def _claim(self, shard: Shard, leases: Leases, claim: Claim) -> StoredSession | Held | StoreError | None:
        held = leases.claim(claim)
        if held is not None:
            return held
        try:
            found = self._load(shard, names.place(claim.session_id).name, claim.session_id)
        except StoreError as error:
            return error
        except OSError as error:
            return reported(error, self._folder.path)
        return None if found is None else found[1]

    def _load(self, shard: Shard, name: str, session_id: str) -> tuple[bytes, StoredSession] | None:
        try:
            raw = shard.read(name)
        except NoFileError as error:
            raise self._no_file(session_id, error) from error
        if raw is None:
            return None
        session = records.decode(raw, session_id, store=str(self._folder.path))
        return None if self._lifetime.expired(session.expires_at) else (raw, session)

    def _check(self, shard: Shard, name: str, session_id: str) -> None:
        """Refuses to replace or remove what is no file: somebody else made it."""
        try:
            shard.check(name)
        except NoFileError as error:
            raise self._no_file(session_id, error) from error

    def _no_file(self, session_id: str, error: NoFileError) -> CorruptSessionError:
        return CorruptSessionError(session_id, store=str(self._folder.path), raw=b"", reason=str(error))

    def _draft(self, shard: ChangingShard, change: Change) -> Draft | StoreError:
        try:
            return shard.draft(change.raw)
        except OSError as error:
            return reported(error, self._folder.path)

    def _outcome(
        self, shard: ChangingShard, change: Change, draft: Draft, leases: Leases | None
    ) -> SessionConflictError | StoreError | None:
        try:
            if leases is None or change.holder is None:
                self._replace(shard, change, draft)
            elif leases.is_held_by(change.session_id, change.holder):
                self._replace(shard, change, draft)
                leases.release(change.session_id, change.holder)
            else:
                return SessionConflictError(change.session_id)
        except StoreError as error:
            return error
        except OSError as error:
            return reported(error, self._folder.path)
        return None

    def _removed(self, shard: ChangingShard, removal: Step, leases: Leases) -> SessionConflictError | StoreError | None:
        session_id, holder = removal.session_id, removal.holder
        name = names.place(session_id).name
        try:
            if holder is not None and not leases.is_held_by(session_id, holder):
                return SessionConflictError(session_id)
            if removal.expected is not ANYTHING:
                found = self._load(shard, name, session_id)
                if found is None or found[1].version != removal.expected:
                    return SessionConflictError(session_id)
            else:
                self._check(shard, name, session_id)
            shard.remove(name)
        except StoreError as error:
            return error
        except OSError as error:
            return reported(error, self._folder.path)
        leases.end(session_id)
        return None

    def _replace(self, shard: ChangingShard, change: Change, draft: Draft) -> None:
        found = self._load(shard, change.place.name, change.session_id)
        if not _is_as_expected(None if found is None else found[1], change.expected):
            raise SessionConflictError(change.session_id)
        shard.put(draft, change.place.name)


def _is_as_expected(found: StoredSession | None, expected: str | StoredSession | SessionInfo | None) -> bool:
    if found is None or expected is None or isinstance(expected, str):
        return (None if found is None else found.version) == expected
    return (found.version, found.last_activity) == (expected.version, expected.last_activity)
