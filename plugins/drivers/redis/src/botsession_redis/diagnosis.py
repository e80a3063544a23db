"""What would lose sessions in a Redis server or its settings."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from redis import exceptions

from botsession import Finding, Lifetime, StoreError
from botsession.storage.clocks import compare_clocks
from botsession_redis.connection import Connection

_OLDEST: Final = (6, 2)
_FULL: Final = 0.9
_LONG: Final = timedelta(days=90)

Answers = Mapping[str, Any]
"""What a server says about itself, by name."""


async def diagnose(connection: Connection, lifetime: Lifetime) -> list[Finding]:
    """Ask the server, or every primary of a cluster.

    Raises:
        StoreUnavailableError: It does not answer.
    """
    findings: list[Finding] = []
    for node in connection.nodes():
        before = lifetime.now()
        told = await _ask(connection, node, "TIME")
        if told is None:
            findings.append(_untold("clock", "TIME", "compare the clocks of both machines yourself"))
        else:
            theirs = datetime.fromtimestamp(int(told[0]), UTC) + timedelta(microseconds=int(told[1]))
            findings.append(compare_clocks(lifetime, before, theirs, server=node or "the server"))
        about = _information(await _ask(connection, node, "INFO"))
        if not about:
            findings.append(_untold("settings", "INFO", "look at maxmemory-policy, save and appendonly yourself"))
            continue
        config = {
            key: value
            for option in ("save", "appendfsync")
            for key, value in _settings(await _ask(connection, node, "CONFIG", "GET", option)).items()
        }
        findings += [_version(about), *_replication(about), *_memory(about, lifetime), *_persistence(about, config)]
    return findings


async def _ask(connection: Connection, node: str, *command: str) -> Any:
    """Return the reply; `None` if this user may not send the command, or the server does not know it."""
    try:
        return await connection.ask(node, *command)
    except StoreError as error:
        if isinstance(error.__cause__, exceptions.ResponseError):
            return None
        raise


def _information(reply: Any) -> Answers:
    """Return the reply to INFO by name, which a given client has parsed already."""
    if not isinstance(reply, bytes):
        return reply or {}
    lines = [line.partition(":") for line in reply.decode(errors="replace").splitlines()]
    return {name: int(value) if value.isdigit() else value for name, colon, value in lines if colon}


def _settings(reply: Any) -> Answers:
    """Return the reply to CONFIG GET by name, which a given client has parsed already."""
    pairs = reply.items() if isinstance(reply, dict) else zip(*[iter(reply or ())] * 2, strict=True)
    return {_text(name): _text(value) for name, value in pairs}


def _text(value: Any) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _untold(topic: str, command: str, otherwise: str) -> Finding:
    message = f"not known: this user may not send {command}, or the server does not know it"
    right = command.lower().replace(" ", "|")
    return Finding("unknown", topic, message, f"allow the ACL user +{right}, or {otherwise}")


def _version(about: Answers) -> Finding:
    kind, version = "Valkey", about.get("valkey_version")
    if version is None:
        kind, version = "Redis", about.get("redis_version", "of an unknown version")
    numbers = tuple(int(part) for part in str(about.get("redis_version", "")).split(".") if part.isdigit())
    if numbers and numbers < _OLDEST:
        return Finding(
            "error",
            "version",
            f"{kind} {version} is too old: it cannot remove sessions at their deadlines",
            "use 6.2 or newer",
        )
    return Finding("ok", "version", f"{kind} {version} removes sessions at their deadlines")


def _replication(about: Answers) -> list[Finding]:
    if about.get("role") == "slave":
        remedy = "use the address of the primary"
        return [Finding("error", "replication", "this server is a replica, which accepts no writes", remedy)]
    return [Finding("ok", "replication", f"a primary; replicas connected: {about.get('connected_slaves', 0)}")]


def _memory(about: Answers, lifetime: Lifetime) -> list[Finding]:
    limit, policy = about.get("maxmemory"), about.get("maxmemory_policy")
    if limit is None or policy is None:
        return [_untold("eviction", "INFO memory", "see that maxmemory-policy is noeviction")]
    if not limit:
        return [Finding("ok", "eviction", f"nothing is evicted: there is no maxmemory (maxmemory-policy {policy})")]
    ends = lifetime.expires_in is not None or lifetime.max_lifetime is not None
    findings = [Finding("ok", "eviction", f"nothing is evicted (maxmemory-policy {policy})")]
    if policy.startswith("allkeys") or (policy.startswith("volatile") and ends):
        evicted = about.get("evicted_keys", 0)
        message = (
            f"maxmemory-policy {policy} drops live sessions when memory is full; {evicted:,} keys were dropped so far"
        )
        remedy = "CONFIG SET maxmemory-policy noeviction, and keep caches in another server"
        findings = [Finding("warning", "eviction", message, remedy)]
    used = about.get("used_memory", 0) / limit
    share = f"{used:.0%} of maxmemory ({limit / 2**20:,.0f} MiB) is in use"
    if used >= _FULL:
        consequence = "writes are refused" if policy == "noeviction" else "keys are dropped"
        findings.append(Finding("warning", "memory", f"{share}; beyond it {consequence}", "raise maxmemory"))
    else:
        findings.append(Finding("ok", "memory", share))
    lengths = [length for length in (lifetime.expires_in, lifetime.max_lifetime) if length is not None]
    if not lengths or min(lengths) > _LONG:
        length = f"for {min(lengths).days} days" if lengths else "forever"
        message = f"memory is limited, and idle sessions stay in it {length} (expires_in)"
        remedy = "set expires_in to as many minutes as your bot needs, such as 43200 for 30 days"
        findings.append(Finding("warning", "lifetime", message, remedy))
    return findings


def _persistence(about: Answers, config: Answers) -> list[Finding]:
    findings: list[Finding] = []
    if about.get("rdb_last_bgsave_status", "ok") != "ok" or about.get("aof_last_write_status", "ok") != "ok":
        message = "the last attempt of the server to save to its disk failed"
        findings.append(
            Finding("error", "persistence", message, "read the log of the server, and free space on its disk")
        )
    remedy = "CONFIG SET appendonly yes, and write it to the configuration of the server"
    if about.get("aof_enabled"):
        sync = config.get("appendfsync", "not known")
        if sync == "no":
            message = "appendfsync no: a crash of the machine loses what was written in about 30 s"
            return [*findings, Finding("warning", "persistence", message, "CONFIG SET appendfsync everysec")]
        return [*findings, Finding("ok", "persistence", f"appendonly yes, appendfsync {sync}")]
    if "save" not in config:
        return [*findings, _untold("persistence", "CONFIG GET", "see that appendonly is yes")]
    if not config["save"]:
        message = "nothing is saved: all sessions are lost when the server restarts (appendonly no, save empty)"
        if about.get("connected_slaves"):
            message += ", and its replicas copy the empty server"
        return [*findings, Finding("warning", "persistence", message, remedy)]
    seconds = max(int(number) for number in config["save"].split()[::2])
    message = f"snapshots only: a crash loses what was written since the last one, up to {seconds / 60:.0f} minutes"
    return [*findings, Finding("warning", "persistence", message, remedy)]
