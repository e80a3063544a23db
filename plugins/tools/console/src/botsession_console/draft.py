"""The text of a session that somebody edits: a private file, which is not lost before it is saved."""

from __future__ import annotations

import dataclasses
import json
import os
import tempfile
from pathlib import Path
from typing import Any

import msgspec

from botsession import BotSessionError, StoredSession
from botsession.states import json_values


class DraftError(BotSessionError):
    """What was written is no session."""


class Draft:
    """State and user of a session as JSON in a file that only its owner can read.

    Args:
        session: The session as it was read.

    Attributes:
        path: The file.
    """

    def __init__(self, session: StoredSession) -> None:
        self._session = session
        self._original = json.dumps({"state": session.state, "user": session.user}, ensure_ascii=False, indent=2) + "\n"
        descriptor, name = tempfile.mkstemp(prefix="botsession-", suffix=".json")
        self.path: Path = Path(name)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(self._original)

    def parse(self) -> StoredSession | None:
        """Returns the session as it was edited; `None` where nothing has changed.

        Raises:
            DraftError: The file is no such JSON; the message says what is wrong, and where.
            StateError: It holds what a state cannot hold.
        """
        try:
            text = self.path.read_text(encoding="utf-8-sig")
            edited: Any = json.loads(text, object_pairs_hook=_object, parse_constant=_no_number)
        except RecursionError as error:
            raise DraftError("it is nested too deeply") from error
        except (OSError, ValueError) as error:
            raise DraftError(f"it cannot be read: {error}") from error
        if not isinstance(edited, dict) or edited.keys() != {"state", "user"}:
            raise DraftError('it must be one object with "state" and "user", and nothing else')
        state, user = edited["state"], edited["user"]
        if not isinstance(state, dict) or not (user is None or isinstance(user, dict)):
            raise DraftError('"state" must be an object, and "user" an object or null')
        json_values.encode(state)
        json_values.encode_user(user)
        before = self._session
        if _encoded(state, user) == _encoded(before.state, before.user):
            return None
        return dataclasses.replace(before, state=state, user=user)

    def is_worth_keeping(self) -> bool:
        """Tells whether the file holds another text than at the beginning."""
        try:
            return self.path.read_bytes() != self._original.encode()
        except OSError:
            return False

    def discard(self) -> None:
        """Removes the file."""
        self.path.unlink(missing_ok=True)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} stands twice in one object")
    return found


def _no_number(text: str) -> None:
    raise ValueError(f"{text} is no number in JSON")


def _encoded(state: Any, user: Any) -> bytes:
    return msgspec.json.encode([state, user])
