"""Compare-and-set: no update is lost, and no session that has ended comes back."""

from __future__ import annotations

import copy

import pytest

from botsession.errors import SessionConflictError
from botsession.protocol import (
    StoredSession,
    SupportsExpiry,
    SupportsReplace,
    SupportsTouch,
)
from botsession.testing.bench import ID, Bench, scenario
from botsession.testing.hooks import Hooks
from botsession.testing.samples import AWKWARD_STATES, NO_VERSIONS, exact


async def conflicts(bench: Bench, session: StoredSession, expected: str | None) -> None:
    """Check that a replace raises a conflict that names the session."""
    with pytest.raises(SessionConflictError) as caught:
        await bench.store.replace(session.id, session, expected=expected)
    assert caught.value.session_id == session.id


class CompareAndSet(Hooks):
    """The capability `replace`."""

    @scenario(SupportsReplace)
    async def test_replace_creates_what_is_absent(self, bench: Bench) -> None:
        session = bench.session(state={"count": 1}, user={"name": "Ann"}, expires_in=7, shape=3)
        await bench.store.replace(ID, session, expected=None)
        read = await bench.stored()
        assert (read.state, read.user, read.expires_in, read.shape) == ({"count": 1}, {"name": "Ann"}, 7, 3)
        assert read == session

    @scenario(SupportsReplace)
    async def test_any_state_that_replaces_another_comes_back_as_it_was(self, bench: Bench) -> None:
        expected = None
        for state in AWKWARD_STATES:
            session = bench.session(state=copy.deepcopy(state), user=copy.deepcopy(state))
            await bench.store.replace(ID, session, expected=expected)
            read = await bench.stored()
            assert exact([read.state, read.user]) == exact([state, state])
            expected = read.version

    @scenario(SupportsReplace)
    async def test_replace_does_not_create_what_is_there(self, bench: Bench) -> None:
        await bench.write(state={"count": 1})
        before = await bench.stored()
        await conflicts(bench, bench.session(state={"count": 2}), None)
        assert await bench.stored() == before

    @scenario(SupportsReplace)
    async def test_replace_stores_over_the_version_that_was_read(self, bench: Bench) -> None:
        await bench.write(state={"old": 1}, user={"old": 1}, expires_in=5)
        read = await bench.stored()
        await bench.store.replace(ID, bench.session(state={"new": 2}), expected=read.version)
        again = await bench.stored()
        assert (again.state, again.user, again.expires_in is None) == ({"new": 2}, None, False)
        assert again.version != read.version

    @scenario(SupportsReplace)
    async def test_replace_refuses_a_version_of_before(self, bench: Bench) -> None:
        await bench.write(state={"count": 1})
        old = (await bench.stored()).version
        await bench.store.replace(ID, bench.session(state={"count": 2}), expected=old)
        current = await bench.stored()
        await conflicts(bench, bench.session(state={"count": 3}), old)
        assert await bench.stored() == current

    @scenario(SupportsReplace)
    async def test_replace_refuses_what_is_not_the_version(self, bench: Bench) -> None:
        await bench.write(state={"count": 1})
        before = await bench.stored()
        version = before.version
        alike = [version.swapcase(), version + " ", " " + version, version + "\x00", version + "0", version[:-1]]
        for other in [*alike, f'{version}","x":"', *NO_VERSIONS]:
            if other == version:
                continue
            await conflicts(bench, bench.session(state={"count": 2}), other)
            assert await bench.stored() == before

    @scenario(SupportsReplace)
    async def test_replace_does_not_bring_back_what_was_never_there(self, bench: Bench) -> None:
        for version in ("", "0" * 16, "null"):
            await conflicts(bench, bench.session(), version)
        assert await bench.store.read(ID) is None

    @scenario(SupportsReplace)
    async def test_replace_does_not_bring_back_what_was_destroyed(self, bench: Bench) -> None:
        await bench.write()
        read = await bench.stored()
        await bench.store.destroy(ID)
        await conflicts(bench, bench.session(), read.version)
        assert await bench.store.read(ID) is None

    @scenario(SupportsReplace)
    async def test_replace_distinguishes_a_new_session_from_a_destroyed_one(self, bench: Bench) -> None:
        await bench.write(state={"same": True})
        old = (await bench.stored()).version
        await bench.store.destroy(ID)
        await bench.write(state={"same": True})
        await conflicts(bench, bench.session(state={"count": 2}), old)
        assert (await bench.stored()).state == {"same": True}

    @scenario(SupportsReplace, SupportsExpiry, expires_in=10)
    async def test_replace_does_not_bring_back_what_has_expired(self, bench: Bench) -> None:
        await bench.write()
        read = await bench.stored()
        await bench.age(10)
        await conflicts(bench, read, read.version)
        assert await bench.store.read(ID) is None

    @scenario(SupportsReplace, SupportsExpiry, expires_in=10)
    async def test_replace_creates_over_an_expired_session(self, bench: Bench) -> None:
        await bench.write(state={"old": 1}, user={"old": 1})
        await bench.age(10)
        await bench.store.replace(ID, bench.session(state={"new": 2}), expected=None)
        read = await bench.stored()
        assert (read.state, read.user) == ({"new": 2}, None)

    @scenario(SupportsReplace, SupportsTouch)
    async def test_replace_takes_the_version_from_before_a_touch(self, bench: Bench) -> None:
        await bench.write()
        read = await bench.stored()
        assert await bench.store.touch(ID, read.expires_at)
        await bench.store.replace(ID, bench.session(state={"count": 2}), expected=read.version)
        assert (await bench.stored()).state == {"count": 2}

    @scenario(SupportsReplace)
    async def test_replace_concerns_one_session_only(self, bench: Bench) -> None:
        await bench.write("kit:1", {"number": 1})
        await bench.write("kit:2", {"number": 2})
        one = await bench.stored("kit:1")
        two = await bench.stored("kit:2")
        await conflicts(bench, bench.session("kit:1"), two.version)
        await bench.store.replace("kit:1", bench.session("kit:1", {"number": 3}), expected=one.version)
        assert await bench.stored("kit:2") == two
