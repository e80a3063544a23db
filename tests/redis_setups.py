"""Redis as more than one process: a primary that a Sentinel watches, and a cluster of three."""

from __future__ import annotations

import asyncio
import contextlib
import pathlib
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence

from redis.asyncio import Redis

import servers

SECONDS = 30


@contextlib.contextmanager
def sentinel(port: int, *lines: str) -> Iterator[int]:
    """Runs a Sentinel that watches the primary at a port as `bots`; gives its own port.

    Args:
        port: The primary's.
        *lines: More lines of its configuration.
    """
    with tempfile.TemporaryDirectory(prefix="botsession-sentinel-") as folder:
        path = pathlib.Path(folder, "sentinel.conf")
        path.write_text("\n".join([f"sentinel monitor bots 127.0.0.1 {port} 1", *lines, ""]))
        own_port = servers.free_port()
        command = [servers.redis_binary(), str(path), "--port", str(own_port), "--sentinel"]
        with servers._running(command, own_port, folder):
            yield own_port


@contextlib.contextmanager
def cluster(size: int = 3) -> Iterator[list[int]]:
    """Runs a cluster without replicas; gives the ports of its nodes."""
    with contextlib.ExitStack() as stack:
        ports = [_cluster_port() for _ in range(size)]
        for port in ports:
            stack.enter_context(servers.redis_server("--cluster-enabled", "yes", port=port))
        asyncio.run(_form_cluster(ports))
        yield ports


def _cluster_port() -> int:
    """Returns a free port; the cluster's own, which is 10,000 higher, is free as well."""
    while True:
        port = servers.free_port()
        if port <= 55_000:
            with contextlib.suppress(OSError), socket.socket() as bus:
                bus.bind(("127.0.0.1", port + 10_000))
                return port


async def _form_cluster(ports: Sequence[int]) -> None:
    async with contextlib.AsyncExitStack() as stack:
        clients = [await stack.enter_async_context(Redis(host="127.0.0.1", port=port)) for port in ports]
        for index, client in enumerate(clients):
            first, last = 16384 * index // len(ports), 16384 * (index + 1) // len(ports) - 1
            await client.execute_command("CLUSTER ADDSLOTS", *range(first, last + 1))
            await client.execute_command("CLUSTER MEET", "127.0.0.1", ports[0])
        deadline = time.monotonic() + SECONDS
        for client in clients:
            while True:
                state = await client.execute_command("CLUSTER INFO")
                if state["cluster_state"] == "ok" and state["cluster_known_nodes"] == str(len(ports)):
                    break
                assert time.monotonic() < deadline, state
                await asyncio.sleep(0.05)
