"""Command-line flags and `[tool.bufferize]` of pyproject.toml become one frozen Settings."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from bufferize.model import Case


@dataclass(frozen=True, slots=True)
class Settings:
    """All that a run was asked for. No room below the command line sees anything else of it."""

    paths: tuple[Path, ...] = (Path("."),)
    # the project's root: the folder of the pyproject.toml or .git found above the first path
    root: Path = Path(".")
    exclude: tuple[str, ...] = ()
    select: frozenset[str] = frozenset()
    ignore: frozenset[str] = frozenset()
    # 'auto', 'always' or 'never'
    persistent: str = "auto"
    # 'register_buffer' or 'nn.Buffer'
    style: str = "register_buffer"
    unsafe: bool = False
    strict: bool = False
    jobs: int = 1
    line_length: int | None = None
    # the interpreter whose packages the code under change uses
    python: Path | None = None
    # folders where installed packages lie for that interpreter (None: ask it)
    search_path: tuple[Path, ...] | None = None
    base: str | None = None
    changed_only: bool = False
    # 'auto', 'cuda', 'cuda:1', 'virtual'
    device: str = "auto"
    # limits for one class in one child: seconds of wall time, MiB of memory
    timeout: float = 60.0
    memory: int = 8192
    seed: int = 0
    # [tool.bufferize.cases]: 'pkg.mod:Class' -> cases
    cases: Mapping[str, tuple[Case, ...]] = field(default_factory=dict)
