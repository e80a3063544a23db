"""`botsession edit`: edit a session by hand."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import os
import shlex
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

from botsession import ConfigError, StateError, StoredSession
from botsession_console.backend import add_backend_options, opened_store
from botsession_console.draft import Draft, DraftError
from botsession_console.exits import FAILED, report, say
from botsession_console.failures import describe, exit_code
from botsession_console.prompts import can_ask, confirm
from botsession_operations.edits import save_edited

DESCRIPTION = """\
Edit the state and the user of a session as JSON in your editor: $VISUAL, or else $EDITOR, or else vi. The result is
checked, and saved unless the session has been written in the meantime. An edit that cannot be saved is kept in a file.
The session's deadline does not change.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = DESCRIPTION
    parser.add_argument("id", metavar="ID", help="the session id, such as telegram:42")
    add_backend_options(parser)


def run(parsed: argparse.Namespace) -> int:
    """Edit the session."""
    session = asyncio.run(_read(parsed))
    if session is None:
        report(f"there is no session {parsed.id!r}")
        return FAILED
    draft = Draft(session)
    kept = f"Your edit is kept in {draft.path}"
    try:
        edited = _edit(draft)
        if edited is None:
            say("nothing has changed\n")
        else:
            asyncio.run(_save(parsed, edited))
            say(f"saved {edited.id}\n")
    except BaseException as error:
        if not draft.is_worth_keeping():
            draft.discard()
            raise
        if not isinstance(error, Exception):
            report(kept)
            raise
        report(f"{describe(error).removesuffix('.')}. {kept}")
        return exit_code(error)
    draft.discard()
    return 0


async def _read(parsed: argparse.Namespace) -> StoredSession | None:
    async with opened_store(parsed) as store:
        return await store.read(parsed.id)


async def _save(parsed: argparse.Namespace, session: StoredSession) -> None:
    async with opened_store(parsed) as store:
        await save_edited(store, session)


def _edit(draft: Draft) -> StoredSession | None:
    """Run the editor until its result can be saved, or the person gives up."""
    while True:
        _run_editor(draft.path)
        try:
            return draft.parse()
        except (DraftError, StateError) as error:
            if not can_ask():
                raise
            report(f"cannot save this: {error}")
            if not confirm("Edit again?", default=True):
                raise


def _run_editor(file: Path) -> None:
    """Run the person's editor on a file.

    Raises:
        ConfigError: The editor cannot be started.
        DraftError: The editor failed.
        KeyboardInterrupt: Ctrl-C ended the editor.
    """
    chosen = os.environ.get("VISUAL") or os.environ.get("EDITOR") or "vi"
    try:
        command = [*shlex.split(chosen), str(file)]
        with _interrupts_only_the_editor():
            code = subprocess.run(command, check=False).returncode  # noqa: S603 - the person's own editor
    except (OSError, ValueError) as error:
        raise ConfigError(f"cannot start the editor {chosen!r}: {error}", remedy="Set VISUAL or EDITOR.") from error
    if code == -signal.SIGINT:
        raise KeyboardInterrupt
    if code:
        raise DraftError(f"the editor {chosen!r} exited with code {code}, so nothing was saved")


@contextlib.contextmanager
def _interrupts_only_the_editor() -> Iterator[None]:
    # A handler, because the editor would inherit an ignored signal.
    before = signal.signal(signal.SIGINT, lambda *_: None)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
