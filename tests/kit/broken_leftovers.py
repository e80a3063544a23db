"""Stores that never remove obsolete data."""

from __future__ import annotations

from kit.reference import Reference
from kit.suites import caught_by


@caught_by("test_leases_of_the_dead_do_not_stay")
class KeepsTheLeasesOfTheDead(Reference):
    def sweep(self):
        for key in [key for key, lease in self.leases.items() if not lease.holder and not lease.queue]:
            del self.leases[key]


@caught_by("test_leases_of_the_dead_do_not_stay")
class RemovesALeaseOnlyWhereItIsAskedForAgain(Reference):
    def sweep(self):
        pass

    def claim_now(self, claim):
        if self.lease(claim.session_id).is_over(self.tick()):
            del self.leases[claim.session_id]
        return super().claim_now(claim)

    def release_now(self, session_id, holder):
        super().release_now(session_id, holder)
        if self.lease(session_id).is_over(self.tick()):
            del self.leases[session_id]


@caught_by("test_released_leases_and_destroyed_sessions_leave_nothing")
class KeepsTheLeaseOfEverySession(Reference):
    def sweep(self):
        pass


@caught_by("test_released_leases_and_destroyed_sessions_leave_nothing")
class KeepsAStoneForTheDestroyed(Reference):
    def remove(self, session_id):
        super().remove(session_id)
        self.quarantined[f"{session_id} was here"] = b""
