"""Examines a setup: the configuration, the driver, the backend, and whether sessions are safe in it."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from botsession.configuration.settings import Settings
from botsession.configuration.stores import open_from
from botsession.errors import (
    BotSessionError,
    ConfigError,
    DriverError,
    StoreUnavailableError,
)
from botsession.protocol import (
    Finding,
    SessionStore,
    SupportsClose,
    SupportsDiagnosis,
    SupportsReplace,
    SupportsScan,
    capabilities,
)
from botsession_operations import probe
from botsession_operations.configured import describe_settings, driver_of, read_settings
from botsession_operations.installed import examine_packages

Tell = Callable[[Finding], object]

_PATIENCE_SECONDS: Final = 30
"""How long one step may take; stores give up earlier by themselves."""

_REMEDIES: Final[dict[type[Exception], str]] = {
    ConfigError: "correct the setting; the configuration reference lists them",
    DriverError: "install the package that offers the driver, or choose another one",
    StoreUnavailableError: "start the backend, or correct its address",
}


async def examine(
    tell: Tell, arguments: Settings | None = None, *, config: str | os.PathLike[str] | None = None
) -> None:
    """Examines what is configured, and goes on as far as it can.

    The store is opened as a bot opens it, which makes its directory or its index where they are missing. A probe session
    is stored in it and removed.

    Args:
        tell: Gets each finding as soon as there is one.
        arguments: Settings that go before environment and file.
        config: The path of the configuration file; see `botsession.load_settings`.
    """
    settings, errors = read_settings(arguments or Settings(), config)
    driver = driver_of(settings)
    for finding in (*errors, *describe_settings(settings), *examine_packages(driver)):
        tell(finding)
    try:
        store = open_from(settings)
    except Exception as error:  # noqa: BLE001 - a driver may raise anything, and its failure is a finding
        tell(failure("driver", error))
        return
    tell(
        Finding(
            "ok", "driver", f"driver {driver!r} loads; its capabilities: {', '.join(capabilities(store)) or 'none'}"
        )
    )
    try:
        await examine_store(store, tell)
    finally:
        if isinstance(store, SupportsClose):
            await store.close()


async def examine_store(store: SessionStore, tell: Tell) -> None:
    """Examines a store, and leaves it open.

    Args:
        store: The store; it need not be open.
        tell: Gets each finding as soon as there is one.
    """

    async def step(topic: str, look: Callable[[], Awaitable[Finding | Sequence[Finding]]]) -> bool:
        try:
            async with asyncio.timeout(_PATIENCE_SECONDS):
                found = await look()
        except TimeoutError as error:
            tell(failure(topic, StoreUnavailableError(f"no answer within {_PATIENCE_SECONDS} s ({error})")))
            return False
        except Exception as error:  # noqa: BLE001 - a store may raise anything, and its failure is a finding
            tell(failure(topic, error))
            return False
        for finding in [found] if isinstance(found, Finding) else found:
            tell(finding)
        return True

    async def reach() -> Finding:
        await store.init()
        return await probe.measure(store)

    if not await step("backend", reach):
        return
    await step("access", lambda: probe.use(store))
    if not isinstance(store, SupportsReplace):
        message = f"{type(store).__name__} cannot compare and set: turns in two processes may overwrite each other"
        tell(
            Finding(
                "warning",
                "turns",
                message,
                "run one process of the bot, or choose a driver with the capability 'replace'",
            )
        )
    if isinstance(store, SupportsScan):
        await step("sessions", lambda: probe.list_some(store))
    if isinstance(store, SupportsDiagnosis):
        await step("backend", store.diagnose)


def failure(topic: str, error: Exception) -> Finding:
    """Returns the finding for something that failed.

    Args:
        topic: What was looked at.
        error: What was raised. The errors of botsession say behind their last semicolon what to do.
    """
    if not isinstance(error, BotSessionError):
        message = f"{type(error).__name__}: {error}".removesuffix(": ")
        return Finding("error", topic, _line(message), "this is a fault of the driver; tell its authors")
    message, separator, remedy = _line(str(error)).rpartition("; ")
    if separator and not isinstance(error, ConfigError):
        return Finding("error", topic, message, remedy)
    default = next((text for kind, text in _REMEDIES.items() if isinstance(error, kind)), "see the log of the backend")
    return Finding("error", topic, separator.join([message, remedy]) if separator else remedy, default)


def _line(text: str) -> str:
    """Returns the text on one line, without the user part of a URL that somebody took for something else."""
    return re.sub(r"//\S*@", "//***@", " ".join(text.split()))
