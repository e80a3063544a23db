"""From `module:bot` to the bot."""

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
    """Imports a bot, with the working directory on the import path.

    Args:
        target: `module:bot`, where `bot` is a `ConsoleBot` or a handler.

    Raises:
        ConfigError: It does not import, is not there, or is no bot.
    """
    module_name, _, attribute = target.partition(":")
    if "://" in target:
        raise ConfigError("a bot is named as module:bot, not by a URL; choose the backend with --url")
    if "/" in module_name or module_name.startswith("."):
        raise ConfigError(
            f"a bot is named as module:bot, such as mybot:bot, and not by the path of a file; got {target!r}"
        )
    if not module_name or not attribute:
        raise ConfigError(f"a bot is named as module:bot, such as mybot:bot; got {target!r}")
    found: Any = _import(module_name)
    for name in attribute.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise ConfigError(f"there is no bot {target!r}: module {module_name!r} has no {attribute!r}") from None
    if isinstance(found, ConsoleBot):
        return found
    if not inspect.isroutine(found):
        raise ConfigError(f"{target!r} is no bot but {_kind(found)}; it must be a ConsoleBot or a handler function")
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
            hint = "; a module is named without .py" if module_name.endswith(".py") else ""
            raise ConfigError(
                f"there is no module {error.name!r} in the working directory or on the import path{hint}"
            ) from error
        raise ConfigError(f"module {module_name!r} needs the module {error.name!r}, which is not installed") from error
    except BotSessionError:
        raise
    except Exception as error:
        origin = getattr(importlib.util.find_spec(module_name), "origin", None) if "." not in module_name else None
        raise ConfigError(f"module {module_name!r} does not import: {describe(error, origin)}") from error


def _kind(value: object) -> str:
    return f"the class {value.__qualname__}" if inspect.isclass(value) else f"a value of type {type(value).__name__}"
