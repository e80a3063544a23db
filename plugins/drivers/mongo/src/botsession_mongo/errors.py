"""Translation of the client's errors."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from pymongo.errors import (
    AutoReconnect,
    BulkWriteError,
    ConnectionFailure,
    DocumentTooLarge,
    NetworkTimeout,
    OperationFailure,
    PyMongoError,
    ServerSelectionTimeoutError,
)

from botsession import SessionTooLargeError, StoreError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

_REFUSED: Final = {11, 13, 18, 8000}
"""UserNotFound, Unauthorized, AuthenticationFailed, and the code that Atlas uses for them."""

_NOT_READY: Final = {6, 7, 50, 64, 89, 91, 133, 134, 189, 202, 262, 462, 9001, 10107, 11600, 11602, 13435, 13436}
"""The network, the time limit, too much load, or a primary that steps down: see "Retryable Errors" in MongoDB's specifications."""

_WRITE_CONFLICTS: Final = {112, 246, 251}
"""WriteConflict, SnapshotUnavailable and NoSuchTransaction: another write was in progress, and this one had no effect."""

_TOO_LARGE: Final = {10334, 17280, 17419, 17420}

_DUPLICATE_KEY: Final = 11000


def translated(error: Exception, where: str) -> StoreError:
    """Return the error that reports one of the client, to be raised from it.

    Args:
        error: What the client raised, or a `TimeoutError`.
        where: The server, without secrets.
    """
    code = error.code if isinstance(error, OperationFailure) else None
    if isinstance(error, DocumentTooLarge) or code in _TOO_LARGE:
        return SessionTooLargeError(f"the session is larger than {where} takes: {_reason(error)}")
    if code in _REFUSED:
        return StoreUnavailableError(
            f"{where} refuses access: {_reason(error)}",
            remedy="Check user, password and authSource in the URL, and the user's roles.",
        )
    if is_write_conflict(error):
        return StoreUnavailableError(
            f"{where} was busy with other writes to the same documents for the whole time limit: {_reason(error)}",
            remedy="Try again later.",
        )
    timed_out = isinstance(error, TimeoutError) or (isinstance(error, PyMongoError) and error.timeout)
    if timed_out or code in _NOT_READY or isinstance(error, ConnectionFailure):
        return StoreUnavailableError(
            f"{where} does not answer: {_reason(error)}",
            remedy="Check that it is running and that the address is right.",
        )
    return StoreError(f"{where} could not carry out the call: {_reason(error)}")


def is_taken(code: int | None, details: Mapping[str, Any] | None) -> bool:
    """Return whether an error says that a document with this `_id` exists, and not that another unique index forbids it."""
    return code == _DUPLICATE_KEY and (details or {}).get("keyPattern", {"_id": 1}).keys() == {"_id"}


def is_write_conflict(error: BaseException) -> bool:
    """Return whether the command may succeed if it is sent again, since it met another write and had no effect."""
    if not isinstance(error, OperationFailure) or isinstance(error, BulkWriteError):
        return False
    return error.code in _WRITE_CONFLICTS or error.has_error_label("TransientTransactionError")


def was_cut_off(error: BaseException | None) -> bool:
    """Return whether the connection broke while the server may have been carrying out the command."""
    return isinstance(error, AutoReconnect) and not isinstance(error, NetworkTimeout | ServerSelectionTimeoutError)


def _reason(error: Exception) -> str:
    text = str(error).partition(" (configured timeouts")[0].partition(", Timeout: ")[0].partition(", full error: ")[0]
    return text.rstrip(".") or "the time is up"
