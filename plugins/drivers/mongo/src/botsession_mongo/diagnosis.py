"""What in MongoDB or its settings would lose sessions."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from pymongo.errors import OperationFailure

from botsession import Finding, Lifetime, StoreError
from botsession.storage.clocks import compare_clocks

if TYPE_CHECKING:
    from pymongo.asynchronous.collection import AsyncCollection

    from botsession_mongo.connection import Connection

_FULL: Final = 0.95
_OF_ADMIN: Final = ("getCmdLineOpts", "getParameter", "serverStatus")

Answers = Mapping[str, Any]
"""What a server reports about itself; empty if it does not, or not to this user."""


async def diagnose(connection: Connection, collection: AsyncCollection[Any], lifetime: Lifetime) -> list[Finding]:
    """Return the findings for a server.

    Raises:
        StoreUnavailableError: It does not answer.
    """

    async def ask(command: str, **arguments: Any) -> Answers:
        database = collection.database
        if command in _OF_ADMIN:
            database = database.client.get_database("admin")
        try:
            return await connection.run(partial(database.command, command, **arguments))
        except StoreError as error:
            if isinstance(error.__cause__, OperationFailure):
                return {}
            raise

    before = lifetime.now()
    hello = await ask("hello")
    clock = Finding(
        "unknown", "clock", "the server does not tell its time", "compare the clocks of both machines yourself"
    )
    if "localTime" in hello:
        theirs = hello["localTime"].replace(tzinfo=UTC)
        clock = compare_clocks(lifetime, before, theirs, server="the server")
    version = (await ask("buildInfo")).get("version", "of a version that it does not tell")
    return [
        clock,
        _version(version, hello),
        _write_concern(collection.write_concern.document, hello),
        _persistence(collection.write_concern.document, await ask("getCmdLineOpts"), await ask("serverStatus")),
        _expiry(await connection.run(collection.index_information), await ask("getParameter", ttlMonitorEnabled=1)),
        _space(await ask("dbStats")),
    ]


def _version(version: str, hello: Answers) -> Finding:
    name = f"MongoDB {version}"
    if hello.get("msg") == "isdbgrid":
        return Finding("ok", "version", f"{name}, a sharded cluster")
    if "setName" not in hello:
        return Finding("ok", "version", f"{name}, one server without replicas")
    return Finding("ok", "version", f"{name}, the replica set {hello['setName']!r} of {_members(hello)} members")


def _write_concern(concern: Answers, hello: Answers) -> Finding:
    wanted = concern.get("w", "majority")
    if wanted == "majority":
        return Finding("ok", "write concern", "a write counts when the majority of the servers has it")
    if not isinstance(wanted, int):
        return Finding("ok", "write concern", f"a write counts as the server's own rule {wanted!r} says")
    if "setName" in hello and wanted > _members(hello) // 2:
        return Finding("ok", "write concern", f"a write counts when {wanted} of {_members(hello)} servers have it")
    message = f"w={wanted} is less than a majority of replicas: a failover may lose turns that counted as saved"
    return Finding("warning", "write concern", message, "leave w out of the URL: then it is the majority")


def _persistence(concern: Answers, options: Answers, status: Answers) -> Finding:
    journal = options.get("parsed", {}).get("storage", {}).get("journal", {}).get("enabled")
    engine = status.get("storageEngine", {})
    if engine.get("persistent") is False:
        message = f"the storage engine {engine.get('name')!r} keeps everything in memory, and loses it at a restart"
        return Finding("warning", "persistence", message, "use the storage engine wiredTiger")
    if journal is False:
        message = "the server keeps no journal: a crash loses what was written in about a minute"
        return Finding("warning", "persistence", message, "start it without --nojournal")
    if concern.get("j") is False:
        message = "journal=false: a crash of all servers loses what was written just before"
        return Finding("warning", "persistence", message, "leave journal out of the URL")
    if engine.get("persistent"):
        return Finding("ok", "persistence", f"the storage engine {engine.get('name')!r} keeps sessions on disk")
    return Finding("unknown", "persistence", "not known: the server does not tell this user (serverStatus)")


def _expiry(indexes: Answers, parameters: Answers) -> Finding:
    found = {
        name: index
        for name, index in indexes.items()
        if [field for field, _ in index["key"]] == ["expires_at"] and index.get("expireAfterSeconds") == 0
    }
    if not found:
        message = "there is no TTL index on expires_at: expired sessions are absent for bots, and are never removed"
        remedy = "open the store once more, which makes the index if the server knows indexes with a filter"
        return Finding("warning", "expiry", message, remedy)
    if parameters.get("ttlMonitorEnabled") is False:
        message = "the server's TTL monitor is off: expired sessions are never removed"
        return Finding("warning", "expiry", message, "set its parameter ttlMonitorEnabled to true")
    for name, index in found.items():
        if "partialFilterExpression" not in index:
            message = (
                f"the TTL index {name!r} has no filter: it removes documents of other programs in this collection too"
            )
            remedy = "drop it and open the store once more, which makes one that reaches sessions only"
            return Finding("warning", "expiry", message, remedy)
    return Finding("ok", "expiry", "a TTL index removes expired sessions")


def _space(stats: Answers) -> Finding:
    used, total = stats.get("fsUsedSize"), stats.get("fsTotalSize")
    if used is None or not total:
        return Finding("unknown", "space", "not known: the server does not tell this user (dbStats)")
    message = f"{used / total:.0%} of the server's disk of {total / 2**30:,.0f} GiB are in use"
    if used / total < _FULL:
        return Finding("ok", "space", message)
    return Finding("warning", "space", f"{message}: when it is full, no session is saved", "make room on that disk")


def _members(hello: Answers) -> int:
    return len(hello.get("hosts", ())) + len(hello.get("passives", ()))
