"""What changed since a revision, or between two folders, and which buffers that promises."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

import pytest

from bufferize.errors import UsageError
from bufferize.model import Expected
from bufferize.revisions import changed_files, changes_between, changes_since, module_of
from bufferize.revisions.registered import find_promises, find_registered
from bufferize.settings import Settings

PLAIN = """\
import torch
from torch import nn


class Attention(nn.Module):
    def __init__(self, n):
        super().__init__()
        self.mask = torch.triu(torch.ones(n, n), diagonal=1)
"""
BUFFER = PLAIN.replace(
    "self.mask = torch.triu(torch.ones(n, n), diagonal=1)",
    'self.register_buffer("mask", torch.triu(torch.ones(n, n), diagonal=1), persistent=False)',
)


def git(folder: Path, *command: str) -> str:
    identity = ("-c", "user.name=A", "-c", "user.email=a@example.org")
    done = subprocess.run(
        ["git", *identity, *command], cwd=folder, capture_output=True, text=True, check=True
    )
    return done.stdout.strip()


def commit(folder: Path, message: str = "change") -> str:
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--allow-empty", "--message", message)
    return git(folder, "rev-parse", "HEAD")


@pytest.fixture
def repo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("GIT_DIR", "GIT_INDEX_FILE", "GIT_WORK_TREE"):
        monkeypatch.delenv(name, raising=False)
    folder = tmp_path / "repo"
    folder.mkdir()
    git(folder, "init", "--quiet", "--initial-branch", "main")
    (folder / "model.py").write_text(PLAIN)
    (folder / "notes.txt").write_text("x")
    commit(folder)
    monkeypatch.chdir(folder)
    return folder


def settings(repo: Path, **fields: object) -> Settings:
    return Settings(**{"paths": (repo,), "root": repo, **fields})


def test_nothing_changed_gives_nothing(repo):
    assert changes_since(settings(repo)) == ()


def test_a_registration_is_a_promise(repo):
    (repo / "model.py").write_text(BUFFER)
    (repo / "notes.txt").write_text("y")
    (change,) = changes_since(settings(repo))
    assert (change.name, change.module, change.root) == ("model.py", "model", repo)
    assert (change.before, change.after) == (PLAIN, BUFFER)
    assert change.expected == (Expected("Attention", "mask", False, 8),)


def test_staged_changes_count(repo):
    (repo / "model.py").write_text(BUFFER)
    git(repo, "add", "model.py")
    (change,) = changes_since(settings(repo))
    assert change.expected


def test_a_file_git_does_not_know_has_no_before(repo):
    (repo / "new.py").write_text(BUFFER)
    (change,) = changes_since(settings(repo))
    assert (change.before, change.after) == (None, BUFFER)


def test_untracked_environments_and_ignored_files_are_passed_by(repo):
    for folder in (".venv", "ignored"):
        (repo / folder).mkdir()
        (repo / folder / "x.py").write_text(BUFFER)
    (repo / ".gitignore").write_text("ignored/\n")
    assert changes_since(settings(repo)) == ()


def test_a_deleted_file_has_no_after(repo):
    (repo / "model.py").unlink()
    (change,) = changes_since(settings(repo))
    assert (change.before, change.after, change.expected) == (PLAIN, None, ())


def test_deleted_from_the_index_and_there_again_is_a_change(repo):
    git(repo, "rm", "--quiet", "--cached", "model.py")
    (repo / "model.py").write_text(BUFFER)
    (change,) = changes_since(settings(repo))
    assert (change.before, change.after) == (PLAIN, BUFFER)


def test_paths_limit_the_promises_not_the_changes(repo):
    (repo / "model.py").write_text(BUFFER)
    (repo / "other.py").write_text(BUFFER)
    changes = changes_since(settings(repo, paths=(repo / "other.py",)))
    assert [(c.name, bool(c.expected)) for c in changes] == [
        ("model.py", False),
        ("other.py", True),
    ]


def test_excluded_files_promise_nothing(repo):
    (repo / "model.py").write_text(BUFFER)
    (change,) = changes_since(settings(repo, exclude=("model.py",)))
    assert change.expected == ()


def test_odd_names_and_subfolders(repo, monkeypatch):
    odd = repo / "sub dir" / "naïve\tname.py"
    odd.parent.mkdir()
    odd.write_text(PLAIN)
    commit(repo)
    odd.write_text(BUFFER)
    monkeypatch.chdir(odd.parent)
    (change,) = changes_since(settings(repo, paths=(Path(),)))
    assert (change.name, change.before) == ("naïve\tname.py", PLAIN)


def test_a_link_is_not_a_change(repo):
    (repo / "link.py").symlink_to("model.py")
    commit(repo)
    (repo / "link.py").unlink()
    (repo / "link.py").symlink_to("other.py")
    assert changes_since(settings(repo)) == ()


def test_base_means_the_merge_base_unless_exact(repo):
    fork = git(repo, "rev-parse", "HEAD")
    git(repo, "checkout", "--quiet", "-b", "feature")
    (repo / "model.py").write_text(BUFFER)
    commit(repo, "feature")
    git(repo, "checkout", "--quiet", "main")
    (repo / "main_only.py").write_text("x = 1\n")
    commit(repo, "main moved on")
    git(repo, "checkout", "--quiet", "feature")
    assert [c.name for c in changes_since(settings(repo, base="main"))] == ["model.py"]
    assert [c.name for c in changes_since(settings(repo, base=fork))] == ["model.py"]
    exact = changes_since(settings(repo, base="=main"))
    assert [c.name for c in exact] == ["main_only.py", "model.py"]
    assert changes_since(settings(repo)) == ()


def test_changed_files_are_those_there_now(repo):
    (repo / "gone.py").write_text("x = 1\n")
    commit(repo)
    (repo / "gone.py").unlink()
    (repo / "model.py").write_text(BUFFER)
    (repo / "new.py").write_text("x = 1\n")
    assert changed_files(settings(repo)) == {repo / "model.py", repo / "new.py"}


@pytest.mark.parametrize("base", ["nowhere", "=nowhere", "--output=x", "=--output=x", ""])
def test_a_revision_that_does_not_exist_is_a_usage_error(repo, base):
    with pytest.raises(UsageError, match="no such revision"):
        changes_since(settings(repo, base=base))


def test_no_repository_is_a_usage_error(tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))
    with pytest.raises(UsageError, match=r"not a git repository.*--before"):
        changes_since(settings(tmp_path))


def test_a_shallow_clone_that_holds_the_revision_will_do(repo, tmp_path):
    (repo / "model.py").write_text(BUFFER)
    commit(repo)
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--depth", "1", repo.as_uri(), str(clone))
    (clone / "model.py").write_text(PLAIN)
    (change,) = changes_since(settings(clone))
    assert change.expected == (Expected("Attention", "mask", False, 0),)


def test_a_shallow_clone_without_a_merge_base_says_so(repo, tmp_path):
    git(repo, "branch", "old")
    commit(repo, "more")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--quiet", "--depth", "1", repo.as_uri(), str(clone))
    git(clone, "fetch", "--quiet", "--depth", "1", "origin", "old:old")
    with pytest.raises(UsageError, match=r"no merge base.*shallow.*--base =old"):
        changes_since(settings(clone, base="old"))


def test_the_checkout_stays_as_it_is(repo):
    (repo / "model.py").write_text(BUFFER)
    index = (repo / ".git" / "index").read_bytes()
    changes_since(settings(repo))
    assert (repo / ".git" / "index").read_bytes() == index
    assert git(repo, "status", "--porcelain") == "M model.py"


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"def f(:\n", "Python"),
        (b"x = '\xff'\n", "utf-8|decode|UTF-8"),
        (b"x = 1\0\n", "null|NUL"),
    ],
)
def test_a_version_that_cannot_be_read_is_named(repo, data, message):
    (repo / "model.py").write_bytes(data)
    (change,) = changes_since(settings(repo))
    assert change.after is None
    assert change.problem.name == "model.py"
    assert re.search(message, change.problem.message)


def test_a_broken_version_before_is_no_problem_of_now(repo):
    (repo / "model.py").write_text("def f(:\n")
    commit(repo)
    (repo / "model.py").write_text(BUFFER)
    (change,) = changes_since(settings(repo))
    assert (change.before, change.problem) == (None, None)


def test_a_notebook_is_compared_as_its_python(repo):
    def notebook(text: str) -> str:
        cell = {"cell_type": "code", "metadata": {}, "outputs": [], "execution_count": None}
        cells = [{"cell_type": "markdown", "metadata": {}, "source": ["hi"]}]
        cells.append({**cell, "source": text.splitlines(keepends=True)})
        return json.dumps({"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5})

    (repo / "lesson.ipynb").write_text(notebook(PLAIN))
    commit(repo)
    (repo / "lesson.ipynb").write_text(notebook("%matplotlib inline\n" + BUFFER))
    (change,) = changes_since(settings(repo))
    assert change.is_notebook
    assert [e.attribute for e in change.expected] == ["mask"]


def test_folders_are_compared_by_relative_path(tmp_path):
    before, after = tmp_path / "before", tmp_path / "after"
    for folder, text in ((before, PLAIN), (after, BUFFER)):
        (folder / "pkg").mkdir(parents=True)
        (folder / "pkg" / "__init__.py").write_text("")
        (folder / "pkg" / "model.py").write_text(text)
        (folder / "same.py").write_text("x = 1\n")
    (before / "gone.py").write_text("x = 1\n")
    gone, model = changes_between(before, after)
    assert (gone.path, gone.after) == (after / "gone.py", None)
    assert (model.module, model.root, model.before) == ("pkg.model", after, PLAIN)
    assert model.expected == (Expected("Attention", "mask", False, 8),)


def test_two_files_are_compared_under_the_new_name(tmp_path):
    (tmp_path / "old.py").write_text(PLAIN)
    (tmp_path / "new.py").write_text(BUFFER)
    (change,) = changes_between(tmp_path / "old.py", tmp_path / "new.py")
    assert (change.path, change.before) == (tmp_path / "new.py", PLAIN)


@pytest.mark.parametrize(
    ("file", "packages", "module", "root"),
    [
        ("a.py", [], "a", "."),
        ("src/pkg/a.py", ["src/pkg"], "pkg.a", "src"),
        ("src/pkg/sub/__init__.py", ["src/pkg", "src/pkg/sub"], "pkg.sub", "src"),
        ("src/pkg/sub/a.py", ["src/pkg/sub"], "sub.a", "src/pkg"),
        ("lesson.v2.ipynb", [], "lesson_v2", "."),
    ],
)
def test_module_of(tmp_path, file, packages, module, root):
    for package in packages:
        (tmp_path / package).mkdir(parents=True, exist_ok=True)
        (tmp_path / package / "__init__.py").write_text("")
    assert module_of(tmp_path / file) == (module, tmp_path / root)


def body(statement: str) -> str:
    return f"class A(nn.Module):\n    def __init__(self):\n        {statement}\n"


@pytest.mark.parametrize(
    ("statement", "attribute", "persistent"),
    [
        ('self.register_buffer("x", t)', "x", True),
        ('self.register_buffer("x", t, False)', "x", False),
        ('self.register_buffer("x", t, persistent=False)', "x", False),
        ('self.register_buffer(name="x", tensor=t, persistent=True)', "x", True),
        ("self.x = nn.Buffer(t)", "x", True),
        ("self.x = torch.nn.Buffer(t, persistent=False)", "x", False),
        ("self.x: Tensor = Buffer(t, False)", "x", False),
        ('if n: self.register_buffer("x", t)', "x", True),
    ],
)
def test_registrations_that_are_read(statement, attribute, persistent):
    (found,) = find_registered(body(statement))
    assert (found.cls, found.attribute, found.persistent) == ("A", attribute, persistent)


@pytest.mark.parametrize(
    "statement",
    [
        "self.register_buffer(f'x_{i}', t)",
        "self.register_buffer('x', t, persistent=flag)",
        "other.register_buffer('x', t)",
        "other.x = nn.Buffer(t)",
        "self.x = nn.Parameter(t)",
        "self.x = t",
    ],
)
def test_what_is_not_literal_or_not_of_the_class_is_not_read(statement):
    assert find_registered(body(statement)) == []


def test_nested_classes_have_qualified_names():
    inner = "class Outer:\n    class Inner:\n        def f(self):\n            self.x = Buffer(t)\n"
    assert [r.cls for r in find_registered(inner)] == ["Outer.Inner"]
    made = "def make():\n    class A:\n        def f(me):\n            me.x = Buffer(t)\n"
    assert [r.cls for r in find_registered(made)] == ["make.<locals>.A"]


def test_a_long_sum_is_read_without_recursion():
    total = "+".join(["1"] * 1500)
    assert find_registered(body(f"self.register_buffer('x', {total})"))


def test_only_differences_are_promised():
    before = body("self.register_buffer('x', t); self.register_buffer('y', t)")
    after = body("self.register_buffer('x', t); self.register_buffer('y', t, persistent=False)")
    assert find_promises(before, after) == (Expected("A", "y", False, 3),)
    assert find_promises(after, after) == ()
    assert find_promises(before, body("pass")) == (
        Expected("A", "x", False),
        Expected("A", "y", False),
    )


def test_two_flags_of_one_attribute_are_both_told():
    after = body("self.register_buffer('x', t); self.register_buffer('x', t, persistent=False)")
    assert [p.persistent for p in find_promises(body("pass"), after)] == [False, True]
