"""The driver `mirror`: sessions in two stores, while bots move from one to the other without stopping.

driver = "mirror"

[stores.mirror]
old = "redis"            # a driver configured in its own section, or a URL
new = "mongo"
lead = "old"             # later, one bot after the other, "new"
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from botsession.configuration.discovery import hookimpl
from botsession.configuration.options import construct
from botsession.configuration.settings import UNSET, Settings, Unset
from botsession.configuration.stores import open_from
from botsession.errors import ConfigError
from botsession.lifetime import Clock, Minutes
from botsession_operations.mirror.store import Lead, MirrorSessionStore

if TYPE_CHECKING:
    from botsession.protocol import SessionStore

__all__ = ["MirrorSessionStore", "open_store"]


@hookimpl
def open_store(options: Mapping[str, object], clock: Clock, settings: Settings) -> SessionStore:
    """Return a `MirrorSessionStore` of two stores from the same configuration."""
    return construct(_mirror, options, clock=clock, settings=settings)


def _mirror(
    old: str,
    new: str,
    lead: Lead = "old",
    expires_in: Minutes | Unset | None = UNSET,
    max_lifetime: Minutes | Unset | None = UNSET,
    *,
    clock: Clock,
    settings: Settings,
) -> MirrorSessionStore:
    def opened(source: str, key: str) -> SessionStore:
        if source == "mirror":
            raise ConfigError(f"option {key!r} of the driver mirror must name another driver, not mirror itself")
        is_url = "://" in source
        chosen = Settings(
            driver=UNSET if is_url else source,
            url=source if is_url else UNSET,
            expires_in=expires_in,
            max_lifetime=max_lifetime,
            stores=settings.stores,
            origins=dict.fromkeys(("driver", "url"), f"stores.mirror.{key}"),
        )
        return open_from(chosen, clock=clock)

    return MirrorSessionStore(opened(old, "old"), opened(new, "new"), lead=lead)


_mirror.__qualname__ = "the driver mirror"
