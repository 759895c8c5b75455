"""What the README says is so: its commands, its example, its table of commands."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from bufferize.cli import main

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.DOTALL | re.MULTILINE)


def test_two_commands_each_on_one_line():
    demo, tests = blocks("sh")
    assert demo.count("\n") == tests.count("\n") == 1
    assert demo.rstrip().endswith("bufferize diff --verify tests/fixtures/demo")
    assert tests.rstrip().endswith("python -m pytest")
    for command in (demo, tests):
        assert "-c tests/constraints.txt" in command


def test_the_script_of_ci_runs_the_readmes_line():
    script = (ROOT / ".ci" / "run").read_text(encoding="utf-8")
    extraction = re.search(r"^command=\$\((.*)\)$", script, re.MULTILINE)
    done = subprocess.run(["bash", "-c", extraction[1]], cwd=ROOT, capture_output=True, check=True)
    assert done.stdout.decode() == blocks("sh")[1]


def test_the_example_is_what_the_tool_does(tmp_path):
    (diff,) = blocks("diff")
    sides = {
        sign: "".join(line[1:] for line in diff.splitlines(keepends=True) if line[0] in f" {sign}")
        for sign in "-+"
    }
    head = "import torch\nfrom torch import nn\n\n\n"
    path = tmp_path / "model.py"
    path.write_text(head + sides["-"])
    command = [sys.executable, "-m", "bufferize", "apply", "--no-verify", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert path.read_text() == head + sides["+"]


@pytest.mark.parametrize("command", sorted(main.commands))
def test_every_command_is_in_the_table(command):
    assert f"| `bufferize {command} " in README


def test_every_exit_code_is_in_the_table():
    assert re.findall(r"^\| (\d) \|", README, re.MULTILINE) == list("012345")
