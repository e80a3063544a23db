"""The mirror under every combination of bots that occurs during a move, with their steps in random order."""

from __future__ import annotations

import asyncio
import contextlib
import random
from datetime import timedelta

import pytest

from botsession import (
    ConfigError,
    Session,
    SessionConflictError,
    Step,
    StoreUnavailableError,
    UnsupportedError,
    open_store,
)
from botsession_memory import MemorySessionStore
from botsession_operations.mirror import MirrorSessionStore

pytestmark = pytest.mark.once

ID = "t:1"


class Jittery:
    """A store whose calls are executed, and return, a random number of steps later."""

    def __init__(self, store, chance):
        self.inner = store
        self.chance = chance
        self.lifetime = store.lifetime
        self.meanwhile = {}

    async def pause(self):
        for _ in range(self.chance.choice((0, 0, 1, 2, 3, 7, 20))):
            await asyncio.sleep(0)

    async def call(self, name, *arguments, **options):
        await self.pause()
        if meanwhile := self.meanwhile.pop(name, None):
            await meanwhile()
        outcome = await getattr(self.inner, name)(*arguments, **options)
        await self.pause()
        return outcome

    async def init(self):
        await self.inner.init()
        return self

    async def read(self, session_id):
        return await self.call("read", session_id)

    async def write(self, session_id, session):
        return await self.call("write", session_id, session)

    async def destroy(self, session_id):
        return await self.call("destroy", session_id)

    async def replace(self, session_id, session, *, expected):
        return await self.call("replace", session_id, session, expected=expected)

    async def touch(self, session_id, expires_at):
        return await self.call("touch", session_id, expires_at)

    async def read_many(self, session_ids):
        return await self.call("read_many", session_ids)

    async def commit(self, steps):
        return await self.call("commit", steps)


class Surroundings:
    """Two stores, bots of every kind on them, and a record of the acknowledged turns.

    The session gets a new `life` whenever it is created, so that no two acknowledged turns are equal.
    """

    def __init__(self, seed):
        self.chance = random.Random(seed)
        self.old = Jittery(MemorySessionStore(), self.chance)
        self.new = Jittery(MemorySessionStore(), self.chance)
        self.acknowledged = []
        self.begun = 0

    async def open(self):
        await self.old.init()
        await self.new.init()
        return self

    def bot(self, kind):
        if kind in ("old", "new"):
            return {"old": self.old, "new": self.new}[kind]
        if kind == "turned round":
            return MirrorSessionStore(self.new, self.old, lead="old")
        return MirrorSessionStore(self.old, self.new, lead=kind.removeprefix("mirror led by "))

    async def turn(self, store):
        """Increment the counter once, by compare-and-set."""
        session = await store.read(ID)
        expected = None if session is None else session.version
        session = session or Session(ID, {"life": self.chance.random(), "count": 0})
        session.state["count"] += 1
        self.begun += 1
        with contextlib.suppress(SessionConflictError):
            await store.replace(ID, session, expected=expected)
            self.acknowledged.append((session.state["life"], session.state["count"]))

    async def turns(self, store, number=5):
        for _ in range(number):
            await self.turn(store)

    async def renew(self, store):
        """Renew the deadline a few times."""
        for _ in range(5):
            await store.touch(ID, None)

    async def destroy(self, store):
        """Destroy the session a few times."""
        for _ in range(2):
            await self.old.pause()
            await store.destroy(ID)

    def check(self, session):
        """Check the final session of a store against the record."""
        assert len(set(self.acknowledged)) == len(self.acknowledged), "two turns were saved over the same one"
        life = session.state["life"]
        assert session.state["count"] == sum(each == life for each, _ in self.acknowledged)


MIRRORS = ["mirror led by old", "mirror led by new"]
MIXTURES = [
    ["old", "old", "mirror led by old", "mirror led by old"],
    ["mirror led by old", "mirror led by old", "mirror led by old"],
    ["mirror led by old", "mirror led by new"],
    ["mirror led by old", "mirror led by old", "mirror led by new", "mirror led by new"],
    ["mirror led by new", "mirror led by new", "mirror led by new"],
]
SEEDS = 100


def surroundings():
    """Yield fresh surroundings and a runner for each seed. A failure names the seed."""
    for seed in range(SEEDS):
        with asyncio.Runner() as runner:
            around = Surroundings(seed)
            runner.run(around.open())
            try:
                yield around, runner.run
            except AssertionError as error:
                raise AssertionError(f"seed {seed}: {error}") from error


async def together(*jobs):
    await asyncio.gather(*jobs)


@pytest.mark.parametrize("kinds", MIXTURES, ids=", ".join)
@pytest.mark.parametrize("start", ["absent", "in the old store", "in both stores"])
def test_no_turn_is_lost_whatever_the_mixture_and_order(kinds, start):
    for around, run in surroundings():
        if start != "absent":
            run(around.turn(around.old))
        if start == "in both stores":
            run(around.bot("mirror led by old").read(ID))
        run(together(*(around.turns(around.bot(kind)) for kind in kinds)))
        around.check(run(around.bot(kinds[-1]).read(ID)))


@pytest.mark.parametrize("start", ["absent", "in the old store", "in both stores", "copied without a mirror"])
def test_no_turn_is_lost_when_the_first_bots_leave_the_mirror(start):
    for around, run in surroundings():
        mirror = around.bot("mirror led by new")
        if start != "absent":
            run(around.turn(around.old))
        if start == "in both stores":
            run(around.turns(around.bot("mirror led by old")))
        if start == "copied without a mirror":
            run(around.new.commit([Step.restore(run(around.old.read(ID)), None)]))
        run(together(around.turns(mirror), around.turns(around.bot("mirror led by new")), mirror.hand_over(ID)))
        run(together(*(around.turns(bot) for bot in (mirror, around.new, around.new)), mirror.hand_over(ID)))
        around.check(run(around.new.read(ID)))
        around.check(run(mirror.read(ID)))
        assert not run(around.new.read(ID)).version.startswith("copy:")


@pytest.mark.parametrize("start", ["absent", "in the old store", "in both stores", "copied without a mirror"])
def test_no_turn_is_lost_when_the_mirror_is_turned_round_after_all_was_handed_over(start):
    for around, run in surroundings():
        mirror, turned = around.bot("mirror led by new"), around.bot("turned round")
        if start != "absent":
            run(around.turn(around.old))
        if start == "in both stores":
            run(around.bot("mirror led by old").read(ID))
        if start == "copied without a mirror":
            run(around.new.commit([Step.restore(run(around.old.read(ID)), None)]))
        run(together(around.turns(mirror, around.chance.randrange(3)), mirror.hand_over(ID)))
        run(together(around.turns(mirror), around.turns(turned), around.turns(around.bot("turned round"))))
        around.check(run(mirror.read(ID)))
        around.check(run(turned.read(ID)))


def test_a_copy_that_came_late_is_nobodys_session():
    for around, run in surroundings():
        run(around.turn(around.old))
        session = run(around.old.read(ID))
        session.version = f"copy:{session.version}"
        run(around.new.commit([Step.restore(session, None)]))
        run(around.old.destroy(ID))
        mirror = around.bot("mirror led by new")
        assert run(mirror.read(ID)) is None
        assert run(mirror.touch(ID, None)) is False
        run(mirror.hand_over(ID) if around.chance.random() < 0.5 else around.turns(mirror))
        stored = run(around.new.read(ID))
        assert stored == run(mirror.read(ID))
        assert (stored is None) is (len(around.acknowledged) == 1)


@pytest.mark.parametrize("kinds", MIXTURES[1:], ids=", ".join)
def test_no_turn_is_lost_beside_renewals_and_destruction(kinds):
    for around, run in surroundings():
        jobs = [around.turns(around.bot(kind)) for kind in kinds]
        jobs += [around.renew(around.bot(kind)) for kind in kinds]
        jobs += [around.destroy(around.bot(kind)) for kind in kinds]
        run(together(*jobs))
        run(around.turn(around.bot(kinds[0])))
        for kind in kinds:
            around.check(run(around.bot(kind).read(ID)))


@pytest.mark.parametrize("kinds", MIXTURES[1:], ids=", ".join)
def test_what_was_destroyed_stays_destroyed(kinds):
    for around, run in surroundings():
        run(around.turn(around.old))
        readers = [around.bot(kind).read(ID) for kind in kinds]
        run(together(*readers, around.bot(kinds[0]).destroy(ID), *(around.renew(around.bot(kind)) for kind in kinds)))
        for store in (around.old, around.new, *map(around.bot, kinds)):
            assert run(store.read(ID)) is None


@pytest.mark.parametrize("kinds", MIXTURES, ids=", ".join)
def test_a_bot_that_is_killed_loses_nobodys_turn(kinds):
    async def killed(job, steps):
        task = asyncio.ensure_future(job)
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait([task])

    for around, run in surroundings():
        run(around.turn(around.old))
        jobs = [killed(around.turns(around.bot(kind)), around.chance.randrange(60)) for kind in kinds]
        run(together(*jobs, *(around.turns(around.bot(kind)) for kind in kinds)))
        run(around.turn(around.bot(kinds[-1])))
        count = run(around.bot(kinds[-1]).read(ID)).state["count"]
        assert len(set(around.acknowledged)) == len(around.acknowledged)
        assert len(around.acknowledged) <= count <= len(around.acknowledged) + len(kinds)
        assert max(each for _, each in around.acknowledged) == count


def test_a_deadline_that_was_renewed_is_renewed_in_both_stores():
    for kind in MIRRORS:
        for around, run in surroundings():
            run(around.turn(around.old))
            mirrors = [around.bot(kind) for kind in (kind, "mirror led by old")]
            run(together(*(around.renew(mirror) for mirror in mirrors)))
            run(mirrors[0].read(ID))
            old, new = run(around.old.read(ID)), run(around.new.read(ID))
            assert old.expires_at is new.expires_at is None
            assert old.last_activity == new.last_activity


@pytest.fixture
def around():
    around = Surroundings(0)
    around.runner = asyncio.Runner()
    around.run = around.runner.run
    around.run(around.open())
    yield around
    around.runner.close()


def test_what_was_handed_over_without_a_turn_is_led_by_the_new_store(around):
    mirror = around.bot("mirror led by new")
    around.run(around.turn(around.old))
    around.run(mirror.hand_over(ID))
    around.run(around.turn(around.new))
    around.run(around.turn(mirror))
    assert around.run(around.new.read(ID)).state["count"] == len(around.acknowledged) == 3


def test_a_turn_that_began_before_the_session_was_handed_over_is_saved_after_it(around):
    early, late = (around.bot(kind) for kind in MIRRORS)
    around.run(around.turn(early))
    around.old.meanwhile["replace"] = lambda: late.hand_over(ID)
    around.run(around.turn(early))
    assert len(around.acknowledged) == 2
    around.check(around.run(early.read(ID)))


def test_a_renewal_reaches_the_session_although_it_is_handed_over_meanwhile(around):
    early, late = (around.bot(kind) for kind in MIRRORS)
    around.run(around.turn(early))
    around.old.meanwhile["touch"] = lambda: late.hand_over(ID)
    assert around.run(early.touch(ID, None)) is True
    assert around.run(around.new.read(ID)).expires_at is None


def test_what_was_created_twice_in_the_same_moment_is_a_conflict_for_one(around):
    early, late = (around.bot(kind) for kind in MIRRORS)

    async def create_in_the_old():
        await early.destroy(ID)
        await around.turn(around.old)

    around.new.meanwhile["replace"] = create_in_the_old
    around.run(around.turn(late))
    assert len(around.acknowledged) == 1
    around.check(around.run(late.read(ID)))
    assert not around.run(around.old.read(ID)).version.startswith("copy:")


def test_nothing_of_a_destroyed_session_stays_as_a_copy(around):
    mirror = around.bot("mirror led by new")
    around.run(around.turn(around.new))
    around.old.meanwhile["commit"] = lambda: mirror.destroy(ID)
    around.run(mirror.touch(ID, None))
    assert around.run(around.old.read(ID)) is None
    around.run(around.turn(mirror))
    around.new.meanwhile["destroy"] = lambda: mirror.touch(ID, None)
    around.run(mirror.destroy(ID))
    assert around.run(around.old.read(ID)) is None


def test_a_new_store_that_fails_disturbs_nobody_while_the_old_one_leads(around, caplog):
    async def fail():
        raise StoreUnavailableError("the new store does not answer")

    mirror = around.bot("mirror led by old")
    around.run(around.turn(mirror))
    around.new.meanwhile["read"] = fail
    around.run(around.turn(mirror))
    around.run(around.turn(mirror))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert len(around.acknowledged) == 3
    assert mirror.missed == 4
    around.run(around.bot("mirror led by old").read(ID))
    assert around.run(around.new.read(ID)).state["count"] == 3


def test_a_store_that_leads_and_fails_is_an_error(around):
    async def fail():
        raise StoreUnavailableError("it does not answer")

    mirror = around.bot("mirror led by new")
    around.run(around.turn(mirror))
    for store in (around.old, around.new):
        store.meanwhile["read"] = fail
        with pytest.raises(StoreUnavailableError):
            around.run(mirror.read(ID))
        around.check(around.run(mirror.read(ID)))


def test_both_stores_need_the_capabilities_and_the_same_lifetime():
    class Plain:
        async def init(self): ...
        async def read(self, session_id): ...
        async def write(self, session_id, session): ...
        async def destroy(self, session_id): ...

    with pytest.raises(UnsupportedError, match="lacks the capability 'expiry'"):
        MirrorSessionStore(MemorySessionStore(), Plain())
    with pytest.raises(ConfigError, match="the same expires_in"):
        MirrorSessionStore(MemorySessionStore(), MemorySessionStore(expires_in=5))
    with pytest.raises(ConfigError, match="lead must be 'old' or 'new'"):
        MirrorSessionStore(MemorySessionStore(), MemorySessionStore(), lead="both")


def test_a_mirror_is_opened_from_the_sections_of_a_configuration(tmp_path):
    stores = {"mirror": {"old": "file", "new": "memory", "lead": "new"}, "file": {"dirname": str(tmp_path / "a")}}
    mirror = open_store({"driver": "mirror", "expires_in": 7, "stores": stores})
    assert isinstance(mirror, MirrorSessionStore)
    assert (mirror._old.dirname, mirror.lead) == (tmp_path / "a", "new")
    assert mirror._old.lifetime.expires_in == mirror._new.lifetime.expires_in == timedelta(minutes=7)
    mirror = open_store("mirror", old=f"file://{tmp_path}/b", new="memory://")
    assert (mirror._old.dirname, mirror.lead) == (tmp_path / "b", "old")
    with pytest.raises(ConfigError, match="needs the option 'new'"):
        open_store("mirror", old="memory")
    with pytest.raises(ConfigError, match="must name another driver, not mirror itself"):
        open_store("mirror", old="mirror", new="memory")
