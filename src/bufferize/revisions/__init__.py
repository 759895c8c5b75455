"""What changed between two versions of a tree. In: a git revision or a folder. Out: FileChanges.

Which buffers a change promises is read from both texts; nothing is imported, nothing judged here.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from bufferize.discover import display_name, find_paths, stdin_source
from bufferize.errors import UnreadableFile
from bufferize.model import Failed, FileChange, SourceFile
from bufferize.project.symbols import module_of
from bufferize.revisions.git import Entry, Repository
from bufferize.revisions.registered import find_promises
from bufferize.settings import Settings
from bufferize.syntax import parse_python

__all__ = ["changed_files", "changes_between", "changes_since", "module_of"]

SUFFIXES = (".py", ".ipynb")


def changes_since(settings: Settings) -> tuple[FileChange, ...]:
    """Every Python file and notebook of the repository that differs from the base revision.

    All of them, as any may be imported by another; promises are read in `settings.paths` only.
    """
    repository = Repository.around(settings.paths[0])
    entries = find_entries(repository, settings)
    blobs = repository.read_blobs([entry.blob for entry in entries if entry.blob])
    asked_for = real_paths(settings)
    changes = []
    for entry in entries:
        path = repository.root / entry.name
        after = read_bytes(path) if entry.is_file else None
        change = make_change(path, blobs.get(entry.blob), after)
        if change is not None:
            is_asked_for = path.resolve() in asked_for
            changes.append(change if is_asked_for else replace(change, expected=()))
    return tuple(changes)


def find_entries(repository: Repository, settings: Settings) -> tuple[Entry, ...]:
    """What differs; of files that git does not know only those that a search would find."""
    entries = repository.entries_since(repository.resolve(settings.base), SUFFIXES)
    if all(entry.blob for entry in entries):
        return entries
    found = real_paths(Settings(paths=(repository.root,), root=repository.root))
    found |= real_paths(settings)
    return tuple(e for e in entries if e.blob or (repository.root / e.name).resolve() in found)


def real_paths(settings: Settings) -> frozenset[Path]:
    return frozenset(found.path.resolve() for found in find_paths(settings)[0])


def changed_files(settings: Settings) -> frozenset[Path]:
    """The files there now that differ from the base revision, resolved: for --changed-only."""
    repository = Repository.around(settings.paths[0])
    entries = find_entries(repository, settings)
    paths = ((repository.root / entry.name).resolve() for entry in entries if entry.is_file)
    return frozenset(path for path in paths if path.is_file())


def changes_between(before: Path, after: Path) -> tuple[FileChange, ...]:
    """The same for two folders, or two files; names and places are those of `after`."""
    if after.is_file() or before.is_file():
        pairs: Iterable[tuple[Path, Path]] = [(before, after)]
    else:
        names = sorted({*names_below(before), *names_below(after)})
        pairs = ((before / name, after / name) for name in names)
    made = (make_change(new, read_bytes(old), read_bytes(new)) for old, new in pairs)
    return tuple(change for change in made if change is not None)


def names_below(folder: Path) -> list[Path]:
    found, _ = find_paths(Settings(paths=(folder,), root=folder))
    return [entry.path.relative_to(folder) for entry in found]


def read_bytes(path: Path) -> bytes | None:
    """None where there is no file; a link belongs to the file it leads to."""
    if path.is_symlink() or not path.is_file():
        return None
    return path.read_bytes()


def make_change(path: Path, before: bytes | None, after: bytes | None) -> FileChange | None:
    if before == after:
        return None
    module, root = module_of(path)
    name = display_name(path)
    old, _ = read_side(path, name, before)
    new, problem = read_side(path, name, after)
    texts = [side.text if side else None for side in (old, new)]
    expected = find_promises(*texts) if not problem else ()
    return FileChange(
        path=path,
        name=name,
        module=module,
        root=root,
        before=texts[0],
        after=texts[1],
        expected=expected,
        is_notebook=path.suffix == ".ipynb",
        before_cells=(old and old.cells) or (),
        after_cells=(new and new.cells) or (),
        problem=problem,
    )


def read_side(path: Path, name: str, data: bytes | None) -> tuple[SourceFile | None, Failed | None]:
    """One version's Python text. A version that cannot be read is as good as none, and is named."""
    if data is None:
        return None, None
    try:
        source = replace(stdin_source(data, name), path=path)
        parse_python(source)
    except UnreadableFile as error:
        return None, Failed(name, str(error), error.line, error.column, error.cell)
    return source, None
