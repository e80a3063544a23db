"""A diagnosis tells what is found, with a remedy for what is wrong, and touches nothing."""

from __future__ import annotations

import typing

from botsession.findings import Finding, Level
from botsession.protocol import SupportsDiagnosis, SupportsScan
from botsession.testing.bench import ID, Bench, scenario
from botsession.testing.hooks import Hooks


class Diagnosis(Hooks):
    """The power `diagnosis`."""

    @scenario(SupportsDiagnosis)
    async def test_a_diagnosis_has_findings_with_remedies(self, bench: Bench) -> None:
        findings = await bench.store.diagnose()
        assert findings, "it finds nothing at all"
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
    async def test_a_diagnosis_goes_on_where_a_session_is_unreadable(self, bench: Bench) -> None:
        await bench.write()
        await bench.contract.corrupt(bench.store, ID)
        assert await bench.store.diagnose()
