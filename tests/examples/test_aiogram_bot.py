"""The aiogram example: its real dispatcher, given updates as Telegram sends them, on each backend."""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
import pathlib
import random
from collections.abc import AsyncIterator, Callable
from types import ModuleType
from typing import Any

import pytest
from aiogram import BaseMiddleware, Bot, Dispatcher
from aiogram.methods import TelegramMethod
from examples import telegram
from examples.telegram import Json, RecordingSession

import servers
from botsession import Sessions

EXAMPLE = pathlib.Path(__file__).parents[2] / "docs/examples/aiogram_bot/bot.py"
DISHES = ["Soupe à l'oignon", "борщ", "🍕 Margherita", "12", "rice & beans", "$set.a.b", "Käse"]
TEXTS = ["1", "2", "99", "0", "100", "/start", f"/start@{telegram.BOT_NAME}", "/cancel", "/nonsense"]
_ids = itertools.count(random.randrange(10**9, 10**10))


@pytest.fixture(params=["memory", "file", "redis", "mongo"])
def configured(request: pytest.FixtureRequest, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> str:
    return configure(request.param, tmp_path, monkeypatch)


def configure(driver: str, folder: pathlib.Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """Choose the backend as the README describes: only by `botsession.toml` in the working directory."""
    options: dict[str, Callable[[], str]] = {
        "memory": lambda: "max_size = 500",
        "file": lambda: 'dirname = ".sessions"',
        "redis": lambda: f'url = "{servers.redis_url()}"',
        "mongo": lambda: f'url = "{servers.mongo_url()}/botsession_examples"',
    }
    monkeypatch.chdir(folder)
    text = f'driver = "{driver}"\nexpires_in = 60\n[stores.{driver}]\n{options[driver]()}\n'
    pathlib.Path("botsession.toml").write_text(text)
    return driver


def example() -> ModuleType:
    """Load a fresh copy of the example, as another process would."""
    spec = importlib.util.spec_from_file_location("aiogram_bot_example", EXAMPLE)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class Process:
    """A running bot, built as in the example's `main`, with a recording session instead of the network."""

    def __init__(self) -> None:
        self.module = example()
        self.sessions: Sessions[Any] = Sessions(state_type=self.module.Order)
        self.dispatcher: Dispatcher = self.module.make_dispatcher(self.sessions)
        self.telegram = RecordingSession()
        self.bot = Bot(telegram.TOKEN, session=self.telegram)

    async def deliver(self, update: Json) -> None:
        """Handle an update as a webhook does: send the answer once the dispatcher has returned it."""
        answer = await self.dispatcher.feed_raw_update(self.bot, update)
        if isinstance(answer, TelegramMethod):
            await self.bot(answer)

    async def state(self, chat_id: int, user_id: int) -> Any:
        session = await self.sessions.read(f"telegram:{chat_id}:{user_id}")
        return None if session is None else session.state


@contextlib.asynccontextmanager
async def running() -> AsyncIterator[Process]:
    process = Process()
    await process.dispatcher.emit_startup(bot=process.bot)
    try:
        yield process
    finally:
        await process.dispatcher.emit_shutdown(bot=process.bot)


class Expected:
    """A model of one person's order, computed without the bot."""

    def __init__(self, chat: Json, user_id: int) -> None:
        self.chat = chat
        self.user_id = user_id
        self.dishes: list[Json] = []
        self.asking: Json | None = None
        self.placed = 0
        self.answers: list[tuple[Any, str]] = []

    def matches(self, order: Any) -> bool:
        dishes, asking = self.dishes, self.asking
        if order is None:
            return (dishes, asking, self.placed) == ([], None, 0)
        found = [(dish.name, dish.message_id, dish.quantity) for dish in order.dishes]
        found_asking = None if order.asking is None else (order.asking.name, order.asking.message_id)
        return (found, found_asking, order.placed) == (
            [(dish["name"], dish["id"], dish["quantity"]) for dish in dishes],
            None if asking is None else (asking["name"], asking["id"]),
            self.placed,
        )

    def next_update(self, chance: random.Random) -> Json:
        """Choose the person's next action, and compute its expected effect."""
        known = [*self.dishes, *([self.asking] if self.asking else [])]
        kind = chance.choice(["dish", "dish", "text", "text", "text", "edit", "place"])
        if kind == "edit" and known:
            dish = chance.choice(known)
            dish["name"] = chance.choice(DISHES)
            self.answers.append(((self.chat["id"], dish["id"]), f"Corrected: {dish['name']}."))
            return telegram.edited_message(self.chat, self.user_id, dish["id"], dish["name"])
        if kind == "place":
            update = telegram.button(self.chat, self.user_id, next(_ids), "place", accessible=chance.random() < 0.5)
            self.answers.append((update["callback_query"]["id"], self._place()))
            return update
        text = chance.choice(DISHES) if kind == "dish" else chance.choice(TEXTS)
        message_id = next(_ids)
        answer = self._answer(text, message_id)
        if answer is not None:
            self.answers.append(((self.chat["id"], message_id), answer))
        return telegram.message(self.chat, self.user_id, message_id, text)

    def _place(self) -> str:
        if not self.dishes:
            return "Your order is empty."
        text, self.dishes = self._summary(), []
        self.placed += 1
        return f"Ordered: {text}"

    def _answer(self, text: str, message_id: int) -> str | None:
        if text.startswith("/start"):
            return f"Name a dish. Orders you have placed so far: {self.placed}."
        if text == "/cancel":
            self.dishes, self.asking = [], None
            return "Your order is empty again."
        if text.startswith("/"):
            return None
        if not text.isdecimal() or self.asking is None:
            self.asking = {"name": text, "id": message_id}
            return "How many?"
        if not 1 <= int(text) <= 99:
            return "A number from 1 to 99, please."
        self.dishes.append({**self.asking, "quantity": int(text)})
        self.asking = None
        return self._summary()

    def _summary(self) -> str:
        return ", ".join(f"{dish['quantity']} x {dish['name']}" for dish in self.dishes)


def conversations(chance: random.Random) -> list[Expected]:
    """Twelve conversations of ten people: each in private or in one of two groups, two of them in both."""
    users = [next(_ids) for _ in range(10)]
    groups = [telegram.group(-1_000_000_000_000 - next(_ids)) for _ in range(2)]
    found = [Expected(telegram.private_chat(user), user) for user in users[:7]]
    found += [Expected(chance.choice(groups), user) for user in users[5:]]
    return found


@pytest.mark.parametrize("seed", [1, 2])
def test_interleaved_conversations(configured: str, seed: int) -> None:
    async def run() -> None:
        chance = random.Random(seed)
        people = conversations(chance)
        order = [one for one in people for _ in range(25)]
        chance.shuffle(order)
        updates = iter([one.next_update(chance) for one in order])
        async with running() as process:
            while burst := list(itertools.islice(updates, chance.randint(1, 60))):
                await asyncio.gather(*map(process.deliver, burst))
            for one in people:
                order = await process.state(one.chat["id"], one.user_id)
                assert one.matches(order), (vars(one), order)
            expected = [answer for one in people for answer in one.answers]
            assert sorted(process.telegram.answers, key=repr) == sorted(expected, key=repr)

    asyncio.run(run())


def test_polling_from_start_to_shutdown(configured: str) -> None:
    async def run() -> None:
        process = Process()
        one = Expected(telegram.private_chat(user := next(_ids)), user)
        chance = random.Random(7)
        process.telegram.pending = [one.next_update(chance) for _ in range(40)]

        async def stop_when_answered() -> None:
            while len(process.telegram.answers) < len(one.answers):
                process.telegram.answered.clear()
                await process.telegram.answered.wait()
            await process.dispatcher.stop_polling()

        async with asyncio.timeout(20):
            polling = process.dispatcher.start_polling(process.bot, polling_timeout=0, handle_signals=False)
            await asyncio.gather(polling, stop_when_answered())
        assert process.telegram.answers == one.answers
        assert process.telegram.closed
        if configured == "memory":
            await process.sessions.init()
            assert one.matches(await process.state(user, user))
            return
        async with running() as other:
            assert one.matches(await other.state(user, user))

    asyncio.run(run())


def test_updates_of_nobody_leave_no_session(configured: str) -> None:
    async def run() -> None:
        user, channel = next(_ids), -next(_ids)
        async with running() as process:
            await process.deliver(telegram.channel_post(channel, 1, "Borscht"))
            await process.deliver(telegram.message(telegram.group(channel), None, 2, "Borscht"))
            await process.deliver(telegram.inline_button(user, "place"))
            await process.deliver(telegram.poll())
            await process.deliver(telegram.message(telegram.private_chat(user), user, 3, "/start"))
            await process.deliver(telegram.edited_message(telegram.private_chat(user), user, 4, "unknown"))
            assert await process.state(channel, channel) is None
            assert await process.state(user, user) is None
            assert len(process.telegram.answers) == 1

    asyncio.run(run())


class Failing(BaseMiddleware):
    """A middleware that fails after the handler has run."""

    failures = 1

    async def __call__(self, handler: Any, event: Any, data: dict[str, Any]) -> Any:
        await handler(event, data)
        if self.failures:
            self.failures -= 1
            raise LookupError("the kitchen is closed")
        return await handler(event, data)


def test_a_handler_that_raises_changes_nothing_and_its_update_may_come_again(configured: str) -> None:
    async def run() -> None:
        user = next(_ids)
        chat = telegram.private_chat(user)
        async with running() as process:
            await process.deliver(telegram.message(chat, user, 1, "Borscht"))
            process.module.router.message.middleware(Failing())
            before = await process.state(user, user)
            again = telegram.message(chat, user, 2, "3")
            with pytest.raises(LookupError, match="kitchen"):
                await process.deliver(again)
            assert await process.state(user, user) == before
            assert len(process.telegram.answers) == 1

            await process.deliver(again)
            assert [dish.quantity for dish in (await process.state(user, user)).dishes] == [3]

    asyncio.run(run())


class Counting(BaseMiddleware):
    calls = 0

    async def __call__(self, handler: Any, event: Any, data: dict[str, Any]) -> Any:
        self.calls += 1
        return await handler(event, data)


@pytest.mark.parametrize("driver", ["file", "redis", "mongo"])
def test_two_processes_with_updates_of_one_person(
    driver: str, tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    configure(driver, tmp_path, monkeypatch)

    async def run() -> None:
        user, count = next(_ids), 40
        chat = telegram.private_chat(user)
        counting = Counting()
        async with running() as first, running() as second:
            for number in range(count):
                await first.deliver(telegram.message(chat, user, number, f"dish {number}"))
                await second.deliver(telegram.message(chat, user, 1000 + number, "2"))
            for process in (first, second):
                process.module.router.edited_message.middleware(counting)
            corrections = [
                process.deliver(telegram.edited_message(chat, user, number, f"corrected {number}"))
                for number, process in zip(range(count), itertools.cycle((first, second)), strict=False)
            ]
            await asyncio.gather(*corrections)
            names = [dish.name for dish in (await first.state(user, user)).dishes]
            assert names == [f"corrected {number}" for number in range(count)]
            answers = [text for process in (first, second) for _, text in process.telegram.answers]
            assert sum(text.startswith("Corrected") for text in answers) == count
            assert counting.calls == count, "a handler ran twice, although its turn was the only one"

    asyncio.run(run())
