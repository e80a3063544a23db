"""The backend options of the command line, which override the bot's own store, the environment and the file."""

from __future__ import annotations

import argparse
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any

from botsession import (
    ConfigError,
    Sessions,
    SessionStore,
    Settings,
    SupportsClose,
)
from botsession.configuration.settings import UNSET, Unset
from botsession.configuration.sources import find_settings
from botsession.configuration.stores import open_from
from botsession.lifetime import check_minutes
from botsession_console.bot import ConsoleBot


def add_backend_options(parser: argparse.ArgumentParser) -> None:
    """Add the options that choose the backend to a command."""
    group = parser.add_argument_group("backend")
    group.add_argument("--driver", metavar="NAME", help="the driver of the store (see: botsession drivers)")
    group.add_argument("--url", metavar="URL", help="the URL of the store, such as redis://localhost:6379")
    group.add_argument(
        "--expires-in", metavar="MINUTES", help='minutes after which a session ends, or "never"; one year by default'
    )
    group.add_argument("--config", metavar="PATH", help="the configuration file; by default it is searched for")


def given_settings(parsed: argparse.Namespace) -> Settings:
    """Return only the settings given as options of the command.

    Raises:
        ConfigError: --expires-in is not a number of minutes above zero.
    """
    expires_in: float | Unset | None = UNSET if parsed.expires_in is None else _minutes(parsed.expires_in)
    values = {"driver": parsed.driver, "url": parsed.url}
    given: dict[str, Any] = {key: value for key, value in values.items() if value is not None}
    if expires_in is not UNSET:
        given["expires_in"] = expires_in
    return Settings(**given, origins={key: "--" + key.replace("_", "-") for key in given})


def chosen_settings(parsed: argparse.Namespace) -> Settings:
    """Return the settings in effect: options override the environment, which overrides the file.

    Raises:
        ConfigError: A setting is invalid.
    """
    return given_settings(parsed).over(find_settings(config=parsed.config))


@asynccontextmanager
async def opened_store(parsed: argparse.Namespace) -> AsyncIterator[SessionStore]:
    """Open the store that a command works on, and close it afterwards.

    Raises:
        ConfigError: A setting is invalid, or no store is configured.
        DriverError: The driver cannot be used.
        StoreError: The backend does not answer, or cannot be used.
    """
    settings = chosen_settings(parsed)
    if settings.driver is UNSET and settings.url is UNSET:
        raise ConfigError(
            "no store is configured", remedy="Pass --driver or --url, or set one in the environment or botsession.toml."
        )
    store = open_from(settings)
    try:
        yield await store.init()
    finally:
        if isinstance(store, SupportsClose):
            await store.close()


def choose_backend(bot: ConsoleBot[Any], parsed: argparse.Namespace) -> None:
    """Give a bot the sessions that the command line asks for.

    Raises:
        ConfigError: A setting is invalid, or cannot be changed for this bot.
        DriverError: The driver cannot be used.
    """
    arguments = given_settings(parsed)
    options = " and ".join([*arguments.origins.values(), *(["--config"] if parsed.config else [])])
    own = bot.session_store
    if isinstance(own, Sessions):
        if options:
            raise ConfigError(f"{options}: the bot has its own Sessions, whose store cannot be changed")
        return
    if isinstance(own, SessionStore):
        if not options:
            return
        if parsed.driver is None and parsed.url is None:
            raise ConfigError(f"{options}: the bot has its own {type(own).__name__}", remedy="Add --driver.")
        own = None
    if isinstance(own, Mapping) and parsed.config is not None:
        raise ConfigError("--config: the bot has its own configuration mapping, which replaces the file")
    bot.sessions = Sessions(arguments.over(find_settings(own, config=parsed.config)), initial_state=bot.initial_state)


def _minutes(text: str) -> float | None:
    if text == "never":
        return None
    try:
        minutes = float(text)
        check_minutes(minutes)
    except (ValueError, ConfigError):
        raise ConfigError(f'--expires-in must be a number of minutes above zero, or "never", not {text!r}') from None
    return minutes
