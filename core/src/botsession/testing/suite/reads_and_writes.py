"""What is written is what is read, and absent is nothing else than absent."""

from __future__ import annotations

import copy
import dataclasses
from typing import Any

import msgspec
import pytest
from hypothesis import given

from botsession.errors import SessionTooLargeError, StateError
from botsession.protocol import (
    Step,
    SupportsCommit,
    SupportsExpiry,
    SupportsReplace,
)
from botsession.testing.bench import (
    ID,
    Bench,
    opened,
    scenario,
)
from botsession.testing.hooks import Hooks
from botsession.testing.samples import (
    ALIKE,
    AWKWARD_STATES,
    REFUSED_STATES,
    exact,
    json_objects,
    moderate,
    nested,
    random_text,
)


class ReadsAndWrites(Hooks):
    """The four methods that every store has."""

    @scenario()
    async def test_an_absent_session_is_none(self, bench: Bench) -> None:
        assert await bench.store.read("kit:absent") is None

    @scenario()
    async def test_an_empty_session_is_not_absent(self, bench: Bench) -> None:
        await bench.write(state={}, user=None)
        read = await bench.stored()
        assert (read.id, read.state, read.user) == (ID, {}, None)

    @scenario()
    async def test_awkward_states_come_back_as_they_were(self, bench: Bench) -> None:
        for state in AWKWARD_STATES:
            await bench.write(state=copy.deepcopy(state))
            assert exact((await bench.stored()).state) == exact(state)

    def test_any_state_comes_back_as_it_was(self) -> None:
        with opened(self) as (bench, run):

            @moderate(self.examples)
            @given(state=json_objects)
            def check(state: dict[str, Any]) -> None:
                run(bench.write(state=copy.deepcopy(state)))
                assert exact(run(bench.stored()).state) == exact(state)

            check()

    @scenario()
    async def test_any_user_comes_back_as_it_was(self, bench: Bench) -> None:
        users: list[dict[str, Any] | None] = [None, {}, {"name": "Ann", "tags": [1, 1.0, None]}, *AWKWARD_STATES]
        for user in users:
            await bench.write(user=copy.deepcopy(user))
            assert exact((await bench.stored()).user) == exact(user)

    @scenario()
    async def test_a_sessions_own_lifetime_comes_back(self, bench: Bench) -> None:
        lifetimes: list[float | msgspec.UnsetType | None] = [msgspec.UNSET, None, 5, 0.5, 7.25, 100_000_000]
        for own in lifetimes:
            await bench.write(expires_in=own)
            assert (await bench.stored()).expires_in == own

    @scenario()
    async def test_the_shape_of_the_state_comes_back(self, bench: Bench) -> None:
        for shape in (0, 1, 17):
            await bench.write(shape=shape)
            assert (await bench.stored()).shape == shape

    @scenario()
    async def test_a_write_replaces_the_whole_session(self, bench: Bench) -> None:
        await bench.write(state={"old": 1, "both": {"old": 1}}, user={"old": 1}, expires_in=5, shape=3)
        bench.clock.advance(minutes=1)
        session = await bench.write(state={"both": {"new": 2}})
        read = await bench.stored()
        assert read == session
        assert (read.state, read.user, read.expires_in) == ({"both": {"new": 2}}, None, msgspec.UNSET)

    @scenario()
    async def test_changing_what_was_read_changes_nothing_stored(self, bench: Bench) -> None:
        await bench.write(state={"cart": [{"price": 1}]}, user={"tags": ["a"]})
        read = await bench.stored()
        read.state["cart"][0]["price"] = 2
        read.state["more"] = True
        assert read.user is not None
        read.user["tags"].append("b")
        again = await bench.stored()
        assert (again.state, again.user) == ({"cart": [{"price": 1}]}, {"tags": ["a"]})

    @scenario()
    async def test_changing_what_was_written_changes_nothing_stored(self, bench: Bench) -> None:
        session = await bench.write(state={"cart": [{"price": 1}]}, user={"tags": ["a"]})
        session.state["cart"][0]["price"] = 2
        session.state["more"] = True
        assert session.user is not None
        session.user["tags"].append("b")
        read = await bench.stored()
        assert (read.state, read.user) == ({"cart": [{"price": 1}]}, {"tags": ["a"]})

    @scenario()
    async def test_a_write_leaves_state_and_user_of_the_caller_alone(self, bench: Bench) -> None:
        state: dict[str, Any] = {"a.b": {"$c": [1, 1.0]}}
        user: dict[str, Any] = {"$d": None}
        session = await bench.write(state=state, user=user, expires_in=5)
        assert session.state is state
        assert session.user is user
        assert exact([state, user]) == exact([{"a.b": {"$c": [1, 1.0]}}, {"$d": None}])
        assert session.expires_in == 5

    @scenario(SupportsExpiry)
    async def test_a_state_that_json_cannot_hold_is_refused_with_its_path(self, bench: Bench) -> None:
        for state, path in REFUSED_STATES:
            session = bench.session("kit:refused", state)
            with pytest.raises(StateError) as caught:
                await bench.store.write("kit:refused", session)
            assert caught.value.path.startswith(path), f"{caught.value} does not point at {path}"
            assert await bench.store.read("kit:refused") is None
        with pytest.raises(StateError, match="nested deeper"):
            await bench.store.write("kit:refused", bench.session("kit:refused", nested(65)))
        with pytest.raises(StateError, match=r"\$\.user\.name"):
            await bench.store.write("kit:refused", bench.session("kit:refused", user={"name": object()}))
        user: Any = ["Ann"]
        with pytest.raises(StateError, match=r"\$\.user"):
            await bench.store.write("kit:refused", bench.session("kit:refused", user=user))
        assert await bench.store.read("kit:refused") is None

    @scenario(SupportsExpiry)
    async def test_after_a_refused_write_the_stored_session_stays(self, bench: Bench) -> None:
        await bench.write(state={"count": 1})
        before = await bench.stored()
        for state, _ in REFUSED_STATES:
            with pytest.raises(StateError):
                await bench.store.write(ID, bench.session(state=state))
        assert await bench.stored() == before

    @scenario(SupportsReplace, SupportsExpiry)
    async def test_after_a_refused_replace_the_stored_session_stays(self, bench: Bench) -> None:
        await bench.write(state={"count": 1})
        before = await bench.stored()
        for state, path in REFUSED_STATES:
            with pytest.raises(StateError) as caught:
                await bench.store.replace(ID, bench.session(state=state), expected=before.version)
            assert caught.value.path.startswith(path), f"{caught.value} does not point at {path}"
        assert await bench.stored() == before

    @scenario()
    async def test_a_large_state_comes_back_or_is_refused(self, bench: Bench) -> None:
        await bench.write(state={"small": True})
        large: dict[str, Any] = {"text": "x" * 1_000_000, "list": [{"n": n} for n in range(10_000)]}
        try:
            await bench.write(state=large)
        except SessionTooLargeError:
            large = {"small": True}
        assert (await bench.stored()).state == large

    @scenario()
    async def test_64_kilobytes_of_random_text_come_back(self, bench: Bench) -> None:
        text = random_text(32_768)
        assert len(text.encode()) > 65_536
        state: dict[str, Any] = {"text": text, text[:4_096]: [text[:4_096]]}
        user: dict[str, Any] = {"text": text}
        session = await bench.write(state=state, user=user)
        assert await bench.stored() == session
        if isinstance(bench.store, SupportsReplace):
            await bench.store.replace(ID, session, expected=session.version)
            assert await bench.stored() == session
        if isinstance(bench.store, SupportsCommit):
            sessions = [bench.session(f"kit:{number}", state, user=user) for number in range(2, 5)]
            assert await bench.store.commit([Step.replace(each, None) for each in sessions]) == [None] * 3
            assert await bench.store.read_many([each.id for each in sessions]) == sessions
        if isinstance(bench.store, SupportsCommit):
            restored = dataclasses.replace(session, id="kit:restored")
            assert await bench.store.commit([Step.restore(restored, None)]) == [None]
            assert await bench.stored("kit:restored") == restored

    @scenario()
    async def test_texts_that_look_alike_keep_apart(self, bench: Bench) -> None:
        state: dict[str, Any] = {text: text for text in ALIKE}
        await bench.write(state=copy.deepcopy(state), user=copy.deepcopy(state))
        for text in ALIKE:
            await bench.write("kit:2", {"text": text})
            assert exact((await bench.stored("kit:2")).state) == exact({"text": text})
        read = await bench.stored()
        assert exact([read.state, read.user]) == exact([state, state])

    @scenario()
    async def test_sessions_keep_apart(self, bench: Bench) -> None:
        for number in range(50):
            await bench.write(f"kit:{number}", {"number": number})
        for number in range(50):
            assert (await bench.stored(f"kit:{number}")).state == {"number": number}

    @scenario()
    async def test_a_destroyed_session_is_absent(self, bench: Bench) -> None:
        await bench.write("kit:1")
        await bench.write("kit:2")
        await bench.store.destroy("kit:1")
        assert await bench.store.read("kit:1") is None
        assert await bench.store.read("kit:2") is not None

    @scenario()
    async def test_destroying_an_absent_session_is_no_error(self, bench: Bench) -> None:
        await bench.store.destroy("kit:absent")
        await bench.write()
        await bench.store.destroy(ID)
        await bench.store.destroy(ID)
        assert await bench.store.read(ID) is None

    @scenario()
    async def test_a_destroyed_session_can_be_written_again(self, bench: Bench) -> None:
        await bench.write(state={"old": 1}, user={"old": 1})
        await bench.store.destroy(ID)
        await bench.write(state={"new": 2})
        read = await bench.stored()
        assert (read.state, read.user) == ({"new": 2}, None)

    @scenario()
    async def test_namespaces_keep_apart(self, bench: Bench) -> None:
        other = await bench.open("x")
        await bench.write(ID, {"of": "this"})
        assert await other.read(ID) is None
        theirs = bench.session(ID, {"of": "the other"})
        await other.write(ID, theirs)
        assert (await bench.stored()).state == {"of": "this"}
        await bench.store.destroy(ID)
        assert await other.read(ID) is not None
