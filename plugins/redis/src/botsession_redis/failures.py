"""From what the client raises to the errors of botsession, in one place."""

from __future__ import annotations

import re
from typing import Final

from redis import exceptions

from botsession import SessionTooLargeError, StoreError, StoreUnavailableError

CLIENT_ERRORS: Final = (exceptions.RedisError, exceptions.RedisClusterException, OSError)
"""What the client raises; `TimeoutError` is an `OSError`."""


_CODES: Final[dict[type[Exception], str]] = {
    exceptions.AuthenticationError: "WRONGPASS",
    exceptions.AuthorizationError: "WRONGPASS",
    exceptions.NoPermissionError: "NOPERM",
    exceptions.OutOfMemoryError: "OOM",
    exceptions.ReadOnlyError: "READONLY",
    exceptions.BusyLoadingError: "LOADING",
    exceptions.MasterDownError: "MASTERDOWN",
    exceptions.ClusterDownError: "CLUSTERDOWN",
    exceptions.TryAgainError: "TRYAGAIN",
    exceptions.MaxConnectionsError: "connections",
}

_RIGHTS: Final = "refused a command or a key; give the ACL user the commands and the key pattern that the store needs"

_ADVICE: Final = {
    "WRONGPASS": "refused the credentials; check username and password",
    "NOAUTH": "refused the credentials; check username and password",
    "NOPERM": _RIGHTS,
    "ACL failure in script": _RIGHTS,
    "OOM": "is out of memory; raise its maxmemory, or shorten expires_in",
    "READONLY": "is a replica and takes no writes; use the address of the primary",
    "LOADING": "is still loading its data; try again shortly",
    "MISCONF": "refuses writes because it cannot save to its disk; free space there, or look into its log",
    "NOREPLICAS": "refuses writes because too few replicas are connected",
    "CLUSTERDOWN": "is a cluster that is down",
    "MASTERDOWN": "has lost its primary",
    "TTL exhausted": "is a cluster that moves keys between nodes all the time; try again shortly",
    "TRYAGAIN": "is moving the key between nodes; try again shortly",
    "BUSY": "is busy with a script of somebody else",
    "connections": "was not asked, since all connections of the client are in use; raise its max_connections",
}
"""What the server's error codes mean, each a reason to try again later."""

_CODE: Final = re.compile(rf"\b({'|'.join(_ADVICE)})\b")
_TOO_LARGE: Final = re.compile("invalid bulk length|exceeds maximum allowed size")


def explain(error: Exception, server: str, timeout: float) -> StoreError:
    """Returns the error that tells what went wrong and what to do, with the client's own as its cause.

    Args:
        error: What the client raised, or a reply that is an error.
        server: A description of the server, without secrets.
        timeout: How long was waited, in seconds.
    """
    explained = _explained(error, server, timeout)
    explained.__cause__ = error
    return explained


def is_no_string(error: Exception) -> bool:
    """Tells whether the server refused because the key holds something else than a string."""
    return isinstance(error, exceptions.ResponseError) and "WRONGTYPE" in str(error)


def _explained(error: Exception, server: str, timeout: float) -> StoreError:
    if error.args and isinstance(error.args[0], exceptions.RedisError):
        error = error.args[0]  # redis-py wraps what a server says while a socket is being connected
    # A server may repeat the arguments of a command that it does not know.
    text = str(error).partition(", with args")[0].rstrip(".")
    match = _CODE.search(text)
    code = next((code for kind, code in _CODES.items() if isinstance(error, kind)), match and match[0])
    if code is not None:
        return StoreUnavailableError(f"{server} {_ADVICE[code]} ({text})")
    if isinstance(error, exceptions.TimeoutError | TimeoutError):
        return StoreUnavailableError(
            f"{server} did not answer within {timeout:g} s; is it running and reachable, and is the address right?"
        )
    if _TOO_LARGE.search(text):
        return SessionTooLargeError(f"{server} takes no value of this size ({text})")
    if isinstance(error, exceptions.ResponseError):
        return StoreError(f"{server} answered with an error: {text}")
    return StoreUnavailableError(f"{server} does not answer: {text}; is it running, and is the address right?")
