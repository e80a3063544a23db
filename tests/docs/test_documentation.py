"""Run every example of the documentation, page by page, as a reader would.

The info string of a fenced block decides:

* `python`: a whole program; `title="x.py"` also saves it; `no-run` only saves and parses it.
* `text title="output"`: what the preceding program prints.
* `toml`: the content of a `botsession.toml`, which is checked; `title="x.toml"` also saves it.
* `console`: commands after `$ `, what is typed after `You > `, and what is printed; `no-run` skips it.
* Any other block is not run.

All blocks of a page share one folder. `localhost:6379` and `localhost:27017` are replaced by the servers of the test run.
"""

from __future__ import annotations

import ast
import os
import pathlib
import re
import subprocess
import sys
import tomllib
import urllib.parse
from dataclasses import dataclass

import pytest

import botsession_operations as operations
import servers
from botsession.configuration.settings import parse_settings

ROOT = pathlib.Path(__file__).parents[2]
PAGES = sorted(
    [*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md"), *ROOT.glob("plugins/*/*/README.md"), ROOT / "core/README.md"]
)
FENCE = re.compile(r"^```(?P<info>\w+[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!https?://|#)([^)#\s]+)(?:#[^)]*)?\)")


@dataclass
class Block:
    kind: str
    info: str
    text: str
    line: int

    @property
    def title(self) -> str:
        found = re.search(r'title="([^"]+)"', self.info)
        return found[1] if found else ""


def blocks_of(page: pathlib.Path) -> list[Block]:
    text = page.read_text(encoding="utf-8")
    return [
        Block(found["info"].split()[0], found["info"], found["text"], text.count("\n", 0, found.start()) + 1)
        for found in FENCE.finditer(text)
    ]


def on_test_servers(text: str) -> str:
    """Replace the default addresses in the documentation with the servers of this run."""
    for port, find_url in ((6379, servers.redis_url), (27017, servers.mongo_url)):
        if str(port) in text:
            address = urllib.parse.urlsplit(find_url())
            text = re.sub(rf"(?:localhost|127\.0\.0\.1):{port}", address.netloc, text)
            text = re.sub(rf"\bport = {port}\b", f"port = {address.port}", text)
    return text


class Reader:
    """Execute the blocks of a page, in order and in one folder."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self.output = ""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("BOTSESSION_")}
        path = f"{pathlib.Path(sys.executable).parent}{os.pathsep}{kept['PATH']}"
        self.environment = {**kept, "PATH": path, "PYTHONPATH": str(folder), "PYTHONWARNINGS": "error"}

    def follow(self, block: Block) -> None:
        text = on_test_servers(block.text)
        if block.title and block.title != "output":
            saved = self.folder / block.title
            saved.parent.mkdir(parents=True, exist_ok=True)
            saved.write_text(text, encoding="utf-8")
        if block.kind == "python":
            if "no-run" in block.info:
                ast.parse(text)
            else:
                self.output = self.run([sys.executable, "-c", text])
        elif block.kind == "toml" and "no-run" not in block.info:
            parse_settings(tomllib.loads(text), "the documentation")
        elif block.kind == "text" and block.title == "output":
            assert self.output.splitlines() == text.splitlines()
        elif block.kind == "console" and "no-run" not in block.info:
            self.converse(text)

    def converse(self, transcript: str) -> None:
        for part in re.split(r"^\$ ", transcript, flags=re.MULTILINE)[1:]:
            command, *rest = part.rstrip().splitlines()
            typed = "".join(f"{line.removeprefix('You > ')}\n" for line in rest if line.startswith("You > "))
            printed = [line for line in rest if not line.startswith("You > ")]
            assert self.run(["sh", "-c", command], typed).splitlines() == printed, command

    def run(self, command: list[str], typed: str = "") -> str:
        done = subprocess.run(
            command,
            input=typed,
            cwd=self.folder,
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        assert done.returncode == 0 or "botsession: " in done.stdout, done.stdout
        return done.stdout


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_examples_of_a_page_run(page, tmp_path):
    reader = Reader(tmp_path)
    for block in blocks_of(page):
        try:
            reader.follow(block)
        except AssertionError as error:
            raise AssertionError(f"{page.relative_to(ROOT)}, line {block.line}: {error}") from error


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_the_links_of_a_page_lead_somewhere(page):
    missing = [link for link in LINK.findall(page.read_text(encoding="utf-8")) if not (page.parent / link).exists()]
    assert not missing


def test_the_reference_has_every_operation():
    text = (ROOT / "docs" / "reference" / "operations.md").read_text(encoding="utf-8")
    assert sorted(re.findall(r":: botsession_operations\.(\w+)$", text, re.MULTILINE)) == sorted(operations.__all__)


def test_the_hosted_workflow_runs_the_sessions_of_check():
    workflow = (ROOT / ".github" / "workflows" / "check.yml").read_text(encoding="utf-8")
    (lanes,) = (
        node.value
        for node in ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "LANES"
    )
    sessions = [name for lane in ast.literal_eval(lanes) for name in lane]
    assert sorted(re.findall(r"- { session: ([\w.-]+),", workflow)) == sorted(sessions)


def test_ci_runs_the_test_command_of_the_readme():
    command = (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()[-1]
    assert f"```sh\n{command}\n```" in (ROOT / "README.md").read_text(encoding="utf-8")
