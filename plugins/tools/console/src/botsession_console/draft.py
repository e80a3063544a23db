"""The draft of an edited session: a private file that is kept until it is saved."""

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
    """The edited text is not a session."""


class Draft:
    """A file, readable only by its owner, with the state and the user of a session as JSON.

    Args:
        session: The session as it was read.

    Attributes:
        path: The file.
    """

    def __init__(self, session: StoredSession) -> None:
        self._session = session
        self._original = json.dumps({"state": session.state, "user": session.user}, ensure_ascii=False, indent=2) + "\n"
        descriptor, name = tempfile.mkstemp(prefix="botsession-", suffix=".json")
        self.path = Path(name)
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as file:
            file.write(self._original)

    def parse(self) -> StoredSession | None:
        """Return the edited session, or `None` if nothing has changed.

        Raises:
            DraftError: The file does not have the right structure; the message says where.
            StateError: The state or the user contains a value that cannot be stored.
        """
        try:
            text = self.path.read_text(encoding="utf-8-sig")
            edited: Any = json.loads(text, object_pairs_hook=_object, parse_constant=_refuse_constant)
        except RecursionError as error:
            raise DraftError("it is nested too deeply") from error
        except (OSError, ValueError) as error:
            raise DraftError(f"cannot read it: {error}") from error
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
        """Return whether the file was changed."""
        try:
            return self.path.read_bytes() != self._original.encode()
        except OSError:
            return False

    def discard(self) -> None:
        """Remove the file."""
        self.path.unlink(missing_ok=True)


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) < len(pairs):
        keys = [key for key, _ in pairs]
        twice = next(key for key in keys if keys.count(key) > 1)
        raise ValueError(f"the key {twice!r} occurs twice in one object")
    return found


def _refuse_constant(text: str) -> None:
    raise ValueError(f"{text} is not a JSON number")


def _encoded(state: Any, user: Any) -> bytes:
    return msgspec.json.encode([state, user])
