"""The files of exports: plain, or compressed as their extension says."""

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
"""Stands for standard output, or input, in place of a file's name."""

DAMAGED: Final = (EOFError, lzma.LZMAError, zlib.error, OSError)
"""What reading raises where a file is cut or damaged, or its disk is."""

_OPENERS: Final[dict[str, Callable[[IO[bytes], str], Any]]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


@contextlib.contextmanager
def written(name: str) -> Iterator[IO[bytes]]:
    """Opens a file to write; it appears under its name only when all of it is there and on the disk.

    A device or a named pipe is written as it is.

    Args:
        name: Its name, or `-` for standard output.

    Raises:
        ConfigError: It cannot be opened.
        OutputError: It cannot be written, for instance since the disk is full.
    """
    if name == STANDARD:
        with _failures_are_of_the_output():
            yield sys.stdout.buffer
            sys.stdout.buffer.flush()
        return
    path = Path(name)
    is_device = path.exists() and not path.is_file()
    try:
        raw, part = (path.open("wb"), None) if is_device else _part(path)
    except OSError as error:
        raise ConfigError(f"{name} cannot be written: {error.strerror}") from error
    try:
        with _failures_are_of_the_output():
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
def read(name: str) -> Iterator[IO[bytes]]:
    """Opens a file to read.

    Args:
        name: Its name, or `-` for standard input.

    Raises:
        ConfigError: It cannot be read.
    """
    if name == STANDARD:
        yield sys.stdin.buffer
        return
    path = Path(name)
    try:
        raw = path.open("rb")
    except OSError as error:
        raise ConfigError(f"{name} cannot be read: {error.strerror}") from error
    with raw, _OPENERS.get(path.suffix, _plain)(raw, "rb") as file:
        yield file


def _part(path: Path) -> tuple[IO[bytes], Path]:
    """Opens a file that is to take the place of another one when it is complete."""
    descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    return os.fdopen(descriptor, "wb"), Path(name)


@contextlib.contextmanager
def _failures_are_of_the_output() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OutputError(error) from error


def _plain(raw: IO[bytes], _mode: str) -> contextlib.AbstractContextManager[IO[bytes]]:
    return contextlib.nullcontext(raw)
