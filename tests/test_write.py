"""Writing: every file or none, links and rights kept, nothing left behind."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from bufferize import write
from bufferize.errors import WriteError
from bufferize.write import write_files


def make(folder: Path, count: int = 3) -> list[tuple[Path, bytes, bytes]]:
    changes = []
    for number in range(count):
        path = folder / f"m{number}.py"
        old, new = b"old %d\r\n" % number, b"new content %d\n" % number
        path.write_bytes(old)
        changes.append((path, old, new))
    return changes


def contents(changes) -> list[bytes]:
    return [path.read_bytes() for path, _, _ in changes]


def assert_untouched(folder: Path, changes) -> None:
    assert contents(changes) == [old for _, old, _ in changes]
    assert sorted(folder.iterdir()) == sorted(path for path, _, _ in changes)


def test_writes_every_file_and_leaves_nothing_else(tmp_path):
    changes = make(tmp_path)
    write_files(changes)
    assert contents(changes) == [new for _, _, new in changes]
    assert sorted(tmp_path.iterdir()) == [path for path, _, _ in changes]


def test_nothing_to_write(tmp_path):
    write_files([])
    path = tmp_path / "same.py"
    path.write_bytes(b"x")
    before = path.stat()
    write_files([(path, b"x", b"x")])
    assert path.stat().st_ino == before.st_ino
    assert path.stat().st_mtime_ns == before.st_mtime_ns


@pytest.mark.parametrize("mode", [0o600, 0o644, 0o755, 0o664])
def test_keeps_permissions(tmp_path, mode):
    changes = make(tmp_path, 1)
    changes[0][0].chmod(mode)
    write_files(changes)
    assert stat.S_IMODE(changes[0][0].stat().st_mode) == mode


def test_keeps_a_link_and_rewrites_its_target(tmp_path):
    target = tmp_path / "real" / "model.py"
    target.parent.mkdir()
    target.write_bytes(b"old")
    link = tmp_path / "model.py"
    link.symlink_to(Path("real") / "model.py")
    write_files([(link, b"old", b"new")])
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert list(target.parent.iterdir()) == [target]


def test_a_file_named_twice_is_written_once(tmp_path):
    (path, old, new), *_ = make(tmp_path, 1)
    link = tmp_path / "link.py"
    link.symlink_to(path)
    write_files([(path, old, new), (link, old, new)])
    assert path.read_bytes() == new
    with pytest.raises(WriteError, match="the same file"):
        write_files([(path, new, b"a"), (link, new, b"b")])
    assert path.read_bytes() == new


def test_refuses_a_file_that_changed_since_it_was_read(tmp_path):
    changes = make(tmp_path)
    changes[2] = (changes[2][0], b"what was read", b"new")
    with pytest.raises(WriteError, match=r"m2\.py: changed on the disk"):
        write_files(changes)
    assert contents(changes) == [b"old 0\r\n", b"old 1\r\n", b"old 2\r\n"]
    assert len(list(tmp_path.iterdir())) == 3


def test_refuses_a_file_that_changes_while_the_others_are_staged(tmp_path, monkeypatch):
    changes = make(tmp_path)
    keep_old = write._keep_old

    def disturb(target, *rest):
        if target.name == "m2.py":
            changes[0][0].write_bytes(b"someone else's edit")
        return keep_old(target, *rest)

    monkeypatch.setattr(write, "_keep_old", disturb)
    with pytest.raises(WriteError, match=r"m0\.py: changed on the disk"):
        write_files(changes)
    assert contents(changes) == [b"someone else's edit", b"old 1\r\n", b"old 2\r\n"]


@pytest.mark.parametrize("missing", [0, 1, 2])
def test_refuses_a_vanished_file(tmp_path, missing):
    changes = make(tmp_path)
    changes[missing][0].unlink()
    with pytest.raises(WriteError, match=rf"m{missing}\.py: cannot be written: No such file"):
        write_files(changes)
    assert len(list(tmp_path.iterdir())) == 2


def test_refuses_a_link_loop(tmp_path):
    loop = tmp_path / "loop.py"
    loop.symlink_to(loop)
    with pytest.raises(WriteError, match=r"loop\.py: cannot be written") as caught:
        write_files([(loop, b"", b"x")])
    assert "\n" not in str(caught.value)


def test_refuses_a_read_only_file_whoever_runs(tmp_path):
    changes = make(tmp_path)
    changes[1][0].chmod(0o444)
    with pytest.raises(WriteError, match=r"m1\.py: .*read-only"):
        write_files(changes)
    assert_untouched(tmp_path, changes)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root may write")
def test_refuses_a_read_only_folder(tmp_path):
    changes = make(tmp_path)
    tmp_path.chmod(0o555)
    try:
        with pytest.raises(WriteError, match="Permission denied"):
            write_files(changes)
    finally:
        tmp_path.chmod(0o755)
    assert_untouched(tmp_path, changes)


@pytest.mark.parametrize("fails_at", [0, 1, 2])
def test_a_full_disk_changes_nothing(tmp_path, monkeypatch, fails_at):
    changes = make(tmp_path)
    fsync, calls = os.fsync, []

    def full(handle):
        calls.append(handle)
        if len(calls) > fails_at:
            raise OSError(28, "No space left on device")
        fsync(handle)

    monkeypatch.setattr(write.os, "fsync", full)
    with pytest.raises(WriteError, match=rf"m{fails_at}\.py: .*No space left on device"):
        write_files(changes)
    assert_untouched(tmp_path, changes)


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), KeyboardInterrupt()])
@pytest.mark.parametrize("fails_at", [0, 1, 2])
@pytest.mark.parametrize("links", [True, False])
def test_a_failure_midway_puts_the_old_files_back(tmp_path, monkeypatch, fails_at, error, links):
    changes = make(tmp_path)
    inodes = [path.stat().st_ino for path, _, _ in changes]
    replace, calls = os.replace, []

    def fail_once(source, target):
        calls.append(target)
        if len(calls) == fails_at + 1:
            raise error
        replace(source, target)

    def no_links(*paths):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(write.os, "replace", fail_once)
    if not links:
        monkeypatch.setattr(write.os, "link", no_links)
    expected = WriteError if isinstance(error, OSError) else KeyboardInterrupt
    with pytest.raises(expected):
        write_files(changes)
    assert len(calls) == 2 * fails_at + 1
    assert_untouched(tmp_path, changes)
    if links:
        assert [path.stat().st_ino for path, _, _ in changes] == inodes


KILLED = """
import os, sys, pathlib
from bufferize import write
replace, calls = os.replace, []
def dies(source, target):
    calls.append(target)
    if len(calls) == 2:
        os.kill(os.getpid(), 9)
    replace(source, target)
write.os.replace = dies
paths = [pathlib.Path(name) for name in sys.argv[1:]]
write.write_files([(path, path.read_bytes(), b"new" * 100000) for path in paths])
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGKILL")
def test_killed_midway_every_file_is_old_or_new(tmp_path):
    changes = make(tmp_path)
    command = [sys.executable, "-c", KILLED, *(str(path) for path, _, _ in changes)]
    assert subprocess.run(command, check=False).returncode == -9
    assert contents(changes) == [b"new" * 100000, b"old 1\r\n", b"old 2\r\n"]
