"""`botsession import`: store the sessions of an export."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import IO, Self

from botsession import ConfigError, StoreError
from botsession_console.archives import DAMAGED, STANDARD, open_input
from botsession_console.backend import add_backend_options, opened_store
from botsession_console.exits import FAILED, report
from botsession_console.progress import progress_counter
from botsession_console.screen import counted
from botsession_operations.archive import ArchiveError, check_end
from botsession_operations.imports import ImportReport, import_lines

DESCRIPTION = """\
Store the sessions of FILE, an export, as they are, including versions and deadlines. Every line is checked; rejected lines
are kept in FILE.rejected. A session that already exists is replaced only by a newer one. It can be repeated, and bots may
keep running. The name - is standard input.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describe the command."""
    parser.description = DESCRIPTION
    parser.add_argument("file", metavar="FILE", help="an export, such as sessions.jsonl.gz")
    policy = parser.add_mutually_exclusive_group()
    policy.add_argument(
        "--skip-existing", dest="existing", action="store_const", const="skip", help="keep sessions that already exist"
    )
    policy.add_argument(
        "--overwrite",
        dest="existing",
        action="store_const",
        const="overwrite",
        help="replace sessions that already exist, even by older ones",
    )
    parser.set_defaults(existing="newer")
    add_backend_options(parser)


def run(parsed: argparse.Namespace) -> int:
    """Import, and report how many sessions."""
    done = ImportReport()
    rejects = Path("import.rejected" if parsed.file == STANDARD else f"{parsed.file}.rejected")
    if rejects.exists():
        raise ConfigError(
            f"{rejects} exists from an earlier import", remedy="Look into its lines, then move it out of the way."
        )
    damage: Exception | str = ""
    try:
        asyncio.run(_import(parsed, done, rejects))
    except (StoreError, KeyboardInterrupt):
        report(f"{_summary(done)} before the import stopped. Repeat it to continue.")
        raise
    except ArchiveError:
        if done.stored:
            report(_summary(done))
        raise
    except DAMAGED as error:
        damage = error
    if not done.complete:
        damage = damage or "lines are missing or were added"
    if damage:
        report(f"{parsed.file} is incomplete or damaged: {damage}. Everything readable was imported.")
    if done.rejected and rejects.exists():
        report(f"the rejected lines are in {rejects}")
    report(_summary(done))
    return FAILED if done.rejected or damage else 0


async def _import(parsed: argparse.Namespace, done: ImportReport, path: Path) -> None:
    _check_end(parsed.file)
    async with opened_store(parsed) as store:
        with open_input(parsed.file) as file, progress_counter("imported") as advance, _Rejects(path) as rejects:
            lines = _counted(file, advance)
            async with aclosing(import_lines(store, lines, done, existing=parsed.existing)) as rejected:
                async for each in rejected:
                    report(f"line {each.number}: {each.reason}")
                    rejects.add(each.line)


def _check_end(name: str) -> None:
    """Refuse a file that continues after the end of the export; a pipe can be read only once."""
    if name == STANDARD or not Path(name).is_file():
        return
    with contextlib.suppress(*DAMAGED), open_input(name) as file:
        check_end(file)


class _Rejects:
    """The file of the rejected lines, created with the first of them. The import continues if it cannot be written."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._failed = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._file is not None:
            self._file.close()

    def add(self, line: bytes) -> None:
        if self._failed:
            return
        try:
            if self._file is None:
                self._file = self._path.open("xb", buffering=0)
            self._file.write(line.rstrip(b"\n") + b"\n")
        except OSError as error:
            self._failed = True
            report(f"cannot write {self._path}: {error.strerror}. Further rejected lines are lost.")


def _counted(file: Iterable[bytes], advance: Callable[[int], object]) -> Iterator[bytes]:
    for line in file:
        advance(1)
        yield line


def _summary(done: ImportReport) -> str:
    return (
        f"imported {counted(done.stored, 'session')} ({done.kept:,} already existed, {done.expired:,} expired, "
        f"{counted(done.rejected, 'line')} rejected)"
    )
