"""What the one needs who operates a bot: works on any store by its capabilities, in bounded memory."""

from botsession_operations.archive import ArchiveError
from botsession_operations.deletion import (
    delete,
    delete_prefix,
    present,
    purge,
)
from botsession_operations.differences import ABSENT, Difference, differences
from botsession_operations.doctor import examine, examine_store
from botsession_operations.edits import save_edited
from botsession_operations.exports import Exported, export_lines
from botsession_operations.handover import hand_over
from botsession_operations.imports import Imported, Rejected, import_lines
from botsession_operations.listing import pages
from botsession_operations.migration import Migrated, migrate
from botsession_operations.rehearsal import Rehearsal, rehearse
from botsession_operations.statistics import Statistics, statistics
from botsession_operations.watch import watch

__all__ = [
    "ABSENT",
    "ArchiveError",
    "Difference",
    "Exported",
    "Imported",
    "Migrated",
    "Rehearsal",
    "Rejected",
    "Statistics",
    "delete",
    "delete_prefix",
    "differences",
    "examine",
    "examine_store",
    "export_lines",
    "hand_over",
    "import_lines",
    "migrate",
    "pages",
    "present",
    "purge",
    "rehearse",
    "save_edited",
    "statistics",
    "watch",
]
