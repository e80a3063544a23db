"""Operator's tools for any store: they rely on its capabilities and need a bounded amount of memory."""

from botsession_operations.archive import ArchiveError
from botsession_operations.deletion import delete, delete_prefix, find_existing, purge
from botsession_operations.differences import ABSENT, Difference, differences
from botsession_operations.doctor import examine, examine_store
from botsession_operations.edits import save_edited
from botsession_operations.exports import ExportReport, export_lines
from botsession_operations.handover import hand_over
from botsession_operations.imports import ImportReport, RejectedLine, import_lines
from botsession_operations.listing import pages
from botsession_operations.migration import MigrationReport, migrate
from botsession_operations.rehearsal import Rehearsal, rehearse
from botsession_operations.statistics import Statistics, statistics
from botsession_operations.watch import watch

__all__ = [
    "ABSENT",
    "ArchiveError",
    "Difference",
    "ExportReport",
    "ImportReport",
    "MigrationReport",
    "Rehearsal",
    "RejectedLine",
    "Statistics",
    "delete",
    "delete_prefix",
    "differences",
    "examine",
    "examine_store",
    "export_lines",
    "find_existing",
    "hand_over",
    "import_lines",
    "migrate",
    "pages",
    "purge",
    "rehearse",
    "save_edited",
    "statistics",
    "watch",
]
