"""Stores that confuse texts, or reject valid ones."""

from __future__ import annotations

import unicodedata
import zlib

from kit.broken_bodies import Bending
from kit.reference import Reference
from kit.suites import caught_by

from botsession import SessionTooLargeError
from botsession.storage import records


@caught_by("test_64_kilobytes_of_random_text_come_back")
class IndexesTheBody(Reference):
    """Indexes the body, as a database whose index rows hold at most 8 KB when compressed."""

    def put(self, session):
        if len(zlib.compress(records.encode(session))) > 8_191:
            raise SessionTooLargeError("the index does not hold it")
        super().put(session)


@caught_by("test_64_kilobytes_of_random_text_come_back")
class CutsKeys(Bending):
    def bend(self, value):
        return {key[:1_000]: item for key, item in value.items()} if isinstance(value, dict) else value


@caught_by("test_64_kilobytes_of_random_text_come_back")
class TakesFewBytesInABatch(Reference):
    async def commit(self, steps):
        outcomes = await super().commit(steps)
        for step in steps:
            if step.session is not None and len(records.encode(step.session)) > 65_535:
                self.remove(step.session_id)
        return outcomes


@caught_by("test_texts_that_look_alike_keep_apart")
class Normalises(Bending):
    def bend(self, value):
        return unicodedata.normalize("NFC", value) if isinstance(value, str) else value


@caught_by("test_texts_that_look_alike_keep_apart")
class StripsText(Bending):
    def bend(self, value):
        return value.strip(" ") if isinstance(value, str) else value


@caught_by("test_texts_that_look_alike_keep_apart")
class CollatesKeys(Bending):
    def bend(self, value):
        if not isinstance(value, dict):
            return value
        return {key: value[key] for key in {key.casefold(): key for key in value}.values()}
