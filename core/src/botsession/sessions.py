"""Sessions: what a bot author works with."""

from __future__ import annotations

import asyncio
import inspect
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Generic, Self, cast, overload

from botsession.configuration.limits import (
    LIMITS,
    Lock,
    check_limit,
    check_wait,
)
from botsession.configuration.settings import UNSET, Settings, Unset
from botsession.configuration.sources import Source, find_settings
from botsession.configuration.stores import open_from
from botsession.errors import (
    ConfigError,
    NestedTurnError,
    SessionConflictError,
    TurnTimeoutError,
)
from botsession.ids import check_session_id
from botsession.lifetime import (
    Clock,
    Lifetime,
    Minutes,
    utc_now,
)
from botsession.protocol import (
    SessionStore,
    StoredSession,
    SupportsClose,
    SupportsExpiry,
    SupportsQuarantine,
    SupportsReplace,
)
from botsession.session import Session, StateT
from botsession.states.state_type import Migration, StateType
from botsession.turns.leases import LeaseManager, LeasingStore, is_leasing
from botsession.turns.storage import TurnStorage
from botsession.turns.turn import Turn, TurnQueue

if TYPE_CHECKING:
    from types import TracebackType

UPDATE_ATTEMPTS: Final = 32
"""How often `update` tries."""

_FIRST_PAUSE: Final = 0.002
_LONGEST_PAUSE: Final = 0.25


class Sessions(Generic[StateT]):
    """The sessions of a bot, in one store.

    Use it as an asynchronous context manager, or call `init` and `close`. It closes the store only if it made it. A block
    that ends by an exception, Ctrl-C included, does not wait for turns of other tasks. It belongs to the process,
    thread and event loop in which it is opened or first used; elsewhere it is a `StoreError`, until that loop is closed.

    Args:
        source: A store, a driver's name (`redis`), a URL (`redis://localhost:6379/0`), the path of a class
            (`mybot.stores:MyStore`), a mapping with the keys of `botsession.toml`, or nothing: then the configuration
            file and the environment say, and else it is `memory`.
        expires_in: Minutes since the last write after which a session ends; `None` means never; one year where nothing
            says otherwise.
        max_lifetime: Minutes since its creation after which a session ends however active it is.
        initial_state: The state of a new session, copied for each; empty where not given.
        state_type: A msgspec.Struct, dataclass, attrs class or TypedDict: `session.state` is one of these, checked
            whenever it is read and written. Stored fields that it does not know survive the turns.
        migrations: Functions that take a stored state from each older shape to the next, in order; each is given a
            state (which it may change) and returns it. Append, and never remove: their number is stored with each
            session.
        lock: How turns of one session wait for each other: `auto`, across processes by a lease where the store has leases,
            otherwise within this process; `local`, within this process only; `none`, not at all. Whichever it is, a turn
            that another one overtook does not save, but raises `SessionConflictError`. `auto` where nothing says otherwise.
        lease_ttl: Seconds after which the lease of a process that was killed is free. Those of living ones are renewed.
            5 where nothing says otherwise.
        lease_wait: Seconds that a turn waits for others of its session, in this process and in others; 60 where nothing says
            otherwise. Every other wait for turns is bounded by it too.
        max_session_size: Bytes of JSON that state and user of a session may have; 1,048,576 where nothing says
            otherwise.
        clock: Tells the present moment, as a `datetime` with a time zone.
        **options: Options of the driver; they go before those of the configuration.

    Raises:
        ConfigError: A setting or an option is unknown, missing or of the wrong type; or `state_type` or a migration cannot
            be used.
        DriverError: The driver is not installed, installed twice, or does not load.
        StateError: The initial state is no JSON object, or does not fit the `state_type`.
        UnsupportedError: `lock` is `none`, and the store has no `replace`, without which turns would overwrite each other.
    """

    @overload
    def __init__(
        self: Sessions[dict[str, Any]],
        source: SessionStore | Source = None,
        *,
        expires_in: Minutes | Unset | None = UNSET,
        max_lifetime: Minutes | Unset | None = UNSET,
        initial_state: Mapping[str, Any] | None = None,
        state_type: None = None,
        migrations: Sequence[Migration] = (),
        lock: Lock | Unset = UNSET,
        lease_ttl: float | Unset = UNSET,
        lease_wait: float | Unset = UNSET,
        max_session_size: int | Unset = UNSET,
        clock: Clock | None = None,
        **options: object,
    ) -> None: ...

    @overload
    def __init__(
        self,
        source: SessionStore | Source = None,
        *,
        expires_in: Minutes | Unset | None = UNSET,
        max_lifetime: Minutes | Unset | None = UNSET,
        initial_state: StateT | Mapping[str, Any] | None = None,
        state_type: type[StateT],
        migrations: Sequence[Migration] = (),
        lock: Lock | Unset = UNSET,
        lease_ttl: float | Unset = UNSET,
        lease_wait: float | Unset = UNSET,
        max_session_size: int | Unset = UNSET,
        clock: Clock | None = None,
        **options: object,
    ) -> None: ...

    def __init__(
        self,
        source: SessionStore | Source = None,
        *,
        expires_in: Minutes | Unset | None = UNSET,
        max_lifetime: Minutes | Unset | None = UNSET,
        initial_state: StateT | Mapping[str, Any] | None = None,
        state_type: type[StateT] | None = None,
        migrations: Sequence[Migration] = (),
        lock: Lock | Unset = UNSET,
        lease_ttl: float | Unset = UNSET,
        lease_wait: float | Unset = UNSET,
        max_session_size: int | Unset = UNSET,
        clock: Clock | None = None,
        **options: object,
    ) -> None:
        given = {"expires_in": expires_in, "max_lifetime": max_lifetime}
        settings = Settings()
        if isinstance(source, SessionStore) and not inspect.isclass(source):
            store: SessionStore = source
            _check_handed_in(source, {**given, "clock": UNSET if clock is None else clock, **options})
        else:
            settings = find_settings(source, expires_in=expires_in, max_lifetime=max_lifetime)
            store = open_from(settings, clock=clock or utc_now, **options)
            given = {"expires_in": settings.expires_in, "max_lifetime": settings.max_lifetime}
            if initial_state is None and settings.initial_state is not UNSET:
                initial_state = settings.initial_state
        self.store: Final[SessionStore] = store
        self._owns_store = store is not source
        lifetime = store.lifetime if isinstance(store, SupportsExpiry) else _lifetime(given, clock or utc_now)
        limits = _limits(
            settings, lock=lock, lease_ttl=lease_ttl, lease_wait=lease_wait, max_session_size=max_session_size
        )
        if limits["lock"] == "none" and not isinstance(store, SupportsReplace):
            from botsession.protocol import unsupported

            raise unsupported(store, "replace", 'run turns of one session side by side (lock="none")')
        self._wait: float = limits["lease_wait"]
        self._storage = TurnStorage(
            store,
            lifetime,
            StateType(initial_state, state_type, migrations),
            max_session_size=limits["max_session_size"],
            leasing=_leasing(store, limits),
        )
        self._line: TurnQueue[StateT] = TurnQueue(exclusive=limits["lock"] != "none", begin_in=self._storage.begin_in)

    async def init(self) -> Self:
        """Connects the store; may be called again.

        Raises:
            StoreUnavailableError: The backend does not answer, or refuses the credentials.
            StoreError: It belongs to another event loop that is open, or this one was inherited by a fork.
        """
        self._line.enter_loop()
        await self.store.init()
        return self

    async def close(self) -> None:
        """Waits for the turns that are running, then closes the store if it was made here.

        A store that was handed in stays open. In a forked process, what the parent process opened stays open.

        Raises:
            NestedTurnError: It was called inside a turn, for which it would wait.
            TurnTimeoutError: Turns were still running after `lease_wait` seconds; the store was closed nevertheless.
            StoreError: It belongs to another event loop that is open.
        """
        if self._line.binding.is_inherited:
            return
        if self._line.is_around():
            raise NestedTurnError(
                "close was called inside a turn and would wait for it; call it after the turn has ended"
            )
        try:
            await self._line.empty(time.monotonic() + self._wait)
        except TurnTimeoutError:
            await self._close_store()
            raise
        await self._close_store()

    async def __aenter__(self) -> Self:
        return await self.init()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if kind is None:
            await self.close()
        elif not self._line.binding.is_inherited:
            await self._close_store()

    def turn(self, session_id: str, *, wait: float | None = None) -> Turn[StateT]:
        """Begins a turn: `async with sessions.turn(session_id) as session`.

        Turns of one session run one after the other, in order of arrival within this process, and one at a time across
        processes where the store has leases. When the block ends, the session is saved if
        anything changed; if it raises, nothing is saved and the exception passes through. A session that is new and was
        not changed is not stored, and one that was destroyed by `destroy` meanwhile stays destroyed.

        A task that is cancelled within the block saves nothing. Once the block has ended without an exception, the session is
        saved although the task is cancelled. Then `CancelledError` is raised and means *saved*, which a note in it says; if
        it could not be saved, the error that tells why is raised instead.

        Args:
            session_id: Whose turn it is, such as `telegram:42`.
            wait: Seconds to wait for other turns of the session, in this process and elsewhere; 0 tries once. `lease_wait` where
                not given.

        Returns:
            An asynchronous context manager that gives the `Session`, to be entered once. It raises, when entered or left:

        Raises:
            ConfigError: `wait` is no number of seconds; raised at once.
            InvalidSessionIdError: `session_id` is no session id.
            NestedTurnError: A turn of this session is running around this one.
            TurnEndedError: It was entered before.
            TurnTimeoutError: Other turns of the session took all of that time; the handler did not run. It is raised at once
                where they wait for this task themselves, as two turns do that begin one inside the other crosswise.
            SessionConflictError: Another process wrote or destroyed the session during the turn, or this one was paused beyond
                its lease, or it changed the session after `destroy`; nothing was saved.
            SessionTooLargeError: The session is larger than `max_session_size`; nothing was saved.
            CorruptSessionError: What is stored is unreadable; it was left as it is.
            StoreUnavailableError: The backend does not answer.
            StateError: The state holds what JSON cannot hold, or does not fit the `state_type`; nothing was saved.
        """
        if wait is not None:
            check_wait(wait)
        return Turn(self._storage, self._line, session_id, self._wait if wait is None else wait)

    async def update(
        self,
        session_id: str,
        change: Callable[[Session[StateT]], object | Awaitable[object]],
        *,
        wait: float | None = None,
    ) -> Session[StateT]:
        """Changes a session by a function that may run more than once.

        Where another process writes the session at the same time, it is read again and the function is called again,
        after a short random pause, during which the next turn in line may go first.

        Args:
            session_id: The session to change; a new one where it is absent.
            change: Called with the session, which it changes; plain or asynchronous; should do nothing else, since it
                may run several times.
            wait: Seconds to wait for other turns of the session, in all attempts together; 0 never waits for one.
                `lease_wait` where not given.

        Returns:
            The session as it was saved.

        Raises:
            SessionConflictError: It did not succeed in 32 attempts, or the session was destroyed meanwhile; nothing was saved.
            BotSessionError: Whatever `turn` raises.
        """
        if wait is not None:
            check_wait(wait)
        deadline = time.monotonic() + (self._wait if wait is None else wait)
        conflict: SessionConflictError | None = None
        for attempt in range(UPDATE_ATTEMPTS):
            try:
                async with self.turn(session_id, wait=max(0, deadline - time.monotonic())) as session:
                    if conflict is not None and not session.version:
                        raise conflict  # it was destroyed
                    outcome = change(session)
                    if inspect.isawaitable(outcome):
                        await outcome
                return session
            except SessionConflictError as error:
                if error is conflict or error.session_id != session_id or attempt == UPDATE_ATTEMPTS - 1:
                    raise
                conflict = error
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt)
            await asyncio.sleep(random.uniform(0, pause))  # noqa: S311 - spreads retries, keeps no secret
        raise AssertionError("unreachable")

    async def read(self, session_id: str) -> Session[StateT] | None:
        """Returns a copy of the session as it is stored; `None` where it is absent or expired.

        Raises:
            InvalidSessionIdError: `session_id` is no session id.
            CorruptSessionError: What is stored is unreadable.
            StoreUnavailableError: The backend does not answer.
            StateError: The state does not fit the `state_type`.
        """
        check_session_id(session_id)
        self._line.enter_loop()
        return await self._storage.read(session_id)

    async def destroy(self, session_id: str) -> None:
        """Removes a session at once. No error where it is absent.

        A turn of it that is running here saves nothing, whatever it has changed before, and raises `SessionConflictError` if
        it changes the session afterwards. Within a turn of the session, that which the turn has read is removed, and nothing
        newer.

        Raises:
            SessionConflictError: It was called within a turn of the session, which somebody else wrote since that began; it
                was not removed.
            InvalidSessionIdError: `session_id` is no session id.
            StoreUnavailableError: The backend does not answer.
            TurnTimeoutError: A turn of it here was saving for all of `lease_wait`; the session was not destroyed.
        """
        check_session_id(session_id)
        own = self._line.own(session_id)
        async with self._line.destruction(session_id, own, time.monotonic() + self._wait):
            if own is None:
                await self._storage.destroy(session_id)
            else:
                await self._storage.remove(own.beginning)

    async def recover(self, session_id: str) -> str | None:
        """Puts aside what is unreadable under a session id, so that the next turn starts afresh.

        Nothing is lost: the bytes stay in the backend, out of the way, for a person to repair. A session that is readable,
        or absent, is left alone.

        Returns:
            Where the bytes lie now; `None` where there was nothing unreadable.

        Raises:
            InvalidSessionIdError: `session_id` is no session id.
            StoreUnavailableError: The backend does not answer.
            UnsupportedError: The store cannot put anything aside.
        """
        check_session_id(session_id)
        self._line.enter_loop()
        if not isinstance(self.store, SupportsQuarantine):
            from botsession.protocol import unsupported

            raise unsupported(self.store, "quarantine", "put aside what is unreadable")
        return await self.store.quarantine(session_id)

    def rehearse(self, session: StoredSession) -> bool:
        """Tries migrations and type on a session as it is stored, which is changed in place, and saves nothing.

        `botsession_operations.rehearse` does it for a whole store.

        Returns:
            Whether the session has an older shape.

        Raises:
            StateError: A migration failed, or the state does not fit the `state_type`.
        """
        return self._storage.rehearse(session)

    def initial_state(self) -> StateT:
        """Returns a fresh copy of the initial state."""
        return self._storage.initial_state()

    async def _close_store(self) -> None:
        await self._storage.settle(whole=self._owns_store)
        if self._owns_store and isinstance(self.store, SupportsClose):
            await self.store.close()
        self._line.leave_loop()


def _check_handed_in(store: SessionStore, given: Mapping[str, object]) -> None:
    """Refuses settings that a ready-made store has already, or never has."""
    ours = () if isinstance(store, SupportsExpiry) else ("expires_in", "max_lifetime", "clock")
    for key, value in given.items():
        if value is not UNSET and key not in ours:
            raise ConfigError(f"give {key} to the store itself: a {type(store).__name__} was handed in ready-made")


def _lifetime(given: Mapping[str, Minutes | Unset | None], clock: Clock) -> Lifetime:
    """Returns the lifetime that holds for a store which has none of its own."""
    return Lifetime(**{key: value for key, value in given.items() if not isinstance(value, Unset)}, clock=clock)


def _limits(settings: Settings, **given: object) -> Mapping[str, Any]:
    """Returns the limits that hold: what was given, else what is configured, else the defaults."""
    limits = dict(LIMITS)
    for key, argument in given.items():
        if argument is not UNSET:
            check_limit(argument, key)
        value = getattr(settings, key) if argument is UNSET else argument
        if value is not UNSET:
            limits[key] = value
    return limits


def _leasing(store: SessionStore, limits: Mapping[str, Any]) -> LeaseManager | None:
    """Returns the leases that turns hold, where they do."""
    if limits["lock"] != "auto" or not is_leasing(store):
        return None
    return LeaseManager(cast("LeasingStore", store), ttl=limits["lease_ttl"], wait=limits["lease_wait"])
