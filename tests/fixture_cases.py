"""The case folders of tests/fixtures as values. In: folders. Out: inputs, outputs, expectations.

It knows nothing of what is tested; test_fixtures.py says what a folder holds.
"""

from __future__ import annotations

import io
import json
import shutil
import tokenize
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from bufferize.settings import Settings, load_settings

try:
    import tomllib
except ImportError:  # Python 3.10
    import tomli as tomllib  # type: ignore[no-redef]

ROOT = Path(__file__).parent / "fixtures"
SUITES = ("find", "persistence", "hazards", "forms")
NAMES = ("before.py", "before.ipynb", "before")
SUFFIXES = (".py", ".ipynb")


@dataclass(frozen=True)
class FixtureCase:
    folder: Path

    @property
    def id(self) -> str:
        return self.folder.relative_to(ROOT).as_posix()

    @cached_property
    def before(self) -> Path:
        return next(self.folder / name for name in NAMES if (self.folder / name).exists())

    @property
    def after(self) -> Path:
        return self.folder / self.before.name.replace("before", "after")

    @cached_property
    def toml(self) -> dict[str, Any]:
        return tomllib.loads((self.folder / "case.toml").read_text(encoding="utf-8"))

    @property
    def rewrites(self) -> bool:
        return any(entry["action"] == "rewrite" for entry in self.toml["expect"])

    def files(self, side: Path) -> dict[str, bytes]:
        """Every file of one side, by the path it gets in a work folder."""
        if side.is_dir():
            found = sorted(path for path in side.rglob("*") if path.is_file())
            return {path.relative_to(side).as_posix(): path.read_bytes() for path in found}
        # a module of its own name: all cases are proved in one process tree
        return {self.id.replace("/", "_").replace("-", "_") + side.suffix: side.read_bytes()}

    @cached_property
    def inputs(self) -> dict[str, bytes]:
        return {n: d for n, d in self.files(self.before).items() if "__pycache__" not in n}

    @cached_property
    def outputs(self) -> dict[str, bytes]:
        return self.inputs | (self.files(self.after) if self.after.exists() else {})


def find_cases() -> list[FixtureCase]:
    folders = {path.parent for suite in SUITES for path in (ROOT / suite).rglob("case.toml")}
    return [FixtureCase(folder) for folder in sorted(folders)]


def make_settings(options: Sequence[str], folder: Path) -> Settings:
    """The options a case may name; installed packages are out of sight: no case needs any."""
    given: dict[str, object] = {}
    words = iter(options)
    for word in words:
        if word == "--unsafe":
            given["unsafe"] = True
        elif word in ("--persistent", "--style"):
            given[word[2:]] = next(words)
        elif word in ("--select", "--ignore"):
            given[word[2:]] = next(words).split(",")
        else:
            raise ValueError(f"case.toml: option {word} is not known here")
    return replace(load_settings(given, [folder]), search_path=())


def lay_out(files: dict[str, bytes], folder: Path) -> Path:
    for name, data in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return folder


def decode(data: bytes) -> str:
    """Python source as text, by its own encoding cookie."""
    encoding, _ = tokenize.detect_encoding(io.BytesIO(data).readline)
    return data.decode(encoding)


def update_after(case: FixtureCase, outputs: dict[str, bytes]) -> None:
    if case.after.is_dir():
        shutil.rmtree(case.after)
    elif case.after.exists():
        case.after.unlink()
    if outputs == case.inputs:
        return
    if case.before.is_dir():
        lay_out(outputs, case.after)
    else:
        case.after.write_bytes(next(iter(outputs.values())))


def update_toml(case: FixtureCase, found: Sequence[dict[str, Any]]) -> None:
    verdicts = {
        (entry["cls"], entry["attribute"]): entry["verdict"]
        for entry in case.toml["expect"]
        if "verdict" in entry
    }
    lines = []
    if "options" in case.toml:
        lines.append(f"options = {json.dumps(case.toml['options'])}")
    if not found:
        lines.append("expect = []")
    for entry in found:
        if lines:
            lines.append("")
        lines.append("[[expect]]")
        lines += [f"{key} = {json.dumps(value)}" for key, value in entry.items()]
        answer = verdicts.get((entry["cls"], entry["attribute"]))
        if answer and entry["action"] == "rewrite":
            lines.append(f"verdict = {json.dumps(answer)}")
    (case.folder / "case.toml").write_text("\n".join(lines) + "\n", encoding="utf-8")
