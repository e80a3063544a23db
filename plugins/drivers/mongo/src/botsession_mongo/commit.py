"""Carrying out steps: each is one conditional command, and many that hold leases share one.

The server says how many commands of a batch took effect, and not which. So only those steps share one whose outcome can be told
afterwards from the versions in the documents: what was written by a holder of a lease, restored, or created.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Final

from pymongo.read_concern import ReadConcern

from botsession import (
    ANYTHING,
    CorruptSessionError,
    SessionConflictError,
    SessionTooLargeError,
    StoreError,
    StoreUnavailableError,
)
from botsession.storage.record_store import raise_if_unavailable
from botsession_mongo import documents
from botsession_mongo.changes import Change
from botsession_mongo.errors import was_cut_off

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from bson.raw_bson import RawBSONDocument

    from botsession import Lifetime, Step
    from botsession_mongo.connection import Collection, Connection, Operation
    from botsession_mongo.found_lease import Read

Outcome = SessionConflictError | StoreError | None

_AT_ONCE: Final = 32
"""How many steps that need a command each are under way at a time."""


class Commits:
    """What one store writes.

    Args:
        connection: The store's.
        lifetime: The store's.
        read: Returns the session of a document, or `None` if there is none or it has expired.
    """

    def __init__(self, connection: Connection, lifetime: Lifetime, read: Read) -> None:
        self._connection = connection
        self._lifetime = lifetime
        self._read = read

    async def carry_out(self, collection: Collection, steps: Sequence[Step]) -> list[Outcome]:
        """Carry out steps, whose sessions have been stamped; see `SupportsCommit.commit`."""
        has_holder = any(step.holder is not None for step in steps)
        moment = await self._connection.clock.now() if has_holder else 0
        now = self._lifetime.now()
        outcomes: dict[int, Outcome] = dict.fromkeys(range(len(steps)))
        groups: dict[object, dict[int, Change]] = {}
        for index, step in enumerate(steps):
            try:
                change = Change(step, now, moment)
            except SessionTooLargeError as error:
                outcomes[index] = error
            else:
                group = (step.session is None) if change.is_exact else (index, "alone")
                groups.setdefault(group, {})[index] = change
        each = list(groups.values())
        for start in range(0, len(each), _AT_ONCE):
            some = [self._send(collection, changes) for changes in each[start : start + _AT_ONCE]]
            for ends in [await some[0]] if len(some) == 1 else await asyncio.gather(*some):
                outcomes |= ends
        return raise_if_unavailable(list(outcomes.values()))

    async def _send(self, collection: Collection, changes: Mapping[int, Change]) -> dict[int, Outcome]:
        """Send changes in one call; return the outcomes of those that failed, by index."""
        try:
            sent = await self._connection.send(collection, [change.operation for change in changes.values()])
        except StoreError as error:
            arrived = await self._arrived(collection, changes, error)
            return {index: error for index in changes if index not in arrived}
        failures = {index: sent.failures[number] for number, index in enumerate(changes) if number in sent.failures}
        outcomes: dict[int, Outcome] = {index: error for index, error in failures.items() if error is not None}
        rest = {index: change for index, change in changes.items() if index not in outcomes}
        if sent.found == len(rest):
            return outcomes
        found = await self._find(self._connection.leases, rest.values())
        there = {index: found.get(change.step.session_id) for index, change in rest.items()}
        verdicts = {index: rest[index].verdict(there[index], is_taken=index in failures) for index in rest}
        refused = [index for index, verdict in verdicts.items() if verdict is False]
        doubtful = [index for index, verdict in verdicts.items() if verdict is None]
        # Below zero if the client has sent a batch again, and the server counted the second time only.
        written_over = max(0, sent.found - (len(rest) - len(refused) - len(doubtful)))
        if not written_over:
            refused += doubtful
        elif written_over < len(doubtful):
            outcomes |= {index: _unknown(rest[index].step) for index in doubtful}
        ends = await asyncio.gather(*(self._refuse(collection, rest[index], there[index]) for index in refused))
        return outcomes | dict(zip(refused, ends, strict=True))

    async def _refuse(self, collection: Collection, change: Change, document: RawBSONDocument | None) -> Outcome:
        """Return why a change found nothing, unless it can be made by another command."""
        step = change.step
        operation = self._next(change, document)
        if operation is None:
            if (
                document is not None
                and not documents.is_ours(document)
                and step.expected is ANYTHING
                and step.holder is None
            ):
                return documents.foreign(document, step.session_id, store=self._connection.where)
            return SessionConflictError(step.session_id)
        change.operation = operation
        change.attempts = change.attempts or self._connection.attempts()
        try:
            await change.attempts.pause()
        except StoreError as error:
            return error
        return (await self._send(collection, {0: change})).get(0)

    def _next(self, change: Change, document: RawBSONDocument | None) -> Operation | None:
        """Return the command to send after one that found nothing: because of a queue, an expired session, or a race."""
        step, operation = change.step, change.otherwise
        if operation is not None or step.session is None:
            change.otherwise = None
            return operation
        is_any = step.expected is ANYTHING
        if document is None or documents.is_placeholder(document) or (is_any and documents.is_ours(document)):
            is_race = step.holder is None and (is_any or step.expected is None)
            return change.first if is_race else None
        is_second = step.holder is not None and change.operation is not change.first  # the holder has lost the lease
        with contextlib.suppress(CorruptSessionError):
            if step.expected is None and not is_second and self._read(document, step.session_id) is None:
                return change.over_expired(document, self._lifetime.now())
        return None

    async def _arrived(self, collection: Collection, changes: Mapping[int, Change], error: StoreError) -> set[int]:
        """Return the indexes of the changes that are known to have been made although the connection broke."""
        if not was_cut_off(error.__cause__):
            return set()
        try:
            found = await self._find(collection.with_options(read_concern=ReadConcern("majority")), changes.values())
        except StoreError:
            return set()
        return {index for index, change in changes.items() if change.is_done(found.get(change.step.session_id))}

    async def _find(self, collection: Collection, changes: Iterable[Change]) -> dict[str, RawBSONDocument]:
        cursor = collection.find({"_id": {"$in": [change.step.session_id for change in changes]}})
        return {document["_id"]: document for document in await self._connection.run(cursor.to_list, None)}


def _unknown(step: Step) -> StoreError:
    """Return the outcome of a step that others have written over, or were faster with; nobody can tell which."""
    if not step.is_stamped:
        return SessionConflictError(step.session_id)
    return StoreUnavailableError(
        f"session {step.session_id!r} lost its lease and was written by others before and after this, or only before. Read it "
        "to see which"
    )
