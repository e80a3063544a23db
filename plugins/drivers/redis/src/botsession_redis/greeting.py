"""What a server says before it is asked: why it takes no further connection."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, Final

_SECONDS: Final = 0.2
_BYTES: Final = 1024


async def greeting(options: Mapping[str, Any]) -> str:
    """Returns what a server says to whoever connects and is silent; empty where that is nothing, as it should be.

    A server that refuses a connection says why and closes it. A client that writes at once mostly loses that answer, since
    the network reports the closed connection first.

    Args:
        options: Those of the connection: `host` and `port`, or `path`.
    """
    try:
        async with asyncio.timeout(_SECONDS):
            if "path" in options:
                reader, writer = await asyncio.open_unix_connection(options["path"])
            else:
                reader, writer = await asyncio.open_connection(
                    options.get("host", "localhost"), options.get("port", 6379)
                )
            try:
                said = await reader.read(_BYTES)
            finally:
                writer.transport.abort()
    except OSError:
        return ""
    return said.decode(errors="replace").partition("\r\n")[0].removeprefix("-") if said.startswith(b"-") else ""
