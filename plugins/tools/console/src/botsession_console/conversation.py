"""The conversation: read a line, run a turn, repeat."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
import logging
import signal
import threading
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

from botsession import BotSessionError, SupportsClose
from botsession.ids import check_session_id
from botsession.states.json_values import to_json
from botsession.storage import records
from botsession_console.context import Event
from botsession_console.exits import FAILED, INTERRUPTED, OutputError, give_up_output, report
from botsession_console.failures import concerns_one_turn, describe, exit_code
from botsession_console.terminal import Terminal

if TYPE_CHECKING:
    from collections.abc import Iterator

    from botsession import Session, Sessions
    from botsession_console.context import Send

_logger = logging.getLogger("botsession.console")


class Bot(Protocol):
    """What a conversation needs of a `ConsoleBot`."""

    @property
    def session_id(self) -> str: ...

    @property
    def sessions(self) -> Sessions[Any]: ...

    def check_handler(self) -> Callable[..., object]: ...

    async def handle(
        self, event: Event | str, *, session_id: str | None = None, send: Send | None = None
    ) -> list[str]: ...


def run(bot: Bot) -> int:
    """Talk to the user until the conversation ends.

    Returns:
        The exit code; errors were reported in one line each.
    """
    try:
        with asyncio.Runner() as runner:
            return runner.run(_Conversation(bot, Terminal()).run())
    except KeyboardInterrupt:
        return INTERRUPTED
    except OutputError as error:
        return give_up_output(error.reason)
    except BotSessionError as error:
        report(describe(error))
        return exit_code(error)


class _Conversation:
    def __init__(self, bot: Bot, terminal: Terminal) -> None:
        self._bot = bot
        self._terminal = terminal
        self._awaited: asyncio.Future[Any] | None = None
        self._interrupted = False
        self._failed = False

    async def run(self) -> int:
        self._loop = asyncio.get_running_loop()
        self._bot.check_handler()
        check_session_id(self._bot.session_id)
        store = self._bot.sessions.store
        try:
            await self._bot.sessions.init()
            self._terminal.note(f"Session {self._bot.session_id} in {store!r}; /quit ends.")
            with _on_interrupt(self._interrupt):
                return await self._converse()
        finally:
            if isinstance(store, SupportsClose):
                await store.close()

    async def _converse(self) -> int:
        while True:
            reading = self._terminal.read()
            await self._attend(reading)
            if reading.cancelled():
                self._terminal.leave_prompt()
                return INTERRUPTED
            error = reading.exception()
            if isinstance(error, EOFError):
                self._terminal.leave_prompt()
                break
            if isinstance(error, UnicodeError):
                self._fail("this line was skipped because it is not UTF-8")
                continue
            if isinstance(error, OSError):
                report(f"cannot read the input: {error.strerror}")
                return FAILED
            line = reading.result()
            if line.strip() in ("/quit", "/exit"):
                break
            if line.strip() and not await self._take(line):
                return INTERRUPTED
        return FAILED if self._failed and not self._terminal.interactive else 0

    async def _take(self, line: str) -> bool:
        """Carry out a line, and return whether the conversation continues."""
        turn = asyncio.ensure_future(self._act(line))
        await self._attend(turn)
        interrupted, self._interrupted = self._interrupted, False
        if turn.cancelled():
            self._fail("the turn was cancelled")
        elif error := turn.exception():
            if isinstance(error, OutputError) or not concerns_one_turn(error):
                raise error
            _logger.debug("a turn failed", exc_info=error)
            code = getattr(inspect.unwrap(self._bot.check_handler()), "__code__", None)
            self._fail(describe(error, code and code.co_filename))
        return self._terminal.interactive or not interrupted

    async def _act(self, line: str) -> None:
        word, _, rest = line.strip().partition(" ")
        if line.strip() == "/state":
            session = await self._bot.sessions.read(self._bot.session_id)
            self._terminal.show(to_json(self._bot.sessions.initial_state() if session is None else session.state))
        elif line.strip() == "/session":
            session = await self._bot.sessions.read(self._bot.session_id)
            self._terminal.show(None if session is None else _as_json(session))
        elif word == "/payload" and rest:
            await self._bot.handle(Event(payload=rest.strip()), send=self._terminal.answer)
        else:
            await self._bot.handle(line, send=self._terminal.answer)

    async def _attend(self, future: asyncio.Future[Any]) -> None:
        """Wait for a line or a turn, which Ctrl-C cancels."""
        self._awaited = future
        if self._interrupted:
            future.cancel()
        try:
            await asyncio.wait([future])
        finally:
            self._awaited = None
            if future.done() and not future.cancelled():
                future.exception()  # marks it as retrieved, even if a handler raised SystemExit

    def _interrupt(self, _signal: int, _frame: object) -> None:
        self._interrupted = True
        if self._awaited is None:
            return
        if asyncio.current_task(self._loop) is self._awaited:
            # The handler is a plain function, in which no await would notice a cancellation.
            raise asyncio.CancelledError
        self._awaited.cancel()
        self._loop.call_soon_threadsafe(lambda: None)

    def _fail(self, message: str) -> None:
        self._failed = True
        report(message)


@contextlib.contextmanager
def _on_interrupt(handler: Callable[[int, object], None]) -> Iterator[None]:
    """Call the handler on Ctrl-C, unless Ctrl-C is ignored or handled by another thread."""
    in_main_thread = threading.current_thread() is threading.main_thread()
    if not in_main_thread or signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        yield
        return
    before = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _as_json(session: Session[Any]) -> dict[str, Any]:
    record: dict[str, Any] = json.loads(records.encode(session))
    return {"id": record.pop("id"), **record}
