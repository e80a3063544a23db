"""The bot that lives in a terminal."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Generic, Self, cast, overload

from botsession import ConfigError, Sessions, SessionStore
from botsession.configuration.sources import Source
from botsession.ids import check_session_id
from botsession_console.context import Context, Send
from botsession_console.events import Event

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

    The store is opened when the bot runs, and not before.

    Args:
        session_store: A store, a driver's name, a URL, a mapping with the keys of `botsession.toml`, or nothing: then
            the configuration file and the environment say, and else it is `memory`. A `Sessions` as well, for whatever
            else it can be given (`state_type`, `expires_in`).
        initial_state: The state of a new session.
        platform: The first part of the session id.
        user: The second part of the session id: who talks to the bot.

    Attributes:
        handler: The function registered by `on_event`.

    Raises:
        ConfigError: An `initial_state` was given together with a `Sessions`, which has its own.
        InvalidSessionIdError: `platform` and `user` do not make a session id.
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
            raise ConfigError("give initial_state to the Sessions itself: one was handed in ready-made")
        self.session_store = session_store
        self.initial_state = initial_state
        self.platform = platform
        self.user = user
        self.handler: Callable[[Context[StateT]], object] | None = None
        check_session_id(self.session_id)

    @property
    def session_id(self) -> str:
        """The id of the session of this terminal, such as `console:1`."""
        return f"{self.platform}:{self.user}"

    @functools.cached_property
    def sessions(self) -> Sessions[StateT]:
        """The sessions of the bot, made on first use.

        Raises:
            ConfigError: A setting or an option is unknown, missing or of the wrong type.
            DriverError: The driver is not installed, installed twice, or does not load.
            StateError: The initial state holds what JSON cannot hold.
        """
        if isinstance(self.session_store, Sessions):
            return self.session_store
        return cast("Sessions[StateT]", Sessions(self.session_store, initial_state=self.initial_state))

    def on_event(self, handler: HandlerT) -> HandlerT:
        """Registers the function that answers: `@bot.on_event` above `async def handler(context)`.

        Args:
            handler: Called with a `Context` for each event. A plain function does as well, but cannot await and so
                cannot send.

        Returns:
            The function itself.

        Raises:
            ConfigError: It yields, it does not take one argument, or the bot has a handler already.
        """
        check_handler(handler)
        if self.handler is not None:
            raise ConfigError(f"the bot has a handler already, {_name(self.handler)}; one bot has one handler")
        self.handler = handler
        return handler

    async def handle(self, event: Event | str, *, session_id: str | None = None, send: Send | None = None) -> list[str]:
        """Runs one turn: reads the session, has the handler answer, saves the session.

        Use it in tests, or to feed the bot from elsewhere, inside of `async with bot`.

        Args:
            event: The event, or the text of one.
            session_id: Whose turn it is; the session of this terminal where not given.
            send: Called with each answer as soon as there is one; plain or asynchronous.

        Returns:
            The answers, in order.

        Raises:
            ConfigError: The bot has no handler.
            BotSessionError: Whatever `Sessions.turn` raises; what the handler raises passes through. Nothing was saved.
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
        """Returns the handler.

        Raises:
            ConfigError: The bot has none.
        """
        if self.handler is None:
            raise ConfigError("the bot has no handler: write @bot.on_event above `async def handler(context)`")
        return self.handler

    def run(self) -> None:
        """Talks to the user in the terminal until `/quit`, `/exit`, the end of the input or Ctrl-C.

        It owns the event loop. Since that ends with it, it closes the store in any case, even one that was handed in.

        Raises:
            SystemExit: It did not end well, and has said why in one line on stderr. The code is 1 where the store
                failed, or a handler did while the input came from a pipe or a file; 2 for a fault of the
                configuration; 130 for Ctrl-C; 141 where nobody reads the output any more.
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
    """Refuses what cannot be called with a context.

    Raises:
        ConfigError: It is no function, yields, or does not take one argument.
    """
    if not callable(handler):
        raise ConfigError(f"a handler is a function, not {type(handler).__name__}")
    if inspect.isasyncgenfunction(handler) or inspect.isgeneratorfunction(handler):
        raise ConfigError(
            f"a handler answers by `await context.send_text(...)`; {_name(handler)} yields, and would not run"
        )
    try:
        inspect.signature(handler).bind(None)
    except TypeError as error:
        raise ConfigError(f"a handler takes one argument, the context; {_name(handler)} does not") from error
    except ValueError:
        return  # something built in, which does not tell what it takes


def _name(handler: object) -> str:
    return getattr(handler, "__qualname__", type(handler).__qualname__)
