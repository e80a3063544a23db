"""The quarantine takes unreadable records, complete, and leaves readable ones where they are."""

from __future__ import annotations

import asyncio

import pytest

from botsession.errors import CorruptSessionError, InvalidSessionIdError
from botsession.protocol import (
    SupportsCommit,
    SupportsExpiry,
    SupportsLease,
    SupportsQuarantine,
    SupportsReplace,
    SupportsScan,
)
from botsession.testing.bench import ID, Bench, scenario
from botsession.testing.hooks import Hooks
from botsession.testing.leases import A, is_held, take
from botsession.testing.samples import HOSTILE_IDS, SAFE_IDS

ROUNDS = 10


async def damage(bench: Bench, session_id: str = ID) -> bytes:
    """Store a session and damage it; return the `raw` of its error."""
    await bench.write(session_id, {"damaged": True})
    await bench.contract.corrupt(bench.store, session_id)
    with pytest.raises(CorruptSessionError) as caught:
        await bench.store.read(session_id)
    return caught.value.raw


async def quarantine(bench: Bench, session_id: str = ID) -> str:
    """Quarantine a damaged session; return its new place."""
    where = await bench.store.quarantine(session_id)
    assert isinstance(where, str), f"{where!r} is not a place"
    assert where == " ".join(where.split()) != "", f"no person can find {where!r}"
    return where


class Quarantine(Hooks):
    """The capability `quarantine`."""

    @scenario(SupportsQuarantine)
    async def test_an_unreadable_session_is_quarantined(self, bench: Bench) -> None:
        await damage(bench)
        other = await bench.write("kit:2")
        where = await quarantine(bench)
        assert await bench.store.read(ID) is None
        if isinstance(bench.store, SupportsCommit):
            assert await bench.store.read_many([ID, "kit:2"]) == [None, other]
        if isinstance(bench.store, SupportsScan):
            assert list(await bench.scan()) == ["kit:2"]
            assert await bench.unreadable() == {}
        assert await bench.stored("kit:2") == other
        assert await bench.store.quarantine(ID) is None
        try:
            assert await bench.store.read(where) is None
        except InvalidSessionIdError:
            return

    @scenario(SupportsQuarantine)
    async def test_a_quarantined_session_starts_over(self, bench: Bench) -> None:
        await damage(bench)
        await quarantine(bench)
        session = bench.session(state={"new": 1})
        if isinstance(bench.store, SupportsReplace):
            await bench.store.replace(ID, session, expected=None)
        else:
            await bench.store.write(ID, session)
        assert await bench.stored() == session
        assert await bench.store.quarantine(ID) is None
        assert await bench.stored() == session

    @scenario(SupportsQuarantine, SupportsLease)
    async def test_a_lease_outlasts_the_quarantine_of_its_session(self, bench: Bench) -> None:
        await take(bench, A)
        await damage(bench)
        await quarantine(bench)
        assert await is_held(bench, by=A)

    @scenario(SupportsQuarantine)
    async def test_a_readable_session_is_not_quarantined(self, bench: Bench) -> None:
        await bench.write()
        before = await bench.stored()
        assert await bench.store.quarantine(ID) is None
        assert await bench.stored() == before
        await damage(bench)
        await bench.write(state={"repaired": True})
        repaired = await bench.stored()
        assert await bench.store.quarantine(ID) is None
        assert await bench.stored() == repaired

    @scenario(SupportsQuarantine)
    async def test_an_absent_session_is_not_quarantined(self, bench: Bench) -> None:
        assert await bench.store.quarantine("kit:absent") is None
        await bench.write()
        await bench.store.destroy(ID)
        assert await bench.store.quarantine(ID) is None
        assert await bench.store.read(ID) is None

    @scenario(SupportsQuarantine, SupportsExpiry, expires_in=10)
    async def test_an_expired_session_is_not_quarantined(self, bench: Bench) -> None:
        await bench.write()
        await bench.age(10)
        assert await bench.store.quarantine(ID) is None
        assert await bench.store.read(ID) is None

    @scenario(SupportsQuarantine)
    async def test_the_quarantine_keeps_every_byte(self, bench: Bench) -> None:
        kept: dict[str, bytes] = {}
        for number in range(3):
            for session_id in (ID, "kit:2"):
                raw = await damage(bench, session_id)
                where = await quarantine(bench, session_id)
                assert where not in kept, f"{where!r} was used before, for one of {number}"
                kept[where] = raw
        for where, raw in kept.items():
            assert await self.quarantined(bench.store, where) == raw

    @scenario(SupportsQuarantine)
    async def test_ids_that_look_alike_keep_apart_when_quarantined(self, bench: Bench) -> None:
        for session_id in SAFE_IDS[::2]:
            await damage(bench, session_id)
        for session_id in SAFE_IDS[1::2]:
            await bench.write(session_id)
        places = [await bench.store.quarantine(session_id) for session_id in SAFE_IDS]
        assert [place is not None for place in places] == [True, False] * (len(SAFE_IDS) // 2)
        left = [session_id for session_id in SAFE_IDS if await bench.store.read(session_id) is not None]
        assert left == SAFE_IDS[1::2]

    @scenario(SupportsQuarantine)
    async def test_one_of_many_quarantines_it(self, bench: Bench) -> None:
        await damage(bench)
        outcomes = await asyncio.gather(*(bench.store.quarantine(ID) for _ in range(8)))
        assert len([where for where in outcomes if where is not None]) == 1
        assert await bench.store.read(ID) is None

    @scenario(SupportsQuarantine)
    async def test_quarantine_during_write_takes_nothing_readable(self, bench: Bench) -> None:
        for number in range(ROUNDS):
            await damage(bench)
            both = [bench.store.quarantine(ID), bench.store.write(ID, bench.session(state={"new": number}))]
            await asyncio.gather(*(both if number % 2 else reversed(both)))
            assert (await bench.stored()).state == {"new": number}

    @scenario(SupportsQuarantine)
    async def test_a_hostile_id_is_not_quarantined(self, bench: Bench) -> None:
        for wrong in HOSTILE_IDS:
            with pytest.raises(InvalidSessionIdError):
                await bench.store.quarantine(wrong)
