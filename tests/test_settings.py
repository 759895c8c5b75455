"""Options and [tool.bufferize] become Settings; mistakes name the file and the key."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from bufferize.errors import UsageError
from bufferize.model import Case
from bufferize.settings import KEYS, find_root, load_settings


@pytest.fixture(autouse=True)
def no_environment(monkeypatch):
    monkeypatch.delenv("VIRTUAL_ENV", raising=False)
    monkeypatch.delenv("CONDA_PREFIX", raising=False)


@pytest.fixture
def project(tmp_path):
    """Writes a pyproject.toml and loads the settings of its folder."""

    def load(text: str = "", **options: object):
        (tmp_path / "pyproject.toml").write_text(text)
        return load_settings(options, [tmp_path])

    load.root = tmp_path
    return load


def test_nothing_given_gives_the_defaults(project):
    settings = project()
    assert settings.paths == (project.root,)
    assert (settings.root, settings.line_length) == (project.root, 88)
    assert (settings.persistent, settings.unsafe, settings.format) == ("auto", False, "text")
    assert settings.python == Path(sys.executable)


def test_the_file_speaks_and_the_command_line_wins(project):
    text = """
        [tool.bufferize]
        persistent = "always"
        jobs = 3
        changed-only = true
        exclude = ["a", "b/**"]
        timeout = 5
    """
    settings = project(text, jobs=2, persistent=None, exclude=("c",))
    assert (settings.persistent, settings.jobs, settings.changed_only) == ("always", 2, True)
    assert settings.exclude == ("c",)
    assert settings.timeout == 5.0


def test_a_flag_given_on_the_command_line_wins_over_true(project):
    assert project("tool.bufferize.unsafe = true", unsafe=False).unsafe is False


@pytest.mark.parametrize("key", ["line-length", "line_length"])
def test_dashes_and_underscores_both_do(project, key):
    assert project(f"[tool.bufferize]\n{key} = 120").line_length == 120


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("persistant = 'never'", "unknown key tool.bufferize.persistant; did you mean persistent"),
        ("paths = ['x']", "unknown key tool.bufferize.paths"),
        ("stdin = 'x'", "unknown key tool.bufferize.stdin"),
        ("persistent = 'maybe'", 'tool.bufferize.persistent must be one of "auto", "never"'),
        ("unsafe = 'yes'", "tool.bufferize.unsafe must be true or false"),
        ("jobs = 0", "tool.bufferize.jobs must be a whole number, at least 1"),
        ("jobs = true", "tool.bufferize.jobs must be a whole number"),
        ("timeout = 0", "tool.bufferize.timeout must be a number of seconds above 0"),
        ("timeout = nan", "tool.bufferize.timeout must be a number of seconds above 0"),
        ("exclude = 'a'", "tool.bufferize.exclude must be a list of strings"),
        ("select = [1]", "tool.bufferize.select must be a list of strings"),
        ("device = 'tpu'", "tool.bufferize.device must be"),
        ("device = 'cuda:'", "tool.bufferize.device must be"),
        ("cases = 1", "tool.bufferize.cases must be a table"),
        ("cases = { 'a.B' = [] }", "tool.bufferize.cases must be keyed"),
        ("cases = { 'a:B' = 'B()' }", 'a list of tables under "a:B"'),
        ("cases = { 'a:B' = [{ inputs = [] }] }", "construct"),
        ("cases = { 'a:B' = [{ construct = 'B()', args = [] }] }", 'not "args"'),
        ("cases = { 'a:B' = [{ construct = 'B()', inputs = 'x' }] }", "in inputs under"),
    ],
)
def test_a_mistake_names_the_file_and_the_key(project, text, message):
    with pytest.raises(UsageError) as caught:
        project(f"[tool.bufferize]\n{text}")
    assert str(caught.value).startswith(f"{project.root / 'pyproject.toml'}: ")
    assert message in str(caught.value)


def test_broken_toml_names_the_file(project):
    with pytest.raises(UsageError, match=r"pyproject\.toml: is not valid TOML: Expected"):
        project("[tool.bufferize\nx = 1")


def test_a_table_that_is_none_is_refused(project):
    with pytest.raises(UsageError, match=r"tool\.bufferize must be a table"):
        project("tool.bufferize = 3")


def test_cases_become_values(project):
    text = """
        [tool.bufferize.cases]
        "pkg.mod:Net" = [
            { construct = "Net(3)", inputs = ["torch.rand(2, 3)"], setup = ["n = 3"] },
            { construct = "Net(4)" },
        ]
    """
    assert project(text).cases == {
        "pkg.mod:Net": (
            Case("configuration", "Net(3)", ("torch.rand(2, 3)",), ("n = 3",)),
            Case("configuration", "Net(4)"),
        )
    }


@pytest.mark.parametrize(
    ("files", "length"),
    [
        ({"pyproject.toml": "[tool.bufferize]\nline-length=70\n[tool.ruff]\nline-length=1"}, 70),
        ({"pyproject.toml": "[tool.black]\nline-length=79\n[tool.ruff]\nline-length=100"}, 100),
        ({"pyproject.toml": "[tool.black]\nline-length=79", "ruff.toml": "line-length=90"}, 90),
        ({"pyproject.toml": "", ".ruff.toml": "line-length = 91"}, 91),
        ({"pyproject.toml": "[tool.black]\nline-length = 79"}, 79),
        ({"pyproject.toml": "[tool.ruff]\nline-length = 'wide'"}, 88),
        ({"pyproject.toml": "", "ruff.toml": "not toml"}, 88),
    ],
)
def test_line_length_is_that_of_the_formatter(tmp_path, files, length):
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    assert load_settings({}, [tmp_path]).line_length == length


def test_the_root_is_the_nearest_project_above_all_paths(tmp_path):
    inner = tmp_path / "packages" / "one"
    (inner / "src").mkdir(parents=True)
    (tmp_path / "packages" / "two").mkdir()
    (tmp_path / ".git").mkdir()
    (inner / "pyproject.toml").write_text("")
    file = inner / "src" / "a.py"
    file.write_text("")
    assert find_root([file]) == inner
    assert find_root([inner / "src", inner]) == inner
    assert find_root([file, tmp_path / "packages" / "two"]) == tmp_path


def test_config_names_another_file(tmp_path):
    (tmp_path / "pyproject.toml").write_text("[tool.bufferize]\njobs = 2")
    other = tmp_path / "bufferize.toml"
    other.write_text("jobs = 5")
    assert load_settings({"config": other}, [tmp_path]).jobs == 5
    other.write_text("[tool.bufferize]\njobs = 6")
    assert load_settings({"config": other}, [tmp_path]).jobs == 6
    with pytest.raises(UsageError, match=r"none\.toml: cannot be read"):
        load_settings({"config": tmp_path / "none.toml"}, [tmp_path])


def make_interpreter(folder: Path) -> Path:
    (folder / "bin").mkdir(parents=True)
    python = folder / "bin" / "python"
    python.write_text("#!/bin/sh\n")
    python.chmod(0o755)
    return python


def test_python_is_the_one_given_then_active_then_the_projects(project, monkeypatch):
    own = make_interpreter(project.root / ".venv")
    assert project().python == own
    conda = make_interpreter(project.root / "conda")
    monkeypatch.setenv("CONDA_PREFIX", str(project.root / "conda"))
    assert project().python == conda
    active = make_interpreter(project.root / "active")
    monkeypatch.setenv("VIRTUAL_ENV", str(project.root / "active"))
    assert project().python == active
    assert project(python=str(own)).python == own
    assert project("[tool.bufferize]\npython = '.venv/bin/python'").python == own


def test_an_active_environment_that_is_gone_is_passed_over(project, monkeypatch):
    monkeypatch.setenv("VIRTUAL_ENV", str(project.root / "gone"))
    assert project().python == Path(sys.executable)


def test_an_interpreter_that_does_not_exist_is_refused(project):
    with pytest.raises(UsageError, match=r"--python no-such-python: no such interpreter"):
        project(python="no-such-python")


def test_hazard_ids_are_checked(project):
    assert project(ignore=("zero-dim-constant",)).ignore == {"zero-dim-constant"}
    with pytest.raises(UsageError, match=r"id zero-dim-constans; did you mean zero-dim-constant"):
        project(select=("zero-dim-constans",))
    with pytest.raises(UsageError, match="unknown hazard id nonsense"):
        project("[tool.bufferize]\nignore = ['nonsense']")


def test_every_option_of_the_command_line_is_a_key():
    from bufferize.cli import main

    per_command = {"paths", "what", "help", "config", "stdin_filename", "proof", "gate", "before"}
    names = {p.name for command in main.commands.values() for p in command.params}
    assert names - per_command == set(KEYS) - {"cases", "line_length"}
