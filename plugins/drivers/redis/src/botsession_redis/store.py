"""The store of the driver `redis`, under all of its names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Self

from redis import exceptions
from redis.asyncio import Redis, RedisCluster

from botsession import (
    ANYTHING,
    ONE_YEAR,
    Claim,
    Clock,
    ConfigError,
    CorruptSessionError,
    Finding,
    Held,
    Lifetime,
    Minutes,
    SessionConflictError,
    StoredSession,
    StoreError,
    StoreUnavailableError,
    utc_now,
)
from botsession.storage import Change, Entry, Found, LeasingRecordStore, records
from botsession_redis import scripts
from botsession_redis.address import Address, find_address
from botsession_redis.client import AnyClient, connections_of
from botsession_redis.connection import Connection
from botsession_redis.keys import Keys
from botsession_redis.leases import Leases
from botsession_redis.listing import list_page


class RedisSessionStore(LeasingRecordStore):
    """Keeps sessions in Redis or Valkey: one key for each, whose value is one line of readable JSON.

    Args:
        url: `redis://user:password@host:port/db`, `rediss://` for TLS, or `unix://` for a socket. `valkey://`, `valkeys://` and
            `redis+unix://` mean the same.
        expires_in: Minutes since the last write or touch after which a session ends; `None` means never.
        host: Without a URL: the server's name or address; `localhost` by default.
        port: Its port; 6379 by default.
        username: The ACL user.
        password: The password.
        db: The number of the database; 0 by default.
        unix_socket_path: A socket, instead of host and port.
        tls: Whether to use TLS; the driver's names `rediss` and `valkeys` imply it.
        key_prefix: How the keys begin. Of two stores in one database, neither prefix should begin with the other.
        timeout: How many seconds an operation may take, including queueing and connecting.
        max_connections: How many operations may use the server at once; the others queue. Never more than a given client
            allows.
        client: A ready `redis.asyncio.Redis` or `RedisCluster`, instead of everything that says where the server is. It is
            never closed.
        max_lifetime: Minutes since its creation after which a session ends; `None` means never.
        clock: Returns the present moment, with a time zone.

    Attributes:
        lifetime: How long sessions are kept.

    Raises:
        ConfigError: Options contradict each other, or one has a value that is not allowed.
    """

    def __init__(
        self,
        url: str | None = None,
        expires_in: Minutes | None = ONE_YEAR,
        *,
        host: str | None = None,
        port: int | None = None,
        username: str | None = None,
        password: str | None = None,
        db: int | None = None,
        unix_socket_path: str | None = None,
        tls: bool = False,
        key_prefix: str = "botsession:",
        timeout: float = 5.0,
        max_connections: int = 32,
        client: Redis | RedisCluster | None = None,
        max_lifetime: Minutes | None = None,
        clock: Clock = utc_now,
    ) -> None:
        if not timeout > 0:
            raise ConfigError(f"timeout is a number of seconds above zero, not {timeout}")
        if port is not None and not 0 < port < 65_536:
            raise ConfigError(f"port is a number from 1 to 65535, not {port}")
        if db is not None and db < 0:
            raise ConfigError(f"db is the number of a database, 0 or above, not {db}")
        if not key_prefix:
            raise ConfigError(
                "key_prefix is empty",
                remedy="Without one, all keys of the database, other programs' too, would be sessions.",
            )
        if max_connections < 1:
            raise ConfigError(f"max_connections is a number above zero, not {max_connections}")
        where: dict[str, Any] = {
            "host": host,
            "port": port,
            "username": username,
            "password": password,
            "db": db,
            "unix_socket_path": unix_socket_path,
            "tls": tls or None,
        }
        source: Address | AnyClient
        if client is None:
            source = find_address(url, where, timeout=timeout, max_connections=max_connections)
            server, max_connections = f"redis at {source}", source.max_connections
        elif not isinstance(client, Redis | RedisCluster):
            kind = f"{type(client).__module__}.{type(client).__name__}"
            raise ConfigError(f"client is a Redis or RedisCluster of redis.asyncio, not {kind}")
        elif url is not None or any(value is not None for value in where.values()):
            raise ConfigError("a ready client says where the server is", remedy="Leave out url, host and the like.")
        else:
            source = client
            server = f"redis behind the given {type(client).__name__}"
            max_connections = min(max_connections, connections_of(client))
        lifetime = Lifetime(expires_in, max_lifetime=max_lifetime, clock=clock)
        super().__init__(f"RedisSessionStore({server}, key_prefix={key_prefix!r})", lifetime)
        self._connection = Connection(source, server, store=self._name, timeout=timeout, limit=max_connections)
        self._keys = Keys(key_prefix, is_cluster=self._connection.is_cluster)
        self._leases = Leases(self._connection, self._keys)

    async def init(self) -> Self:
        await self._connection.open()
        return self

    async def close(self) -> None:
        await self._connection.close()

    async def ping(self) -> None:
        self._check()
        [pong] = await self._connection.send([("PING",)])
        if isinstance(pong, Exception):
            raise self._connection.explain(pong)

    async def touch(self, session_id: str, expires_at: datetime | None) -> bool:
        self._check(session_id)
        deadline = "null" if expires_at is None else f'"{records.moment(expires_at)}"'
        arguments = records.moment(self.lifetime.now()), _milliseconds(expires_at), deadline
        [outcome] = await self._connection.run(scripts.TOUCH, [((self._keys.session(session_id),), arguments)])
        if isinstance(outcome, Exception):
            raise self._connection.explain(outcome, session_id)
        if isinstance(outcome, bytes):
            self._session(session_id, outcome, None)  # raises: it is not a record, or in disorder
        return bool(outcome == _DONE)

    async def diagnose(self) -> list[Finding]:
        from botsession_redis.diagnosis import diagnose

        self._check()
        return await diagnose(self._connection, self.lifetime)

    def _check_open(self) -> None:
        if not self._connection.is_open:
            raise StoreError("the redis store is not open", remedy="Call `await store.init()` first.")
        self._connection.binding.check()

    async def _load(self, session_ids: Sequence[str]) -> list[Found]:
        # Not MGET, which mistakes a key that holds something other than a string for an absent one.
        replies = await self._connection.send([("GET", self._keys.session(session_id)) for session_id in session_ids])
        return [
            self._connection.explain(reply, session_id) if isinstance(reply, Exception) else reply
            for session_id, reply in zip(session_ids, replies, strict=True)
        ]

    async def _apply(self, changes: Sequence[Change]) -> list[SessionConflictError | StoreError | None]:
        if len(changes) == 1 and changes[0].expected is ANYTHING and changes[0].record and changes[0].holder is None:
            return [await self._overwrite(changes[0])]
        now = records.moment(self.lifetime.now())
        calls = [(self._keys.pair(change.session_id), _arguments(change, now)) for change in changes]
        lost: StoreUnavailableError | None = None
        try:
            outcomes = await self._connection.run(scripts.COMMIT, calls, again=False)
        except StoreUnavailableError as error:
            if type(error.__cause__) is not exceptions.ConnectionError:
                raise
            lost = error
            calls = [
                (keys, _arguments(change, now, again=True)) for (keys, _), change in zip(calls, changes, strict=True)
            ]
            outcomes = await self._connection.run(scripts.COMMIT, calls, again=False)
        if outcomes.count(_DONE) == len(outcomes):
            return [None] * len(outcomes)
        return [self._verdict(change, outcome, lost) for change, outcome in zip(changes, outcomes, strict=True)]

    async def _overwrite(self, change: Change) -> StoreError | None:
        """Store a record, whatever is there; sent once, as it could overwrite a newer record the second time."""
        key, record, deadline = self._keys.session(change.session_id), change.record or b"", change.expires_at
        until = () if deadline is None else ("PXAT", _milliseconds(deadline))
        # With GET, the server refuses a key of another type, which belongs to another program.
        [reply] = await self._connection.send([("SET", key, record, *until, "GET")], again=False)
        return self._connection.explain(reply, change.session_id) if isinstance(reply, Exception) else None

    def _verdict(self, change: Change, outcome: Any, lost: StoreUnavailableError | None) -> StoreError | None:
        """Return the outcome of a change.

        Args:
            change: The change.
            outcome: What the script returned for it.
            lost: How the reply to the first attempt was lost, if it was.
        """
        if isinstance(outcome, Exception):
            return self._connection.explain(outcome, change.session_id)
        if outcome == _DONE:
            return None
        if lost is None:
            return SessionConflictError(change.session_id)
        if outcome == _ABSENT and change.record is None:
            return None  # whoever removed it
        return lost  # stored by the first attempt and replaced since, or never stored: nobody can tell

    async def _page(
        self, prefix: str, after: str | None, limit: int | None
    ) -> tuple[Sequence[Entry | CorruptSessionError], str | None]:
        return await list_page(self._connection, self._keys, prefix, after, limit)

    async def _set_aside(self, session_id: str, record: bytes, suffix: str) -> str | None:
        key = self._keys.session(session_id)
        aside = self._keys.attached(key, suffix.encode())
        [moved] = await self._connection.run(scripts.QUARANTINE, [((key, aside), (record,))])
        if isinstance(moved, Exception):
            raise self._connection.explain(moved)
        return f"the key {aside!r}" if moved == _DONE else None

    async def _claim(self, claims: Sequence[Claim]) -> list[Found | Held]:
        return await self._leases.claim(claims)

    async def _renew_leases(self, holders: Mapping[str, str], ttl: float) -> list[bool]:
        return await self._leases.renew(holders, ttl)

    async def _release_leases(self, holders: Mapping[str, str]) -> None:
        await self._leases.release(holders)

    def _session(self, session_id: str, found: Found, now: datetime | None) -> StoredSession | None:
        if isinstance(found, bytes) and not scripts.HEAD.match(found):
            records.decode(found, session_id, store=self._name)  # its error tells more, if it is not a session at all
            reason = "it does not begin with version, expires_at and last_activity, by which the server compares it"
            raise CorruptSessionError(session_id, store=self._name, raw=found, reason=reason)
        return super()._session(session_id, found, now)


_DONE = 1
_ABSENT = 2
"""What `scripts.COMMIT` returns, apart from 0 for a conflict."""


def _arguments(change: Change, now: str, *, again: bool = False) -> tuple[scripts.Argument, ...]:
    """Return the arguments of `scripts.COMMIT`.

    Args:
        change: The change.
        now: The present moment.
        again: Whether the reply to the first attempt was lost.
    """
    expected, active = change.expected, ""
    if again and change.record is not None and change.holder is None and (expected is None or expected is ANYTHING):
        # The first attempt may have stored a record that was destroyed or replaced since, and no lease protects it.
        over = scripts.NEVER
    elif expected is ANYTHING:
        over = "*"
    elif expected is None:
        over = ""
    elif isinstance(expected, str):
        over = f"={expected}"
    else:
        over, active = f"={expected.version}", records.moment(expected.last_activity)
    deadline = _milliseconds(change.expires_at)
    return over, active, change.version, now, deadline, change.holder or "", change.record or b""


def _milliseconds(moment: datetime | None) -> int | str:
    """Return a moment as milliseconds since 1970; empty for `None`."""
    return "" if moment is None else max(1, round(moment.timestamp() * 1000))
