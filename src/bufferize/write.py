"""New bytes to the user's files, all of them or none. It alone writes there; decides nothing.

Every new content is first written whole to a file beside its target. Only when all of them stand on
the disk, and every target still has the bytes that were read, are they renamed into place: at any
moment each file is the old one or the new one. A failure halfway puts the old files back.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from bufferize.errors import WriteError

_SUFFIX = ".bufferize"


@dataclass(frozen=True, slots=True)
class _Staged:
    """One target with its new content and its old one, both complete, beside it."""

    # as the caller named it, for messages
    name: Path
    target: Path
    old: bytes
    new_file: Path
    # a second link to the old file (or a copy): putting it back needs no space on the disk
    old_file: Path


def write_files(changes: Sequence[tuple[Path, bytes, bytes]]) -> None:
    """Replace each path's old bytes by its new ones: every file or, with a WriteError, none.

    Links stay and their targets change; permissions and, where allowed, owners are kept.
    """
    leftovers: list[Path] = []
    try:
        staged = [_stage(*change, leftovers) for change in _distinct(changes)]
        for each in staged:
            _check_unchanged(each.name, each.target, each.old)
        _rename_all(staged)
    finally:
        for path in leftovers:
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)


def _distinct(
    changes: Sequence[tuple[Path, bytes, bytes]],
) -> Iterable[tuple[Path, Path, bytes, bytes]]:
    """(name, real path, old, new): each real file once, without those that stay as they are."""
    found: dict[Path, tuple[Path, Path, bytes, bytes]] = {}
    for name, old, new in changes:
        try:
            target = name.resolve(strict=True)
        except (OSError, RuntimeError) as error:
            raise _refusal(name, error) from None
        known = found.get(target)
        if known is not None and known[3] != new:
            raise WriteError(f"{name}: the same file as {known[0]}, with other changes")
        if old != new and known is None:
            found[target] = (name, target, old, new)
    return found.values()


def _stage(name: Path, target: Path, old: bytes, new: bytes, leftovers: list[Path]) -> _Staged:
    _check_unchanged(name, target, old)
    try:
        status = target.stat()
        if not status.st_mode & (stat.S_IWUSR | stat.S_IWGRP | stat.S_IWOTH) or not os.access(
            target, os.W_OK
        ):
            raise WriteError(f"{name}: cannot be written: the file is read-only")
        new_file = _write_beside(target, new, status, leftovers)
        old_file = _keep_old(target, old, status, leftovers)
    except OSError as error:
        raise _refusal(name, error) from None
    return _Staged(name, target, old, new_file, old_file)


def _check_unchanged(name: Path, target: Path, old: bytes) -> None:
    try:
        now = target.read_bytes()
    except OSError as error:
        raise _refusal(name, error) from None
    if now != old:
        raise WriteError(f"{name}: changed on the disk since it was read; run bufferize again")


def _write_beside(
    target: Path, content: bytes, status: os.stat_result, leftovers: list[Path]
) -> Path:
    """A file with this content in the target's folder, on the disk, with the target's rights."""
    path = _name_beside(target, leftovers)
    handle = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | getattr(os, "O_BINARY", 0), 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        _keep_owner(path, status)
        path.chmod(stat.S_IMODE(status.st_mode))
        os.fsync(file.fileno())
    return path


def _name_beside(target: Path, leftovers: list[Path]) -> Path:
    """A new name, listed as a leftover before the file exists: an interrupt may come in between."""
    path = target.with_name(f".{target.name[:40]}.{secrets.token_hex(8)}{_SUFFIX}")
    leftovers.append(path)
    return path


def _keep_owner(path: Path, status: os.stat_result) -> None:
    # only root may give files away; the group is kept where the user is in it
    if hasattr(os, "chown"):
        with contextlib.suppress(OSError):
            os.chown(path, -1, status.st_gid)
        with contextlib.suppress(OSError):
            os.chown(path, status.st_uid, -1)


def _keep_old(target: Path, old: bytes, status: os.stat_result, leftovers: list[Path]) -> Path:
    kept = _name_beside(target, leftovers)
    try:
        os.link(target, kept)
    except (OSError, AttributeError, NotImplementedError):
        return _write_beside(target, old, status, leftovers)
    return kept


def _rename_all(staged: Sequence[_Staged]) -> None:
    """Rename every new file into place; on any failure, an interrupt too, put the old ones back."""
    begun: list[_Staged] = []
    try:
        for each in staged:
            begun.append(each)
            _check_unchanged(each.name, each.target, each.old)
            os.replace(each.new_file, each.target)  # noqa: PTH105
    except BaseException as error:
        lost = _put_back(begun)
        if lost:
            names = ", ".join(str(each.name) for each in lost)
            message = f"{names}: rewritten, and the old content could not be put back"
            raise WriteError(message) from error
        if isinstance(error, OSError):
            raise _refusal(begun[-1].name, error) from None
        raise
    for folder in {each.target.parent for each in staged}:
        _sync_folder(folder)


def _put_back(begun: Sequence[_Staged]) -> list[_Staged]:
    lost: list[_Staged] = []
    for each in begun:
        if each.new_file.exists():
            continue
        try:
            os.replace(each.old_file, each.target)  # noqa: PTH105
        except OSError:
            lost.append(each)
    return lost


def _sync_folder(folder: Path) -> None:
    # the renames are complete; a crash of the machine may undo those not yet on the disk
    with contextlib.suppress(OSError):
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def _refusal(name: Path, error: BaseException) -> WriteError:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    return WriteError(f"{name}: cannot be written: {' '.join(reason.split())}")
