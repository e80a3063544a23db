"""The store of the driver `redis`, by all of its names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Self

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
    ScanPage,
    SessionConflictError,
    Step,
    StoredSession,
    StoreError,
    StoreUnavailableError,
    utc_now,
)
from botsession.lifetime import new_version
from botsession.storage import check_page_size, records
from botsession_redis import scripts
from botsession_redis.connecting import PoolMaker, address, connections_of, pool_maker
from botsession_redis.keys import Keys
from botsession_redis.leases import Leases
from botsession_redis.link import Client, Link
from botsession_redis.listing import Listing


class RedisSessionStore:
    """Keeps sessions in Redis or Valkey: one key for each, whose value is one line of readable JSON.

    Args:
        url: `redis://user:password@host:port/db`, `rediss://` for TLS, or `unix://` for a socket; or `valkey://`, `valkeys://` and
            `redis+unix://`, which mean the same.
        expires_in: Minutes since the last write or touch after which a session ends; `None` means never.
        host: The server's name or address, where there is no URL; `localhost` by default.
        port: Its port; 6379 by default.
        username: The ACL user.
        password: The password.
        db: The number of the database; 0 by default.
        unix_socket_path: A socket, instead of host and port.
        tls: Whether to speak TLS where there is no URL; the driver's names `rediss` and `valkeys` mean the same.
        key_prefix: How the keys begin. Of two stores in one database, neither's should begin with the other's.
        timeout: How many seconds an operation may take, connecting and waiting included.
        max_connections: How many operations may talk to the server at once; more wait for their turn. Never more than a
            given client allows.
        client: A ready `redis.asyncio.Redis` or `RedisCluster`, instead of all that says where the server is; it is
            never closed.
        max_lifetime: Minutes since its creation after which a session ends; `None` means never.
        clock: Tells the present moment in UTC.

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
            raise ConfigError(f"timeout is a number of seconds above zero; got {timeout}")
        if port is not None and not 0 < port < 65_536:
            raise ConfigError(f"port is a number from 1 to 65535; got {port}")
        if db is not None and db < 0:
            raise ConfigError(f"db is the number of a database, 0 or above; got {db}")
        if not key_prefix:
            raise ConfigError("key_prefix is empty: all keys of the database, those of others too, would be sessions")
        if max_connections < 1:
            raise ConfigError(f"max_connections is a number above zero; got {max_connections}")
        self.lifetime = Lifetime(expires_in, max_lifetime=max_lifetime, clock=clock)
        where = {
            "host": host,
            "port": port,
            "username": username,
            "password": password,
            "db": db,
            "unix_socket_path": unix_socket_path,
            "tls": tls or None,
        }
        if client is None:
            maker = pool_maker(url, where, timeout=timeout, max_connections=max_connections)
            source: PoolMaker | Client = maker
            pool = maker()
            server, max_connections = f"redis at {address(pool)}", pool.max_connections
        elif not isinstance(client, Redis | RedisCluster):
            kind = f"{type(client).__module__}.{type(client).__name__}"
            raise ConfigError(f"client is a Redis or RedisCluster of redis.asyncio, not {kind}")
        elif url is not None or any(value is not None for value in where.values()):
            raise ConfigError("a ready client says where the server is; leave out url, host and the like")
        else:
            source = client
            max_connections = min(max_connections, connections_of(client))
            server = f"redis behind the given {type(client).__name__}"
        self._name = f"RedisSessionStore({server}, key_prefix={key_prefix!r})"
        self._link = Link(source, server, store=self._name, timeout=timeout, limit=max_connections)
        self._keys = Keys(key_prefix, self._link.is_cluster)
        self._leases = Leases(self._link, self._keys, self.lifetime.now, self._outcome)
        self._listing = Listing(self._link, self.lifetime, key_prefix, self._name, self._keys.is_of_a_session)

    def __repr__(self) -> str:
        return self._name

    async def init(self) -> Self:
        await self._link.open()
        return self

    async def close(self) -> None:
        await self._link.close()

    async def ping(self) -> None:
        await self._link.send("PING")

    async def read(self, session_id: str) -> StoredSession | None:
        [raw] = await self._link.send_all([("GET", self._keys.session(session_id))])
        return self._session(session_id, raw, self.lifetime.now())

    async def write(self, session_id: str, session: StoredSession) -> None:
        self._link.check_open()
        records.check_pair(session_id, session)
        self.lifetime.stamp(session)
        record = records.encode(session)
        until = () if session.expires_at is None else ("PXAT", _milliseconds(session.expires_at))
        # GET makes the server refuse a key of another type, which is another program's.
        [answer] = await self._link.send_all(
            [("SET", self._keys.session(session_id), record, *until, "GET")], again=False
        )
        if isinstance(answer, Exception):
            raise self._link.explain(answer, session_id)

    async def destroy(self, session_id: str) -> None:
        [outcome] = await self._destroy_many([Step.remove(session_id)])
        if outcome is not None:
            raise outcome

    async def replace(self, session_id: str, session: StoredSession, *, expected: str | None) -> None:
        self._link.check_open()
        records.check_pair(session_id, session)
        [outcome] = await self._replace_many([Step.replace(session, expected)])
        if outcome is not None:
            raise outcome

    async def lease_many(self, claims: Sequence[Claim]) -> list[StoredSession | Held | StoreError | None]:
        outcomes = await self._leases.take(claims)
        _check_any(outcomes)
        return outcomes

    async def renew_leases(self, holders: Mapping[str, str], ttl: float) -> list[bool]:
        return await self._leases.renew(holders, ttl)

    async def release_leases(self, holders: Mapping[str, str]) -> None:
        await self._leases.release(holders)

    async def quarantine(self, session_id: str) -> str | None:
        key = self._keys.session(session_id)
        try:
            await self.read(session_id)
        except CorruptSessionError as error:
            aside = self._keys.beside(key, f"corrupt-{self.lifetime.now():%Y%m%dT%H%M%SZ}-{new_version()}".encode())
            [moved] = await self._link.run(scripts.QUARANTINE, [((key, aside), (error.raw,))])
            if isinstance(moved, Exception):
                raise self._link.explain(moved) from error
            return f"the key {aside!r}" if moved else None
        return None

    async def touch(self, session_id: str, expires_at: datetime | None) -> bool:
        key = self._keys.session(session_id)
        until = "" if expires_at is None else _milliseconds(expires_at)
        text = "null" if expires_at is None else f'"{records.moment(expires_at)}"'
        call = (key,), (records.moment(self.lifetime.now()), until, text)
        [outcome] = await self._link.run(scripts.TOUCH, [call])
        if isinstance(outcome, Exception):
            raise self._link.explain(outcome, session_id)
        if isinstance(outcome, bytes):
            raise self._disordered(session_id, outcome)
        return bool(outcome)

    async def scan(self, prefix: str = "", *, after: str | None = None, limit: int | None = None) -> ScanPage:
        check_page_size(limit)
        return await self._listing.page(prefix, after, limit)

    async def read_many(self, session_ids: Sequence[str]) -> list[StoredSession | StoreError | None]:
        calls: list[scripts.Call] = [((self._keys.session(session_id),), ()) for session_id in session_ids]
        replies = await self._link.run(scripts.READ, calls)
        now = self.lifetime.now()
        outcomes = [
            self._outcome(session_id, reply, now) for session_id, reply in zip(session_ids, replies, strict=True)
        ]
        _check_any(outcomes)
        return outcomes

    async def commit(self, steps: Sequence[Step]) -> list[SessionConflictError | StoreError | None]:
        outcomes: dict[str, SessionConflictError | StoreError | None] = {}
        for carry_out, some in (
            (self._destroy_many, [step for step in steps if step.session is None]),
            (self._replace_many, [step for step in steps if step.session is not None and step.is_stamped]),
            (self._restore_many, [step for step in steps if step.session is not None and not step.is_stamped]),
        ):
            if some or not steps:
                outcomes |= dict(zip([step.session_id for step in some], await carry_out(some), strict=True))
        return [outcomes[step.session_id] for step in steps]

    async def _replace_many(self, replacements: Sequence[Step]) -> list[SessionConflictError | StoreError | None]:
        self._link.check_open()
        keys = [self._keys.both(replacement.session.id) for replacement in replacements]
        now = records.moment(self.lifetime.stamp_all([replacement.session for replacement in replacements]))
        calls = [(each, _replacement(replacement, now)) for each, replacement in zip(keys, replacements, strict=True)]
        return await self._store_all([replacement.session.id for replacement in replacements], calls)

    async def _restore_many(self, restorations: Sequence[Step]) -> list[SessionConflictError | StoreError | None]:
        self._link.check_open()
        for restoration in restorations:
            records.check_restored(restoration.session)
        now = records.moment(self.lifetime.now())
        calls = [
            (self._keys.both(restoration.session.id), _restoration(restoration, now)) for restoration in restorations
        ]
        return await self._store_all([restoration.session.id for restoration in restorations], calls)

    async def _destroy_many(self, removals: Sequence[Step]) -> list[SessionConflictError | StoreError | None]:
        now = records.moment(self.lifetime.now())
        calls: list[scripts.Call] = [
            (self._keys.both(removal.session_id), (_over(removal.expected), now, removal.holder or ""))
            for removal in removals
        ]
        outcomes, lost = await self._run_surely(scripts.DESTROY, calls, calls)
        if lost is not None:
            # Who removed what is not there any more makes no difference.
            outcomes = [1 if outcome == _ABSENT else outcome for outcome in outcomes]
        return self._verdicts([removal.session_id for removal in removals], outcomes, lost)

    async def diagnose(self) -> list[Finding]:
        from botsession_redis.diagnosis import diagnose

        return await diagnose(self._link, self.lifetime)

    async def _store_all(
        self, session_ids: Sequence[str], calls: Sequence[scripts.Call]
    ) -> list[SessionConflictError | StoreError | None]:
        outcomes, lost = await self._run_surely(scripts.REPLACE, calls, [_repeated(call) for call in calls])
        return self._verdicts(session_ids, outcomes, lost)

    async def _run_surely(
        self, script: scripts.Script, calls: Sequence[scripts.Call], repeated: Sequence[scripts.Call]
    ) -> tuple[list[Any], StoreUnavailableError | None]:
        """Runs a script, and once more where its answer was lost; returns the outcomes, and how it was lost."""
        try:
            return await self._link.run(script, calls, again=False), None
        except StoreUnavailableError as error:
            if type(error.__cause__) is not exceptions.ConnectionError:
                raise
            return await self._link.run(script, repeated, again=False), error

    def _verdicts(
        self, session_ids: Sequence[str], outcomes: Sequence[Any], lost: StoreUnavailableError | None
    ) -> list[SessionConflictError | StoreError | None]:
        verdicts = [
            self._verdict(session_id, outcome, lost) for session_id, outcome in zip(session_ids, outcomes, strict=True)
        ]
        _check_any(verdicts)
        return verdicts

    def _outcome(self, session_id: str, reply: Any, now: datetime) -> StoredSession | StoreError | None:
        """Returns the session, or the error that tells why there is none in the reply."""
        try:
            return self._session(session_id, reply, now)
        except StoreError as error:
            return error

    def _session(self, session_id: str, reply: Any, now: datetime) -> StoredSession | None:
        if reply is None:
            return None
        if isinstance(reply, Exception):
            raise self._link.explain(reply, session_id)
        session = records.decode(reply, session_id, store=self._name)
        if not scripts.is_laid_out(reply):
            raise self._disordered(session_id, reply)
        return None if self.lifetime.expired(session.expires_at, now) else session

    def _disordered(self, session_id: str, raw: bytes) -> CorruptSessionError:
        reason = "it does not begin with version, expires_at and last_activity, by which the server compares it"
        return CorruptSessionError(session_id, store=self._name, raw=raw, reason=reason)

    def _verdict(self, session_id: str, outcome: Any, lost: StoreUnavailableError | None) -> StoreError | None:
        if isinstance(outcome, Exception):
            return self._link.explain(outcome, session_id)
        if outcome == _DONE:
            return None
        # After a lost answer: stored by the first attempt and replaced since, or never stored; nobody can tell.
        return lost or SessionConflictError(session_id)


_DONE: Final = 1
_ABSENT: Final = 2
"""What the scripts answer, beside 0 for a conflict."""


def _check_any(outcomes: Sequence[object]) -> None:
    """Raises what happened to all entries, since then it concerns the server and no entry."""
    first = next(iter(outcomes), None)
    if isinstance(first, StoreUnavailableError) and all(isinstance(each, StoreUnavailableError) for each in outcomes):
        raise first


def _replacement(replacement: Step, now: str) -> tuple[scripts.Argument, ...]:
    """Returns the arguments of `scripts.REPLACE` for a session that is written now."""
    session, expected, holder = replacement.session, replacement.expected, replacement.holder
    return _over(expected), session.version, "", now, _deadline(session), holder or "", records.encode(session)


def _restoration(restoration: Step, now: str) -> tuple[scripts.Argument, ...]:
    """Returns the arguments of `scripts.REPLACE` for a session that is stored as it is."""
    session, over = restoration.session, restoration.expected
    expected, active = (None, "") if over is None else (over.version, records.moment(over.last_activity))
    return _over(expected), "", active, now, _deadline(session), "", records.encode(session)


def _repeated(call: scripts.Call) -> scripts.Call:
    """Returns what is sent after a lost answer.

    A record that must be absent, and that no lease protects, may have been stored and destroyed since: it is not stored again.
    """
    keys, (expected, *rest) = call
    holder = rest[4]
    return keys, (scripts.NEVER if not expected and not holder else expected, *rest)


def _over(expected: object) -> str:
    return "" if expected in (None, ANYTHING) else f"={expected}"


def _deadline(session: StoredSession) -> int | str:
    return "" if session.expires_at is None else _milliseconds(session.expires_at)


def _milliseconds(moment: datetime) -> int:
    return max(1, round(moment.timestamp() * 1000))
