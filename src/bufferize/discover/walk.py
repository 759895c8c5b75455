"""Which files there are: paths and settings in, `FoundPath`s out. Reads no file but ignore files.

Honours what git ignores (nested .gitignore files, .git/info/exclude), the configured globs, which
are written as in a .gitignore at the project's root, and folders that hold no source of one's own.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pathspec import GitIgnoreSpec

from bufferize.errors import UsageError
from bufferize.model import Failed
from bufferize.settings import Settings

SUFFIXES = frozenset({".py", ".ipynb"})

# Folders never entered below a given path, as in ruff.
EXCLUDED_FOLDERS = frozenset(
    {
        *(".bufferize", ".bzr", ".direnv", ".eggs", ".git", ".git-rewrite", ".hg", ".hypothesis"),
        *(".ipynb_checkpoints", ".mypy_cache", ".nox", ".pants.d", ".pyenv", ".pytest_cache"),
        *(".pytype", ".ruff_cache", ".svn", ".tox", ".venv", ".vscode", "__pycache__"),
        *("__pypackages__", "_build", "buck-out", "build", "dist", "node_modules"),
        *("site-packages", "venv"),
    }
)


@dataclass(frozen=True, slots=True, order=True)
class FoundPath:
    name: str
    path: Path
    # named on the command line: no exclusion and no size limit holds it back
    explicit: bool


def find_paths(settings: Settings) -> tuple[tuple[FoundPath, ...], tuple[Failed, ...]]:
    """The files to read, each once, ordered by name, and the folders that cannot be listed.

    Raises UsageError for a path that does not exist.
    """
    exclude = _read_exclude(settings)
    found: dict[str, FoundPath] = {}
    failed: list[Failed] = []
    for path in settings.paths:
        if os.path.isdir(path):  # noqa: PTH112
            below = _walk(path, settings, exclude, failed)
            files = [FoundPath(display_name(p), p, False) for p in below]
        elif os.path.lexists(path):
            files = [FoundPath(display_name(path), path, True)] if path.suffix != ".pyi" else []
        else:
            raise UsageError(f"{path}: no such file or folder")
        for file in files:
            _keep_one(found, file)
    return tuple(sorted(found.values())), tuple(failed)


def _keep_one(found: dict[str, FoundPath], file: FoundPath) -> None:
    """One entry per real file: the one named by the user first, then the one that is no link."""
    real = os.path.realpath(file.path)
    known = found.get(real)
    if known is None or (not known.explicit and (file.explicit or known.path.is_symlink())):
        found[real] = file


def display_name(path: Path) -> str:
    """The path as users see it: relative to the current folder where it lies below it."""
    absolute = Path(os.path.normpath(Path.cwd() / path))
    try:
        return absolute.relative_to(Path.cwd()).as_posix()
    except ValueError:
        return absolute.as_posix()


def _read_exclude(settings: Settings) -> GitIgnoreSpec:
    try:
        return GitIgnoreSpec.from_lines(settings.exclude)
    except ValueError as error:
        raise UsageError(f"exclude: {error}") from None


@dataclass(frozen=True, slots=True)
class _Rules:
    """The patterns of one ignore file, which hold below `folder`."""

    folder: str
    spec: GitIgnoreSpec

    def judge(self, path: str, is_folder: bool) -> bool | None:
        relative = os.path.relpath(path, self.folder).replace(os.sep, "/")
        if relative.startswith("../"):
            return None
        return self.spec.check_file(relative + "/" if is_folder else relative).include


def _walk(
    top: Path, settings: Settings, exclude: GitIgnoreSpec, failed: list[Failed]
) -> Iterator[Path]:
    """The files below `top`; links to folders are not followed, so a loop ends nowhere."""
    start = os.path.realpath(top)
    own = _Rules(os.path.realpath(settings.root), exclude)
    if own.judge(start, True) is None and not _is_below(start, own.folder):
        own = _Rules(start, exclude)
    # a folder that its repository ignores was asked for by name: the rules above it are off
    above = _rules_above(start)
    if _is_ignored(start, True, above):
        above = ()
    pending = [(Path(top), start, above)]
    while pending:
        folder, real, rules = pending.pop()
        rules = (*rules, *_rules_of(real, ".gitignore"))
        for entry in _list_folder(folder, failed):
            real_entry = os.path.join(real, entry.name)  # noqa: PTH118
            is_folder = entry.is_dir(follow_symlinks=False)
            if is_folder and _is_excluded_folder(entry):
                continue
            if not is_folder and not _is_source(entry):
                continue
            if own.judge(real_entry, is_folder) or _is_ignored(real_entry, is_folder, rules):
                continue
            if is_folder:
                pending.append((folder / entry.name, real_entry, rules))
            else:
                yield folder / entry.name


def _is_below(path: str, folder: str) -> bool:
    return Path(path).is_relative_to(folder)


def _list_folder(folder: Path, failed: list[Failed]) -> list[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name)
    except OSError as error:
        reason = error.strerror or type(error).__name__
        failed.append(Failed(display_name(folder), f"folder cannot be read: {reason}"))
        return []


def _is_excluded_folder(entry: os.DirEntry[str]) -> bool:
    return (
        entry.name in EXCLUDED_FOLDERS
        or entry.name.endswith(".egg-info")
        or _exists(entry.path, "pyvenv.cfg")
    )


def _exists(folder: str, name: str) -> bool:
    # unlike pathlib's, this answers no where the folder may not be searched
    return os.path.exists(os.path.join(folder, name))  # noqa: PTH110, PTH118


def _is_source(entry: os.DirEntry[str]) -> bool:
    # '.#name.py' is a dangling link by which Emacs locks a file
    if Path(entry.name).suffix not in SUFFIXES or entry.name.startswith(".#"):
        return False
    return entry.is_symlink() or entry.is_file()


def _is_ignored(path: str, is_folder: bool, rules: tuple[_Rules, ...]) -> bool:
    """The deepest ignore file that has an opinion decides, as in git."""
    for rule in reversed(rules):
        judged = rule.judge(path, is_folder)
        if judged is not None:
            return judged
    return False


def _rules_above(start: str) -> tuple[_Rules, ...]:
    """What the repository round `start` ignores, outermost first; nothing outside a repository."""
    rules: list[_Rules] = []
    folders = [Path(start), *Path(start).parents]
    for number, folder in enumerate(folders):
        if number:
            rules[:0] = _rules_of(str(folder), ".gitignore")
        if _exists(str(folder), ".git"):
            return (*_rules_of(str(folder), _git_exclude(folder)), *rules)
    return ()


def _git_exclude(folder: Path) -> str:
    """The path of info/exclude; in a worktree `.git` is a file that names another folder."""
    git = folder / ".git"
    if git.is_file():
        stated = git.read_text("utf-8", "replace").partition("gitdir:")[2].strip()
        git = folder / stated
        common = git / "commondir"
        if common.is_file():
            git = git / common.read_text("utf-8", "replace").strip()
    return str(git / "info" / "exclude")


def _rules_of(folder: str, file: str) -> tuple[_Rules, ...]:
    try:
        text = Path(folder, file).read_text("utf-8", "replace")
        return (_Rules(folder, GitIgnoreSpec.from_lines(text.splitlines())),)
    except (OSError, ValueError):
        return ()
