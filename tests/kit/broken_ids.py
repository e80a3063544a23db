"""Stores that confuse ids, or accept invalid ones."""

from __future__ import annotations

import unicodedata

from kit.reference import Reference
from kit.suites import caught_by


@caught_by("test_sessions_keep_apart", "test_concurrent_writes_of_different_sessions")
class CutsIds(Reference):
    def key(self, session_id):
        return session_id[:5]

    def decode(self, raw, session_id):
        return super().decode(raw.replace(b'"id":"kit:', b'"id":"' + session_id[:4].encode()), session_id)


@caught_by("test_namespaces_keep_apart", "test_a_scan_stays_in_its_namespace")
class SharesItsNamespace(Reference):
    def __init__(self, place="", *arguments, **options):
        super().__init__(place.removesuffix("x"), *arguments, **options)


@caught_by("test_ids_that_look_dangerous_or_alike_keep_apart")
class FoldsCase(Reference):
    def key(self, session_id):
        return session_id.casefold()


@caught_by("test_ids_that_look_dangerous_or_alike_keep_apart")
class NormalisesIds(Reference):
    def key(self, session_id):
        return unicodedata.normalize("NFC", session_id)


@caught_by("test_ids_that_look_dangerous_or_alike_keep_apart", "test_a_scan_finds_ids_that_look_dangerous")
class StripsIds(Reference):
    def key(self, session_id):
        return session_id.strip()


@caught_by("test_ids_that_look_dangerous_or_alike_keep_apart")
class CutsIdsAt255(Reference):
    def key(self, session_id):
        return session_id[:255]


@caught_by(
    "test_a_hostile_id_is_refused",
    "test_a_hostile_id_is_refused_by_replace",
    "test_a_hostile_id_is_refused_by_touch",
    "test_a_hostile_id_is_refused_in_a_batch",
)
class ChecksIdsAgainstEmptyOnly(Reference):
    def check_id(self, session_id):
        if session_id in ("", None):
            super().check_id(session_id)

    def check_pair(self, session_id, session):
        self.check_id(session_id)

    def key(self, session_id):
        return str(session_id)


@caught_by("test_a_hostile_id_is_refused")
class TakesIdsOfAnyLength(Reference):
    def check_id(self, session_id):
        super().check_id(session_id[:128] if isinstance(session_id, str) else session_id)


@caught_by("test_a_session_is_not_written_under_another_id", "test_a_session_does_not_replace_another")
class StoresUnderAnyId(Reference):
    def check_pair(self, session_id, session):
        self.check_id(session_id)
