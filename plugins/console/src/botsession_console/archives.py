"""The files of exports: plain, or compressed as their extension says."""

from __future__ import annotations

import bz2
import contextlib
import gzip
import lzma
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, Final

from botsession import ConfigError

STANDARD: Final = "-"
"""Stands for standard output, or input, in place of a file's name."""

DAMAGED: Final = (EOFError, lzma.LZMAError, gzip.BadGzipFile)
"""What reading raises where a compressed file is cut or damaged; bz2 raises a plain `OSError`."""

_OPENERS: Final[dict[str, Callable[[IO[bytes], str], Any]]] = {".gz": gzip.open, ".bz2": bz2.open, ".xz": lzma.open}


@contextlib.contextmanager
def written(name: str) -> Iterator[IO[bytes]]:
    """Opens a file to write; it appears under its name only when all of it is there and on the disk.

    Args:
        name: Its name, or `-` for standard output.

    Raises:
        ConfigError: It cannot be written there.
    """
    if name == STANDARD:
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    path = Path(name)
    try:
        descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        raise ConfigError(f"{name} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(descriptor, "wb") as raw:
            with _OPENERS.get(path.suffix, _plain)(raw, "wb") as file:
                yield file
            raw.flush()
            os.fsync(raw.fileno())
        Path(temporary).replace(path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
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


def _plain(raw: IO[bytes], _mode: str) -> contextlib.AbstractContextManager[IO[bytes]]:
    return contextlib.nullcontext(raw)
