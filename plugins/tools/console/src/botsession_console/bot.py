"""`ConsoleBot`: a bot to talk to in the terminal."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Self, cast, overload

from botsession import ConfigError, Sessions, SessionStore
from botsession.configuration.sources import Source
from botsession.ids import check_session_id
from botsession_console.context import Context, Event, Send

if TYPE_CHECKING:
    from types import TracebackType

    from typing_extensions import TypeVar

    StateT = TypeVar("StateT", default=dict[str, Any])
    HandlerT = TypeVar("HandlerT", bound=Callable[[Context[Any]], object])
else:
    from typing import TypeVar

    StateT = TypeVar("StateT")


class ConsoleBot(Generic[StateT]):
    """A bot to talk to in the terminal.

    The store is opened when the bot runs.

    Args:
        session_store: A store, a driver's name, a URL, or a mapping with the keys of `botsession.toml`. By default, the
            configuration file and the environment decide, or else it is `memory`. Pass a `Sessions` to use its other
            arguments, such as `state_type` or `expires_in`.
        initial_state: The state of a new session.
        platform: The first part of the session id.
        user: The second part of the session id: who talks to the bot.

    Attributes:
        handler: The function registered by `on_event`.

    Raises:
        ConfigError: `initial_state` was passed together with a `Sessions`, which has its own.
        InvalidSessionIdError: `platform` and `user` do not form a session id.
    """

    @overload
    def __init__(
        self: ConsoleBot[dict[str, Any]],
        session_store: SessionStore | Source = None,
        *,
        initial_state: Mapping[str, Any] | None = None,
        platform: str = "console",
        user: str = "1",
    ) -> None: ...

    @overload
    def __init__(
        self, session_store: Sessions[StateT], *, initial_state: None = None, platform: str = "console", user: str = "1"
    ) -> None: ...

    def __init__(
        self,
        session_store: Sessions[StateT] | SessionStore | Source = None,
        *,
        initial_state: Mapping[str, Any] | None = None,
        platform: str = "console",
        user: str = "1",
    ) -> None:
        if isinstance(session_store, Sessions) and initial_state is not None:
            raise ConfigError(
                "initial_state cannot be changed for an existing Sessions", remedy="Pass initial_state to Sessions."
            )
        self.session_store = session_store
        self.initial_state = initial_state
        self.platform = platform
        self.user = user
        self.handler: Callable[[Context[StateT]], object] | None = None
        check_session_id(self.session_id)

    @property
    def session_id(self) -> str:
        """The id of this terminal's session, such as `console:1`."""
        return f"{self.platform}:{self.user}"

    @functools.cached_property
    def sessions(self) -> Sessions[StateT]:
        """The bot's sessions, created on first use.

        Raises:
            ConfigError: A setting or an option is unknown, missing or of the wrong type.
            DriverError: The driver is not installed, is installed twice, or cannot be loaded.
            StateError: The initial state is not JSON.
        """
        if isinstance(self.session_store, Sessions):
            return self.session_store
        return cast("Sessions[StateT]", Sessions(self.session_store, initial_state=self.initial_state))

    def on_event(self, handler: HandlerT) -> HandlerT:
        """Register the handler: write `@bot.on_event` above `async def handler(context)`.

        Args:
            handler: Called with a `Context` for each event. A plain function also works, but cannot send because it cannot
                await.

        Returns:
            The function itself.

        Raises:
            ConfigError: It is a generator, does not take one argument, or the bot already has a handler.
        """
        check_handler(handler)
        if self.handler is not None:
            raise ConfigError(f"the bot already has a handler, {_name(self.handler)}")
        self.handler = handler
        return handler

    async def handle(self, event: Event | str, *, session_id: str | None = None, send: Send | None = None) -> list[str]:
        """Run one turn: read the session, run the handler, save the session.

        Use it in tests, or to pass events from elsewhere, inside `async with bot`.

        Args:
            event: The event, or its text.
            session_id: The session of the turn; by default this terminal's.
            send: Called with each answer immediately; a plain or an asynchronous function.

        Returns:
            The answers, in order.

        Raises:
            ConfigError: The bot has no handler.
            BotSessionError: Whatever `Sessions.turn` raises. Exceptions of the handler pass through. Nothing was saved.
        """
        handler = self.check_handler()
        answers: list[str] = []

        async def answer(text: str) -> None:
            answers.append(text)
            outcome = None if send is None else send(text)
            if inspect.isawaitable(outcome):
                await outcome

        platform = self.platform if session_id is None else session_id.partition(":")[0]
        async with self.sessions.turn(self.session_id if session_id is None else session_id) as session:
            received = Event(event) if isinstance(event, str) else event
            outcome = handler(Context(received, session, platform=platform, send=answer))
            if inspect.isawaitable(outcome):
                await outcome
        return answers

    def check_handler(self) -> Callable[[Context[StateT]], object]:
        """Return the handler.

        Raises:
            ConfigError: The bot has no handler.
        """
        if self.handler is None:
            raise ConfigError(
                "the bot has no handler", remedy="Write @bot.on_event above `async def handler(context)`."
            )
        return self.handler

    def run(self) -> None:
        """Talk to the user in the terminal until `/quit`, `/exit`, the end of the input or Ctrl-C.

        It runs its own event loop. As the loop ends with it, it closes the store, even one that was passed in.

        Raises:
            SystemExit: Something failed, which one line on standard error explains. The code is 1 if the store failed, or
                if a handler failed on input from a pipe or a file; 2 for an invalid configuration; 130 for Ctrl-C; 141 for
                a closed output.
        """
        from botsession_console.conversation import run

        if code := run(self):
            raise SystemExit(code)

    async def __aenter__(self) -> Self:
        await self.sessions.init()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self.sessions is not self.session_store:
            await self.sessions.close()


def check_handler(handler: object) -> None:
    """Check that a handler can be called with a context.

    Raises:
        ConfigError: It is not a function, is a generator, or does not take one argument.
    """
    if not callable(handler):
        raise ConfigError(f"a handler must be a function, not {type(handler).__name__}")
    if inspect.isasyncgenfunction(handler) or inspect.isgeneratorfunction(handler):
        raise ConfigError(
            f"a handler must not be a generator, but {_name(handler)} yields",
            remedy="Answer with `await context.send_text(...)`.",
        )
    try:
        inspect.signature(handler).bind(None)
    except TypeError as error:
        raise ConfigError(f"a handler takes one argument, the context, but {_name(handler)} does not") from error
    except ValueError:
        return  # a built-in function without a signature


def _name(handler: object) -> str:
    return getattr(handler, "__qualname__", type(handler).__qualname__)
