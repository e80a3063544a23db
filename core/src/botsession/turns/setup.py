"""From the arguments of `Sessions` to what its turns need: a store, its lifetime, a queue, and leases."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from typing import Any, Generic, cast

import msgspec

from botsession.configuration.limits import LIMITS, check_limit
from botsession.configuration.settings import UNSET, Settings, Unset
from botsession.configuration.sources import Source, find_settings
from botsession.configuration.stores import open_from
from botsession.errors import ConfigError
from botsession.lifetime import Clock, Lifetime, Minutes, utc_now
from botsession.protocol import SessionStore, SupportsExpiry, SupportsReplace, is_in_process, unsupported
from botsession.session import StateT
from botsession.states.migrations import Migration
from botsession.states.state_type import StateType
from botsession.turns.access import StoreAccess
from botsession.turns.leases import LeaseManager, LeasingStore, can_lease
from botsession.turns.queue import TurnQueue, queue_for
from botsession.turns.storage import TurnStorage


class Setup(msgspec.Struct, Generic[StateT], frozen=True):
    """What the turns of one `Sessions` need.

    Attributes:
        store: The store.
        owns_store: Whether the store was made here, and not handed in.
        storage: Loads and saves sessions.
        queue: Admits turns.
        wait: How many seconds a turn waits for others, unless it is given another number.
    """

    store: SessionStore
    owns_store: bool
    storage: TurnStorage[StateT]
    queue: TurnQueue
    wait: float


def set_up(
    source: SessionStore | Source,
    *,
    lengths: Mapping[str, Minutes | Unset | None],
    limits: Mapping[str, object],
    initial_state: StateT | Mapping[str, Any] | None,
    state_type: type[StateT] | None,
    migrations: Sequence[Migration],
    clock: Clock | None,
    options: Mapping[str, object],
) -> Setup[StateT]:
    """Open the store and prepare its turns.

    Args:
        source: See `Sessions`.
        lengths: The arguments `expires_in` and `max_lifetime`.
        limits: The arguments `lock`, `lease_ttl`, `lease_wait` and `max_session_size`.
        initial_state: See `Sessions`.
        state_type: See `Sessions`.
        migrations: See `Sessions`.
        clock: See `Sessions`.
        options: Options of the driver.

    Raises:
        ConfigError: An argument, a setting or an option is not allowed.
        DriverError: The driver cannot be used.
        StateError: The initial state cannot be used.
        UnsupportedError: `lock` is `none`, and the store does not support `replace`.
    """
    settings = Settings()
    if isinstance(source, SessionStore) and not inspect.isclass(source):
        store: SessionStore = source
        _check_handed_in(source, {**lengths, "clock": UNSET if clock is None else clock, **options})
    else:
        settings = find_settings(source, expires_in=lengths["expires_in"], max_lifetime=lengths["max_lifetime"])
        store = open_from(settings, clock=clock or utc_now, **options)
        lengths = {"expires_in": settings.expires_in, "max_lifetime": settings.max_lifetime}
        if initial_state is None and settings.initial_state is not UNSET:
            initial_state = settings.initial_state
    lifetime = store.lifetime if isinstance(store, SupportsExpiry) else _lifetime(lengths, clock or utc_now)
    found = _limits(settings, limits)
    if found["lock"] == "none" and not isinstance(store, SupportsReplace):
        raise unsupported(store, "replace", 'run turns of one session concurrently (lock="none")')
    leases = _leases(store, found)
    storage = TurnStorage(
        StoreAccess(store, lifetime, with_leases=leases is not None),
        StateType(initial_state, state_type, migrations),
        max_session_size=found["max_session_size"],
        leases=leases,
    )
    queue = queue_for(store, found["lock"], storage.use_loop)
    return Setup(store, store is not source, storage, queue, found["lease_wait"])


def _check_handed_in(store: SessionStore, given: Mapping[str, object]) -> None:
    """Refuse settings that belong to the constructor of a store that was handed in."""
    ours = () if isinstance(store, SupportsExpiry) else ("expires_in", "max_lifetime", "clock")
    for key, value in given.items():
        if value is not UNSET and key not in ours:
            raise ConfigError(
                f"{key} cannot be set here, because a ready-made {type(store).__name__} was handed in",
                remedy=f"Give {key} to the store itself.",
            )


def _lifetime(lengths: Mapping[str, Minutes | Unset | None], clock: Clock) -> Lifetime:
    """Return the lifetime for a store that has none of its own."""
    return Lifetime(**{key: value for key, value in lengths.items() if not isinstance(value, Unset)}, clock=clock)


def _limits(settings: Settings, arguments: Mapping[str, object]) -> Mapping[str, Any]:
    """Return the limits: an argument overrides the configuration, which overrides the default."""
    limits = dict(LIMITS)
    for key, argument in arguments.items():
        if argument is not UNSET:
            check_limit(argument, key)
        value = getattr(settings, key) if argument is UNSET else argument
        if value is not UNSET:
            limits[key] = value
    return limits


def _leases(store: SessionStore, limits: Mapping[str, Any]) -> LeaseManager | None:
    """Return the leases that turns hold, if they need any."""
    if limits["lock"] != "auto" or is_in_process(store) or not can_lease(store):
        return None
    return LeaseManager(cast("LeasingStore", store), ttl=limits["lease_ttl"], wait=limits["lease_wait"])
