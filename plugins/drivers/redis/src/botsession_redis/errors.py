"""From the exceptions of redis-py to the errors of botsession."""

from __future__ import annotations

import re
from typing import Final

from redis import exceptions

from botsession import SessionTooLargeError, StoreError, StoreUnavailableError

CLIENT_ERRORS: Final = (exceptions.RedisError, exceptions.RedisClusterException, OSError)
"""What redis-py raises; `TimeoutError` is an `OSError`."""

Reason = tuple[str, str]
"""What a server does, as the end of a sentence that begins with its name, and the remedy."""

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
"""The codes that redis-py cuts off."""

_CREDENTIALS: Final = ("refused the credentials", "Check username and password.")
_RIGHTS: Final = ("refused a command or a key", "Give the ACL user the commands and keys that the store needs.")
_FULL: Final = "max number of clients"
_SHORTLY: Final = "Try again shortly."

_REFUSALS: Final[dict[str, Reason]] = {
    "WRONGPASS": _CREDENTIALS,
    "NOAUTH": _CREDENTIALS,
    "NOPERM": _RIGHTS,
    "ACL failure in script": _RIGHTS,
    "The user executing the script can't": _RIGHTS,  # until Redis 7.0
    "DENIED": ("accepts only local connections (protected mode)", "Set a password there, or its bind address."),
    _FULL: ("has no connection left to give", "Close some, or raise its maxclients."),
    "OOM": ("is out of memory", "Raise its maxmemory, or shorten expires_in."),
    "READONLY": ("is a replica and accepts no writes", "Use the address of the primary."),
    "LOADING": ("is still loading its data", _SHORTLY),
    "MISCONF": ("refuses writes because it cannot save to its disk", "Free space there, or read its log."),
    "NOREPLICAS": ("refuses writes because too few replicas are connected", "Start its replicas."),
    "CLUSTERDOWN": ("belongs to a cluster that is down", "Start the missing nodes."),
    "MASTERDOWN": ("has lost its primary", "Start the primary, or promote a replica."),
    "TTL exhausted": ("belongs to a cluster that keeps moving keys between nodes", _SHORTLY),
    "TRYAGAIN": ("is moving the key between nodes", _SHORTLY),
    "BUSY": ("is busy with a script of another client", _SHORTLY),
    "connections": ("was not asked, since all connections of the client are in use", "Raise its max_connections."),
}
"""The meaning of a server's error codes. Each call that was refused may succeed later."""

_CLUSTER: Final = (
    "is one node of a cluster, which holds only a share of the sessions",
    "Pass a client of the whole cluster: RedisSessionStore(client=redis.asyncio.RedisCluster.from_url(...)).",
)
_SENTINEL: Final = (
    "is a Sentinel, which holds no sessions",
    "Pass a client of its primary: RedisSessionStore(client=redis.asyncio.sentinel.Sentinel(...).master_for(name)).",
)
_MODES: Final = {"cluster": _CLUSTER, "sentinel": _SENTINEL}
"""Servers that a store cannot use on their own, by their mode."""

_MISTAKES: Final[tuple[tuple[re.Pattern[str], Reason], ...]] = (
    (re.compile("cluster support disabled"), ("is not a cluster", "Pass its URL, or a client of redis.asyncio.Redis.")),
    (re.compile(r"cluster mode|\b(MOVED|CROSSSLOT)\b"), _CLUSTER),
    (re.compile("DB index is out of range"), ("has no database of this number", "Choose a lower one, 0 on a cluster.")),
    (re.compile("unknown command .SELECT"), _SENTINEL),
)
"""Servers of another kind than expected, by their replies."""

_CODE: Final = re.compile(rf"\b({'|'.join(_REFUSALS)})\b")
_NONE_FREE: Final = ("Too many connections", "No connection available.")
"""What redis-py says instead of a `MaxConnectionsError`, depending on its version and the kind of the pool."""

_CLOSED: Final = re.compile("closed|reset|lost|broken pipe|eof", re.IGNORECASE)
_WHILE_WRITING: Final = "Error UNKNOWN while writing to socket. "
_TOO_LARGE: Final = re.compile("invalid bulk length|exceeds maximum allowed size")


def explain(error: Exception, server: str, timeout: float, *, greeting: str = "", used_up: bool = False) -> StoreError:
    """Return the error that says what went wrong and what to do, with the exception of redis-py as its cause.

    Args:
        error: The exception, or a reply that is an error.
        server: A description of the server, without secrets.
        timeout: How long the operation waited, in seconds.
        greeting: The error that the server sends to new connections, if it closed this one.
        used_up: Whether all connections of a given client are in use.
    """
    explained = _explained(error, server, timeout, greeting, used_up)
    explained.__cause__ = error
    return explained


def check_mode(mode: str, server: str) -> None:
    """Refuse a server that holds none of the sessions, or only a share of them.

    Args:
        mode: The mode that the server states.
        server: A description of it, without secrets.

    Raises:
        StoreError: It is a node of a cluster, or a Sentinel.
    """
    if mode in _MODES:
        reason, remedy = _MODES[mode]
        raise StoreError(f"{server} {reason}", remedy=remedy)


def has_none_free(error: Exception) -> bool:
    """Return whether the client had no free connection, so that nothing was sent."""
    return isinstance(error, exceptions.MaxConnectionsError) or (
        isinstance(error, exceptions.ConnectionError) and str(error) in _NONE_FREE
    )


def is_full(greeting: str) -> bool:
    """Return whether a server says that it has no connection left to give."""
    return _FULL in greeting


def is_closed(error: BaseException) -> bool:
    """Return whether the server closed the connection, for whatever reason."""
    is_lost = type(error) is exceptions.ConnectionError or isinstance(error, exceptions.RedisClusterException)
    return is_lost and _CLOSED.search(str(error)) is not None


def is_wrong_type(error: Exception) -> bool:
    """Return whether the key holds something other than a string."""
    return isinstance(error, exceptions.ResponseError) and "WRONGTYPE" in str(error)


def _explained(error: Exception, server: str, timeout: float, greeting: str, used_up: bool) -> StoreError:
    error = _original(error)
    # A server may repeat the arguments of a command that it does not know.
    text = greeting or str(error).partition(", with args")[0].replace(_WHILE_WRITING, "").rstrip(".")
    match = _CODE.search(text)
    code = match[0] if match else next((code for kind, code in _CODES.items() if isinstance(error, kind)), None)
    if code is None and has_none_free(error):
        code = "connections"
    if code is not None:
        reason, remedy = _REFUSALS[code]
        return StoreUnavailableError(f"{server} {reason} ({text})", remedy=remedy)
    if _TOO_LARGE.search(text):
        return SessionTooLargeError(f"{server} accepts no value of this size ({text})")
    for pattern, (reason, remedy) in _MISTAKES:
        if pattern.search(text):
            return StoreError(f"{server} {reason} ({text})", remedy=remedy)
    if isinstance(error, exceptions.ResponseError):
        return StoreError(f"{server} answered with an error ({text})")
    return _unreachable(error, server, text, timeout, used_up=used_up)


def _unreachable(error: Exception, server: str, text: str, timeout: float, *, used_up: bool) -> StoreUnavailableError:
    message = f"{server} does not answer: {text}"
    remedy = "Check that it is running, and that the address is right."
    if is_closed(error):
        message = f"{server} closed the connection ({text})"
        remedy = "Read its log, and check whether it has connections left (maxclients)."
    elif isinstance(error, exceptions.TimeoutError | TimeoutError):
        message = f"{server} did not answer within {timeout:g} s"
        if used_up:
            message += ", and all connections of the client are in use"
            remedy = "Raise the max_connections of the client, or check that the server is running."
    return StoreUnavailableError(message, remedy=remedy)


def _original(error: Exception) -> Exception:
    """Return what the server said, without the exceptions in which redis-py wraps it."""
    if error.args and isinstance(error.args[0], exceptions.RedisError):
        return error.args[0]  # raised while a socket was being connected
    while isinstance(error, exceptions.RedisClusterException):
        # Whatever a node says while redis-py explores the cluster becomes "not enabled".
        said = error.__cause__ or error.__context__
        if not isinstance(said, CLIENT_ERRORS):
            break
        error = said
    return error
