"""`ConsoleBot`, called directly."""

from __future__ import annotations

import asyncio
from dataclasses import FrozenInstanceError, dataclass

import pytest

from botsession import (
    ConfigError,
    InvalidSessionIdError,
    Sessions,
    StoreError,
    TurnEndedError,
)
from botsession_console import ConsoleBot, Context, Event
from botsession_memory import MemorySessionStore


def counting(**options) -> ConsoleBot:
    bot = ConsoleBot("memory", initial_state={"count": 0}, **options)

    @bot.on_event
    async def answer(context: Context) -> None:
        context.set_state({"count": context.state["count"] + 1})
        await context.send_text(f"{context.event.text}: {context.state['count']}")

    return bot


def test_a_turn_answers_and_is_saved():
    async def talk():
        async with counting() as bot:
            answers = [await bot.handle("a"), await bot.handle(Event("b"))]
            return answers, await bot.sessions.read("console:1")

    answers, session = asyncio.run(talk())
    assert answers == [["a: 1"], ["b: 2"]]
    assert session.state == {"count": 2}


def test_platform_and_user_make_the_session_id():
    async def talk():
        async with counting(platform="desk", user="42") as bot:
            await bot.handle("a")
            return bot.session_id, await bot.sessions.read("desk:42")

    session_id, session = asyncio.run(talk())
    assert session_id == "desk:42"
    assert session.state == {"count": 1}


def test_another_session_can_be_fed():
    seen = []

    async def talk():
        bot = ConsoleBot("memory")
        bot.on_event(lambda context: seen.append((context.session.id, context.platform)))
        async with bot:
            await bot.handle("a", session_id="telegram:7")
            await bot.handle("a")
            with pytest.raises(InvalidSessionIdError):
                await bot.handle("a", session_id="")

    asyncio.run(talk())
    assert seen == [("telegram:7", "telegram"), ("console:1", "console")]


def test_a_handler_that_raises_saves_nothing():
    async def talk():
        bot = ConsoleBot("memory", initial_state={"count": 0})

        @bot.on_event
        async def fail(context):
            context.state["count"] = 5
            raise LookupError("no")

        async with bot:
            with pytest.raises(LookupError):
                await bot.handle("a")
            return await bot.sessions.read(bot.session_id)

    assert asyncio.run(talk()) is None


def test_a_plain_handler_will_do():
    async def talk():
        bot = ConsoleBot("memory")
        bot.on_event(lambda context: context.set_state({"heard": context.event.text}))
        async with bot:
            assert await bot.handle("a") == []
            return await bot.sessions.read(bot.session_id)

    assert asyncio.run(talk()).state == {"heard": "a"}


def test_reset_state_returns_to_the_initial_state():
    async def talk():
        bot = ConsoleBot("memory", initial_state={"cart": []})

        @bot.on_event
        async def shop(context):
            if context.event.text == "reset":
                context.reset_state()
            else:
                context.state["cart"].append(context.event.text)

        async with bot:
            await bot.handle("apple")
            await bot.handle("reset")
            return await bot.sessions.read(bot.session_id)

    assert asyncio.run(talk()).state == {"cart": []}


def test_answers_go_out_at_once_even_if_the_handler_fails_later():
    sent = []

    async def talk():
        bot = ConsoleBot("memory")

        @bot.on_event
        async def fail(context):
            await context.send_text("one")
            raise LookupError

        async def send(text):
            sent.append(text)

        async with bot:
            for sink in (sent.append, send):
                with pytest.raises(LookupError):
                    await bot.handle("a", send=sink)

    asyncio.run(talk())
    assert sent == ["one", "one"]


def test_only_texts_are_sent():
    async def talk():
        bot = ConsoleBot("memory")

        @bot.on_event
        async def answer(context):
            await context.send_text(5)

        async with bot:
            await bot.handle("a")

    with pytest.raises(TypeError, match="send_text takes a str, not int"):
        asyncio.run(talk())


def test_a_context_kept_beyond_its_turn_changes_nothing():
    kept = []

    async def talk():
        bot = ConsoleBot("memory")
        bot.on_event(kept.append)
        async with bot:
            await bot.handle("a")
            kept[0].set_state({"late": True})

    with pytest.raises(TurnEndedError):
        asyncio.run(talk())


def test_typed_state_comes_with_a_sessions():
    @dataclass
    class Order:
        items: int = 0

    async def talk():
        bot = ConsoleBot(Sessions("memory", state_type=Order))

        @bot.on_event
        async def order(context: Context[Order]) -> None:
            context.state.items += 1

        async with bot:
            await bot.handle("a")
            await bot.handle("a")
        return await bot.sessions.read(bot.session_id)  # the bot does not close a `Sessions` that it was given

    assert asyncio.run(talk()).state == Order(2)


def test_a_store_that_was_handed_in_stays_open():
    async def talk():
        store = MemorySessionStore()
        bot = ConsoleBot(store)
        bot.on_event(lambda context: context.set_state({"a": 1}))
        async with bot:
            await bot.handle("a")
        return await store.read("console:1")

    assert asyncio.run(talk()).state == {"a": 1}


def test_the_store_is_not_made_before_the_bot_runs():
    bot = ConsoleBot("nosuchdriver")
    bot.on_event(lambda context: None)
    with pytest.raises(Exception, match="nosuchdriver"):
        asyncio.run(bot.handle("a"))


def test_a_bot_that_is_not_open_says_so():
    with pytest.raises(StoreError, match="not open"):
        asyncio.run(counting().handle("a"))


async def yielding(context):
    yield context.event.text


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: ConsoleBot(Sessions("memory"), initial_state={}), "Pass initial_state to Sessions"),
        (lambda: ConsoleBot().on_event(5), "a function, not int"),
        (lambda: ConsoleBot().on_event(lambda: None), "takes one argument, the context"),
        (lambda: ConsoleBot().on_event(yielding), r"yielding yields\. Answer with `await context\.send_text"),
        (lambda: counting().on_event(print), "already has a handler, .*answer"),
        (lambda: asyncio.run(ConsoleBot("memory").handle("a")), r"has no handler\. Write @bot\.on_event"),
    ],
)
def test_mistakes_are_told(make, message):
    with pytest.raises(ConfigError, match=message):
        make()


def test_platform_and_user_must_make_a_session_id():
    with pytest.raises(InvalidSessionIdError):
        ConsoleBot(user="a\nb")


def test_an_event_is_a_text_or_a_payload():
    text, payload = Event("a"), Event(payload="p")
    assert (text.is_text, text.is_payload, text.payload) == (True, False, None)
    assert (payload.is_text, payload.is_payload, payload.text) == (False, True, "")
    with pytest.raises(FrozenInstanceError):
        text.text = "b"
