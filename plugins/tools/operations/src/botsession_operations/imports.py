"""Sessions into a store, line by line; every line is checked, and each session is stored whole or not at all."""

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
from botsession_operations.clock import now
from botsession_operations.restoration import Present, check_restores, restore_all

_AT_ONCE: Final = 200


@dataclass(slots=True)
class Imported:
    """What an import has done so far.

    Attributes:
        stored: How many sessions were stored.
        kept: How many the store had already, as new or newer, and kept.
        expired: How many had expired, and were left out.
        rejected: How many lines were put aside.
        complete: Whether the last line of the export has come, and counts as many lines as came before it.
    """

    stored: int = 0
    kept: int = 0
    expired: int = 0
    rejected: int = 0
    complete: bool = False


@dataclass(slots=True, frozen=True)
class Rejected:
    """A line that was not imported.

    Attributes:
        number: The line's number, from 1.
        line: The line as it stands in the file.
        reason: Why.
    """

    number: int
    line: bytes
    reason: str


@dataclass(slots=True, frozen=True)
class _Line:
    number: int
    line: bytes
    session: StoredSession


async def import_lines(
    store: SessionStore,
    lines: Iterable[bytes],
    done: Imported,
    *,
    present: Present = "newer",
    clock: Clock | None = None,
) -> AsyncGenerator[Rejected]:
    """Stores the sessions of an export as they are, versions and deadlines included.

    It may be run again, and while bots go on: a session that was written meanwhile is not overwritten by an older one.

    Args:
        store: The store, open.
        lines: The lines of the file.
        done: Counted up while the import goes on.
        present: What to do with a session that the store has already.
        clock: Tells the present moment, as a `datetime` with a time zone; the store's own where `None`.

    Yields:
        Each line that was not imported, and why.

    Raises:
        ArchiveError: The file is no export, or goes on after its end. What came before is stored, but for the last 200
            lines; `botsession_operations.archive.check_end` finds it before.
        UnsupportedError: The store cannot keep sessions as they are.
        StoreError: The backend failed; what was stored before stays.
        Exception: Whatever the lines raise, such as a compressed file that is cut; what came before is stored.
    """
    restoring = check_restores(store)
    moment = partial(now, store) if clock is None else Lifetime(clock=clock).now
    numbered = enumerate(lines, 1)
    _, first = next(numbered, (1, b""))
    archive.check_first_line(first)
    end: int | None = None
    broken_off: Exception | None = None
    while broken_off is None:
        batch, broken_off = _batch(numbered)
        if not batch and broken_off is None:
            return
        sessions: dict[str, _Line] = {}
        for number, line in batch:
            if end is not None:
                archive.check_is_blank(line, number, end)
                continue
            try:
                parsed = archive.parse(line)
            except archive.ArchiveError as error:
                done.rejected += 1
                yield Rejected(number, line, str(error))
                continue
            if isinstance(parsed, archive.End):
                end = number
                done.complete = parsed.sessions == number - 2
            elif parsed.expires_at is not None and parsed.expires_at <= moment():
                done.expired += 1
            else:
                sessions[parsed.id] = _Line(number, line, parsed)
        outcomes = await restore_all(restoring, [line.session for line in sessions.values()], present)
        done.stored += outcomes.count("stored")
        done.kept += outcomes.count("kept")
        for parsed_line, outcome in zip(sessions.values(), outcomes, strict=True):
            if isinstance(outcome, BotSessionError):
                done.rejected += 1
                yield Rejected(parsed_line.number, parsed_line.line, str(outcome))
    raise broken_off


def _batch(numbered: Iterator[tuple[int, bytes]]) -> tuple[list[tuple[int, bytes]], Exception | None]:
    """Returns the next lines, and what has broken them off."""
    batch: list[tuple[int, bytes]] = []
    try:
        for pair in islice(numbered, _AT_ONCE):
            batch.append(pair)  # noqa: PERF402 - what came before counts
    except Exception as error:  # noqa: BLE001 - raised by the caller, when the lines before are stored
        return batch, error
    return batch, None
