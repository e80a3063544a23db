"""Group commit, tested by call counts instead of clocks."""

import asyncio
from datetime import timedelta

import pytest

from botsession import (
    BotSessionError,
    Sessions,
    StoreError,
    StoreUnavailableError,
    open_store,
)
from botsession.turns.batching import LARGEST, Batcher


class Backend:
    """A backend that answers once `go` is set, and records the entries of each call."""

    def __init__(self, *, held=False):
        self.calls = []
        self.go = asyncio.Event()
        self.lost = False
        if not held:
            self.go.set()

    async def one(self, entry):
        self.calls.append([entry])
        await self.go.wait()
        return self.answer(entry)

    async def many(self, entries):
        self.calls.append(list(entries))
        await self.go.wait()
        if self.lost:
            raise StoreUnavailableError("lost")
        return [self.answer(entry) if entry != "bad" else ValueError(entry) for entry in entries]

    def answer(self, entry):
        if entry == "bad":
            raise ValueError(entry)
        return f"{entry}!"

    def gathering(self):
        gathering = Batcher(self.many, one=self.one)
        gathering.use_loop(asyncio.get_running_loop())
        return gathering


def test_a_lone_call_goes_at_once_and_alone():
    async def scenario():
        backend = Backend()
        gathering = backend.gathering()
        assert [await gathering("a"), await gathering("b")] == ["a!", "b!"]
        assert backend.calls == [["a"], ["b"]]

    asyncio.run(scenario())


def test_what_comes_meanwhile_goes_together_in_order():
    async def scenario():
        backend = Backend(held=True)
        gathering = backend.gathering()
        tasks = [asyncio.create_task(gathering(number)) for number in range(2 * LARGEST + 2)]
        await asyncio.sleep(0)
        backend.go.set()
        assert await asyncio.gather(*tasks) == [f"{number}!" for number in range(2 * LARGEST + 2)]
        assert [len(call) for call in backend.calls] == [1, LARGEST, LARGEST, 1]
        assert [entry for call in backend.calls for entry in call] == list(range(2 * LARGEST + 2))
        assert await gathering("later") == "later!"

    asyncio.run(scenario())


def test_what_concerns_one_session_goes_in_calls_one_after_the_other():
    async def scenario():
        backend = Backend(held=True)
        gathering = Batcher(backend.many, one=backend.one, session_id=lambda entry: entry[0])
        gathering.use_loop(asyncio.get_running_loop())
        entries = ["z", "a1", "b1", "a2", "a3", "c1", "b2"]
        tasks = [asyncio.create_task(gathering(entry)) for entry in entries]
        await asyncio.sleep(0)
        backend.go.set()
        assert await asyncio.gather(*tasks) == [f"{entry}!" for entry in entries]
        assert backend.calls == [["z"], ["a1", "b1"], ["a2"], ["a3", "c1", "b2"]]

    asyncio.run(scenario())


def test_each_caller_gets_its_own_error():
    async def scenario():
        backend = Backend(held=True)
        gathering = backend.gathering()
        tasks = [asyncio.create_task(gathering(entry)) for entry in ("bad", "a", "bad", "b")]
        await asyncio.sleep(0)
        backend.go.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [str(outcome) for outcome in outcomes] == ["bad", "a!", "bad", "b!"]
        assert [type(outcome) for outcome in outcomes] == [ValueError, str, ValueError, str]

    asyncio.run(scenario())


def test_an_error_of_the_whole_call_reaches_everyone_and_those_after_go_on():
    async def scenario():
        backend = Backend(held=True)
        gathering = backend.gathering()
        tasks = [asyncio.create_task(gathering(entry)) for entry in "abc"]
        await asyncio.sleep(0)
        backend.lost = True
        backend.go.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [str, StoreUnavailableError, StoreUnavailableError]
        backend.lost = False
        assert await gathering("d") == "d!"

    asyncio.run(scenario())


@pytest.mark.parametrize("outcomes", [[], ["b!"], ["b!", "c!", "d!"], None], ids=str)
def test_a_driver_that_answers_wrongly_leaves_nobody_waiting(outcomes):
    async def scenario():
        backend = Backend(held=True)
        gathering = backend.gathering()
        tasks = [asyncio.create_task(gathering(entry)) for entry in "abc"]
        await asyncio.sleep(0)

        async def many(_entries):
            return outcomes

        gathering._many = many
        backend.go.set()
        async with asyncio.timeout(30):
            first, *others = await asyncio.gather(*tasks, return_exceptions=True)
            gathering._many = backend.many
            assert await gathering("d") == "d!"
        assert first == "a!"
        assert [type(error) for error in others] == [TypeError if outcomes is None else StoreError] * 2

    asyncio.run(scenario())


def test_who_is_cancelled_while_waiting_is_left_out():
    async def scenario():
        backend = Backend(held=True)
        gathering = backend.gathering()
        tasks = [asyncio.create_task(gathering(entry)) for entry in "abc"]
        await asyncio.sleep(0)
        tasks[1].cancel()
        await asyncio.sleep(0)
        backend.go.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert [type(outcome) for outcome in outcomes] == [str, asyncio.CancelledError, str]
        assert backend.calls == [["a"], ["c"]]

    asyncio.run(scenario())


@pytest.mark.parametrize("cancelled", [0, 1])
def test_who_is_cancelled_on_the_way_holds_up_nobody(cancelled):
    async def scenario():
        backend = Backend()
        gathering = backend.gathering()
        tasks = [asyncio.create_task(gathering(entry)) for entry in "abc"]
        await asyncio.sleep(0)
        if cancelled:
            await tasks[0]
            backend.go.clear()
            await asyncio.sleep(0)
        tasks[cancelled].cancel()
        backend.go.set()
        outcomes = await asyncio.gather(*tasks, return_exceptions=True)
        assert outcomes[2] == "c!"
        assert await gathering("d") == "d!"

    asyncio.run(scenario())


def test_a_loop_that_ended_on_the_way_does_not_hold_up_the_next_one():
    backend = Backend()
    gathering = Batcher(backend.many, one=backend.one)

    async def abandoned():
        gathering.use_loop(asyncio.get_running_loop())
        never = asyncio.Event()
        backend.go = never
        task = asyncio.create_task(gathering("a"))
        await asyncio.sleep(0)
        return task

    async def afterwards():
        gathering.use_loop(asyncio.get_running_loop())
        backend.go = asyncio.Event()
        backend.go.set()
        return await gathering("b")

    loop = asyncio.new_event_loop()
    task = loop.run_until_complete(abandoned())
    assert asyncio.run(afterwards()) == "b!"
    task.cancel()
    loop.run_until_complete(asyncio.gather(task, return_exceptions=True))
    loop.close()


class Counting:
    """A third-party store whose calls are counted."""

    def __init__(self, store):
        counted = ("read", "replace", "read_many", "commit", "touch", "write", "lease_many", "release_leases")
        self.calls = dict.fromkeys(counted, 0)
        for name in dir(store):
            if not name.startswith("_"):
                setattr(
                    self, name, self.counted(name, getattr(store, name)) if name in self.calls else getattr(store, name)
                )
        self.in_process = False

    def counted(self, name, method):
        async def call(*arguments, **named):
            self.calls[name] += 1
            await asyncio.sleep(0)
            return await method(*arguments, **named)

        return call

    def forget(self):
        self.calls = dict.fromkeys(self.calls, 0)

    def made(self):
        return {name: count for name, count in self.calls.items() if count}


@pytest.mark.parametrize(
    ("lock", "changed", "unchanged"),
    [
        ("auto", {"lease_many": 1, "commit": 1}, {"lease_many": 1, "release_leases": 1}),
        ("local", {"read": 1, "replace": 1}, {"read": 1}),
        ("none", {"read": 1, "replace": 1}, {"read": 1}),
    ],
)
def test_round_trips_of_a_turn(lock, changed, unchanged):
    async def scenario():
        store = Counting(await open_store("memory").init())
        sessions = Sessions(store, lock=lock)
        async with sessions.turn("telegram:42") as session:
            session.state["count"] = 1
        assert store.made() == changed
        store.forget()
        async with sessions.turn("telegram:42"):
            pass
        await sessions.close()
        assert store.made() == unchanged

    asyncio.run(scenario())


@pytest.mark.parametrize(
    ("lock", "calls"),
    [
        ("auto", {"lease_many": 3, "commit": 4}),
        ("local", {"read": 1, "read_many": 2, "replace": 2, "commit": 2}),
    ],
)
def test_round_trips_of_64_concurrent_turns(lock, calls):
    async def scenario():
        store = Counting(await open_store("memory").init())
        sessions = Sessions(store, lock=lock)

        async def turn(number):
            async with sessions.turn(f"telegram:{number}") as session:
                session.state["number"] = number

        await asyncio.gather(*map(turn, range(64)))
        assert store.made() == calls
        for number in range(64):
            assert (await sessions.read(f"telegram:{number}")).state == {"number": number}

    asyncio.run(scenario())


@pytest.mark.parametrize(
    "mistake",
    [
        {"expires_in": -1},
        {"expires_in": "soon"},
        {"expires_in": timedelta(minutes=1)},
        {"state": {"number": {1}}},
        {"state": {"text": "x" * 2_000_000}},
        {"state": ["no", "object"]},
        {"user": "Ada"},
        {"created_at": None},
        {"id": "telegram:1"},
    ],
    ids=str,
)
def test_a_mistake_of_one_turn_concerns_none_that_is_saved_with_it(mistake):
    async def scenario():
        sessions = Sessions(Counting(await open_store("memory").init()))

        async def turn(number):
            async with sessions.turn(f"telegram:{number}") as session:
                session.state["number"] = number
                if number == 40:
                    for name, value in mistake.items():
                        setattr(session, name, value)

        outcomes = await asyncio.gather(*map(turn, range(64)), return_exceptions=True)
        assert [number for number, outcome in enumerate(outcomes) if outcome is not None] == [40]
        assert isinstance(outcomes[40], BotSessionError)
        assert await sessions.read("telegram:40") is None
        await turn(41)

    asyncio.run(scenario())
