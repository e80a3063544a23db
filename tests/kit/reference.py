"""A simple store that keeps every rule, with a seam wherever a mutant breaks one."""

from __future__ import annotations

import asyncio
import time
from typing import ClassVar

from botsession import (
    ANYTHING,
    ONE_YEAR,
    CorruptSessionError,
    Finding,
    Held,
    Lifetime,
    ScanPage,
    SessionConflictError,
    Step,
    StoreError,
    StoreUnavailableError,
    utc_now,
)
from botsession.ids import check_session_id
from botsession.states import json_values
from botsession.storage import check_page_size, records
from botsession.storage.leases import Lease


def is_replacement(step):
    return step.session is not None and step.is_stamped


def is_restoration(step):
    return step.session is not None and not step.is_stamped


def is_removal(step):
    return step.session is None


class Client:
    """A stand-in for a connection."""

    is_open = False


class Reference:
    """A store that keeps encoded sessions in a dict, shared by all stores of a process with the same `place`."""

    places: ClassVar[dict[str, dict[str, bytes]]] = {}
    leased_places: ClassVar[dict[str, dict[str, Lease]]] = {}
    quarantines: ClassVar[dict[str, dict[str, bytes]]] = {}

    def __init__(
        self,
        place="",
        expires_in=ONE_YEAR,
        *,
        max_lifetime=None,
        client=None,
        down=False,
        password="",
        clock=utc_now,
    ):
        self.lifetime = self.make_lifetime(expires_in, max_lifetime, clock)
        self.entries = self.places.setdefault(place, {})
        self.leases = self.leased_places.setdefault(place, {})
        self.quarantined = self.quarantines.setdefault(place, {})
        self.client = client or Client()
        self.given = client is not None
        self.down = down
        self.lost = False
        self.password = password
        self.open = False

    def __repr__(self):
        return "Reference()"

    async def init(self):
        await self.pause()
        if self.down:
            raise StoreUnavailableError("the reference is down") from ConnectionRefusedError(111, "refused")
        if not self.given:
            self.client.is_open = True
        self.open = True
        return self

    async def close(self):
        self.open = False
        if not self.given:
            self.client.is_open = False

    async def ping(self):
        self.check()
        await self.pause()

    async def read(self, session_id):
        self.check(session_id)
        await self.pause()
        return self.load(session_id)

    async def write(self, session_id, session):
        self.check()
        self.check_pair(session_id, session)
        self.check_state(session)
        await self.pause()
        self.commit_now(Step.replace(session))

    async def destroy(self, session_id):
        self.check(session_id)
        await self.pause()
        self.commit_now(Step.remove(session_id))

    async def replace(self, session_id, session, *, expected):
        self.check()
        self.check_pair(session_id, session)
        self.check_state(session)
        await self.pause()
        self.commit_now(Step.replace(session, expected))

    async def touch(self, session_id, expires_at):
        self.check(session_id)
        await self.pause()
        session = self.load(session_id)
        if session is None:
            return False
        session.expires_at, session.last_activity = expires_at, self.lifetime.now()
        self.put(session)
        return True

    async def scan(self, prefix="", *, after=None, limit=None):
        self.check()
        check_page_size(limit)
        await self.pause()
        found = sorted(key for key in self.entries if self.has_prefix(key, prefix) and (after is None or key > after))
        page = found[:limit]
        infos = [self.attempt(self.decode_info, key) for key in page if not self.is_expired(key)]
        return ScanPage.of(infos, page[-1] if len(page) < len(found) else None)

    async def read_many(self, session_ids):
        self.check(*session_ids)
        await self.pause()
        return [self.attempt(self.load, session_id) for session_id in session_ids]

    async def commit(self, steps):
        self.check(*(step.session_id for step in steps))
        for step in steps:
            self.check_step(step)
        await self.pause()
        return [self.attempt(self.commit_now, step) for step in steps]

    async def lease_many(self, claims):
        self.check(*(claim.session_id for claim in claims))
        await self.pause()
        self.sweep()
        return [self.attempt(self.claim_now, claim) for claim in claims]

    async def renew_leases(self, holders, ttl):
        self.check(*holders)
        await self.pause()
        return [self.renew_now(session_id, holder, ttl) for session_id, holder in holders.items()]

    async def release_leases(self, holders):
        self.check(*holders)
        await self.pause()
        for session_id, holder in holders.items():
            self.release_now(session_id, holder)
        self.sweep()

    async def quarantine(self, session_id):
        self.check(session_id)
        await self.pause()
        return self.quarantine_now(session_id)

    async def purge(self):
        self.check()
        await self.pause()
        expired = [key for key in self.entries if self.is_expired(key)]
        for key in expired:
            del self.entries[key]
        return len(expired)

    async def diagnose(self):
        self.check()
        await self.pause()
        return [Finding("warning", "durability", "sessions end with the tests", "use a real store")]

    async def pause(self):
        await asyncio.sleep(0)
        if self.lost:
            raise StoreUnavailableError("the reference is lost") from ConnectionResetError(104, "reset")

    def make_lifetime(self, expires_in, max_lifetime, clock):
        return Lifetime(expires_in, max_lifetime=max_lifetime, clock=clock)

    def check(self, *session_ids):
        if not self.open or not self.client.is_open:
            raise StoreError("the reference is not open")
        for session_id in session_ids:
            self.check_id(session_id)

    def check_id(self, session_id):
        check_session_id(session_id)

    def check_pair(self, session_id, session):
        records.check_pair(session_id, session)

    def check_state(self, session):
        json_values.encode(json_values.to_json(session.state))
        json_values.encode_user(session.user)

    def check_step(self, step):
        if is_restoration(step):
            self.check_restored(step.session)
        if step.session is not None:
            self.check_state(step.session)

    def check_restored(self, session):
        records.check_restored(session)

    def key(self, session_id):
        return session_id

    def has_prefix(self, key, prefix):
        return key.startswith(prefix)

    def load(self, session_id):
        raw = self.entries.get(self.key(session_id))
        session = None if raw is None else self.decode(raw, session_id)
        return None if session is None or self.lifetime.expired(session.expires_at) else session

    def decode(self, raw, session_id):
        return records.decode(raw, session_id, store=repr(self))

    def decode_info(self, key):
        raw = self.entries[key]
        return records.decode_info(raw, key, store=repr(self), size=len(raw))

    def save(self, session):
        self.stamp(session)
        self.put(session)

    def stamp(self, session):
        self.lifetime.stamp(session)

    def put(self, session):
        self.entries[self.key(session.id)] = records.encode(session)

    def remove(self, session_id):
        self.entries.pop(self.key(session_id), None)

    def matches(self, session_id, expected):
        session = self.load(session_id)
        return (None if session is None else session.version) == expected

    def commit_now(self, step):
        if not self.may_store(step.session_id, step.holder) or not self.is_as_expected(step):
            raise SessionConflictError(step.session_id)
        self.carry_out(step)
        if step.holder is not None:
            self.release_now(step.session_id, step.holder)
        elif is_removal(step):
            self.end_lease(step.session_id)

    def is_as_expected(self, step):
        if step.expected is ANYTHING:
            return True
        if is_restoration(step):
            return self.is_untouched(step.session_id, step.expected)
        return self.matches(step.session_id, step.expected)

    def carry_out(self, step):
        if is_removal(step):
            self.remove(step.session_id)
        elif is_restoration(step):
            self.put(step.session)
        else:
            self.save(step.session)

    def may_store(self, session_id, holder):
        return holder is None or self.lease(session_id).is_held_by(holder, self.tick())

    def end_lease(self, session_id):
        self.lease(session_id).end()

    def sweep(self):
        for key in [key for key, lease in self.leases.items() if lease.is_over(self.tick())]:
            del self.leases[key]

    def tick(self):
        return time.monotonic()

    def lease_key(self, session_id):
        return session_id

    def lease(self, session_id):
        return self.leases.setdefault(self.lease_key(session_id), Lease())

    def claim_now(self, claim):
        lease = self.lease(claim.session_id)
        seconds = lease.claim(claim.holder, self.tick(), ttl=claim.ttl, again=claim.again)
        return self.load(claim.session_id) if seconds is None else Held(seconds, lease.ahead(claim.holder))

    def renew_now(self, session_id, holder, ttl):
        return self.lease(session_id).renew(holder, self.tick(), ttl=ttl)

    def release_now(self, session_id, holder):
        self.lease(session_id).release(holder, self.tick())

    def quarantine_now(self, session_id):
        try:
            self.load(session_id)
        except CorruptSessionError:
            return self.set_aside(session_id)
        return None

    def set_aside(self, session_id):
        where = f"number {len(self.quarantined)} of the quarantine"
        self.quarantined[where] = self.entries.pop(self.key(session_id))
        return where

    def is_untouched(self, session_id, over):
        found = self.load(session_id)
        if found is None or over is None:
            return found is over
        return (found.version, found.last_activity) == (over.version, over.last_activity)

    def attempt(self, call, argument):
        try:
            return call(argument)
        except (CorruptSessionError, SessionConflictError) as error:
            return error

    def is_expired(self, key):
        try:
            return self.lifetime.expired(self.decode(self.entries[key], key).expires_at)
        except CorruptSessionError:
            return False
