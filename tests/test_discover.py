"""Discovery: which files are taken, how they are read, and one line for each that cannot be."""

import os
import sys
from pathlib import Path

import pytest

from bufferize.discover import (
    SIZE_LIMIT,
    find_sources,
    parse_python,
    read_source,
    stdin_source,
    too_deep,
)
from bufferize.errors import UnreadableFile, UsageError
from bufferize.model import Cell, SourceFile
from bufferize.settings import Settings

NOTEBOOK = '{"cells": [{"cell_type": "code", "source": "x = 1"}], "nbformat": 4}'


@pytest.fixture
def tree(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)

    def plant(*names: str, text: str = "x = 1\n") -> None:
        for name in names:
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(NOTEBOOK if name.endswith(".ipynb") else text)

    return plant


def names(*paths: str, **options) -> list[str]:
    found, failed = find_sources(Settings(tuple(Path(p) for p in paths or (".",)), **options))
    assert failed == ()
    return [source.name for source in found]


def test_takes_python_and_notebooks_in_order(tree):
    tree("b.py", "a/z.py", "a/n.ipynb", "a.py", "stub.pyi", "words.txt", ".hidden/c.py")
    assert names() == [".hidden/c.py", "a.py", "a/n.ipynb", "a/z.py", "b.py"]


def test_no_files_is_no_error(tree):
    assert names() == []


@pytest.mark.parametrize(
    "folder",
    [
        *(".git", ".venv", "venv", "node_modules", "__pycache__", ".tox", ".nox", ".mypy_cache"),
        *(".ruff_cache", "build", "dist", ".ipynb_checkpoints", ".eggs", "x.egg-info", "x/venv"),
        *("lib/site-packages",),
    ],
)
def test_folders_that_hold_no_source_are_passed_over(tree, folder):
    tree(f"{folder}/a.py", "b.py")
    assert names() == ["b.py"]
    assert names(folder) == [f"{folder}/a.py"]


def test_a_virtual_environment_of_any_name_is_passed_over(tree):
    tree("env39/pyvenv.cfg", "env39/a.py", "b.py")
    assert names() == ["b.py"]


def test_gitignore_nested_and_negated(tree):
    tree("a.py", "gen/b.py", "pkg/c.py", "pkg/d.py", "pkg/sub/c.py", "logs/keep.py", "e_pb2.py")
    Path(".gitignore").write_text("*_pb2.py\n/gen/\nc.py\nlogs/*\n!logs/keep.py\n")
    Path("pkg/.gitignore").write_text("!/c.py\nd.py\n")
    assert names() == ["a.py", "logs/keep.py", "pkg/c.py"]
    # without a repository nothing above a given folder is looked at
    assert names("pkg") == ["pkg/c.py", "pkg/sub/c.py"]


def test_rules_above_a_given_folder_hold_in_a_repository(tree):
    tree("pkg/a.py", "pkg/sub/b_pb2.py", "gen/c.py")
    Path(".git").mkdir()
    Path(".gitignore").write_text("*_pb2.py\ngen/\n")
    assert names("pkg") == ["pkg/a.py"]
    # a folder that is ignored itself was asked for by name
    assert names("gen") == ["gen/c.py"]


def test_git_info_exclude(tree):
    tree("a.py", "b.py", "sub/b.py")
    Path(".git/info").mkdir(parents=True)
    Path(".git/info/exclude").write_text("b.py\n")
    assert names() == ["a.py"]
    assert names("sub") == []


def test_git_info_exclude_of_a_worktree(tree):
    tree("tree/a.py", "tree/b.py")
    Path("main/.git/worktrees/t").mkdir(parents=True)
    Path("main/.git/info").mkdir()
    Path("main/.git/info/exclude").write_text("b.py\n")
    Path("main/.git/worktrees/t/commondir").write_text("../..\n")
    Path("tree/.git").write_text("gitdir: ../main/.git/worktrees/t\n")
    assert names("tree") == ["tree/a.py"]


def test_exclude_globs(tree):
    tree("a.py", "tests/b.py", "src/tests/c.py", "src/vendor/d.py", "vendor/e.py", "n.ipynb")
    options = {"exclude": ("tests", "src/vendor", "*.ipynb"), "root": Path()}
    assert names(**options) == ["a.py", "vendor/e.py"]
    assert names("src", **options) == []
    assert names("tests/b.py", "n.ipynb", **options) == ["n.ipynb", "tests/b.py"]


def test_a_file_given_by_name_is_taken_whatever_excludes_it(tree):
    tree("build/a.py", "b.py", "script")
    Path(".gitignore").write_text("b.py\n")
    assert names("build/a.py", "b.py", "script") == ["b.py", "build/a.py", "script"]
    tree("a.pyi")
    assert names("a.pyi") == []


def test_no_file_comes_twice(tree):
    tree("pkg/a.py")
    Path("b.py").symlink_to("pkg/a.py")
    Path("link").symlink_to("pkg")
    assert names() == ["pkg/a.py"]
    assert names(".", "pkg", "pkg/a.py", "./pkg/../pkg/a.py") == ["pkg/a.py"]
    assert names("b.py") == ["b.py"]


def test_loops_of_folders_end(tree):
    tree("a/b/c.py")
    Path("a/b/up").symlink_to("..")
    Path("a/self").symlink_to("self")
    assert names() == ["a/b/c.py"]


def test_a_linked_file_from_elsewhere_is_taken_under_its_link(tree, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "real.py"
    other.write_text("x = 1\n")
    Path("a.py").symlink_to(other)
    assert names() == ["a.py"]


def test_names_outside_the_current_folder_are_absolute(tree, tmp_path_factory):
    other = tmp_path_factory.mktemp("other") / "real.py"
    other.write_text("x = 1\n")
    assert names(str(other)) == [other.as_posix()]


@pytest.mark.parametrize("path", ["missing.py", "missing", "a.py/b.py"])
def test_a_path_that_does_not_exist_is_a_usage_error(tree, path):
    tree("a.py")
    with pytest.raises(UsageError, match="no such file or folder") as caught:
        find_sources(Settings((Path(path),)))
    assert caught.value.exit_code == 2


def test_a_broken_file_stops_no_other(tree):
    tree("a.py", "c.py")
    Path("b.py").write_bytes(b"x = '\xff'\n")
    Path("d.py").symlink_to("d.py")
    Path("e.py").symlink_to("nowhere.py")
    Path(".#a.py").symlink_to("user@host.1")
    Path("n.ipynb").write_text("{")
    sources, failed = find_sources(Settings((Path(),)))
    assert [source.name for source in sources] == ["a.py", "c.py"]
    assert [(each.name, each.line) for each in failed] == [
        ("b.py", 1),
        ("d.py", None),
        ("e.py", None),
        ("n.ipynb", 1),
    ]
    said = [each.message for each in failed]
    assert "not utf-8" in said[0]
    assert "leads back to itself" in said[1]
    assert "a link to nowhere" in said[2]
    assert "broken notebook" in said[3]
    assert all("\n" not in message for message in said)


@pytest.mark.skipif(not hasattr(os, "geteuid") or os.geteuid() == 0, reason="root reads all")
def test_unreadable_files_and_folders(tree):
    tree("a.py", "sub/b.py")
    Path("a.py").chmod(0)
    Path("sub").chmod(0)
    try:
        sources, failed = find_sources(Settings((Path(),)))
    finally:
        Path("sub").chmod(0o755)
    assert sources == ()
    assert [each.name for each in failed] == ["sub", "a.py"]


def read(data: bytes, name: str = "a.py"):
    return stdin_source(data, name)


@pytest.mark.parametrize(
    ("data", "encoding", "text"),
    [
        (b"x = 1\r\ny\rz\n", "utf-8", "x = 1\r\ny\rz\n"),
        (b"\xef\xbb\xbfx = 1", "utf-8-sig", "x = 1"),
        ("# é\n".encode(), "utf-8", "# é\n"),
        (b"# coding: latin-1\nx = '\xe9'", "iso-8859-1", "# coding: latin-1\nx = 'é'"),
        (b"#!x\n# vim: set fileencoding=cp1252 :\n'\x80'", "cp1252", None),
        (b"#!x\r# -*- coding: cp1252 -*-\r'\x80'", "cp1252", None),
        (b"x = 1\n\n# coding: latin-1\n", "utf-8", None),
        (b"", "utf-8", ""),
    ],
)
def test_encodings(data, encoding, text):
    source = read(data)
    assert source.encoding == encoding
    assert text is None or source.text == text
    assert source.text.encode(encoding) == data


@pytest.mark.parametrize(
    ("data", "said", "line"),
    [
        (b"a\nb = '\xe9'\n", "not utf-8", 2),
        (b"# coding: latin-7x\n", "encoding not understood", 1),
        (b"# coding: ascii\n\n'\xe9'", "not ascii", 3),
        (b"\xef\xbb\xbf# coding: latin-1\n", "encoding not understood", 1),
        (b"\xff\xfex\x00", "UTF-16", 1),
        (b"x = 1\n\ny\x00z", "null byte", 3),
        (b"# coding: rot13\nx", "cannot be used", 1),
    ],
)
def test_bytes_that_are_no_text(data, said, line):
    with pytest.raises(UnreadableFile, match=said) as caught:
        read(data)
    assert caught.value.line == line
    assert "\n" not in str(caught.value)


def test_notebooks_from_standard_input():
    source = stdin_source(NOTEBOOK.encode(), "n.ipynb")
    assert source.is_notebook
    assert source.text == "x = 1\n"


def test_cells_passed_over_are_warnings_of_the_source(tree):
    Path("n.ipynb").write_text(NOTEBOOK.replace("x = 1", "x ="))
    (source,), failed = find_sources(Settings((Path(),)))
    assert failed == ()
    assert [(each.name, each.cell) for each in source.warnings] == [("n.ipynb", 1)]


def test_a_large_file_is_refused_unless_named(tree):
    Path("big.py").write_bytes(b"#" * (SIZE_LIMIT + 1))
    Path("fits.py").write_bytes(b"#" * SIZE_LIMIT)
    sources, (failed,) = find_sources(Settings((Path(),)))
    assert [source.name for source in sources] == ["fits.py"]
    assert failed.name == "big.py"
    assert "over the limit of 4 MB" in failed.message
    assert "name the file itself" in failed.message
    assert names("big.py") == ["big.py"]


def test_a_vanished_file(tmp_path):
    with pytest.raises(UnreadableFile, match="the file has vanished"):
        read_source(tmp_path / "gone.py", "gone.py")


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no pipes")
def test_a_pipe_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "pipe.py")
    with pytest.raises(UnreadableFile, match="not a regular file"):
        read_source(tmp_path / "pipe.py", "pipe.py")


def refused(text: str, name: str = "a.py") -> UnreadableFile:
    with pytest.raises(UnreadableFile) as caught:
        parse_python(stdin_source(text.encode(), name))
    assert "\n" not in str(caught.value)
    return caught.value


def test_parses_what_is_python(recwarn):
    source = read(b"x = '\\d' is 1\r\ny = 1if x else 2\n")
    assert len(parse_python(source).body) == 2
    assert not recwarn.list


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("x = (\n", 1),
        ("a = 1\nb = = 2\n", 2),
        ("if x:\npass\n", 2),
        ("if x:\n\ty\n  z\n", 3),
        ("é é", 1),
    ],
)
def test_syntax_errors_say_where(text, line):
    error = refused(text)
    assert error.line == line
    assert error.column is not None
    assert "not valid Python" in str(error)


@pytest.mark.parametrize(
    "text",
    [
        *("print 'x'", "print x", "exec 'x'", "raise E, 'x'", "x = 0777", "x = 10L", "x = `y`"),
        *("if a <> b: pass", "try:\n  x\nexcept (A, B), e:\n  pass", "x = ur'a'"),
        "def f(a, (b, c)): pass",
    ],
)
def test_python_2_is_named(text):
    assert "looks like Python 2" in str(refused(text + "\n"))


@pytest.mark.skipif(sys.version_info >= (3, 12), reason="this Python knows the syntax")
@pytest.mark.parametrize("text", ["type X = int\n", "def f[T](x: T): pass\n", "f'{a['b']}'\n"])
def test_newer_syntax_is_named(text):
    assert "needs a newer Python than 3." in str(refused(text))


@pytest.mark.parametrize("pair", ["()", "[]", "{}"])
def test_deep_brackets_never_reach_a_parser_that_dies_of_them(pair):
    text = "x = 1\ny = (\n" + pair[0] * 2000 + pair[1] * 2000 + ")\n"
    error = refused(text)
    assert "nested more than 200 deep (line 3)" in str(error)
    assert too_deep(text) == 3


@pytest.mark.parametrize(
    "text",
    [
        "x = " + "-" * 100_000 + "1\n",
        "x = " + "not " * 50_000 + "1\n",
        pytest.param(
            "x = a" + ".b" * 50_000 + "\n",
            marks=pytest.mark.skipif(sys.version_info < (3, 11), reason="ast.parse takes it"),
        ),
        "if a: pass\n" + "elif a: pass\n" * 20_000,
        "x = )\n" + "x = " + "-" * 100_000 + "1\n",
        "x = )\nif a: pass\n" + "elif a: pass\n" * 20_000,
    ],
)
def test_deep_operators_are_refused_in_one_line(text):
    refused(text)


def test_brackets_in_strings_and_comments_do_not_count():
    quiet = "x = '" + "(" * 300 + "'\n# " + "[" * 300 + '\ny = """' + "{" * 300 + '\n"""\n'
    assert too_deep(quiet) is None
    assert too_deep("()" * 1000) is None
    assert too_deep("(" * 200) is None
    assert too_deep("\n\r\n\r" + "(" * 201) == 4


def test_a_syntax_error_in_a_notebook_names_the_cell():
    cells = (Cell(1, 1, 2, "a\nb"), Cell(4, 3, 2, "c\nx = )"))
    source = SourceFile(Path("n.ipynb"), "n.ipynb", b"", "a\nb\nc\nx = )\n", "utf-8", cells)
    with pytest.raises(UnreadableFile) as caught:
        parse_python(source)
    assert (caught.value.cell, caught.value.line) == (4, 2)
