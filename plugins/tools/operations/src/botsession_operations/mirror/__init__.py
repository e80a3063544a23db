"""The driver `mirror`: sessions in two stores at once, while bots move from one to the other without a stop.

driver = "mirror"

[stores.mirror]
old = "redis"            # the name of a driver, whose section says the rest, or a URL
new = "mongo"
lead = "old"             # later, for one bot after the other, "new"
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from botsession.configuration.discovery import hookimpl
from botsession.configuration.options import construct
from botsession.configuration.settings import UNSET, Settings, Unset
from botsession.errors import ConfigError
from botsession.lifetime import Clock, Minutes
from botsession_operations.mirror.store import Lead, MirrorSessionStore

if TYPE_CHECKING:
    from botsession.protocol import SessionStore

__all__ = ["MirrorSessionStore", "open_store"]


@hookimpl
def open_store(options: Mapping[str, object], clock: Clock, settings: Settings) -> SessionStore:
    """Makes a `MirrorSessionStore` of two stores that the same configuration describes."""
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
        from botsession.configuration.stores import open_from

        if source == "mirror":
            raise ConfigError(f"option {key!r} of the driver mirror: a mirror is made of two other stores")
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
