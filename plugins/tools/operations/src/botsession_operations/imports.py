"""Import: lines of JSON into a store. Every line is checked, and each session is stored completely or not at all."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from itertools import islice
from typing import Final

from botsession.errors import BotSessionError
from botsession.lifetime import Clock, Lifetime
from botsession.protocol import SessionStore, StoredSession
from botsession_operations import archive
from botsession_operations.listing import now
from botsession_operations.restoration import Existing, check_commits, restore_all

_BATCH: Final = 200


@dataclass(slots=True)
class ImportReport:
    """Progress of an import.

    Attributes:
        stored: Number of sessions stored.
        kept: Number of sessions of which the store already had an equal or newer one.
        expired: Number of sessions left out because they had expired.
        rejected: Number of lines that could not be imported.
        complete: Whether the last line of the export was reached and agrees with the number of lines before it.
    """

    stored: int = 0
    kept: int = 0
    expired: int = 0
    rejected: int = 0
    complete: bool = False


@dataclass(slots=True, frozen=True)
class RejectedLine:
    """A line that was not imported.

    Attributes:
        number: The line's number, from 1.
        line: The line as it is in the file.
        reason: Why it was rejected.
    """

    number: int
    line: bytes
    reason: str


async def import_lines(
    store: SessionStore,
    lines: Iterable[bytes],
    report: ImportReport,
    *,
    existing: Existing = "newer",
    clock: Clock | None = None,
) -> AsyncGenerator[RejectedLine]:
    """Store the sessions of an export as they are, including versions and deadlines.

    It can be repeated, and bots may keep running: an older session never overwrites one that a bot writes at the same time.

    Args:
        store: The open store.
        lines: The lines of the file.
        report: Updated as the import proceeds.
        existing: Which session to keep where the store already has one.
        clock: Returns the current time, with a time zone; `None` means the store's own clock.

    Yields:
        Each line that was not imported.

    Raises:
        ArchiveError: The file is not an export, or continues after its end. Sessions before that are stored, except
            for up to 200 lines; `botsession_operations.archive.check_end` detects it in advance.
        UnsupportedError: The store cannot keep sessions as they are.
        StoreError: The backend failed; what was stored before stays.
        Exception: Whatever iterating over the lines raises, such as for a truncated compressed file; sessions before
            that are stored.
    """
    committing = check_commits(store)
    moment = partial(now, store) if clock is None else Lifetime(clock=clock).now
    numbered = enumerate(lines, 1)
    _, first = next(numbered, (1, b""))
    archive.check_first_line(first)
    end: int | None = None
    failure: Exception | None = None
    while failure is None:
        batch, failure = _read_batch(numbered)
        if not batch and failure is None:
            return
        sessions: dict[str, tuple[int, bytes, StoredSession]] = {}
        for number, line in batch:
            if end is not None:
                archive.check_is_blank(line, number, end)
                continue
            try:
                parsed = archive.parse(line)
            except archive.ArchiveError as error:
                report.rejected += 1
                yield RejectedLine(number, line, str(error))
                continue
            if isinstance(parsed, archive.End):
                end = number
                report.complete = parsed.sessions == number - 2
            elif parsed.expires_at is not None and parsed.expires_at <= moment():
                report.expired += 1
            else:
                sessions[parsed.id] = number, line, parsed
        outcomes = await restore_all(committing, [session for _, _, session in sessions.values()], existing)
        report.stored += outcomes.count("stored")
        report.kept += outcomes.count("kept")
        for (number, line, _), outcome in zip(sessions.values(), outcomes, strict=True):
            if isinstance(outcome, BotSessionError):
                report.rejected += 1
                yield RejectedLine(number, line, str(outcome))
    raise failure


def _read_batch(numbered: Iterator[tuple[int, bytes]]) -> tuple[list[tuple[int, bytes]], Exception | None]:
    """Return the next lines, and the error that ended them."""
    batch: list[tuple[int, bytes]] = []
    try:
        for pair in islice(numbered, _BATCH):
            batch.append(pair)  # noqa: PERF402 - the lines read before an error count
    except Exception as error:  # noqa: BLE001 - the caller raises it after it has stored the lines before it
        return batch, error
    return batch, None
