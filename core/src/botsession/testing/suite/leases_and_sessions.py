"""A lease is beside its session: it neither creates nor changes it, and goes when the session is stored by its holder."""

from __future__ import annotations

import asyncio

from botsession.errors import CorruptSessionError
from botsession.protocol import (
    Claim,
    Held,
    Step,
    SupportsCommit,
    SupportsDiagnosis,
    SupportsExpiry,
    SupportsLease,
    SupportsPurge,
    SupportsReplace,
    SupportsScan,
    SupportsTouch,
)
from botsession.session import Session
from botsession.testing.bench import (
    ID,
    Bench,
    later,
    scenario,
)
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
    replace,
    take,
    wait_for,
)

TASKS = 6
ROUNDS = 3


class LeasesAndSessions(Hooks):
    """The capability `lease`: what it means for sessions."""

    @scenario(SupportsLease)
    async def test_a_claim_reads_the_session_as_it_is(self, bench: Bench) -> None:
        await bench.write(state={"count": 1}, user={"name": "Ann"}, expires_in=7, shape=3)
        assert await take(bench, A) == await bench.stored()
        await bench.write(state={"count": 2})
        await bench.store.release_leases({ID: A})
        read = await take(bench, B)
        assert read == await bench.stored()
        assert isinstance(read, Session)
        read.state["count"] = 3
        assert (await bench.stored()).state == {"count": 2}

    @scenario(SupportsLease)
    async def test_a_lease_changes_no_session(self, bench: Bench) -> None:
        await bench.write(state={"count": 1})
        before = await bench.stored()
        await take(bench, A)
        await claim(bench, B)
        await renew(bench, A)
        assert await bench.stored() == before
        await bench.store.release_leases({ID: A})
        await take(bench, B)
        await bench.store.release_leases({ID: B})
        assert await bench.stored() == before

    @scenario(SupportsLease)
    async def test_a_lease_creates_no_session(self, bench: Bench) -> None:
        await bench.write("kit:2")
        await take(bench, A, ttl=LONG)
        await claim(bench, B)
        await take(bench, A, "kit:3", ttl=SHORT)
        await self._nothing_but(bench, "kit:2")
        await asyncio.sleep(PAST)
        await self._nothing_but(bench, "kit:2")
        await bench.store.release_leases({ID: A, "kit:3": A})
        await self._nothing_but(bench, "kit:2")
        await take(bench, B)
        await bench.store.release_leases({ID: B})
        await self._nothing_but(bench, "kit:2")

    async def _nothing_but(self, bench: Bench, present: str) -> None:
        ids = [ID, "kit:3"]
        assert [await bench.store.read(session_id) for session_id in ids] == [None, None]
        assert await bench.store.read(present) is not None
        if isinstance(bench.store, SupportsCommit):
            assert await bench.store.read_many(ids) == [None, None]
            refused = [Step.replace(bench.session(session_id), "0" * 16) for session_id in ids]
            assert await replace(bench, *refused) == [False, False]
        if isinstance(bench.store, SupportsScan):
            assert list(await bench.scan()) == [present]
            assert await bench.unreadable() == {}
        if isinstance(bench.store, SupportsTouch):
            assert [await bench.store.touch(session_id, later(bench, 10)) for session_id in ids] == [False, False]
        if isinstance(bench.store, SupportsPurge):
            assert await bench.store.purge() == 0
        if isinstance(bench.store, SupportsDiagnosis):
            await bench.store.diagnose()

    @scenario(SupportsLease, SupportsReplace)
    async def test_what_is_leased_and_absent_can_be_stored(self, bench: Bench) -> None:
        ids = ["kit:write", "kit:replace", "kit:restore"]
        for session_id in ids:
            await take(bench, A, session_id)
        await bench.write("kit:write", {"by": "write"})
        await bench.store.replace("kit:replace", bench.session("kit:replace", {"by": "replace"}), expected=None)
        restored = bench.session("kit:restore", {"by": "restore"}, version="0" * 16)
        restored.created_at = restored.last_activity = later(bench, -1)
        if isinstance(bench.store, SupportsCommit):
            assert await bench.store.commit([Step.restore(restored, None)]) == [None]
        else:
            await bench.store.write("kit:restore", restored)
        for session_id in ids:
            assert (await bench.stored(session_id)).state == {"by": session_id.removeprefix("kit:")}
            assert await is_held(bench, session_id, by=A)
            await bench.store.release_leases({session_id: A})
            assert (await bench.stored(session_id)).state == {"by": session_id.removeprefix("kit:")}

    @scenario(SupportsLease, SupportsExpiry, expires_in=10)
    async def test_an_expired_session_is_absent_for_a_lease(self, bench: Bench) -> None:
        await bench.write()
        assert await take(bench, A) is not None
        await bench.age(10)
        assert await take(bench, A) is None
        if isinstance(bench.store, SupportsPurge):
            await bench.store.purge()
        assert await is_held(bench, by=A), "it went with the session that has expired"
        await bench.store.release_leases({ID: A})
        assert await take(bench, B) is None
        assert await bench.store.read(ID) is None

    @scenario(SupportsLease, SupportsExpiry, expires_in=None)
    async def test_a_lease_goes_by_the_real_time(self, bench: Bench) -> None:
        await bench.write()
        await take(bench, A)
        await bench.age(LONG)
        assert await is_held(bench, by=A)

    @scenario(SupportsLease)
    async def test_a_corrupt_session_is_the_outcome_of_its_claim(self, bench: Bench) -> None:
        await bench.write()
        await bench.write("kit:2")
        await self.corrupt(bench.store, ID)
        ids = ["kit:2", ID, "kit:absent"]
        outcomes = await bench.store.lease_many([Claim(session_id, A, LONG, LONG) for session_id in ids])
        assert isinstance(outcomes[1], CorruptSessionError)
        assert outcomes[1].session_id == ID
        assert [outcomes[0], outcomes[2]] == [await bench.stored("kit:2"), None]
        await bench.store.release_leases(dict.fromkeys(ids, A))
        await bench.write(state={"repaired": True})
        assert await take(bench, B) == await bench.stored()

    @scenario(SupportsLease, SupportsCommit)
    async def test_storing_gives_the_lease_up(self, bench: Bench) -> None:
        await bench.write("kit:present")
        for session_id in ("kit:present", "kit:absent"):
            read = await take(bench, A, session_id)
            expected = None if read is None else read.version
            session = bench.session(session_id, {"by": A})
            assert await replace(bench, Step.replace(session, expected, A)) == [True]
            assert not await renew(bench, A, session_id)
            assert await take(bench, B, session_id) == session == await bench.stored(session_id)

    @scenario(SupportsLease, SupportsCommit)
    async def test_the_holder_replaces_whatever_is_there(self, bench: Bench) -> None:
        await bench.write("kit:present")
        for session_id in ("kit:present", "kit:absent"):
            before = await bench.store.read(session_id)
            for nobody in (A, B):
                assert await replace(bench, Step.replace(bench.session(session_id), holder=nobody)) == [False]
                await take(bench, C, session_id)
            assert await bench.store.read(session_id) == before
            session = bench.session(session_id, {"by": C})
            assert await replace(bench, Step.replace(session, holder=C)) == [True]
            assert not await renew(bench, C, session_id)
            assert await bench.stored(session_id) == session

    @scenario(SupportsLease, SupportsCommit)
    async def test_storing_keeps_those_who_wait(self, bench: Bench) -> None:
        for expected in (None, (await bench.write("kit:present")).version):
            session = bench.session("kit:absent" if expected is None else "kit:present", {"by": A})
            await take(bench, A, session.id)
            for waiting in (B, C):
                assert isinstance(await claim(bench, waiting, session.id), Held)
            assert await replace(bench, Step.replace(session, expected, A)) == [True]
            if self.lease_order:
                assert isinstance(await claim(bench, C, session.id), Held), "who waited longer was forgotten"
            assert await take(bench, B, session.id) == session

    @scenario(SupportsLease, SupportsCommit)
    async def test_who_lost_the_lease_stores_nothing(self, bench: Bench) -> None:
        await bench.write("kit:present", {"by": "write"})
        for session_id in ("kit:present", "kit:absent"):
            read = await take(bench, A, session_id, ttl=SHORT)
            assert await wait_for(bench, B, session_id) == read
            expected = None if read is None else read.version
            late = bench.session(session_id, {"by": A})
            assert await replace(bench, Step.replace(late, expected, A)) == [False]
            assert await bench.store.read(session_id) == read
            assert await is_held(bench, session_id, by=B)
            assert await replace(bench, Step.replace(bench.session(session_id, {"by": B}), expected, B)) == [True]
            assert (await bench.stored(session_id)).state == {"by": B}

    @scenario(SupportsLease, SupportsCommit)
    async def test_who_lost_the_lease_to_nobody_stores_nothing(self, bench: Bench) -> None:
        before = await bench.write()
        ids = [ID, "kit:absent", "kit:never"]
        for session_id in ids[:2]:
            await take(bench, A, session_id, ttl=SHORT)
        await asyncio.sleep(PAST)
        for session_id in ids:
            expected = before.version if session_id == ID else None
            assert await replace(bench, Step.replace(bench.session(session_id, {"by": A}), expected, A)) == [False]
        assert await bench.stored() == before
        assert await take(bench, B) == before
        assert [await bench.store.read(session_id) for session_id in ids[1:]] == [None, None]

    @scenario(SupportsLease, SupportsCommit)
    async def test_destroying_ends_the_lease(self, bench: Bench) -> None:
        for session_id in ("kit:present", "kit:absent"):
            for many in (False, True):
                before = await bench.write(session_id) if session_id == "kit:present" else None
                await take(bench, A, session_id)
                if many:
                    assert await bench.store.commit([Step.remove(session_id)]) == [None]
                else:
                    await bench.store.destroy(session_id)
                assert not await renew(bench, A, session_id)
                expected = None if before is None else before.version
                late = [Step.replace(bench.session(session_id), each, A) for each in {None, expected}]
                for each in late:
                    assert await replace(bench, each) == [False], "what was destroyed has come back"
                assert await take(bench, B, session_id) is None
                await bench.store.release_leases({session_id: B})

    @scenario(SupportsLease, SupportsCommit)
    async def test_a_conflict_keeps_the_lease(self, bench: Bench) -> None:
        old = (await bench.write()).version
        await take(bench, A)
        current = await bench.write(state={"by": "write"})
        for expected in (None, old):
            assert await replace(bench, Step.replace(bench.session(), expected, A)) == [False]
            assert await is_held(bench, by=A)
        assert await bench.stored() == current
        assert await replace(bench, Step.replace(bench.session(state={"by": A}), current.version, A)) == [True]
        await take(bench, B)

    @scenario(SupportsLease, SupportsCommit)
    async def test_storing_without_a_holder_goes_by_the_version_alone(self, bench: Bench) -> None:
        session = await bench.write()
        await take(bench, A)
        await bench.store.replace(ID, bench.session(state={"by": "replace"}), expected=session.version)
        session = await bench.stored()
        assert await replace(bench, Step.replace(bench.session(state={"by": "bulk"}), session.version)) == [True]
        assert (await bench.stored()).state == {"by": "bulk"}
        assert await is_held(bench, by=A)

    @scenario(SupportsLease, SupportsCommit)
    async def test_many_are_stored_each_by_its_own_lease(self, bench: Bench) -> None:
        holders = {"kit:0": A, "kit:1": B, "kit:2": A, "kit:3": None, "kit:4": A}
        for session_id, holder in holders.items():
            if holder is not None:
                await take(bench, holder, session_id)
        entries = [
            Step.replace(bench.session(session_id, {"by": A}), None, None if session_id in ("kit:2", "kit:3") else A)
            for session_id in holders
        ]
        assert await replace(bench, *entries) == [True, False, True, True, True]
        held = [await is_held(bench, session_id) for session_id in holders]
        assert held == [False, True, True, False, False]
        assert await bench.store.read("kit:1") is None

    @scenario(SupportsLease, SupportsReplace)
    async def test_other_calls_pass_by_a_lease(self, bench: Bench) -> None:
        await bench.write()
        await take(bench, A)
        await bench.write(state={"by": "write"})
        assert await is_held(bench, by=A)
        if isinstance(bench.store, SupportsTouch):
            assert await bench.store.touch(ID, later(bench, 60)) is True
        if isinstance(bench.store, SupportsScan):
            assert list(await bench.scan()) == [ID]
        if isinstance(bench.store, SupportsPurge):
            assert await bench.store.purge() == 0
        if isinstance(bench.store, SupportsDiagnosis):
            await bench.store.diagnose()
        assert (await bench.stored()).state == {"by": "write"}
        assert await is_held(bench, by=A)

    @scenario(SupportsLease, SupportsCommit)
    async def test_holders_never_meet(self, bench: Bench) -> None:
        await bench.write(state={"count": 0})
        inside = 0

        async def turn(holder: str) -> None:
            nonlocal inside
            session = await wait_for(bench, holder)
            inside += 1
            assert inside == 1, "two hold the lease"
            assert session is not None
            session.state["count"] += 1
            await asyncio.sleep(0)
            inside -= 1
            assert await replace(bench, Step.replace(session, session.version, holder)) == [True]

        async def turns(task: int) -> None:
            for number in range(ROUNDS):
                await turn(f"h{task}x{number}")

        await asyncio.gather(*(turns(task) for task in range(TASKS)))
        assert (await bench.stored()).state == {"count": TASKS * ROUNDS}
