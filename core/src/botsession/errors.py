"""Every error that botsession raises.

Three answers are never confused: *absent* is `None` and not an error, *unreadable* is `CorruptSessionError`, *unreachable* is
`StoreUnavailableError`. An exception of the backend is always the cause (`__cause__`) of the error that reports it.
"""

from __future__ import annotations

from typing import Any


class BotSessionError(Exception):
    """The base of all errors of this library.

    `str(error)` is the message, followed by the remedy if there is one. Errors can be pickled and copied: their type, text,
    attributes and notes are kept.

    Args:
        message: What happened and where, without a full stop at the end.
        remedy: What to do about it, as one or more whole sentences; empty if there is nothing to do.

    Attributes:
        message: What happened and where, without the remedy.
        remedy: What to do about it; may be empty.
    """

    remedy: str = ""

    def __init__(self, message: str = "", *, remedy: str = "") -> None:
        super().__init__(message)
        self.remedy = remedy

    @property
    def message(self) -> str:
        return super().__str__()

    def __str__(self) -> str:
        if not self.remedy:
            return self.message
        return f"{self.message}{'' if self.message.endswith(('.', '?', '!')) else '.'} {self.remedy}"

    def __reduce__(self) -> tuple[Any, ...]:
        return _rebuild, (type(self), self.args), self.__dict__ or None


def _rebuild(kind: type[BotSessionError], arguments: tuple[object, ...]) -> BotSessionError:
    return kind.__new__(kind, *arguments)  # not its constructor, whose parameters may differ from `args`


class ConfigError(BotSessionError):
    """A setting is missing, misspelt or of the wrong type. The message names the setting and what it may be."""


class DriverError(BotSessionError):
    """A driver cannot be used."""


class DriverNotFoundError(DriverError):
    """No installed package provides a driver of this name."""


class DriverConflictError(DriverError):
    """Two installed packages provide a driver of the same name."""


class DriverLoadError(DriverError):
    """A driver is installed but cannot be loaded."""


class StoreError(BotSessionError):
    """A store could not carry out a call."""


class StoreUnavailableError(StoreError):
    """The backend does not answer, or rejects the call. The same call may succeed later."""


class SessionConflictError(StoreError):
    """Another writer stored or destroyed the session since it was read. Nothing was stored.

    Attributes:
        session_id: The session's id.
    """

    def __init__(self, session_id: str, message: str | None = None, *, remedy: str = "") -> None:
        super().__init__(
            message or f"session {session_id!r} was written or destroyed by another writer since it was read",
            remedy=remedy,
        )
        self.session_id = session_id


class CorruptSessionError(StoreError):
    """The stored bytes are not a session. They stay where they are.

    Attributes:
        session_id: The session's id.
        store: The store that contains it, without secrets.
        raw: The stored bytes, or a rendering of the stored value if the backend does not keep bytes.
    """

    def __init__(self, session_id: str, *, store: str, raw: bytes, reason: str) -> None:
        super().__init__(
            f"session {session_id!r} in {store} is unreadable: {reason}. Nothing was changed",
            remedy="Repair the stored value, or quarantine it to start over, with `await sessions.recover(id)` or "
            "`botsession recover ID`.",
        )
        self.session_id = session_id
        self.store = store
        self.raw = raw


class SessionTooLargeError(StoreError):
    """The session exceeds the allowed size. The stored session is unchanged."""


class TurnTimeoutError(StoreError):
    """Another turn of the session did not end within the waiting time. Nothing was done.

    Attributes:
        session_id: The session's id.
    """

    def __init__(self, session_id: str, message: str, *, remedy: str = "") -> None:
        super().__init__(message, remedy=remedy)
        self.session_id = session_id


class InvalidSessionIdError(BotSessionError, ValueError):
    """The session id is empty, is too long, or contains a character that is not allowed."""


class StateError(BotSessionError, ValueError):
    """The state contains something that JSON cannot hold, or does not fit the `state_type`.

    Attributes:
        path: The place in the session, such as `$.state.cart[0].price`.
    """

    def __init__(self, path: str, reason: str, *, remedy: str = "") -> None:
        super().__init__(f"{path}: {reason}", remedy=remedy)
        self.path = path


class TurnEndedError(BotSessionError):
    """The session was changed after its turn had ended, so nothing would save the change; or a turn was entered twice."""


class NestedTurnError(BotSessionError):
    """A turn of a session was started inside a turn of the same session. It would wait for itself."""


class UnsupportedError(BotSessionError):
    """The store does not support the requested capability."""
