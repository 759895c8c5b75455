"""Files of the project that were not asked about, and may show how its classes are used.

In: the settings and the files already read. Out: tests, examples, scripts and notebooks beside
them, a bounded number. It refuses to leave the project: without a pyproject.toml or .git above
the paths, only files that lie right beside them count.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from bufferize.discover import display_name, find_paths, read_source
from bufferize.errors import UnreadableFile
from bufferize.model import SourceFile
from bufferize.settings import Settings

MOST_FILES = 1000
MOST_BYTES = 32 << 20
# fmt: off
FOLDERS = (
    "tests", "test", "examples", "example", "demo", "demos", "scripts", "notebooks", "tutorials",
    "docs", "doc", "benchmarks",
)
# fmt: on


def find_neighbours(settings: Settings, known: Sequence[SourceFile]) -> tuple[SourceFile, ...]:
    """Files beside the paths and in the project's usual folders; `known` ones are left out."""
    seen = {source.path.resolve() for source in known}
    found: list[SourceFile] = []
    left = MOST_BYTES
    for path in _candidates(settings):
        full = path.resolve()
        if full in seen or len(found) >= MOST_FILES or left <= 0:
            continue
        seen.add(full)
        try:
            source = read_source(path, display_name(path))
        except UnreadableFile:
            # nobody asked for it
            continue
        left -= len(source.text)
        found.append(source)
    return tuple(found)


def _candidates(settings: Settings) -> Iterator[Path]:
    places = [path.resolve() for path in settings.paths]
    beside = {place if place.is_dir() else place.parent for place in places}
    root = settings.root.resolve()
    if not ((root / "pyproject.toml").is_file() or (root / ".git").exists()):
        root = next(iter(beside), root)
    folders = [folder / name for folder in dict.fromkeys((*beside, root)) for name in FOLDERS]
    paths = tuple(folder for folder in folders if folder.is_dir())
    for folder in sorted({*beside, root}):
        yield from sorted((*folder.glob("*.py"), *folder.glob("*.ipynb")))
    if paths:
        listed, _ = find_paths(replace(settings, paths=paths))
        yield from (entry.path for entry in listed)
