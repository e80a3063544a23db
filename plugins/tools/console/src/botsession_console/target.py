"""Importing a bot by its path, `module:bot`."""

from __future__ import annotations

import importlib.util
import inspect
import os
import sys
from typing import Any

from botsession import BotSessionError, ConfigError
from botsession_console.bot import ConsoleBot, check_handler
from botsession_console.failures import describe


def load_bot(target: str) -> ConsoleBot[Any]:
    """Import a bot, with the working directory on the import path.

    Args:
        target: `module:bot`, where `bot` is a `ConsoleBot` or a handler.

    Raises:
        ConfigError: The module cannot be imported, or has no such bot.
    """
    module_name, _, attribute = target.partition(":")
    if "://" in target:
        raise ConfigError("a bot must be module:bot, not a URL", remedy="Choose the backend with --url.")
    if "/" in module_name or module_name.startswith("."):
        raise ConfigError(f"a bot must be module:bot, such as mybot:bot, not the path of a file: {target!r}")
    if not module_name or not attribute:
        raise ConfigError(f"a bot must be module:bot, such as mybot:bot, not {target!r}")
    found: Any = _import(module_name)
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise ConfigError(f"there is no bot {target!r}: module {module_name!r} has no {attribute!r}") from None
    if isinstance(found, ConsoleBot):
        return found
    if not inspect.isroutine(found):
        raise ConfigError(f"{target!r} must be a ConsoleBot or a handler function, not {_kind(found)}")
    check_handler(found)
    bot: ConsoleBot = ConsoleBot()
    bot.on_event(found)
    return bot


def _import(module_name: str) -> object:
    here = os.getcwd()  # noqa: PTH109 - the import path holds texts
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        return importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name is not None and (module_name + ".").startswith(error.name + "."):
            raise ConfigError(
                f"there is no module {error.name!r} in the working directory or on the import path",
                remedy="Write the module's name without .py." if module_name.endswith(".py") else "",
            ) from error
        raise ConfigError(f"module {module_name!r} needs the module {error.name!r}, which is not installed") from error
    except BotSessionError:
        raise
    except Exception as error:
        origin = getattr(importlib.util.find_spec(module_name), "origin", None) if "." not in module_name else None
        raise ConfigError(f"module {module_name!r} cannot be imported: {describe(error, origin)}") from error


def _kind(value: object) -> str:
    return f"the class {value.__qualname__}" if inspect.isclass(value) else f"a value of type {type(value).__name__}"
