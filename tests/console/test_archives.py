"""`botsession export` and `botsession import`: files of every kind, intact, truncated and damaged."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import os
import pathlib
import signal
import stat
import subprocess
import sys
import time
import zlib

import pytest

COMMAND = (sys.executable, "-m", "botsession_console")
FAILED, MISCONFIGURED, OUTPUT_CLOSED = 1, 2, 141
EXPANDERS = {"": bytes, ".gz": gzip.decompress, ".bz2": bz2.decompress, ".xz": lzma.decompress}


@pytest.fixture
def filled(run):
    """The `--url` option of a file store with three sessions."""
    for user in "abc":
        assert run("console", "--url", "file://filled", "--user", user, lines="hi\n").returncode == 0
    return "file://filled"


def listed(run, url):
    done = run("list", "--url", url, "--json")
    assert done.returncode == 0, done.stderr
    return sorted(json.loads(line)["id"] for line in done.stdout.splitlines())


@pytest.mark.parametrize("suffix", EXPANDERS)
def test_a_file_of_every_kind_comes_back(run, filled, folder, suffix):
    name = f"out.jsonl{suffix}"
    done = run("export", name, "--url", filled)
    assert (done.returncode, done.stderr) == (0, "botsession: exported 3 sessions, 0 unreadable\n")
    lines = EXPANDERS[suffix]((folder / name).read_bytes()).decode().splitlines()
    assert json.loads(lines[0]) == {"botsession": "export", "format": 1}
    assert json.loads(lines[-1]) == {"botsession": "end", "sessions": 3}
    done = run("import", name, "--url", "file://restored")
    assert done.returncode == 0
    assert "imported 3 sessions" in done.stderr
    assert listed(run, "file://restored") == ["console:a", "console:b", "console:c"]
    assert not list(folder.glob("*.rejected")) + list(folder.glob(".*.part"))


def test_standard_output_and_input(run, filled):
    exported = run("export", "-", "--url", filled, "--prefix", "console:b")
    assert exported.returncode == 0
    assert len(exported.stdout.splitlines()) == 3
    done = run("import", "-", "--url", "file://restored", lines=exported.stdout)
    assert done.returncode == 0
    assert listed(run, "file://restored") == ["console:b"]


def test_an_unreadable_session_is_reported_and_left_out(run, filled, folder):
    (path,) = folder.glob("filled/*/*%3ab.json")
    path.write_bytes(b"{")
    done = run("export", "out.jsonl", "--url", filled)
    assert done.returncode == FAILED
    assert "console:b" in done.stderr
    assert "exported 2 sessions, 1 unreadable" in done.stderr
    assert path.read_bytes() == b"{"


def test_bad_lines_are_put_aside(run, filled, folder):
    run("export", "out.jsonl", "--url", filled)
    lines = (folder / "out.jsonl").read_text().splitlines()
    lines[2] = lines[2].replace('"state"', '"stat"')
    (folder / "out.jsonl").write_text("\n".join(lines) + "\n")
    done = run("import", "out.jsonl", "--url", "file://restored")
    assert done.returncode == FAILED
    assert "botsession: line 3: " in done.stderr
    assert (folder / "out.jsonl.rejected").read_text() == lines[2] + "\n"
    assert len(listed(run, "file://restored")) == 2
    done = run("import", "out.jsonl", "--url", "file://restored")
    assert done.returncode == MISCONFIGURED
    assert "from an earlier import" in done.stderr


@pytest.mark.parametrize("suffix", EXPANDERS)
def test_a_cut_file_is_imported_up_to_there_and_reported(run, filled, folder, suffix):
    name = f"out.jsonl{suffix}"
    run("export", name, "--url", filled)
    whole = (folder / name).read_bytes()
    (folder / name).write_bytes(whole[:-20])
    done = run("import", name, "--url", "file://restored")
    assert done.returncode == FAILED
    assert "is incomplete or damaged" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_damaged_file_is_imported_up_to_there_and_reported(run, filled, folder):
    run("export", "out.jsonl.gz", "--url", filled)
    whole = (folder / "out.jsonl.gz").read_bytes()
    (folder / "out.jsonl.gz").write_bytes(next(damaged(whole)))
    done = run("import", "out.jsonl.gz", "--url", "file://restored")
    assert done.returncode == FAILED
    assert "out.jsonl.gz is incomplete or damaged: Error -3 while decompressing" in done.stderr
    assert "imported 0 sessions" in done.stderr


def damaged(whole):
    """Yield the file with one byte changed, a different one each time, so that decompression fails."""
    for place in range(12, len(whole) - 8):
        file = whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :]
        try:
            gzip.decompress(file)
        except zlib.error:
            yield file
        except OSError:
            continue


def test_a_file_that_lacks_lines_in_the_middle_is_reported(run, filled, folder):
    run("export", "out.jsonl", "--url", filled)
    lines = (folder / "out.jsonl").read_text().splitlines(keepends=True)
    (folder / "out.jsonl").write_text("".join(lines[:2] + lines[3:]))
    done = run("import", "out.jsonl", "--url", "file://restored")
    assert done.returncode == FAILED
    assert "out.jsonl is incomplete or damaged: lines are missing or were added" in done.stderr
    assert "imported 2 sessions" in done.stderr


@pytest.mark.parametrize("suffix", ["", ".gz"])
def test_two_files_that_were_joined_are_refused_before_anything_is_imported(run, filled, folder, suffix):
    run("export", f"out.jsonl{suffix}", "--url", filled)
    (folder / f"joined.jsonl{suffix}").write_bytes((folder / f"out.jsonl{suffix}").read_bytes() * 2)
    done = run("import", f"joined.jsonl{suffix}", "--url", "file://restored")
    assert done.returncode == FAILED
    assert "line 6: another export begins after the end of the export on line 5" in done.stderr
    assert not (folder / "restored").exists()


def test_an_import_goes_on_where_rejected_lines_cannot_be_kept(run, filled, folder):
    run("export", "out.jsonl", "--url", filled)
    lines = (folder / "out.jsonl").read_text().splitlines()
    (folder / "out.jsonl").write_text("\n".join([lines[0], "{", lines[2], "{", lines[4]]) + "\n")
    (folder / "out.jsonl.rejected").symlink_to("nowhere/at/all")
    done = run("import", "out.jsonl", "--url", "file://restored")
    assert done.returncode == FAILED
    assert [line.partition(" (")[0] for line in done.stderr.splitlines()] == [
        "botsession: line 2: Input data was truncated",
        "botsession: cannot write out.jsonl.rejected: File exists. Further rejected lines are lost.",
        "botsession: line 4: Input data was truncated",
        "botsession: imported 1 session",
    ]


def test_a_device_is_written_and_not_replaced(run, filled, folder):
    os.mkfifo(folder / "pipe")
    with subprocess.Popen(["cat", "pipe"], cwd=folder, stdout=subprocess.PIPE) as reader:
        done = run("export", "pipe", "--url", filled)
        assert reader.stdout.read().endswith(b'{"botsession":"end","sessions":3}\n')
    assert done.returncode == 0
    assert stat.S_ISFIFO((folder / "pipe").stat().st_mode)
    done = run("export", ".", "--url", filled)
    assert (done.returncode, done.stderr) == (MISCONFIGURED, "botsession: cannot write .: Is a directory\n")


def test_an_output_that_nobody_reads_or_that_is_full(filled, folder, environment):
    command = [*COMMAND, "export", "-", "--url", filled]
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run(command, cwd=folder, env=environment, stdout=writer, stderr=subprocess.PIPE, check=False)
    os.close(writer)
    assert (done.returncode, done.stderr) == (OUTPUT_CLOSED, b"")
    with pathlib.Path("/dev/full").open("wb") as full:
        done = subprocess.run(command, cwd=folder, env=environment, stdout=full, stderr=subprocess.PIPE, check=False)
    assert done.returncode == FAILED
    assert done.stderr == b"botsession: the output cannot be written: No space left on device\n"


def test_what_is_no_export_is_one_line(run, filled, folder):
    (folder / "notes.txt").write_text("hello\n")
    (folder / "fake.gz").write_text("hello\n")
    for name, code in (("notes.txt", FAILED), ("fake.gz", FAILED), ("missing", MISCONFIGURED), (".", MISCONFIGURED)):
        done = run("import", name, "--url", filled)
        assert done.returncode == code, name
        assert "Traceback" not in done.stderr
    done = run("export", "nowhere/out.jsonl", "--url", filled)
    assert (done.returncode, len(done.stderr.splitlines())) == (MISCONFIGURED, 1)


def test_a_killed_export_leaves_nothing_under_the_name(run, filled, folder, environment):
    reader, writer = os.pipe()
    os.close(reader)
    (folder / "old.jsonl").write_text("yesterday")
    process = subprocess.Popen(
        [*COMMAND, "export", "old.jsonl", "--url", filled], cwd=folder, env=environment, stderr=writer
    )
    time.sleep(0.05)
    process.send_signal(signal.SIGKILL)
    process.wait()
    os.close(writer)
    text = (folder / "old.jsonl").read_text()
    assert text == "yesterday" or text.endswith('{"botsession":"end","sessions":3}\n')
