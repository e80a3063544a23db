"""Sessions: the interface for a bot author."""

from __future__ import annotations

import asyncio
import inspect
import random
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from types import TracebackType
from typing import Any, Final, Generic, Self, overload

from botsession.configuration.limits import Lock, check_wait
from botsession.configuration.settings import UNSET, Unset
from botsession.configuration.sources import Source
from botsession.errors import NestedTurnError, SessionConflictError, TurnTimeoutError
from botsession.ids import check_session_id
from botsession.lifetime import Clock, Minutes
from botsession.protocol import SessionStore, StoredSession, SupportsClose, SupportsQuarantine, unsupported
from botsession.session import Session, StateT
from botsession.states.migrations import Migration
from botsession.turns.destructions import destruction
from botsession.turns.setup import set_up
from botsession.turns.turn import Turn

UPDATE_ATTEMPTS: Final = 32
"""How many times `update` tries."""

_FIRST_PAUSE: Final = 0.002
_LONGEST_PAUSE: Final = 0.25


class Sessions(Generic[StateT]):
    """The sessions of a bot, in one store.

    Use it as an asynchronous context manager, or call `init` and `close`. It closes the store only if it made the store. If the
    block ends with an exception, including Ctrl-C, it does not wait for turns of other tasks. It belongs to the process, thread and
    event loop in which it is opened or first used. Until that loop is closed, using it elsewhere raises a `StoreError`.

    Args:
        source: A store, the name of a driver (`redis`), a URL (`redis://localhost:6379/0`), the path of a class
            (`mybot.stores:MyStore`), or a mapping with the keys of `botsession.toml`. Without it, the configuration file and the
            environment decide, and the default is `memory`.
        expires_in: Minutes after the last write when a session ends; `None` means never. The default is one year.
        max_lifetime: Minutes after its creation when a session ends, however active it is.
        initial_state: The state of a new session, copied for each; the default is an empty object.
        state_type: A msgspec.Struct, dataclass, attrs class or TypedDict. `session.state` is an instance of it, checked whenever a
            session is read or written. Stored fields that it does not know survive the turns.
        migrations: Functions that convert a stored state from each older shape to the next, in order. Each receives a state, which it
            may change, and returns it. Append to them and never remove one, because their number is stored with each session.
        lock: How turns of one session wait for each other. `auto`: across processes, by a lease, if the store supports leases, and
            otherwise within this process. `local`: within this process. `none`: not at all. In every case, a turn that was
            overtaken by another writer is not saved but raises `SessionConflictError`. The default is `auto`.
        lease_ttl: Seconds until the lease of a killed process is free. Leases of running processes are renewed. The default is 5.
        lease_wait: Seconds that a turn waits for other turns of its session, in this process and in others. It is also the limit of
            every other wait for turns. The default is 60.
        max_session_size: Bytes of JSON that the state and the user of a session may have. The default is 1,048,576.
        clock: Returns the present moment, as a `datetime` with a time zone.
        **options: Options of the driver, which override the configuration.

    Raises:
        ConfigError: A setting or an option is unknown, missing or of the wrong type; or `state_type` or a migration cannot be used.
        DriverError: The driver is not installed, is installed twice, or cannot be loaded.
        StateError: The initial state is not a JSON object, or does not fit the `state_type`.
        UnsupportedError: `lock` is `none`, and the store does not support `replace`, so turns would overwrite each other.
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
        setup = set_up(
            source,
            lengths={"expires_in": expires_in, "max_lifetime": max_lifetime},
            limits={
                "lock": lock,
                "lease_ttl": lease_ttl,
                "lease_wait": lease_wait,
                "max_session_size": max_session_size,
            },
            initial_state=initial_state,
            state_type=state_type,
            migrations=migrations,
            clock=clock,
            options=options,
        )
        self.store: Final[SessionStore] = setup.store
        self._owns_store = setup.owns_store
        self._storage = setup.storage
        self._queue = setup.queue
        self._wait = setup.wait

    async def init(self) -> Self:
        """Connect the store. It may be called again.

        Raises:
            StoreUnavailableError: The backend does not answer, or rejects the credentials.
            StoreError: The object belongs to another event loop that is open, or this loop was inherited by a fork.
        """
        self._queue.enter_loop()
        await self.store.init()
        return self

    async def close(self) -> None:
        """Wait for the running turns, then close the store if it was made here.

        A store that was handed in stays open. In a forked process, everything that the parent process opened stays open.

        Raises:
            NestedTurnError: It was called inside a turn, and would wait for that turn.
            TurnTimeoutError: Turns were still running after `lease_wait` seconds. The store was closed nevertheless.
            StoreError: The object belongs to another event loop that is open.
        """
        if self._queue.binding.is_inherited:
            return
        if self._queue.is_around(self._storage):
            raise NestedTurnError(
                "close was called inside a turn, and would wait for that turn",
                remedy="Call it after the turn has ended.",
            )
        try:
            await self._queue.drain(self._storage, time.monotonic() + self._wait)
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
        elif not self._queue.binding.is_inherited:
            await self._close_store()

    def turn(self, session_id: str, *, wait: float | None = None) -> Turn[StateT]:
        """Start a turn: `async with sessions.turn(session_id) as session`.

        Turns of one session run one at a time: in order of arrival within this process, and also across processes if the store
        supports leases. When the block ends, the session is saved if anything has changed. If the block raises, nothing is saved
        and the exception passes through. A new session that was not changed is not stored, and a session that `destroy` removed
        during the turn stays destroyed.

        If the task is cancelled inside the block, nothing is saved. If it is cancelled after the block has ended without an
        exception, the session is saved nevertheless. A `CancelledError` then means *saved*, as a note in it says; if the session
        could not be saved, the error that says why is raised instead.

        Args:
            session_id: The session, such as `telegram:42`.
            wait: Seconds to wait for other turns of the session, in this process and elsewhere; 0 tries once. The default is
                `lease_wait`.

        Returns:
            An asynchronous context manager that yields the `Session`, and can be entered once. Entering or leaving it raises:

        Raises:
            ConfigError: `wait` is not a number of seconds; raised at once.
            InvalidSessionIdError: `session_id` is not a session id.
            NestedTurnError: A turn of this session runs around this one.
            TurnEndedError: It was entered before.
            TurnTimeoutError: Other turns of the session took all of that time, and the handler did not run. It is raised at once if
                they wait for this task, as two tasks do that nest turns of the same sessions in opposite orders.
            SessionConflictError: Another process wrote or destroyed the session during the turn, or this turn was paused beyond its
                lease, or it changed the session after `destroy`; nothing was saved.
            SessionTooLargeError: The session is larger than `max_session_size`; nothing was saved.
            CorruptSessionError: The stored session is unreadable; it was left as it is.
            StoreUnavailableError: The backend does not answer.
            StateError: The state contains something that JSON cannot hold, or does not fit the `state_type`; nothing was saved.
        """
        if wait is not None:
            check_wait(wait)
        return Turn(session_id, self._queue, self._storage, self._wait if wait is None else wait)

    async def update(
        self,
        session_id: str,
        change: Callable[[Session[StateT]], object | Awaitable[object]],
        *,
        wait: float | None = None,
    ) -> Session[StateT]:
        """Change a session with a function that may run more than once.

        If another process writes the session at the same time, the session is read again and the function is called again after a
        short random pause, during which the next waiting turn may run.

        Args:
            session_id: The session to change; a new one if it is absent.
            change: A function or coroutine function that receives the session and changes it. It should do nothing else, since it
                may run several times.
            wait: Seconds to wait for other turns of the session, in all attempts together; 0 never waits for one. The default is
                `lease_wait`.

        Returns:
            The session as it was saved.

        Raises:
            SessionConflictError: All 32 attempts failed, or the session was destroyed in between; nothing was saved.
            BotSessionError: See `turn`.
        """
        if wait is not None:
            check_wait(wait)
        deadline = time.monotonic() + (self._wait if wait is None else wait)
        conflict: SessionConflictError | None = None
        for attempt in range(UPDATE_ATTEMPTS):
            try:
                async with self.turn(session_id, wait=max(0, deadline - time.monotonic())) as session:
                    if conflict is not None and not session.version:
                        raise conflict  # the session was destroyed
                    outcome = change(session)
                    if inspect.isawaitable(outcome):
                        await outcome
                return session
            except SessionConflictError as error:
                if error is conflict or error.session_id != session_id or attempt == UPDATE_ATTEMPTS - 1:
                    raise
                conflict = error
            pause = min(_LONGEST_PAUSE, _FIRST_PAUSE * 2**attempt)
            await asyncio.sleep(random.uniform(0, pause))  # noqa: S311 - it spreads retries, and is not a secret
        raise AssertionError("unreachable")

    async def read(self, session_id: str) -> Session[StateT] | None:
        """Return a copy of the session as it is stored, or `None` if it is absent or expired.

        Raises:
            InvalidSessionIdError: `session_id` is not a session id.
            CorruptSessionError: The stored session is unreadable.
            StoreUnavailableError: The backend does not answer.
            StateError: The state does not fit the `state_type`.
        """
        check_session_id(session_id)
        self._queue.enter_loop()
        return await self._storage.read(session_id)

    async def destroy(self, session_id: str) -> None:
        """Remove a session at once. It is not an error if the session is absent.

        A turn of the session that runs in this process saves nothing, whatever it has changed before, and raises
        `SessionConflictError` if it changes the session afterwards. Inside a turn of the session, only the version that the turn
        has read is removed, and nothing newer.

        Raises:
            SessionConflictError: It was called inside a turn of the session, which another writer has stored since the turn began;
                it was not removed.
            InvalidSessionIdError: `session_id` is not a session id.
            StoreUnavailableError: The backend does not answer.
            TurnTimeoutError: A turn of the session in this process was saving for all of `lease_wait`; it was not destroyed.
        """
        check_session_id(session_id)
        own = self._queue.find_around(session_id)
        async with destruction(self._queue, session_id, own, time.monotonic() + self._wait):
            await (self.store.destroy(session_id) if own is None else own.destroy())

    async def recover(self, session_id: str) -> str | None:
        """Quarantine an unreadable session, so that the next turn starts over.

        Nothing is lost: the bytes stay in the backend, under another name, and can be repaired by hand. A session that is readable
        or absent is left alone.

        Returns:
            The new place of the bytes; `None` if nothing was unreadable.

        Raises:
            InvalidSessionIdError: `session_id` is not a session id.
            StoreUnavailableError: The backend does not answer.
            UnsupportedError: The store does not support `quarantine`.
        """
        check_session_id(session_id)
        self._queue.enter_loop()
        if not isinstance(self.store, SupportsQuarantine):
            raise unsupported(self.store, "quarantine", "quarantine unreadable sessions")
        return await self.store.quarantine(session_id)

    def rehearse(self, session: StoredSession) -> bool:
        """Apply the migrations and the type to a stored session, which is changed in place, without saving it.

        `botsession_operations.rehearse` does this for a whole store.

        Returns:
            Whether the session has an older shape.

        Raises:
            StateError: A migration failed, or the state does not fit the `state_type`.
        """
        state_type = self._storage.state_type
        is_older = state_type.is_older(session)
        state_type.for_bot(session)
        return is_older

    def initial_state(self) -> StateT:
        """Return a new copy of the initial state."""
        return self._storage.state_type.initial_state()

    async def _close_store(self) -> None:
        await self._storage.settle(close=self._owns_store)
        if self._owns_store and isinstance(self.store, SupportsClose):
            await self.store.close()
        self._queue.leave_loop()
