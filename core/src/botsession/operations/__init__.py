"""What the one needs who operates a bot: works on any store by its powers, in bounded memory."""

from botsession.operations.counting import Statistics, statistics
from botsession.operations.deleting import delete, delete_prefix, present, purge
from botsession.operations.differences import ABSENT, Difference, differences
from botsession.operations.doctor import examine, examine_store
from botsession.operations.editing import save_edited
from botsession.operations.listing import pages
from botsession.operations.watching import watch

__all__ = [
    "ABSENT",
    "Difference",
    "Statistics",
    "delete",
    "delete_prefix",
    "differences",
    "examine",
    "examine_store",
    "pages",
    "present",
    "purge",
    "save_edited",
    "statistics",
    "watch",
]
