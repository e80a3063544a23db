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

_FULL: Final = "max number of clients"

_ADVICE: Final = {
    "WRONGPASS": "refused the credentials; check username and password",
    "NOAUTH": "refused the credentials; check username and password",
    "NOPERM": _RIGHTS,
    "ACL failure in script": _RIGHTS,
    "The user executing the script can't": _RIGHTS,  # until Redis 7.0
    "DENIED": "takes connections from its own machine only (protected mode); set a password there, or its bind address",
    _FULL: "has no connection left to give; close some, or raise its maxclients",
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

_CLUSTER: Final = (
    "is a node of a cluster, which alone keeps only a share of the sessions; give the client of the whole cluster: "
    "RedisSessionStore(client=RedisCluster.from_url(...)), with redis.asyncio.RedisCluster"
)

_SENTINEL: Final = (
    "is a Sentinel, which keeps no sessions; give the client of the primary that it watches: "
    "RedisSessionStore(client=Sentinel([(host, port)]).master_for(name)), with redis.asyncio.sentinel.Sentinel"
)

_MODES: Final = {"cluster": _CLUSTER, "sentinel": _SENTINEL}
"""What is no server of its own, by what it calls itself."""

_OTHER_KINDS: Final = (
    (
        re.compile("cluster support disabled"),
        "is no cluster; give its URL, or a client that is a redis.asyncio.Redis",
    ),
    (re.compile(r"cluster mode|\b(MOVED|CROSSSLOT)\b"), _CLUSTER),
    (re.compile("DB index is out of range"), "has no database of this number; choose a lower one, 0 on a cluster"),
    (re.compile("unknown command .SELECT"), _SENTINEL),
)
"""What is no server of its own, or not what it was taken for, by what it answers."""

_CODE: Final = re.compile(rf"\b({'|'.join(_ADVICE)})\b")
_NONE_FREE: Final = ("Too many connections", "No connection available.")
"""What redis-py says in place of a `MaxConnectionsError`, by its version and the kind of the pool."""

_HUNG_UP: Final = re.compile("closed|reset|lost|broken pipe|eof", re.IGNORECASE)
_WHILE_WRITING: Final = "Error UNKNOWN while writing to socket. "
_TOO_LARGE: Final = re.compile("invalid bulk length|exceeds maximum allowed size")


def explain(error: Exception, server: str, timeout: float, *, greeting: str = "", used_up: bool = False) -> StoreError:
    """Returns the error that tells what went wrong and what to do, with the client's own as its cause.

    Args:
        error: What the client raised, or a reply that is an error.
        server: A description of the server, without secrets.
        timeout: How long was waited, in seconds.
        greeting: What the server says to whoever connects, where it has hung up.
        used_up: Whether a client that was given has no connection left at present.
    """
    explained = _explained(error, server, timeout, greeting, used_up)
    explained.__cause__ = error
    return explained


def check_mode(mode: str, server: str) -> None:
    """Refuses a server that keeps no sessions, or a share of them.

    Args:
        mode: What it calls itself.
        server: A description of it, without secrets.

    Raises:
        StoreError: It is a node of a cluster, or a Sentinel.
    """
    if mode in _MODES:
        raise StoreError(f"{server} {_MODES[mode]}")


def has_none_free(error: Exception) -> bool:
    """Tells whether the client has no connection left, so that nothing was sent."""
    return isinstance(error, exceptions.MaxConnectionsError) or (
        isinstance(error, exceptions.ConnectionError) and str(error) in _NONE_FREE
    )


def is_full(greeting: str) -> bool:
    """Tells whether a server has no connection left to give, from what it says."""
    return _FULL in greeting


def has_hung_up(error: BaseException) -> bool:
    """Tells whether the server has closed the connection, whatever for."""
    told = type(error) is exceptions.ConnectionError or isinstance(error, exceptions.RedisClusterException)
    return told and _HUNG_UP.search(str(error)) is not None


def is_no_string(error: Exception) -> bool:
    """Tells whether the server refused because the key holds something else than a string."""
    return isinstance(error, exceptions.ResponseError) and "WRONGTYPE" in str(error)


def _explained(error: Exception, server: str, timeout: float, greeting: str, used_up: bool) -> StoreError:
    error = _root(error)
    # A server may repeat the arguments of a command that it does not know.
    text = greeting or str(error).partition(", with args")[0].replace(_WHILE_WRITING, "").rstrip(".")
    match = _CODE.search(text)
    code = match[0] if match else next((code for kind, code in _CODES.items() if isinstance(error, kind)), None)
    if code is None and has_none_free(error):
        code = "connections"
    if code is not None:
        return StoreUnavailableError(f"{server} {_ADVICE[code]} ({text})")
    if isinstance(error, exceptions.TimeoutError | TimeoutError):
        question = "is it running and reachable, and is the address right?"
        if used_up:
            question = (
                "all connections of the client are in use: raise its max_connections, or see whether it is running"
            )
        return StoreUnavailableError(f"{server} did not answer within {timeout:g} s; {question}")
    if _TOO_LARGE.search(text):
        return SessionTooLargeError(f"{server} takes no value of this size ({text})")
    kind = next((advice for pattern, advice in _OTHER_KINDS if pattern.search(text)), None)
    if kind is not None or isinstance(error, exceptions.ResponseError):
        return StoreError(f"{server} {kind or 'answered with an error'} ({text})")
    if has_hung_up(error):
        return StoreUnavailableError(
            f"{server} closed the connection ({text}); look into its log, and whether it has connections left (maxclients)"
        )
    return StoreUnavailableError(f"{server} does not answer: {text}; is it running, and is the address right?")


def _root(error: Exception) -> Exception:
    """Returns what the server has said, in place of what redis-py makes of it."""
    if error.args and isinstance(error.args[0], exceptions.RedisError):
        return error.args[0]  # it came while a socket was being connected
    while isinstance(error, exceptions.RedisClusterException):
        # Whatever a node says while the cluster is being looked at is "not enabled" for redis-py.
        said = error.__cause__ or error.__context__
        if not isinstance(said, CLIENT_ERRORS):
            break
        error = said
    return error
