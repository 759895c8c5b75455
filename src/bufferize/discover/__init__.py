"""Paths in, `SourceFile`s out. It alone walks the disk and reads the user's bytes.

A file that cannot be read is a `Failed` with one line; the others are read all the same.
"""

from __future__ import annotations

from bufferize.discover.read import SIZE_LIMIT, read_source, stdin_source
from bufferize.discover.walk import FoundPath, display_name, find_paths
from bufferize.errors import UnreadableFile
from bufferize.model import Failed, SourceFile
from bufferize.settings import Settings
from bufferize.syntax import parse_python, too_deep

__all__ = [
    "SIZE_LIMIT",
    "FoundPath",
    "display_name",
    "find_paths",
    "find_sources",
    "parse_python",
    "read_source",
    "stdin_source",
    "too_deep",
]


def find_sources(settings: Settings) -> tuple[tuple[SourceFile, ...], tuple[Failed, ...]]:
    """Every Python file and notebook under `settings.paths`, read; UsageError if a path is not."""
    paths, unlisted = find_paths(settings)
    sources: list[SourceFile] = []
    failed = list(unlisted)
    for found in paths:
        try:
            sources.append(read_source(found.path, found.name, whole=found.explicit))
        except UnreadableFile as error:
            failed.append(Failed(found.name, str(error), error.line, error.column, error.cell))
    return tuple(sources), tuple(failed)
