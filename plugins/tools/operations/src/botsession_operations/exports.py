"""Export: the sessions of a store as lines of JSON."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from dataclasses import dataclass, field

from botsession.errors import CorruptSessionError
from botsession.protocol import SessionStore
from botsession_operations import archive
from botsession_operations.listing import pages, read_all


@dataclass(slots=True)
class ExportReport:
    """Progress of an export.

    Attributes:
        sessions: Number of sessions written.
        unreadable: One error for each session left out because it cannot be read.
    """

    sessions: int = 0
    unreadable: list[CorruptSessionError] = field(default_factory=list)


async def export_lines(store: SessionStore, report: ExportReport, prefix: str = "") -> AsyncGenerator[bytes]:
    """Export sessions as lines; bots may keep running. See `botsession_operations.archive` for the format.

    Args:
        store: The open store.
        report: Updated as lines are consumed.
        prefix: Only ids that start with this.

    Yields:
        Lines. While others write, some backends list a session twice; an import keeps the later one.

    Raises:
        UnsupportedError: The store cannot list its sessions.
        StoreError: The backend failed.
    """
    yield archive.first_line()
    async with aclosing(pages(store, prefix)) as listing:
        async for page in listing:
            report.unreadable += page.unreadable
            for outcome in await read_all(store, [info.id for info in page.sessions]):
                if isinstance(outcome, CorruptSessionError):
                    report.unreadable.append(outcome)
                elif outcome is not None:
                    yield archive.session_line(outcome)
                    report.sessions += 1
    yield archive.last_line(report.sessions)
