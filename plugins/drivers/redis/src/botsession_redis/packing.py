"""Connections that have hiredis write commands too; redis-py's asyncio client uses it only to read replies."""

from __future__ import annotations

from typing import Any, Final

from hiredis import pack_command
from redis.asyncio import Connection, SSLConnection, UnixDomainSocketConnection
from redis.asyncio.connection import AbstractConnection


class _Packing(AbstractConnection):
    def pack_command(self, *args: Any) -> list[bytes]:
        name = args[0]
        if isinstance(name, str) and " " in name:  # redis-py's own, such as CLIENT SETINFO
            args = (*name.split(), *args[1:])
        return [pack_command(args)]


class _PackingConnection(_Packing, Connection):
    pass


class _PackingSSLConnection(_Packing, SSLConnection):
    pass


class _PackingUnixConnection(_Packing, UnixDomainSocketConnection):
    pass


PACKING: Final = {
    Connection: _PackingConnection,
    SSLConnection: _PackingSSLConnection,
    UnixDomainSocketConnection: _PackingUnixConnection,
}
"""For each kind of connection the one that packs by hiredis."""
