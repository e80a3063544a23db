"""A Telegram bot that takes lunch orders and keeps each person's order in a session."""

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec
from aiogram import BaseMiddleware, Bot, Dispatcher, F, Router
from aiogram.filters import Command, CommandStart
from aiogram.methods import AnswerCallbackQuery, SendMessage
from aiogram.types import CallbackQuery, InlineKeyboardButton, InlineKeyboardMarkup, Message, TelegramObject

from botsession import Session, Sessions


class Dish(msgspec.Struct):
    name: str
    message_id: int  # the message that named the dish
    quantity: int = 1


class Order(msgspec.Struct):
    dishes: list[Dish] = []
    asking: Dish | None = None  # waiting for its quantity
    placed: int = 0


class SessionMiddleware(BaseMiddleware):
    """Pass the `session` of a person in a chat to filters and handlers, and save it after the handler.

    If another process wrote the session while the handler ran, the handler runs again on the newer session. Handlers
    therefore return their answer instead of sending it: aiogram sends it once, after the session is saved.
    """

    def __init__(self, sessions: Sessions[Order]) -> None:
        self.sessions = sessions

    async def __call__(
        self,
        handler: Callable[[TelegramObject, dict[str, Any]], Awaitable[Any]],
        event: TelegramObject,
        data: dict[str, Any],
    ) -> Any:
        chat, user = data.get("event_chat"), data.get("event_from_user")
        if chat is None or user is None:  # a channel post or a poll, which has no session
            return await handler(event, data)
        answer: Any = None

        async def turn(session: Session[Order]) -> None:
            nonlocal answer
            answer = await handler(event, {**data, "session": session})

        await self.sessions.update(f"telegram:{chat.id}:{user.id}", turn)
        return answer


router = Router()
router.message.filter(F.from_user)
router.edited_message.filter(F.from_user)
router.callback_query.filter(F.message)


@router.message(CommandStart())
async def start(message: Message, session: Session[Order]) -> SendMessage:
    return message.reply(f"Name a dish. Orders you have placed so far: {session.state.placed}.")


@router.message(Command("cancel"))
async def cancel(message: Message, session: Session[Order]) -> SendMessage:
    session.set_state({"dishes": [], "asking": None})
    return message.reply("Your order is empty again.")


async def quantity_was_asked(_message: Message, session: Session[Order]) -> bool:
    return session.state.asking is not None


@router.message(F.text.isdecimal(), quantity_was_asked)
async def take_quantity(message: Message, session: Session[Order]) -> SendMessage:
    order, quantity = session.state, int(message.text or "0")
    if order.asking is None or not 1 <= quantity <= 99:
        return message.reply("A number from 1 to 99, please.")
    order.asking.quantity = quantity
    order.dishes.append(order.asking)
    order.asking = None
    button = InlineKeyboardButton(text="Place the order", callback_data="place")
    return message.reply(summary(order), reply_markup=InlineKeyboardMarkup(inline_keyboard=[[button]]))


@router.message(F.text, ~F.text.startswith("/"))
async def take_dish(message: Message, session: Session[Order]) -> SendMessage:
    session.state.asking = Dish(message.text or "", message.message_id)
    return message.reply("How many?")


@router.edited_message(F.text)
async def correct_dish(message: Message, session: Session[Order]) -> SendMessage | None:
    order = session.state
    for dish in [*order.dishes, *([order.asking] if order.asking else [])]:
        if dish.message_id == message.message_id:
            dish.name = message.text or ""
            return message.reply(f"Corrected: {dish.name}.")
    return None


@router.callback_query(F.data == "place")
async def place(query: CallbackQuery, session: Session[Order]) -> AnswerCallbackQuery:
    order = session.state
    if not order.dishes:
        return query.answer("Your order is empty.")
    text = summary(order)
    session.set_state({"dishes": [], "placed": order.placed + 1})
    return query.answer(f"Ordered: {text}")


def summary(order: Order) -> str:
    return ", ".join(f"{dish.quantity} x {dish.name}" for dish in order.dishes)


def make_dispatcher(sessions: Sessions[Order]) -> Dispatcher:
    dispatcher = Dispatcher(disable_fsm=True)
    dispatcher.startup.register(sessions.init)
    dispatcher.shutdown.register(sessions.close)
    dispatcher.update.outer_middleware(SessionMiddleware(sessions))
    dispatcher.include_router(router)
    return dispatcher


async def main() -> None:
    sessions = Sessions(state_type=Order)  # botsession.toml chooses the store
    await make_dispatcher(sessions).start_polling(Bot(os.environ["BOT_TOKEN"]))


if __name__ == "__main__":
    asyncio.run(main())
