"""`botsession doctor`: whether the setup is sound."""

from __future__ import annotations

import argparse
import asyncio

from botsession_console.backend import add_backend_options, given_settings
from botsession_console.findings import Findings
from botsession_operations.doctor import examine

DESCRIPTION = """\
Examine the configuration, the driver and the backend, and say what would lose sessions, with a remedy for each.

The store is opened as a bot opens it, which makes its directory or its index where they are missing. One session of
the doctor's own (botsession-doctor:...) is created, changed and removed; nothing else is touched.
"""

EPILOG = """\
exit codes:
  0    all is well
  1    there are warnings
  2    there are errors
  130  ended by Ctrl-C
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Describes the command."""
    parser.description = DESCRIPTION
    parser.epilog = EPILOG
    parser.add_argument("--json", action="store_true", help="one JSON object per line, one for each finding")
    add_backend_options(parser)


def run(parsed: argparse.Namespace) -> int:
    """Examines the setup."""
    findings = Findings(as_json=parsed.json)
    asyncio.run(examine(findings.add, given_settings(parsed), config=parsed.config))
    findings.end()
    return findings.exit_code
