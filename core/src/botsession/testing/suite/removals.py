"""What is destroyed stays destroyed, and is destroyed only where the removal's conditions hold."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import pytest

from botsession.errors import CorruptSessionError, InvalidSessionIdError, SessionConflictError
from botsession.protocol import (
    ANYTHING,
    Claim,
    Held,
    Step,
    SupportsCommit,
    SupportsExpiry,
    SupportsLease,
)
from botsession.testing.bench import ID, Bench, scenario
from botsession.testing.hooks import Hooks
from botsession.testing.leases import (
    LONG,
    PAST,
    SHORT,
    A,
    B,
    C,
    claim,
    is_held,
    renew,
    take,
)
from botsession.testing.samples import HOSTILE_IDS, NO_VERSIONS

ROUNDS = 10


async def remove(bench: Bench, *removals: Step) -> list[bool]:
    """Removes sessions; returns for each whether it is gone, and not refused by a conflict."""
    outcomes = await bench.store.commit(removals)
    for outcome, removal in zip(outcomes, removals, strict=True):
        if outcome is not None:
            assert isinstance(outcome, SessionConflictError), f"the outcome is {outcome!r}"
            assert outcome.session_id == removal.session_id
    return [outcome is None for outcome in outcomes]


class Removals(Hooks):
    """Removals by version and by lease, and the renewal of many leases."""

    @scenario(SupportsCommit)
    async def test_a_removal_goes_by_the_exact_version(self, bench: Bench) -> None:
        session = await bench.write()
        version = session.version
        for other in [version.swapcase(), version + " ", version + "0", version[:-1], *NO_VERSIONS]:
            if other != version:
                assert await remove(bench, Step.remove(ID, other)) == [False], f"it is gone by the version {other!r}"
                assert await bench.stored() == session
        assert await remove(bench, Step.remove(ID, version)) == [True]
        assert await remove(bench, Step.remove(ID, version)) == [False]
        assert await remove(bench, Step.remove(ID)) == [True]

    @scenario(SupportsCommit, SupportsExpiry, expires_in=10)
    async def test_an_expired_session_is_absent_for_a_removal(self, bench: Bench) -> None:
        session = await bench.write()
        await bench.age(10)
        assert await remove(bench, Step.remove(ID, session.version)) == [False]
        assert await remove(bench, Step.remove(ID)) == [True]

    @scenario(SupportsCommit)
    async def test_a_corrupt_session_is_removed_only_where_nothing_is_expected(self, bench: Bench) -> None:
        version = (await bench.write()).version
        await self.corrupt(bench.store, ID)
        [outcome] = await bench.store.commit([Step.remove(ID, version[:-1])])
        assert isinstance(outcome, SessionConflictError | CorruptSessionError)
        with pytest.raises(CorruptSessionError):
            await bench.store.read(ID)
        assert await remove(bench, Step.remove(ID)) == [True]
        assert await bench.store.read(ID) is None

    @scenario(SupportsCommit)
    async def test_a_hostile_id_is_not_removed(self, bench: Bench) -> None:
        await bench.write()
        for wrong in HOSTILE_IDS:
            with pytest.raises(InvalidSessionIdError):
                await bench.store.commit([Step.remove(ID), Step.remove(wrong)])
        await bench.stored()

    @scenario(SupportsCommit)
    async def test_a_removal_beside_a_write_removes_nothing_newer(self, bench: Bench) -> None:
        for number in range(ROUNDS):
            session = await bench.write(state={"old": number})
            both: list[Coroutine[Any, Any, Any]] = [
                bench.store.commit([Step.remove(ID, session.version)]),
                bench.store.write(ID, bench.session(state={"new": number})),
            ]
            await asyncio.gather(*(both if number % 2 else reversed(both)))
            assert (await bench.stored()).state == {"new": number}

    @scenario(SupportsCommit, SupportsLease)
    async def test_the_holder_removes_and_gives_up(self, bench: Bench) -> None:
        for present in (True, False):
            expected = (await bench.write()).version if present else ANYTHING
            await take(bench, A)
            assert isinstance(await claim(bench, B), Held)
            assert await remove(bench, Step.remove(ID, expected, A)) == [True]
            assert await bench.store.read(ID) is None
            assert not await renew(bench, A)
            assert await take(bench, B) is None
            await bench.store.release_leases({ID: B})

    @scenario(SupportsCommit, SupportsLease)
    async def test_a_removal_that_is_refused_keeps_session_and_lease(self, bench: Bench) -> None:
        session = await bench.write()
        await take(bench, A)
        assert await remove(bench, Step.remove(ID, "0" * 16, A)) == [False]
        assert await is_held(bench, by=A)
        for version in (ANYTHING, session.version):
            for holder in (B, C):
                assert await remove(bench, Step.remove(ID, version, holder)) == [False]
                assert await bench.stored() == session
                assert await is_held(bench, by=A)

    @scenario(SupportsCommit, SupportsLease)
    async def test_who_lost_the_lease_removes_nothing(self, bench: Bench) -> None:
        session = await bench.write()
        other = await bench.write("kit:2")
        await take(bench, A, ttl=SHORT)
        await take(bench, A, "kit:2")
        await bench.store.release_leases({"kit:2": A})
        await asyncio.sleep(PAST)
        removals = [Step.remove(ID, session.version, A), Step.remove("kit:2", holder=A), Step.remove("kit:3", holder=A)]
        assert await remove(bench, *removals) == [False, False, False]
        assert [await bench.stored(), await bench.stored("kit:2")] == [session, other]

    @scenario(SupportsCommit, SupportsLease)
    async def test_a_first_write_beside_destroy_brings_nothing_back(self, bench: Bench) -> None:
        for number in range(ROUNDS):
            assert await take(bench, A) is None
            both: list[Coroutine[Any, Any, Any]] = [
                bench.store.commit([Step.replace(bench.session(), None, A)]),
                bench.store.destroy(ID) if number % 4 < 2 else bench.store.commit([Step.remove(ID)]),
            ]
            await asyncio.gather(*(both if number % 2 else reversed(both)))
            assert await bench.store.read(ID) is None
            [outcome] = await bench.store.commit([Step.replace(bench.session(), None, A)])
            assert isinstance(outcome, SessionConflictError), "a write sent again brings back what was destroyed"
            assert await bench.store.read(ID) is None

    @scenario(SupportsLease)
    async def test_many_leases_are_renewed_each_for_itself(self, bench: Bench) -> None:
        await bench.store.lease_many([Claim(f"kit:{name}", A, LONG, LONG) for name in ("held", "given up", "last")])
        await bench.store.release_leases({"kit:given up": A})
        await take(bench, B, "kit:of another")
        await take(bench, A, "kit:over", ttl=SHORT)
        await take(bench, A, "kit:short", ttl=LONG / 10)
        await asyncio.sleep(PAST)
        names = ["last", "over", "of another", "held", "absent", "short", "given up"]
        holders = {f"kit:{name}": A for name in names} | {"kit:mine": B}
        await take(bench, B, "kit:mine")
        renewed = await bench.store.renew_leases(holders, LONG)
        assert renewed == [True, False, False, True, False, True, False, True]
        outcome = await claim(bench, C, "kit:short")
        assert isinstance(outcome, Held)
        assert outcome.seconds > LONG / 2, "it is not held for longer"
        held = [await is_held(bench, session_id) for session_id in holders]
        assert held == [True, False, True, True, False, True, False, True]
        assert await is_held(bench, "kit:of another", by=B)
        assert await bench.store.renew_leases({}, LONG) == []
