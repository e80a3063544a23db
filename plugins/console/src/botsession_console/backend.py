"""Which sessions a bot gets: the command line before the bot's own choice, before environment and file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botsession import ConfigError, Minutes, Sessions, SessionStore, Settings
from botsession.config import UNSET, Unset
from botsession.opening import find_settings
from botsession_console.bot import ConsoleBot


def choose_backend(
    bot: ConsoleBot[Any],
    *,
    driver: str | None = None,
    url: str | None = None,
    expires_in: Minutes | Unset | None = UNSET,
    config: str | None = None,
) -> None:
    """Gives a bot the sessions that the command line asks for; `None` and `UNSET` stand for what it does not say.

    Args:
        bot: The bot.
        driver: A driver's name.
        url: A URL, which names a driver as well.
        expires_in: Minutes; `None` means never.
        config: The path of the configuration file.

    Raises:
        ConfigError: A setting is wrong, or cannot be changed for this bot.
        DriverError: The driver cannot be used.
    """
    values = {"driver": driver or UNSET, "url": url or UNSET, "expires_in": expires_in}
    given: dict[str, Any] = {key: value for key, value in values.items() if value is not UNSET}
    arguments = Settings(**given, origins={key: "--" + key.replace("_", "-") for key in given})
    options = " and ".join([*arguments.origins.values(), *(["--config"] if config else [])])
    own = bot.session_store
    if isinstance(own, Sessions):
        if options:
            raise ConfigError(f"{options}: the bot was given a Sessions ready-made, which keeps its store")
        return
    if isinstance(own, SessionStore):
        if not options:
            return
        if driver is None and url is None:
            raise ConfigError(f"{options}: the bot was given a {type(own).__name__} ready-made; add --driver")
        own = None
    if isinstance(own, Mapping) and config is not None:
        raise ConfigError("--config: the bot was given its configuration as a mapping, which takes the place of a file")
    bot.sessions = Sessions(arguments.over(find_settings(own, config=config)), initial_state=bot.initial_state)
