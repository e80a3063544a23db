"""Export files, compressed according to their extension."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import sys
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final

from botsession import ConfigError
from botsession_console.exits import OutputError

STANDARD: Final = "-"
"""The file name that stands for standard input or output."""

DAMAGED: Final = (EOFError, lzma.LZMAError, zlib.error, OSError)
"""What reading raises if the file or its disk is damaged."""

_OPENERS: Final[dict[str, Callable[[IO[bytes], str], Any]]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


@contextlib.contextmanager
def open_output(name: str) -> Iterator[IO[bytes]]:
    """Open a file to write. It appears under its name only once all of it is on the disk.

    A device or a named pipe is written directly.

    Args:
        name: The file name, or `-` for standard output.

    Raises:
        ConfigError: The file cannot be opened.
        OutputError: The file cannot be written, for instance because the disk is full.
    """
    if name == STANDARD:
        with _output_errors():
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        return
    path = Path(name)
    is_device = path.exists() and not path.is_file()
    try:
        raw, part = (path.open("wb"), None) if is_device else _part(path)
    except OSError as error:
        raise ConfigError(f"cannot write {name}: {error.strerror}") from error
    try:
        with _output_errors():
            with raw:
                with _OPENERS.get(path.suffix, _plain)(raw, "wb") as file:
                    yield file
                if part is not None:
                    raw.flush()
                    os.fsync(raw.fileno())
            if part is not None:
                part.replace(path)
    except BaseException:
        if part is not None:
            part.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def open_input(name: str) -> Iterator[IO[bytes]]:
    """Open a file to read.

    Args:
        name: The file name, or `-` for standard input.

    Raises:
        ConfigError: The file cannot be read.
    """
    if name == STANDARD:
        yield sys.stdin.buffer
        return
    path = Path(name)
    try:
        raw = path.open("rb")
    except OSError as error:
        raise ConfigError(f"cannot read {name}: {error.strerror}") from error
    with raw, _OPENERS.get(path.suffix, _plain)(raw, "rb") as file:
        yield file


def _part(path: Path) -> tuple[IO[bytes], Path]:
    """Create the temporary file that is renamed to the path when it is complete."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    return os.fdopen(descriptor, "wb"), Path(name)


@contextlib.contextmanager
def _output_errors() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(error) from error


def _plain(raw: IO[bytes], _mode: str) -> contextlib.AbstractContextManager[IO[bytes]]:
    return contextlib.nullcontext(raw)
