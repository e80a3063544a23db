"""What is unreadable is put aside whole, and what is readable stays where it is."""

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
    """Stores a session and damages it; returns what an error shows of it."""
    await bench.write(session_id, {"damaged": True})
    await bench.contract.corrupt(bench.store, session_id)
    with pytest.raises(CorruptSessionError) as caught:
        await bench.store.read(session_id)
    return caught.value.raw


async def put_aside(bench: Bench, session_id: str = ID) -> str:
    """Puts a damaged session aside; returns where it lies."""
    where = await bench.store.quarantine(session_id)
    assert isinstance(where, str), f"it does not tell where it lies, but {where!r}"
    assert where == " ".join(where.split()) != "", f"{where!r} is no place for a person to find"
    return where


class Quarantine(Hooks):
    """The capability `quarantine`."""

    @scenario(SupportsQuarantine)
    async def test_the_unreadable_is_put_out_of_the_way(self, bench: Bench) -> None:
        await damage(bench)
        other = await bench.write("kit:2")
        where = await put_aside(bench)
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
    async def test_a_quarantined_session_begins_anew(self, bench: Bench) -> None:
        await damage(bench)
        await put_aside(bench)
        session = bench.session(state={"new": 1})
        if isinstance(bench.store, SupportsReplace):
            await bench.store.replace(ID, session, expected=None)
        else:
            await bench.store.write(ID, session)
        assert await bench.stored() == session
        assert await bench.store.quarantine(ID) is None
        assert await bench.stored() == session

    @scenario(SupportsQuarantine, SupportsLease)
    async def test_a_lease_outlasts_what_is_put_aside(self, bench: Bench) -> None:
        await take(bench, A)
        await damage(bench)
        await put_aside(bench)
        assert await is_held(bench, by=A)

    @scenario(SupportsQuarantine)
    async def test_the_readable_is_left_alone(self, bench: Bench) -> None:
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
    async def test_there_is_nothing_to_put_aside_where_nothing_is(self, bench: Bench) -> None:
        assert await bench.store.quarantine("kit:absent") is None
        await bench.write()
        await bench.store.destroy(ID)
        assert await bench.store.quarantine(ID) is None
        assert await bench.store.read(ID) is None

    @scenario(SupportsQuarantine, SupportsExpiry, expires_in=10)
    async def test_the_expired_is_not_put_aside(self, bench: Bench) -> None:
        await bench.write()
        await bench.age(10)
        assert await bench.store.quarantine(ID) is None
        assert await bench.store.read(ID) is None

    @scenario(SupportsQuarantine)
    async def test_what_was_put_aside_is_as_it_was(self, bench: Bench) -> None:
        kept: dict[str, bytes] = {}
        for number in range(3):
            for session_id in (ID, "kit:2"):
                raw = await damage(bench, session_id)
                where = await put_aside(bench, session_id)
                assert where not in kept, f"{number} were put aside before, at the same place"
                kept[where] = raw
        for where, raw in kept.items():
            assert await self.quarantined(bench.store, where) == raw

    @scenario(SupportsQuarantine)
    async def test_ids_that_look_alike_keep_apart_when_put_aside(self, bench: Bench) -> None:
        for session_id in SAFE_IDS[::2]:
            await damage(bench, session_id)
        for session_id in SAFE_IDS[1::2]:
            await bench.write(session_id)
        places = [await bench.store.quarantine(session_id) for session_id in SAFE_IDS]
        assert [place is not None for place in places] == [True, False] * (len(SAFE_IDS) // 2)
        left = [session_id for session_id in SAFE_IDS if await bench.store.read(session_id) is not None]
        assert left == SAFE_IDS[1::2]

    @scenario(SupportsQuarantine)
    async def test_one_of_many_puts_it_aside(self, bench: Bench) -> None:
        await damage(bench)
        outcomes = await asyncio.gather(*(bench.store.quarantine(ID) for _ in range(8)))
        assert len([where for where in outcomes if where is not None]) == 1
        assert await bench.store.read(ID) is None

    @scenario(SupportsQuarantine)
    async def test_quarantine_beside_write_puts_aside_nothing_readable(self, bench: Bench) -> None:
        for number in range(ROUNDS):
            await damage(bench)
            both = [bench.store.quarantine(ID), bench.store.write(ID, bench.session(state={"new": number}))]
            await asyncio.gather(*(both if number % 2 else reversed(both)))
            assert (await bench.stored()).state == {"new": number}

    @scenario(SupportsQuarantine)
    async def test_a_hostile_id_is_not_put_aside(self, bench: Bench) -> None:
        for wrong in HOSTILE_IDS:
            with pytest.raises(InvalidSessionIdError):
                await bench.store.quarantine(wrong)
