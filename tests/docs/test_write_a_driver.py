"""The how-to for driver authors, followed to the letter: its blocks form a package that installs and passes the kit."""

import os
import re
import subprocess
import sys

from test_documentation import ROOT, Reader, blocks_of

PAGE = ROOT / "docs" / "how-to" / "write-a-driver.md"


def test_the_package_of_the_page_installs_is_found_and_passes_the_kit(tmp_path):
    reader = Reader(tmp_path)
    for block in blocks_of(PAGE):
        reader.follow(block)
    site = tmp_path / "site"
    reader.run([sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target", str(site), str(tmp_path)])
    reader.environment["PYTHONPATH"] = f"{site}{os.pathsep}{reader.environment['PYTHONPATH']}"

    opening = "import botsession; print(botsession.open_store('sqlite3:///tmp/x.sqlite3', expires_in=10))"
    assert reader.run([sys.executable, "-c", opening]) == "Sqlite3SessionStore('/tmp/x.sqlite3')\n"
    misspelt = "import botsession; botsession.open_store('sqlite3', paht='x')"
    done = subprocess.run(
        [sys.executable, "-c", misspelt], env=reader.environment, capture_output=True, text=True, check=False
    )
    assert "did you mean 'path'" in done.stderr

    own = ["-p", "no:cacheprovider", f"--basetemp={tmp_path / 'tmp'}"]
    report = reader.run([sys.executable, "-m", "pytest", "-q", "-rs", *own, "tests"])
    counted = re.search(r"(\d+) passed, (\d+) skipped", report)
    assert counted is not None, report
    assert int(counted[1]) > 30
    assert "failed" not in report
