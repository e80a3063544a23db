"""A fake Telegram: updates as the Bot API documents them, and a client session that records the bot's calls."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncGenerator
from datetime import UTC, datetime
from typing import Any

from aiogram import Bot
from aiogram.client.session.base import BaseSession
from aiogram.methods import (
    AnswerCallbackQuery,
    DeleteWebhook,
    GetMe,
    GetUpdates,
    SendMessage,
    TelegramMethod,
)
from aiogram.types import Chat, Message, Update, User

TOKEN = "123456789:AABBCCDDEEFFaabbccddeeff-1234567890"
BOT_NAME = "lunch_bot"
SENT_AT = 1_795_000_000

Json = dict[str, Any]
_update_ids = itertools.count(700_000_000)


class RecordingSession(BaseSession):
    """A client session that answers every call of the Bot API as Telegram would, without a network."""

    def __init__(self) -> None:
        super().__init__()
        self.answers: list[tuple[Any, str]] = []
        self.pending: list[Json] = []
        self.answered = asyncio.Event()
        self.closed = False

    async def make_request(
        self,
        bot: Bot,
        method: TelegramMethod[Any],
        timeout: int | None = None,  # noqa: ASYNC109 - aiogram's name for it
    ) -> Any:
        match method:
            case SendMessage():
                assert method.reply_parameters is not None
                self._add((method.chat_id, method.reply_parameters.message_id), method.text)
                return Message(
                    message_id=900_000 + len(self.answers),
                    date=datetime.now(UTC),
                    chat=Chat(id=int(method.chat_id), type="private"),
                    text=method.text,
                )
            case AnswerCallbackQuery():
                assert method.text is not None
                self._add(method.callback_query_id, method.text)
                return True
            case GetMe():
                return User(id=123456789, is_bot=True, first_name="Lunch", username=BOT_NAME)
            case DeleteWebhook():
                return True
            case GetUpdates():
                await asyncio.sleep(0.01)  # long polling; a poll that never waits would block the loop
                updates, self.pending = self.pending, []
                return [Update.model_validate(update, context={"bot": bot}) for update in updates]
        raise AssertionError(f"the bot called {method.__api_method__}")

    def _add(self, what: Any, text: str) -> None:
        self.answers.append((what, text))
        self.answered.set()

    async def stream_content(self, url: str, *arguments: Any, **options: Any) -> AsyncGenerator[bytes, None]:
        raise AssertionError(f"the bot downloaded {url}")
        yield b""

    async def close(self) -> None:
        self.closed = True


def person(user_id: int) -> Json:
    return {"id": user_id, "is_bot": False, "first_name": f"Ада {user_id % 100}", "language_code": "en"}


def private_chat(user_id: int) -> Json:
    return {"id": user_id, "first_name": f"Ада {user_id % 100}", "type": "private"}


def group(chat_id: int) -> Json:
    return {"id": chat_id, "title": "Lunch", "type": "supergroup"}


def message(chat: Json, user_id: int | None, message_id: int, text: str) -> Json:
    return _update("message", _message(chat, user_id, message_id, text))


def edited_message(chat: Json, user_id: int, message_id: int, text: str) -> Json:
    return _update("edited_message", {**_message(chat, user_id, message_id, text), "edit_date": SENT_AT + 60})


def channel_post(chat_id: int, message_id: int, text: str) -> Json:
    chat = {"id": chat_id, "title": "Menu of the day", "type": "channel"}
    return _update("channel_post", {**_message(chat, None, message_id, text), "sender_chat": chat})


def button(chat: Json, user_id: int, message_id: int, data: str, *, accessible: bool = True) -> Json:
    """Return the update for a pressed button under a message of the bot. An inaccessible (old) message has the date 0."""
    below = _message(chat, None, message_id, "Your order") if accessible else {"message_id": message_id, "date": 0}
    sender = {"id": 123456789, "is_bot": True, "first_name": "Lunch", "username": BOT_NAME}
    return _callback(user_id, data, {"message": {**below, "chat": chat, **({"from": sender} if accessible else {})}})


def inline_button(user_id: int, data: str) -> Json:
    return _callback(user_id, data, {"inline_message_id": "AAAAAAAAAAA"})


def poll() -> Json:
    options = [{"persistent_id": text, "text": text, "voter_count": 0} for text in ("Soup", "Salad")]
    flags = ("is_closed", "is_anonymous", "allows_multiple_answers", "allows_revoting", "members_only")
    fields = {"id": "5", "question": "Lunch?", "type": "regular", "total_voter_count": 0, "options": options}
    return _update("poll", {**fields, **dict.fromkeys(flags, False)})


def _message(chat: Json, user_id: int | None, message_id: int, text: str) -> Json:
    found: Json = {"message_id": message_id, "date": SENT_AT, "chat": chat, "text": text}
    if user_id is not None:
        found["from"] = person(user_id)
    if text.startswith("/"):
        found["entities"] = [{"type": "bot_command", "offset": 0, "length": len(text.split(maxsplit=1)[0])}]
    return found


def _callback(user_id: int, data: str, where: Json) -> Json:
    identity = f"{user_id}-{next(_update_ids)}"
    query = {"id": identity, "from": person(user_id), "chat_instance": "42", "data": data, **where}
    return _update("callback_query", query)


def _update(kind: str, event: Json) -> Json:
    return {"update_id": next(_update_ids), kind: event}
