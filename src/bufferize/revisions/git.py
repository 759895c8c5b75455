"""What git knows of a tree. In: a place in a repository. Out: changed names and old contents.

Plumbing only: nothing is checked out, no index is written. It refuses to know Python.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bufferize.errors import UsageError

FILE_MODES = ("100644", "100755")


@dataclass(frozen=True, slots=True)
class Entry:
    """One file that differs from a revision."""

    name: str
    # the old content's id, empty where there was no file
    blob: str
    # whether a plain file, no link or submodule, stands there now
    is_file: bool


@dataclass(frozen=True, slots=True)
class Repository:
    root: Path

    @classmethod
    def around(cls, path: Path) -> Repository:
        """The repository that holds a path; UsageError where there is none."""
        folder = path.resolve()
        while not folder.is_dir():
            folder = folder.parent
        done = run_git(folder, "rev-parse", "--show-toplevel")
        if done.returncode:
            hint = "give --before DIR to compare with a folder"
            raise UsageError(f"{path}: {complaint(done)}; {hint}")
        return cls(Path(os.fsdecode(done.stdout.rstrip(b"\r\n"))))

    def resolve(self, base: str | None) -> str:
        """The commit meant by --base: the merge base with HEAD, exactly REV for =REV, else HEAD."""
        if base is None:
            return self.commit("HEAD")
        if base.startswith("="):
            return self.commit(base[1:])
        commit = self.commit(base)
        done = run_git(self.root, "merge-base", commit, "HEAD")
        if done.returncode:
            raise UsageError(
                f"--base {base}: no merge base with HEAD; the clone may be shallow: fetch more "
                f"history, or compare with it exactly by --base ={base}"
            )
        return done.stdout.decode().strip()

    def commit(self, revision: str) -> str:
        done = run_git(
            self.root,
            "rev-parse",
            "--verify",
            "--quiet",
            "--end-of-options",
            revision + "^{commit}",
        )
        if done.returncode:
            raise UsageError(
                f"{revision}: no such revision in {self.root}; in a shallow clone, fetch it first"
            )
        return done.stdout.decode().strip()

    def entries_since(self, commit: str, suffixes: tuple[str, ...]) -> tuple[Entry, ...]:
        """Files that differ between a commit and the working tree, untracked ones too."""
        options = ("--raw", "-z", "--no-abbrev", "--no-renames", "--no-relative", "--no-ext-diff")
        listed = self.ask("diff", *options, "--ignore-submodules=all", commit, "--")
        entries = read_raw(listed)
        untracked = self.ask("ls-files", "--others", "--exclude-standard", "-z").split(b"\0")
        entries += [Entry(os.fsdecode(name), "", True) for name in untracked if name]
        by_name: dict[str, Entry] = {}
        for entry in entries:
            known = by_name.get(entry.name)
            # deleted from the index and there again: what it was, and that it is there
            by_name[entry.name] = Entry(entry.name, known.blob, True) if known else entry
        return tuple(by_name[name] for name in sorted(by_name) if name.endswith(suffixes))

    def read_blobs(self, blobs: Sequence[str]) -> dict[str, bytes]:
        asked = "".join(f"{blob}\n" for blob in blobs).encode()
        answer = self.ask("cat-file", "--batch", given=asked)
        found: dict[str, bytes] = {}
        at = 0
        for blob in blobs:
            end = answer.index(b"\n", at)
            words = answer[at:end].split()
            if words[-1] == b"missing":
                raise UsageError(f"{self.root}: the clone lacks the old content of a file ({blob})")
            size = int(words[-1])
            found[blob] = answer[end + 1 : end + 1 + size]
            at = end + size + 2
        return found

    def ask(self, *command: str, given: bytes = b"") -> bytes:
        done = run_git(self.root, *command, given=given)
        if done.returncode:
            raise UsageError(f"git {command[0]}: {complaint(done)}")
        return done.stdout


def read_raw(listed: bytes) -> list[Entry]:
    """`:mode mode blob blob status` and a name, each ended by a null byte."""
    fields = listed.split(b"\0")
    entries = []
    for head, name in zip(fields[::2], fields[1::2], strict=False):
        old_mode, new_mode, old_blob, _, _ = head.decode().lstrip(":").split()
        blob = old_blob if old_mode in FILE_MODES else ""
        if blob or new_mode in FILE_MODES:
            entries.append(Entry(os.fsdecode(name), blob, new_mode in FILE_MODES))
    return entries


def run_git(folder: Path, *command: str, given: bytes = b"") -> subprocess.CompletedProcess[bytes]:
    # the messages are ours to read, so they come in English
    environ = {**os.environ, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}
    try:
        return subprocess.run(
            ["git", *command],
            cwd=folder,
            env=environ,
            input=given,
            capture_output=True,
            check=False,
        )
    except FileNotFoundError as error:
        raise UsageError(
            "git is not installed; give --before DIR to compare with a folder"
        ) from error


def complaint(done: subprocess.CompletedProcess[bytes]) -> str:
    lines = os.fsdecode(done.stderr).strip().splitlines() or [f"git failed ({done.returncode})"]
    return lines[0].removeprefix("fatal: ")
