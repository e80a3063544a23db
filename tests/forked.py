"""Processes forked from one that has already done its imports, which takes a tenth of the time.

Such a process can run the command `botsession` or any function.
"""

from __future__ import annotations

import multiprocessing
import os
import pathlib
import subprocess
import sys
from collections.abc import Mapping, Sequence
from multiprocessing.process import BaseProcess

_PATIENCE_SECONDS = 60

processes = multiprocessing.get_context("forkserver")
processes.set_forkserver_preload(
    [
        "forked",
        "botsession_operations",
        "botsession_console.bot",
        "botsession_console.conversation",
        "botsession_file.store",
        "botsession_memory.store",
        "botsession_redis.store",
        "motor.motor_asyncio",
    ]
)


def run_command(
    arguments: Sequence[str], given: bytes, folder: pathlib.Path, environment: Mapping[str, str], files: pathlib.Path
) -> subprocess.CompletedProcess[bytes]:
    """Run the command to its end.

    Args:
        arguments: The command-line arguments after `botsession`.
        given: The standard input.
        folder: The working directory.
        environment: The environment; Python's own variables come too late to take effect.
        files: The directory for its input and output files.
    """
    streams = [files / name for name in ("stdin", "stdout", "stderr")]
    streams[0].write_bytes(given)
    process = start_command(arguments, folder, environment, streams)
    process.join(_PATIENCE_SECONDS)
    if process.exitcode is None:
        process.kill()
        process.join()
        raise AssertionError(f"botsession {' '.join(arguments)} did not end within {_PATIENCE_SECONDS} s")
    output, errors = streams[1].read_bytes(), streams[2].read_bytes()
    return subprocess.CompletedProcess(arguments, process.exitcode, output, errors)


def start_command(
    arguments: Sequence[str], folder: pathlib.Path, environment: Mapping[str, str], streams: Sequence[pathlib.Path]
) -> BaseProcess:
    """Start the command, with files as its three streams."""
    process = processes.Process(target=_be_the_command, args=(list(arguments), folder, dict(environment), streams))
    process.start()
    return process


def _be_the_command(
    arguments: list[str], folder: pathlib.Path, environment: dict[str, str], streams: Sequence[pathlib.Path]
) -> None:
    from botsession_console.command import main

    for descriptor, (path, flags) in enumerate(
        zip(streams, [os.O_RDONLY, *[os.O_WRONLY | os.O_CREAT | os.O_TRUNC] * 2], strict=True)
    ):
        os.dup2(os.open(path, flags), descriptor)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    sys.path.insert(0, str(folder))  # as `python -m` does
    sys.stdin = open(0, encoding="utf-8", closefd=False)  # noqa: SIM115 - for the life of the process
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False)  # noqa: SIM115 - for the life of the process
    sys.stderr = open(2, "w", encoding="utf-8", errors="backslashreplace", closefd=False)  # noqa: SIM115 - for the life of the process
    sys.argv = ["botsession", *arguments]
    sys.exit(main())
