"""What the one needs who operates a bot: works on any store by its powers, in bounded memory."""

from botsession.operations.archive import ArchiveError
from botsession.operations.counting import Statistics, statistics
from botsession.operations.deleting import delete, delete_prefix, present, purge
from botsession.operations.differences import ABSENT, Difference, differences
from botsession.operations.doctor import examine, examine_store
from botsession.operations.editing import save_edited
from botsession.operations.exporting import Exported, export_lines
from botsession.operations.handing_over import hand_over
from botsession.operations.importing import Imported, Rejected, import_lines
from botsession.operations.listing import pages
from botsession.operations.migrating import Migrated, migrate
from botsession.operations.rehearsing import Rehearsal, rehearse
from botsession.operations.watching import watch

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
