"""A lease has one holder at a time, in order of arrival, until it is given up or its time is over."""

from __future__ import annotations

import asyncio
import time

import pytest

from botsession.errors import InvalidSessionIdError
from botsession.protocol import (
    Claim,
    Held,
    SupportsClose,
    SupportsCommit,
    SupportsLease,
    SupportsReplace,
)
from botsession.testing.bench import (
    ID,
    Bench,
    opened,
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
    take,
    wait_for,
)
from botsession.testing.processes import in_processes, take_turns
from botsession.testing.samples import HOSTILE_IDS, SAFE_IDS


class Leases(Hooks):
    """The capability `lease`: holders and those who wait."""

    @scenario(SupportsLease)
    async def test_a_lease_has_one_holder(self, bench: Bench) -> None:
        await bench.write()
        await take(bench, A)
        for _ in range(2):
            for other in (B, C):
                assert isinstance(await claim(bench, other), Held)
        await bench.store.release_leases({ID: A})
        await take(bench, B)
        assert isinstance(await claim(bench, A), Held)

    @scenario(SupportsLease)
    async def test_one_of_many_gets_the_lease(self, bench: Bench) -> None:
        await bench.write()
        outcomes = await asyncio.gather(*(claim(bench, f"h{number}") for number in range(16)))
        winners = [number for number, outcome in enumerate(outcomes) if not isinstance(outcome, Held)]
        assert len(winners) == 1
        assert await is_held(bench, by=f"h{winners[0]}")

    @scenario(SupportsLease)
    async def test_held_tells_when_the_lease_may_be_free(self, bench: Bench) -> None:
        before = time.monotonic()
        await take(bench, A, ttl=LONG)
        for ttl in (LONG / 10, LONG * 10):
            outcome = await claim(bench, B, ttl=ttl)
            assert isinstance(outcome, Held)
            assert LONG - (time.monotonic() - before) - 1 < outcome.seconds < LONG + 0.01
        before = time.monotonic()
        assert await renew(bench, A, ttl=LONG * 2)
        outcome = await claim(bench, B)
        assert isinstance(outcome, Held)
        assert LONG * 2 - (time.monotonic() - before) - 1 < outcome.seconds < LONG * 2 + 0.01

    @scenario(SupportsLease)
    async def test_held_tells_how_many_wait_longer(self, bench: Bench) -> None:
        self._need_order()
        await take(bench, A)
        for waiting in (B, C, "d", B, C, "d"):
            outcome = await claim(bench, waiting)
            assert isinstance(outcome, Held)
            assert outcome.ahead in (0, [B, C, "d"].index(waiting)), f"{outcome.ahead} are ahead of {waiting!r}"
        await bench.store.release_leases({ID: B})
        outcome = await claim(bench, C)
        assert isinstance(outcome, Held)
        assert outcome.ahead == 0, "the next one has somebody ahead"

    @scenario(SupportsLease)
    async def test_leases_are_given_in_order_of_arrival(self, bench: Bench) -> None:
        self._need_order()
        await bench.write()
        await take(bench, A)
        for waiting in (B, C, B):
            assert isinstance(await claim(bench, waiting), Held)
        await bench.store.release_leases({ID: A})
        outcome = await claim(bench, C)
        assert isinstance(outcome, Held), "it came later, and was given the lease"
        assert 0 < outcome.seconds < LONG + 0.01
        await take(bench, B)
        assert isinstance(await claim(bench, C), Held)
        await bench.store.release_leases({ID: B})
        await take(bench, C)

    @scenario(SupportsLease)
    async def test_who_asks_again_keeps_the_place_for_longer(self, bench: Bench) -> None:
        self._need_order()
        await take(bench, A)
        for again in (SHORT, LONG):
            assert isinstance(await claim(bench, B, again=again), Held)
        await asyncio.sleep(PAST)
        assert isinstance(await claim(bench, C), Held)
        await bench.store.release_leases({ID: A})
        assert isinstance(await claim(bench, C), Held), "it came later, and was given the lease"
        await take(bench, B)

    @scenario(SupportsLease)
    async def test_who_does_not_ask_again_loses_the_place(self, bench: Bench) -> None:
        await take(bench, A)
        assert isinstance(await claim(bench, B, again=SHORT), Held)
        assert isinstance(await claim(bench, C), Held)
        await bench.store.release_leases({ID: A})
        await wait_for(bench, C)
        assert isinstance(await claim(bench, B), Held)

    @scenario(SupportsLease)
    async def test_a_place_in_the_queue_can_be_given_up(self, bench: Bench) -> None:
        await take(bench, A)
        for waiting in (B, C):
            assert isinstance(await claim(bench, waiting), Held)
        await bench.store.release_leases({ID: B})
        assert await renew(bench, A), "the holder lost it when another gave up its place"
        await bench.store.release_leases({ID: A})
        await take(bench, C)

    @scenario(SupportsLease)
    async def test_a_lease_ends_by_itself(self, bench: Bench) -> None:
        await bench.write()
        await take(bench, A, ttl=SHORT)
        await wait_for(bench, B)
        assert not await renew(bench, A)
        assert isinstance(await claim(bench, A), Held)
        assert await is_held(bench, by=B)

    @scenario(SupportsLease)
    async def test_a_lease_that_is_over_is_free_at_once(self, bench: Bench) -> None:
        await take(bench, A, ttl=SHORT)
        await asyncio.sleep(PAST)
        await take(bench, B)

    @scenario(SupportsLease)
    async def test_a_renewed_lease_is_held_for_longer(self, bench: Bench) -> None:
        for ttl in (SHORT, SHORT * 4, SHORT * 16):
            session_id = f"kit:{ttl}"
            taken = time.monotonic()
            await take(bench, A, session_id, ttl=ttl)
            if await renew(bench, A, session_id):
                await asyncio.sleep(ttl * 2)
                assert await is_held(bench, session_id), "it ended although it was renewed"
                return
            assert time.monotonic() - taken >= ttl, "it is not renewed although its time is not over"
        pytest.skip("the machine is too slow to renew a lease in time")

    @scenario(SupportsLease)
    async def test_a_renewed_lease_ends_as_the_renewal_says(self, bench: Bench) -> None:
        await take(bench, A)
        assert await renew(bench, A, ttl=SHORT) is True
        await asyncio.sleep(PAST)
        assert await renew(bench, A) is False
        await take(bench, B)

    @scenario(SupportsLease)
    async def test_only_the_holder_renews_a_lease(self, bench: Bench) -> None:
        assert await renew(bench, A) is False
        await take(bench, A)
        assert isinstance(await claim(bench, B), Held)
        for other in (B, C):
            assert await renew(bench, other) is False
        assert await renew(bench, A) is True
        await bench.store.release_leases({ID: A})
        for nobody in (A, B, C):
            assert await renew(bench, nobody) is False
        await take(bench, B)

    @scenario(SupportsLease)
    async def test_the_holder_may_ask_again(self, bench: Bench) -> None:
        await bench.write(state={"count": 1})
        await take(bench, A, ttl=SHORT)
        assert await take(bench, A) == await bench.stored()
        await asyncio.sleep(PAST)
        assert isinstance(await claim(bench, B), Held)
        assert await take(bench, A) == await bench.stored(), "it is held, and only others wait"
        await bench.store.release_leases({ID: A})
        await take(bench, B)

    @scenario(SupportsLease)
    async def test_nobody_gives_up_the_lease_of_another(self, bench: Bench) -> None:
        await bench.store.release_leases({ID: A})
        await take(bench, A)
        await bench.store.release_leases({ID: B})
        assert await is_held(bench, by=A)
        await bench.store.release_leases({ID: A})
        await bench.store.release_leases({ID: A})
        await take(bench, B)
        await bench.store.release_leases({ID: A})
        assert await is_held(bench, by=B)

    @scenario(SupportsLease)
    async def test_many_claims_have_an_outcome_for_each(self, bench: Bench) -> None:
        present, held = [await bench.write(f"kit:{name}", {"of": name}) for name in ("present", "held")]
        await take(bench, A, held.id)
        await take(bench, A, "kit:held-absent")
        ids = ["kit:held-absent", "kit:absent", present.id, held.id, "kit:last"]
        outcomes = await bench.store.lease_many([Claim(session_id, B, LONG, LONG) for session_id in ids])
        assert [isinstance(outcome, Held) for outcome in outcomes] == [True, False, False, True, False]
        assert [outcomes[1], outcomes[2], outcomes[4]] == [None, await bench.stored(present.id), None]
        await bench.store.release_leases({held.id: A, "kit:absent": B, present.id: A, "kit:last": B})
        free = {session_id: not await is_held(bench, session_id) for session_id in ("kit:absent", "kit:last")}
        assert free == {"kit:absent": True, "kit:last": True}
        assert await is_held(bench, present.id, by=B)
        assert await is_held(bench, "kit:held-absent", by=A)
        await take(bench, B, held.id)

    @scenario(SupportsLease)
    async def test_no_claims_at_once_are_nothing(self, bench: Bench) -> None:
        assert await bench.store.lease_many([]) == []
        await take(bench, A)
        await bench.store.release_leases({})
        assert await is_held(bench, by=A)

    @scenario(SupportsLease)
    async def test_leases_of_ids_that_look_alike_keep_apart(self, bench: Bench) -> None:
        first, second = SAFE_IDS[::2], SAFE_IDS[1::2]
        for holder, ids in ((A, first), (B, second)):
            outcomes = await bench.store.lease_many([Claim(session_id, holder, LONG, LONG) for session_id in ids])
            assert outcomes == [None] * len(ids)
        await bench.store.release_leases(dict.fromkeys(second, B))
        for session_id in first:
            assert await renew(bench, A, session_id)
        outcomes = await bench.store.lease_many([Claim(session_id, C, LONG, LONG) for session_id in SAFE_IDS])
        assert [isinstance(outcome, Held) for outcome in outcomes] == [True, False] * (len(SAFE_IDS) // 2)

    @scenario(SupportsLease)
    async def test_a_hostile_id_has_no_lease(self, bench: Bench) -> None:
        for wrong in HOSTILE_IDS:
            with pytest.raises(InvalidSessionIdError):
                await bench.store.lease_many([Claim(ID, A, LONG, LONG), Claim(wrong, A, LONG, LONG)])
        await take(bench, B)
        for wrong in HOSTILE_IDS:
            if not isinstance(wrong, list | dict):
                with pytest.raises(InvalidSessionIdError):
                    await bench.store.renew_leases({ID: B, wrong: B}, LONG)
                with pytest.raises(InvalidSessionIdError):
                    await bench.store.release_leases({ID: B, wrong: B})
        assert await is_held(bench, by=B)

    @scenario(SupportsLease)
    async def test_leases_of_namespaces_keep_apart(self, bench: Bench) -> None:
        other = await bench.open("x")
        await take(bench, A)
        await take(bench, B, store=other)
        assert await is_held(bench, by=A)

    @scenario(SupportsLease, shared=True)
    async def test_two_stores_share_their_leases(self, bench: Bench) -> None:
        other = await bench.open()
        await take(bench, A)
        assert isinstance(await claim(bench, B, store=other), Held)
        assert await is_held(bench, by=A, store=other)
        await bench.store.release_leases({ID: A})
        await take(bench, B, store=other)
        assert isinstance(await claim(bench, A), Held)
        closed = await bench.open()
        if isinstance(closed, SupportsClose):
            await closed.close()
        assert isinstance(await claim(bench, A), Held), "it went when a store was closed that did not hold it"

    @scenario(SupportsLease)
    async def test_a_cancelled_claim_can_be_given_up(self, bench: Bench) -> None:
        for steps in (0, 1, 2, 3, 5, 8, 13, 21, 34):
            task = asyncio.ensure_future(claim(bench, f"h{steps}"))
            for _ in range(steps):
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait([task])
            await bench.store.release_leases({ID: f"h{steps}"})
            await asyncio.sleep(0.005)
            await take(bench, A)
            await bench.store.release_leases({ID: A})

    def test_turns_of_several_processes_do_not_meet(self) -> None:
        with opened(self, SupportsLease, SupportsCommit, SupportsReplace, shared=True) as (bench, run):
            run(bench.write(ID, {"count": 0}))
            in_processes(take_turns, self.elsewhere(bench.namespace), ID, 20, processes=3)
            assert run(bench.stored()).state == {"count": 60}

    def _need_order(self) -> None:
        if not self.lease_order:
            pytest.skip("the leases of this driver are not given in order of arrival")
