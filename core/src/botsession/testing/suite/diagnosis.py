"""A diagnosis reports what it finds, with a remedy for each problem, and changes nothing."""

from __future__ import annotations

import asyncio
import typing

import pytest

from botsession.errors import CorruptSessionError
from botsession.protocol import (
    Finding,
    Held,
    Level,
    SupportsDiagnosis,
    SupportsExpiry,
    SupportsLease,
    SupportsPurge,
    SupportsScan,
)
from botsession.testing.bench import ID, Bench, scenario
from botsession.testing.hooks import Hooks
from botsession.testing.leases import (
    PAST,
    SHORT,
    A,
    B,
    C,
    claim,
    renew,
    take,
)


class Diagnosis(Hooks):
    """The capability `diagnosis`."""

    @scenario(SupportsDiagnosis)
    async def test_a_diagnosis_has_findings_with_remedies(self, bench: Bench) -> None:
        findings = await bench.store.diagnose()
        assert findings, "there are no findings"
        for finding in findings:
            assert isinstance(finding, Finding)
            assert finding.level in typing.get_args(Level)
            for text in (finding.topic, finding.message, finding.remedy):
                assert isinstance(text, str)
                assert text == " ".join(text.split()), f"{text!r} is not one line"
            assert finding.topic, f"no topic in {finding}"
            assert finding.message, f"no message in {finding}"
            assert finding.remedy or finding.level in ("ok", "unknown"), f"no remedy in {finding}"

    @scenario(SupportsDiagnosis)
    async def test_a_diagnosis_changes_nothing(self, bench: Bench) -> None:
        await bench.write()
        await bench.write("kit:never", {"count": 1}, expires_in=None)
        before = [await bench.stored(), await bench.stored("kit:never")]
        await bench.store.diagnose()
        assert [await bench.stored(), await bench.stored("kit:never")] == before
        if isinstance(bench.store, SupportsScan):
            assert sorted(await bench.scan()) == [ID, "kit:never"]

    @scenario(SupportsDiagnosis)
    async def test_a_diagnosis_survives_an_unreadable_session(self, bench: Bench) -> None:
        await bench.write()
        await self.corrupt(bench.store, ID)
        raw = await self._raw(bench)
        assert await bench.store.diagnose()
        assert await self._raw(bench) == raw

    async def _raw(self, bench: Bench) -> bytes:
        with pytest.raises(CorruptSessionError) as caught:
            await bench.store.read(ID)
        return caught.value.raw

    @scenario(SupportsDiagnosis, SupportsLease)
    async def test_a_diagnosis_leaves_leases_alone(self, bench: Bench) -> None:
        await take(bench, A)
        await take(bench, A, "kit:short", ttl=SHORT)
        assert isinstance(await claim(bench, B), Held)
        await bench.store.diagnose()
        assert await renew(bench, A), "a holder has lost its lease"
        if self.lease_order:
            await bench.store.release_leases({ID: A})
            assert isinstance(await claim(bench, C), Held), "a waiter has lost its place"
        await asyncio.sleep(PAST)
        await bench.store.diagnose()
        await take(bench, B, "kit:short")

    @scenario(SupportsDiagnosis, SupportsPurge, SupportsExpiry, expires_in=10)
    async def test_a_diagnosis_leaves_the_expired_to_purge(self, bench: Bench) -> None:
        if self.expires_by_itself:
            pytest.skip("the backend of this driver removes expired records itself")
        await bench.write()
        await bench.age(10)
        await bench.store.diagnose()
        assert await bench.store.purge() == 1

    @scenario(SupportsDiagnosis)
    async def test_a_diagnosis_leaves_the_backend_as_it_is(self, bench: Bench) -> None:
        await bench.write()
        if isinstance(bench.store, SupportsLease):
            await take(bench, A)
            await take(bench, B, "kit:absent")
        if isinstance(bench.store, SupportsExpiry):
            await bench.write("kit:old", expires_in=5)
            bench.clock.advance(minutes=5)
        before = sorted(map(repr, await self.footprint(bench.store)))
        for _ in range(2):
            await bench.store.diagnose()
        assert sorted(map(repr, await self.footprint(bench.store))) == before
