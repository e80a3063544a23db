"""Options of a driver, checked against the typed constructor of its store, which is their only definition."""

from __future__ import annotations

import builtins
import inspect
import typing
from typing import TYPE_CHECKING, Any

import msgspec

from botsession.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from typing import TypeVar

    StoreT = TypeVar("StoreT")


def construct(store_type: Callable[..., StoreT], options: Mapping[str, object], **given: object) -> StoreT:
    """Make a store from the options in a configuration.

    A driver calls this in its `open_store` hook. Errors never contain a value, since it may be a secret.

    Args:
        store_type: The store's class. The parameters of its constructor are the options. Their types are whatever
            `msgspec.convert` understands (`str | None`, `Literal["a", "b"]`, `Path`), or classes of objects that can only be
            passed in code, such as a client.
        options: Options by name, as in the configuration.
        **given: Arguments that are not options, such as `clock`. They are passed unchecked if the constructor has the
            parameter.

    Returns:
        The store, not connected yet.

    Raises:
        ConfigError: An option is unknown, missing or of the wrong type. The message names it and what is allowed.
    """
    name = getattr(store_type, "__qualname__", repr(store_type))
    parameters = {
        key: parameter
        for key, parameter in inspect.signature(store_type).parameters.items()
        if parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD)
    }
    hints = _hints(store_type)
    arguments = {key: value for key, value in given.items() if key in parameters}
    allowed = [key for key in parameters if key not in given]
    for key, value in options.items():
        if key not in allowed:
            raise ConfigError(
                f"{name} has no option {key!r}{suggestion(key, allowed)}", remedy=f"Its options are {listed(allowed)}."
            )
        arguments[key] = _converted(value, hints.get(key, Any), f"option {key!r} of {name}")
    for key, parameter in parameters.items():
        if key not in arguments and parameter.default is parameter.empty:
            raise ConfigError(f"{name} needs the option {key!r}", remedy=f"Its options are {listed(allowed)}.")
    return store_type(**arguments)


def suggestion(word: object, words: Iterable[str]) -> str:
    """Return ` (did you mean 'x'?)` if one of the words is close, or an empty text."""
    import difflib

    close = difflib.get_close_matches(str(word), list(words), n=1, cutoff=0.6)
    return f" (did you mean {close[0]!r}?)" if close else ""


def listed(words: Iterable[str]) -> str:
    """Return the words as a list for a message."""
    return ", ".join(words) or "nothing"


def _hints(store_type: Callable[..., object]) -> dict[str, Any]:
    function = store_type.__init__ if inspect.isclass(store_type) else store_type
    known = {**vars(builtins), **getattr(function, "__globals__", {})}
    return typing.get_type_hints(function, localns=_Names(known))


class _Names(dict[str, Any]):
    """Names for annotations. A name that is imported only for type checkers stands for any type."""

    def __missing__(self, name: str) -> Any:
        return Any


def _converted(value: object, hint: Any, what: str) -> object:
    choices = typing.get_args(hint) or (hint,)
    if any(inspect.isclass(choice) and type(value) is choice for choice in choices):
        return value
    try:
        return msgspec.convert(value, hint)
    except msgspec.ValidationError as error:
        raise ConfigError(f"{what}: {_reason(error, choices)}") from None
    except TypeError:
        # The type is not plain data, such as a client: it can only be passed in code.
        classes = tuple(choice for choice in choices if inspect.isclass(choice))
        if not classes or isinstance(value, classes):
            return value
        wanted = " or ".join(choice.__name__ for choice in classes if choice is not type(None))
        raise ConfigError(f"{what}: expected {wanted}, got {type(value).__name__}") from None


def _reason(error: msgspec.ValidationError, choices: tuple[Any, ...]) -> str:
    text = str(error)
    if text.startswith("Invalid enum value"):
        return f"expected one of {listed(map(repr, choices))}"
    return text[0].lower() + text[1:].replace("`", "").replace(" | null", "")
