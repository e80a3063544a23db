"""`botsession recover` quarantines unreadable sessions, and no others."""

from __future__ import annotations

import re

from console import filled

from botsession import Session


def test_what_is_unreadable_is_quarantined(run, folder):
    filled.write(folder, Session("telegram:1", {"count": 1}), Session("telegram:2", {"count": 2}))
    (file,) = folder.glob(".sessions/*/telegram%3a2.json")
    file.write_bytes(b'{"version":"00')
    done = run("recover", "telegram:1", "telegram:2", "telegram:3", "--driver", "file")
    first, second, third = done.stdout.splitlines()
    assert first == "telegram:1: nothing to do, it is absent or readable"
    assert third == "telegram:3: nothing to do, it is absent or readable"
    assert re.match("telegram:2: quarantined as .*telegram%3a2.*", second)
    assert done.returncode == 0
    assert not file.exists()
    (kept,) = [
        each for each in folder.glob(".sessions/*/*") if each.is_file() and each.read_bytes() == b'{"version":"00'
    ]
    assert kept.name in second
    assert filled.read(folder, "telegram:1").state == {"count": 1}
    assert run("show", "telegram:2", "--driver", "file").returncode != 0


def test_an_id_that_is_none(run):
    done = run("recover", "", "--driver", "file")
    assert done.returncode != 0
    assert "must not be empty" in done.stderr
