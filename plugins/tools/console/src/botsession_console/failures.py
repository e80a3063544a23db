"""Errors as the user sees them: one line and an exit code, never a traceback."""

from __future__ import annotations

import traceback

from botsession import (
    BotSessionError,
    ConfigError,
    DriverError,
    InvalidSessionIdError,
    SessionConflictError,
    SessionTooLargeError,
    StoreError,
    TurnTimeoutError,
)
from botsession_console.exits import FAILED, MISCONFIGURED


def describe(error: BaseException, file: str | None = None) -> str:
    """Return a description of an error.

    Args:
        error: The error.
        file: The bot's source file, in which to locate the error.
    """
    if isinstance(error, BotSessionError):
        return str(error)
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == file]
    where = f" ({file}, line {lines[-1]})" if lines else ""
    return f"{type(error).__name__}: {error}".removesuffix(": ") + where


def exit_code(error: BaseException) -> int:
    """Return the exit code for an error that ends the program."""
    return MISCONFIGURED if isinstance(error, ConfigError | DriverError | InvalidSessionIdError) else FAILED


def concerns_one_turn(error: BaseException) -> bool:
    """Return whether the conversation can continue, which it can unless the store failed."""
    return not isinstance(error, StoreError) or isinstance(
        error, SessionConflictError | SessionTooLargeError | TurnTimeoutError
    )
