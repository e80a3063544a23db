"""Migrations: functions that convert a stored state from an older shape to the current one."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from botsession.errors import ConfigError, StateError
from botsession.session import Session
from botsession.states import json_values

Migration = Callable[[dict[str, Any]], dict[str, Any]]
"""A function that converts a state from one shape to the next."""


class Migrations:
    """The migrations of a bot, in order. A session stores how many of them its state has been through, as `shape`.

    Args:
        migrations: What converts a state from each older shape to the next.

    Attributes:
        count: How many there are, which is the current shape.

    Raises:
        ConfigError: A value in it is not a plain function.
    """

    def __init__(self, migrations: Sequence[Migration]) -> None:
        self._migrations = _checked(migrations)
        self.count: int = len(self._migrations)

    def apply(self, stored: Session[dict[str, Any]]) -> None:
        """Convert the state of a stored session to the current shape, in place.

        Raises:
            StateError: A migration failed, or the session was stored by a bot with more migrations.
        """
        if stored.shape > self.count:
            raise StateError(
                "$.state",
                f"session {stored.id!r} has been through {stored.shape} migrations and this bot has {self.count}, so a newer "
                "version of the bot has stored it",
                remedy="Run the newer version, or add its migrations to this one.",
            )
        state = stored.state
        for migration in self._migrations[stored.shape :]:
            state = _migrate(migration, state, stored.id)
        try:
            json_values.encode(state)
        except StateError as error:
            raise StateError(
                error.path, f"a migration of session {stored.id!r} left a value that JSON cannot hold: {error}"
            ) from error
        stored.state, stored.shape = state, self.count


def _migrate(migration: Migration, state: dict[str, Any], session_id: str) -> dict[str, Any]:
    name = getattr(migration, "__name__", repr(migration))
    try:
        migrated: object = migration(state)
    except Exception as error:
        reason = f"the migration {name} of session {session_id!r} failed: {type(error).__name__}: {error}"
        raise StateError("$.state", reason) from error
    if type(migrated) is not dict:
        raise StateError("$.state", f"the migration {name} returned {type(migrated).__name__}, and not the new state")
    return migrated


def _checked(migrations: Sequence[Migration]) -> tuple[Migration, ...]:
    given: object = migrations
    if isinstance(given, str) or not isinstance(given, Iterable):
        raise ConfigError(f"migrations is a sequence of functions; got {migrations!r}")
    checked = tuple(migrations)
    for migration in checked:
        if not callable(migration):
            raise ConfigError(f"a migration is a function that takes a state and returns it; got {migration!r}")
        if inspect.iscoroutinefunction(migration):
            raise ConfigError(f"the migration {migration.__name__} is async, but a migration is a plain function")
    return checked
