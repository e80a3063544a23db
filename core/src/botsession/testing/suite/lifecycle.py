"""A store works from `init` to `close`, and its methods are those of the protocol."""

from __future__ import annotations

import asyncio
import inspect

from botsession.protocol import (
    CAPABILITIES,
    SessionStore,
    SupportsClose,
    SupportsPing,
)
from botsession.testing.bench import ID, Bench, scenario
from botsession.testing.calls import accepted, calls, cancel_after
from botsession.testing.hooks import Hooks


class Lifecycle(Hooks):
    """From the constructor to `close`."""

    @scenario()
    async def test_methods_are_those_of_the_protocol(self, bench: Bench) -> None:
        for protocol in (SessionStore, *CAPABILITIES.values()):
            if not isinstance(bench.store, protocol):
                continue
            for name, wanted in vars(protocol).items():
                if name.startswith("_") or not inspect.isfunction(wanted):
                    continue
                method = getattr(bench.store, name)
                assert inspect.iscoroutinefunction(method), f"{name} is not a coroutine function"
                parameters = list(inspect.signature(wanted).parameters.values())[1:]
                by_name = {parameter.name: None for parameter in parameters}
                keywords = [parameter.name for parameter in parameters if parameter.kind is parameter.KEYWORD_ONLY]
                inspect.signature(method).bind(**by_name)
                bound = inspect.signature(method).bind(
                    *(name for name in by_name if name not in keywords), **dict.fromkeys(keywords)
                )
                positional = {key: value for key, value in bound.arguments.items() if key not in keywords}
                assert all(key == value for key, value in positional.items()), (
                    f"{name} binds its parameters differently: {positional}"
                )

    @scenario()
    async def test_init_returns_the_store(self, bench: Bench) -> None:
        assert await bench.store.init() is bench.store

    @scenario()
    async def test_init_may_be_called_again(self, bench: Bench) -> None:
        await bench.write(state={"count": 1})
        await bench.store.init()
        assert (await bench.stored()).state == {"count": 1}
        await bench.write(state={"count": 2})

    @scenario()
    async def test_init_may_be_called_concurrently(self, bench: Bench) -> None:
        bench.store = bench.adopt(bench.make("y"))
        opened = await asyncio.gather(*(bench.store.init() for _ in range(5)))
        assert all(store is bench.store for store in opened)
        await bench.write(state={"count": 1})
        assert (await bench.stored()).state == {"count": 1}

    @scenario(shared=True)
    async def test_several_stores_may_be_opened_concurrently(self, bench: Bench) -> None:
        for number in range(3):
            stores = [bench.adopt(bench.make(f"y{number}")) for _ in range(6)]
            await asyncio.gather(*(store.init() for store in stores))
            for count, store in enumerate(stores):
                bench.store = store
                await bench.write(f"kit:{count}", {"count": count})
            assert [(await bench.stored(f"kit:{count}")).state["count"] for count in range(6)] == list(range(6))

    @scenario()
    async def test_a_cancelled_init_may_be_called_again(self, bench: Bench) -> None:
        for steps in (0, 1, 2, 3, 5, 8, 13, 21, 34):
            store = bench.adopt(bench.make(f"z{steps}"))
            await cancel_after(steps, asyncio.ensure_future(store.init()))
            async with asyncio.timeout(min(5, self.time_limit)):
                assert await store.init() is store
                assert await store.read(ID) is None

    def test_a_store_can_be_made_before_an_event_loop_runs(self) -> None:
        bench = Bench(self)
        bench.store = bench.make()
        with asyncio.Runner() as runner:
            runner.run(self._use(bench))

    async def _use(self, bench: Bench) -> None:
        await bench.adopt(bench.store).init()
        await bench.write(state={"count": 1})
        assert (await bench.stored()).state == {"count": 1}
        await bench.close()

    @scenario()
    async def test_before_init_every_method_is_refused(self, bench: Bench) -> None:
        assert await accepted(bench.make()) == []

    @scenario(SupportsClose)
    async def test_after_close_every_method_is_refused(self, bench: Bench) -> None:
        await bench.write()
        await bench.store.close()
        assert await accepted(bench.store) == []

    @scenario(SupportsClose)
    async def test_close_may_be_called_again(self, bench: Bench) -> None:
        await bench.store.close()
        await bench.store.close()
        await bench.make().close()

    @scenario(SupportsClose)
    async def test_close_leaves_no_task_behind(self, bench: Bench) -> None:
        before = asyncio.all_tasks()
        store = await bench.open()
        await asyncio.gather(*(call() for name, call in calls(store).items() if name in ("read", "ping", "scan")))
        await store.close()
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert asyncio.all_tasks() <= before

    @scenario(SupportsClose)
    async def test_close_leaves_a_client_that_was_handed_in_open(self, bench: Bench) -> None:
        async with self.handed_in(bench.namespace) as options:
            bench.store = await bench.open(**options)
            before = await bench.write(state={"count": 1})
            await bench.store.close()
            bench.store = await bench.open(**options)
            assert await bench.stored() == before
            await bench.store.close()

    @scenario(SupportsPing)
    async def test_ping_answers(self, bench: Bench) -> None:
        await bench.store.ping()

    @scenario(SupportsClose, shared=True)
    async def test_what_is_stored_outlives_the_store(self, bench: Bench) -> None:
        await bench.write(state={"count": 1})
        before = await bench.stored()
        await bench.store.close()
        bench.store = await bench.open()
        assert await bench.store.read(ID) == before
