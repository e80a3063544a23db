"""Every error that botsession raises.

Three answers are kept apart everywhere: *absent* is `None` and never an error, *unreadable* is
`CorruptSessionError`, *unreachable* is `StoreUnavailableError`. A backend's own exception is always the cause
(`__cause__`) of the error that reports it.
"""

from __future__ import annotations

from typing import Any


class BotSessionError(Exception):
    """The root of all errors of this library.

    Errors can be pickled and copied: type, text, attributes and notes come back, whatever a constructor takes.
    """

    def __reduce__(self) -> tuple[Any, ...]:
        return _made_again, (type(self), self.args), self.__dict__ or None


def _made_again(kind: type[BotSessionError], arguments: tuple[object, ...]) -> BotSessionError:
    return kind.__new__(kind, *arguments)  # its constructor takes other arguments than those that it gives to Exception


class ConfigError(BotSessionError):
    """A setting is missing, misspelt or of the wrong type; the message names it and what is allowed."""


class DriverError(BotSessionError):
    """A driver could not be used."""


class DriverNotFoundError(DriverError):
    """No installed package offers a driver of this name."""


class DriverConflictError(DriverError):
    """Two installed packages offer a driver of the same name."""


class DriverLoadError(DriverError):
    """A driver is installed but does not load."""


class StoreError(BotSessionError):
    """A store could not do what it was asked to."""


class StoreUnavailableError(StoreError):
    """The backend does not answer, or refuses to; the same call may succeed later."""


class SessionConflictError(StoreError):
    """Somebody else wrote or destroyed the session meanwhile; nothing was stored.

    Attributes:
        session_id: The session's id.
    """

    def __init__(self, session_id: str, message: str | None = None) -> None:
        super().__init__(message or f"session {session_id!r} was written or destroyed by somebody else meanwhile")
        self.session_id = session_id


class CorruptSessionError(StoreError):
    """The stored bytes are no session; they were left where they are.

    Attributes:
        session_id: The session's id.
        store: The store in which it lies, without any secret.
        raw: The bytes as they are stored, or a rendering of the value where the backend keeps no bytes.
    """

    def __init__(self, session_id: str, *, store: str, raw: bytes, reason: str) -> None:
        super().__init__(
            f"session {session_id!r} in {store} is unreadable: {reason}. "
            "Nothing was changed; repair the stored value, or put it aside to start afresh: `await sessions.recover(id)`, or "
            "`botsession recover ID`."
        )
        self.session_id = session_id
        self.store = store
        self.raw = raw


class SessionTooLargeError(StoreError):
    """The session is larger than the backend takes; the stored session stays as it was."""


class TurnTimeoutError(StoreError):
    """Another turn of the session did not end within the waiting time; nothing was done.

    Attributes:
        session_id: The session's id.
    """

    def __init__(self, session_id: str, message: str) -> None:
        super().__init__(message)
        self.session_id = session_id


class InvalidSessionIdError(BotSessionError, ValueError):
    """The session id is empty, too long, or holds what an id must not hold."""


class StateError(BotSessionError, ValueError):
    """The state holds something that JSON cannot hold, or does not fit the `state_type`.

    Attributes:
        path: Where in the session, such as `$.state.cart[0].price`.
    """

    def __init__(self, path: str, reason: str) -> None:
        super().__init__(f"{path}: {reason}")
        self.path = path


class TurnEndedError(BotSessionError):
    """The session was changed after its turn had ended, so that nothing would save the change; or a turn was begun twice."""


class NestedTurnError(BotSessionError):
    """A turn of a session was begun inside that session's own turn; it would wait for itself."""


class UnsupportedError(BotSessionError):
    """The store lacks the capability that was asked for."""
