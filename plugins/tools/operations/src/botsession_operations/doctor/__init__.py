"""Doctor: examine the configuration, the driver and the backend, and report what would lose sessions."""

from __future__ import annotations

import asyncio
import os
import re
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from botsession.configuration.settings import Settings
from botsession.configuration.stores import open_from
from botsession.errors import BotSessionError, ConfigError, DriverError, StoreUnavailableError
from botsession.protocol import (
    Finding,
    SessionStore,
    SupportsClose,
    SupportsDiagnosis,
    SupportsReplace,
    SupportsScan,
    capabilities,
)
from botsession_operations.doctor import probe
from botsession_operations.doctor.packages import examine_packages
from botsession_operations.doctor.settings import describe_settings, driver_of, read_settings

Report = Callable[[Finding], object]

_STEP_SECONDS: Final = 30
"""Time limit of one step; stores give up earlier by themselves."""

_REMEDIES: Final[dict[type[Exception], str]] = {
    ConfigError: "Correct the setting. The configuration reference lists all of them.",
    DriverError: "Install the package that provides the driver, or choose another driver.",
    StoreUnavailableError: "Start the backend, or correct its address.",
}
"""What to do about an error that does not say so itself."""


async def examine(
    report: Report, arguments: Settings | None = None, *, config: str | os.PathLike[str] | None = None
) -> None:
    """Examine what is configured, as far as possible.

    The store is opened as a bot opens it, which creates a missing directory or index. A probe session is stored and removed.

    Args:
        report: Receives each finding immediately.
        arguments: Settings that override the environment and the file.
        config: The path of the configuration file; see `botsession.load_settings`.
    """
    settings, errors = read_settings(arguments or Settings(), config)
    driver = driver_of(settings)
    for finding in (*errors, *describe_settings(settings), *examine_packages(driver)):
        report(finding)
    try:
        store = open_from(settings)
    except Exception as error:  # noqa: BLE001 - a driver may raise anything, and its failure is a finding
        report(failure("driver", error))
        return
    supported = ", ".join(capabilities(store)) or "none"
    report(Finding("ok", "driver", f"driver {driver!r} loads with the capabilities {supported}"))
    try:
        await examine_store(store, report)
    finally:
        if isinstance(store, SupportsClose):
            await store.close()


async def examine_store(store: SessionStore, report: Report) -> None:
    """Examine a store, and leave it open.

    Args:
        store: The store, open or not.
        report: Receives each finding immediately.
    """

    async def step(topic: str, examine: Callable[[], Awaitable[Finding | Sequence[Finding]]]) -> bool:
        try:
            async with asyncio.timeout(_STEP_SECONDS):
                found = await examine()
        except TimeoutError as error:
            report(failure(topic, StoreUnavailableError(f"no answer within {_STEP_SECONDS} s ({error})")))
            return False
        except Exception as error:  # noqa: BLE001 - a store may raise anything, and its failure is a finding
            report(failure(topic, error))
            return False
        for finding in [found] if isinstance(found, Finding) else found:
            report(finding)
        return True

    async def reach() -> Finding:
        await store.init()
        return await probe.measure(store)

    if not await step("backend", reach):
        return
    await step("access", lambda: probe.use(store))
    if not isinstance(store, SupportsReplace):
        report(
            Finding(
                "warning",
                "turns",
                f"{type(store).__name__} cannot compare and set: turns in two processes may overwrite each other",
                "Run one process of the bot, or choose a driver that supports 'replace'.",
            )
        )
    if isinstance(store, SupportsScan):
        await step("sessions", lambda: probe.list_some(store))
    if isinstance(store, SupportsDiagnosis):
        await step("backend", store.diagnose)


def failure(topic: str, error: Exception) -> Finding:
    """Return the finding for an error.

    Args:
        topic: What was being examined.
        error: The error that was raised.
    """
    if not isinstance(error, BotSessionError):
        message = f"{type(error).__name__}: {error}".removesuffix(": ")
        return Finding("error", topic, _line(message), "This is a bug in the driver. Report it to its authors.")
    defaults = (remedy for kind, remedy in _REMEDIES.items() if isinstance(error, kind))
    remedy = error.remedy or next(defaults, "Look into the log of the backend.")
    return Finding("error", topic, _line(error.message), _line(remedy))


def _line(text: str) -> str:
    """Return the text on one line, without the credentials of a URL that was passed as something else."""
    return re.sub(r"//\S*@", "//***@", " ".join(text.split()))
