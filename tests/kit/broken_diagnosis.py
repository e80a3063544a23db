"""Stores whose diagnosis is useless or harmful."""

from __future__ import annotations

import dataclasses
from typing import ClassVar

from kit.reference import Reference
from kit.suites import caught_by


class Diagnosing(Reference):
    """Changes the findings of a diagnosis."""

    changes: ClassVar[dict[str, str]] = {}

    async def diagnose(self):
        return [dataclasses.replace(finding, **self.changes) for finding in await super().diagnose()]


@caught_by("test_a_diagnosis_has_findings_with_remedies")
class WarnsWithoutARemedy(Diagnosing):
    changes: ClassVar[dict[str, str]] = {"remedy": ""}


@caught_by("test_a_diagnosis_has_findings_with_remedies")
class InventsALevel(Diagnosing):
    changes: ClassVar[dict[str, str]] = {"level": "fatal"}


@caught_by("test_a_diagnosis_has_findings_with_remedies")
class TellsInTwoLines(Diagnosing):
    changes: ClassVar[dict[str, str]] = {"message": "a\nb"}


@caught_by("test_a_diagnosis_has_findings_with_remedies")
class FindsNothing(Reference):
    async def diagnose(self):
        return []


@caught_by("test_a_diagnosis_changes_nothing")
class LeavesAProbe(Reference):
    async def diagnose(self):
        session = await self.read("kit:1")
        session.id = "kit:probe"
        await self.write("kit:probe", session)
        return await super().diagnose()


@caught_by("test_a_diagnosis_changes_nothing")
class RenewsWhatItLooksAt(Reference):
    async def diagnose(self):
        await self.touch("kit:1", None)
        return await super().diagnose()


@caught_by("test_a_diagnosis_survives_an_unreadable_session")
class StumblesOverTheUnreadable(Reference):
    async def diagnose(self):
        for key in self.entries:
            self.load(key)
        return await super().diagnose()


@caught_by("test_a_diagnosis_survives_an_unreadable_session")
class PutsTheUnreadableAside(Reference):
    async def diagnose(self):
        for key in list(self.entries):
            self.quarantine_now(key)
        return await super().diagnose()


@caught_by("test_a_diagnosis_leaves_leases_alone", "test_a_diagnosis_leaves_the_backend_as_it_is")
class FreesWhatIsLocked(Reference):
    async def diagnose(self):
        self.leases.clear()
        return await super().diagnose()


@caught_by("test_a_diagnosis_leaves_leases_alone")
class ForgetsTheQueue(Reference):
    async def diagnose(self):
        for lease in self.leases.values():
            lease.queue.clear()
        return await super().diagnose()


@caught_by("test_a_diagnosis_leaves_the_expired_to_purge", "test_a_diagnosis_leaves_the_backend_as_it_is")
class PurgesToCount(Reference):
    async def diagnose(self):
        await self.purge()
        return await super().diagnose()


@caught_by("test_a_diagnosis_leaves_the_backend_as_it_is")
class LeavesWhatItTriedOut(Reference):
    async def diagnose(self):
        self.quarantined["a probe of the diagnosis"] = b"1"
        return await super().diagnose()
