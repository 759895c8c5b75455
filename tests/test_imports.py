"""The walls between the rooms: what an import may drag in, seen in a clean interpreter."""

from __future__ import annotations

import ast
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

import bufferize

SOURCE = Path(bufferize.__file__).parent


def loaded_by(module: str) -> set[str]:
    """The top-level packages that are loaded once `module` is."""
    code = f"import sys, {module}; print(*sorted({{name.split('.')[0] for name in sys.modules}}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("module", ["bufferize", "bufferize.model", "bufferize.settings"])
def test_values_load_nothing_but_the_standard_library(module):
    assert not loaded_by(module) & {"torch", "libcst", "rich", "click", "pathspec", "numpy"}


def test_the_command_line_loads_no_room():
    loaded = loaded_by("bufferize.cli")
    assert "click" in loaded
    assert not loaded & {"torch", "libcst", "rich", "numpy"}


def test_the_worker_knows_neither_parser_nor_command_line():
    if find_spec("bufferize.verify.worker") is None:
        pytest.skip("the proof has no worker yet")
    assert not loaded_by("bufferize.verify.worker") & {"libcst", "click", "rich"}


def imports_of(file: Path, modules: set[str]) -> set[str]:
    """The modules of bufferize that a file names at its top level."""
    found = set()
    for node in ast.parse(file.read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            for alias in node.names:
                # `from package import module` asks for the module, not for what the package says
                inner = f"{node.module}.{alias.name}"
                found.add(inner if inner in modules else str(node.module))
    return found & modules


def name_of(file: Path) -> str:
    parts = file.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def graph() -> dict[str, set[str]]:
    files = {name_of(file): file for file in SOURCE.rglob("*.py")}
    return {name: imports_of(file, set(files)) - {name} for name, file in files.items()}


def find_cycle(edges: dict[str, set[str]]) -> list[str]:
    done: set[str] = set()

    def visit(name: str, trail: list[str]) -> list[str]:
        if name in trail:
            return [*trail[trail.index(name) :], name]
        if name in done:
            return []
        for target in sorted(edges[name]):
            if cycle := visit(target, [*trail, name]):
                return cycle
        done.add(name)
        return []

    return next((cycle for name in sorted(edges) if (cycle := visit(name, []))), [])


def test_no_two_modules_import_each_other():
    assert find_cycle(graph()) == []


def test_a_cycle_would_be_seen():
    assert find_cycle({"a": {"b"}, "b": {"c"}, "c": {"b"}}) == ["b", "c", "b"]


def test_only_the_command_line_knows_click():
    named = [f for f in SOURCE.rglob("*.py") if "import click" in f.read_text(encoding="utf-8")]
    assert [file.name for file in named] == ["cli.py"]
