"""`botsession import`: the sessions of a file into a store."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator
from contextlib import aclosing
from pathlib import Path
from typing import IO, Self

from botsession import ConfigError, StoreError
from botsession_console.archives import DAMAGED, STANDARD, read
from botsession_console.backend import add_backend_options, opened_store
from botsession_console.exits import FAILED, report
from botsession_console.progress import counting
from botsession_operations.archive import ArchiveError, check_end
from botsession_operations.imports import ImportReport, import_lines

DESCRIPTION = """\
Store the sessions of FILE, an export, as they are: versions and deadlines included. Every line is checked; those that cannot
be imported are put aside in FILE.rejected. A session that the store has already is replaced only by a newer one. It may be
run again, and while bots go on. The name - is standard input.
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describes the command."""
    parser.description = DESCRIPTION
    parser.add_argument("file", metavar="FILE", help="an export, such as sessions.jsonl.gz")
    policy = parser.add_mutually_exclusive_group()
    policy.add_argument(
        "--skip-existing", dest="existing", action="store_const", const="skip", help="keep what the store has already"
    )
    policy.add_argument(
        "--overwrite",
        dest="existing",
        action="store_const",
        const="overwrite",
        help="take the file's, even if it is older",
    )
    parser.set_defaults(existing="newer")
    add_backend_options(parser)


def run(parsed: argparse.Namespace) -> int:
    """Imports, and says how many."""
    done = ImportReport()
    aside = Path("import.rejected" if parsed.file == STANDARD else f"{parsed.file}.rejected")
    if aside.exists():
        raise ConfigError(f"{aside} is there from an earlier import; see to it and move it away first")
    damage: Exception | str = ""
    try:
        asyncio.run(_import(parsed, done, aside))
    except (StoreError, KeyboardInterrupt):
        report(f"{_summary(done)} before it ended; run it again to go on")
        raise
    except ArchiveError:
        if done.stored:
            report(_summary(done))
        raise
    except DAMAGED as error:
        damage = error
    if not done.complete:
        damage = damage or "lines are missing, or were added"
    if damage:
        report(f"{parsed.file} is cut or damaged: {damage}; what is there was imported")
    if done.rejected and aside.exists():
        report(f"the rejected lines are in {aside}")
    report(_summary(done))
    return FAILED if done.rejected or damage else 0


async def _import(parsed: argparse.Namespace, done: ImportReport, aside: Path) -> None:
    _check_end(parsed.file)
    async with opened_store(parsed) as store:
        with read(parsed.file) as file, counting("imported") as advance, _Rejects(aside) as rejects:
            lines = _counted(file, advance)
            async with aclosing(import_lines(store, lines, done, existing=parsed.existing)) as rejected:
                async for each in rejected:
                    report(f"line {each.number}: {each.reason}")
                    rejects.add(each.line)


def _check_end(name: str) -> None:
    """Refuses a file that goes on after the end of the export, before anything is imported; a pipe is read only once."""
    if name == STANDARD or not Path(name).is_file():
        return
    with contextlib.suppress(*DAMAGED), read(name) as file:
        check_end(file)


class _Rejects:
    """The file of the rejected lines, made with the first of them; where it cannot be written, the import goes on."""

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
            report(f"{self._path} cannot be written: {error.strerror}; rejected lines are not kept from here on")


def _counted(file: Iterable[bytes], advance: Callable[[int], object]) -> Iterator[bytes]:
    for line in file:
        advance(1)
        yield line


def _summary(done: ImportReport) -> str:
    return (
        f"imported {done.stored:,} sessions; {done.kept:,} were there already, {done.expired:,} had expired, "
        f"{done.rejected:,} lines were rejected"
    )
