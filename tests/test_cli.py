"""The command line: exit code, standard output and standard error, each on its own."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from importlib.resources import files
from pathlib import Path
from types import SimpleNamespace

import jsonschema
import pytest
import reports
from click.testing import CliRunner, Result

import bufferize
from bufferize.cli import main
from bufferize.errors import BufferizeError
from bufferize.model import Failed, Report, Safety
from bufferize.settings import Settings

SCHEMA = json.loads(files("bufferize.report").joinpath("schema.json").read_text("utf-8"))


class Corridor(SimpleNamespace):
    """Stands in for the pipeline: hands out a report and keeps what it was asked."""

    def __init__(self) -> None:
        super().__init__(report=Report("find"), verdict=None, calls=[], settings=None, changes=())

    def find(self, settings: Settings) -> Report:
        self.calls.append("find")
        self.settings = settings
        if isinstance(self.report, BaseException):
            raise self.report
        return self.report

    def prove(self, report: Report, settings: Settings, progress: object) -> Report:
        self.calls.append("prove")
        if isinstance(self.verdict, BaseException):
            raise self.verdict
        return self.report if self.verdict is None else reports.proved(self.verdict)

    def write(self, report: Report) -> Report:
        self.calls.append("write")
        return report

    def verify(self, changes: tuple, settings: Settings, progress: object) -> Report:
        self.calls.append("verify")
        self.settings = settings
        self.changes = changes
        return Report("verify") if self.verdict is None else reports.proved(self.verdict, "verify")


@pytest.fixture
def corridor(monkeypatch, tmp_path) -> Corridor:
    monkeypatch.chdir(tmp_path)
    for name in ("FORCE_COLOR", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    fake = Corridor()
    monkeypatch.setitem(sys.modules, "bufferize.pipeline", fake)
    monkeypatch.setattr(bufferize, "pipeline", fake, raising=False)
    return fake


def run(*arguments: str, given: bytes | None = None) -> Result:
    return CliRunner().invoke(main, arguments, input=given)


REWRITE = Report("find", (reports.rewritten(reports.rewrite()),))
HELD_BACK = Report("find", (reports.unchanged(reports.skip(Safety.UNSAFE, reports.SCALAR)),))


# What each command does.


def test_diff_shows_and_does_nothing_else(corridor):
    corridor.report = REWRITE
    result = run("diff")
    assert (result.exit_code, corridor.calls) == (0, ["find"])
    assert result.stdout.startswith("diff --git a/model.py b/model.py\n")
    assert result.stderr.endswith("1 rewrite in 1 file\n")


def test_diff_check_is_a_gate_for_rewrites(corridor):
    assert run("diff", "--check").exit_code == 0
    corridor.report = HELD_BACK
    assert run("diff", "--check").exit_code == 0
    corridor.report = REWRITE
    result = run("diff", "--check")
    assert result.exit_code == 1
    assert result.stdout == run("diff").stdout


def test_diff_verify_proves(corridor):
    corridor.report, corridor.verdict = REWRITE, reports.CONFIRMED
    result = run("diff", "--verify")
    assert (result.exit_code, corridor.calls) == (0, ["find", "prove"])
    assert "confirmed, runs on the device (virtual)" in result.stderr


def test_check_lists_and_fails(corridor):
    assert run("check").exit_code == 0
    corridor.report = HELD_BACK
    result = run("check")
    assert result.exit_code == 1
    assert result.stdout.startswith("model.py:9:1: Attention.scale is an unregistered tensor")
    assert result.stderr == "0 rewrites, 1 held back (--unsafe)\n"


def test_apply_proves_then_writes(corridor):
    corridor.report, corridor.verdict = REWRITE, reports.CONFIRMED
    result = run("apply")
    assert (result.exit_code, corridor.calls) == (0, ["find", "prove", "write"])
    assert result.stdout.startswith("model.py:1:1 Attention.mask -> buffer, persistent=False")
    assert result.stderr.endswith("1 rewrite in 1 file written; 1 confirmed\n")


def test_apply_no_verify_runs_no_proof(corridor):
    corridor.report = REWRITE
    assert run("apply", "--no-verify").exit_code == 0
    assert corridor.calls == ["find", "write"]


def test_apply_stops_before_writing_where_no_proof_is_possible(corridor):
    corridor.report = REWRITE
    corridor.verdict = BufferizeError("torch is missing: pip install 'bufferize[verify]'")
    result = run("apply")
    assert (result.exit_code, corridor.calls) == (4, ["find", "prove"])
    assert result.stdout == ""
    assert result.stderr == "bufferize: torch is missing: pip install 'bufferize[verify]'\n"


@pytest.mark.parametrize(
    ("verdict", "options", "code"),
    [
        (reports.CONFIRMED, ["--strict"], 0),
        (reports.UNDECIDED, [], 0),
        (reports.UNDECIDED, ["--strict"], 3),
        (reports.REFUTED, [], 5),
    ],
)
@pytest.mark.parametrize("command", ["apply", "verify", "diff --verify"])
def test_verdicts_set_the_exit_code(corridor, tmp_path, command, verdict, options, code):
    corridor.report, corridor.verdict = REWRITE, verdict
    command, *flags = command.split()
    before = ["--before", str(tmp_path)] if command == "verify" else []
    assert run(command, *flags, *options, *before).exit_code == code


def test_nothing_to_write_is_not_written(corridor):
    document = json.loads(run("apply", "--no-verify", "--format", "json").stdout)
    assert document["written"] is False
    corridor.report = REWRITE
    document = json.loads(run("apply", "--no-verify", "--format", "json").stdout)
    assert document["written"] is True


def test_failures_are_told_and_exit_with_4(corridor):
    corridor.report = Report("find", (Failed("a.py", "not valid Python: oh", 3, 0),))
    for command in (["diff"], ["check"], ["apply", "--no-verify"]):
        result = run(*command)
        assert result.exit_code == 4
        assert "a.py:3:1: error: not valid Python: oh\n" in result.stderr


def test_verify_compares_folders(corridor, tmp_path):
    for folder, text in (("before", "x = 1\n"), ("after", "x = 2\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.py").write_text(text)
    result = run("verify", "after", "--before", "before")
    assert (result.exit_code, corridor.calls) == (0, ["verify"])
    assert [(c.before, c.after) for c in corridor.changes] == [("x = 1\n", "x = 2\n")]


def test_verify_reports_versions_that_cannot_be_read(corridor, tmp_path):
    for folder, text in (("before", "x = 1\n"), ("after", "def f(:\n")):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "a.py").write_text(text)
    result = run("verify", "after", "--before", "before")
    assert (result.exit_code, corridor.changes) == (4, ())
    assert "after/a.py:1:" in result.stderr


def test_verify_outside_a_repository_is_a_usage_error(corridor, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    result = run("verify")
    assert (result.exit_code, result.stdout) == (2, "")
    assert "not a git repository" in result.stderr
    assert corridor.calls == []


# Standard input.


def test_standard_input_reaches_the_search(corridor):
    corridor.report = REWRITE
    result = run("diff", "-", "--stdin-filename", "pkg/model.py", given=b"x = '\xff'\r\n")
    assert result.exit_code == 0
    assert corridor.settings.stdin == b"x = '\xff'\r\n"
    assert corridor.settings.paths == (Path("pkg/model.py"),)


@pytest.mark.parametrize(
    ("report", "result"),
    [
        (REWRITE, reports.AFTER),
        (HELD_BACK, reports.BEFORE),
        (Report("find", (Failed("stdin.py", "broken"),)), ""),
    ],
)
def test_apply_of_standard_input_writes_the_result_and_no_file(corridor, report, result):
    corridor.report = report
    done = run("apply", "-", "--no-verify", given=b"")
    assert (done.stdout, corridor.calls) == (result, ["find"])


def test_apply_of_standard_input_moves_the_report(corridor, tmp_path):
    corridor.report = REWRITE
    done = run("apply", "-", "--no-verify", given=b"")
    assert "Attention.mask -> buffer" in done.stderr
    done = run("apply", "-", "--no-verify", "--output", "out.txt", given=b"")
    assert done.stdout == reports.AFTER
    assert "Attention.mask -> buffer" in (tmp_path / "out.txt").read_text()


# Formats, files and colour.


@pytest.mark.parametrize("command", ["diff", "check", "apply", "verify"])
def test_json_is_one_document_on_standard_output(corridor, tmp_path, command):
    corridor.report, corridor.verdict = REWRITE, reports.UNDECIDED
    before = ["--before", str(tmp_path)] if command == "verify" else []
    result = run(command, "--format", "json", *before)
    document = json.loads(result.stdout)
    jsonschema.validate(document, SCHEMA)
    assert document["command"] == command
    assert document["exit_code"] == result.exit_code
    assert len(result.stderr.splitlines()) == 1


def test_output_goes_to_a_file(corridor, tmp_path):
    corridor.report = REWRITE
    result = run("diff", "--output", "out.diff", "--color", "auto")
    assert (result.exit_code, result.stdout) == (0, "")
    assert (tmp_path / "out.diff").read_text().startswith("diff --git")


def test_output_that_cannot_be_written_is_a_failure(corridor):
    result = run("diff", "--output", "no/such/folder/out.diff")
    assert result.exit_code == 4
    assert "no/such/folder/out.diff: cannot be written: No such file" in result.stderr


def test_colour_is_absent_in_a_pipe_and_present_when_asked_for(corridor):
    corridor.report = REWRITE
    assert "\x1b" not in run("diff").output
    result = CliRunner().invoke(main, ["diff", "--color", "always"], color=True)
    assert "\x1b[31m-self.mask" in result.stdout


def test_quiet_says_nothing_but_the_diff(corridor):
    corridor.report = REWRITE
    result = run("diff", "--quiet")
    assert result.stdout.startswith("diff --git")
    assert result.stderr == ""


# Settings.


def test_options_become_settings(corridor):
    result = run(
        *("diff", "--exclude", "a", "--exclude", "b", "--jobs", "3", "--persistent", "always"),
        *("--style", "nn.Buffer", "--unsafe", "--strict", "--changed-only", "--base", "main"),
        *("--device", "cuda:1", "--timeout", "2.5", "--memory", "100", "--seed", "7"),
        *("--python", sys.executable, "--verbose"),
    )
    assert result.exit_code == 0
    made = corridor.settings
    assert (made.exclude, made.jobs, made.persistent) == (("a", "b"), 3, "always")
    assert (made.style, made.unsafe, made.strict) == ("nn.Buffer", True, True)
    assert (made.changed_only, made.base, made.device) == (True, "main", "cuda:1")
    assert (made.timeout, made.memory, made.seed) == (2.5, 100, 7)
    assert (made.python, made.verbose) == (Path(sys.executable), True)


def test_what_is_not_given_is_left_to_the_configuration(corridor, tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        "[tool.bufferize]\nunsafe = true\nstrict = true\nquiet = true\nexclude = ['x']\nseed = 3\n"
    )
    run("diff")
    made = corridor.settings
    assert (made.unsafe, made.strict, made.quiet) == (True, True, True)
    assert (made.exclude, made.seed) == (("x",), 3)
    run("diff", "--no-unsafe", "--seed", "0", "--exclude", "y")
    made = corridor.settings
    assert (made.unsafe, made.seed, made.exclude) == (False, 0, ("y",))


def test_the_default_path_is_the_current_folder(corridor):
    run("check")
    assert corridor.settings.paths == (Path(),)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["diff", "no-such-path"], "'no-such-path' does not exist"),
        (["diff", "--format", "xml"], "'xml' is not one of 'text', 'json'"),
        (["diff", "--frobnicate"], "No such option"),
        (["diff", "--persistent", "maybe"], "'maybe' is not one of"),
        (["diff", "--device", "tpu"], "'tpu' is not auto, cuda, cuda:N or virtual"),
        (["diff", "--jobs", "0"], "0 is not in the range"),
        (["diff", "--timeout", "0"], "not in the range"),
        (["diff", "--select", "nonsense"], "unknown hazard id nonsense"),
        (["check", "--ignore", "nonsense"], "unknown hazard id nonsense"),
        (["diff", "--python", "no-such-python"], "no such interpreter"),
        (["diff", "--config", "none.toml"], "none.toml: cannot be read"),
        (["diff", "-", "."], "standard input is one file"),
        (["diff", "--stdin-filename", "a.py"], "give - as the path"),
        (["explain", "nonsense"], "neither a hazard nor a persistence reason"),
        (["explain", "none.py:3"], "none.py: no such file"),
        (["record"], "No such command"),
        ([], "Usage:"),
    ],
)
def test_usage_mistakes_exit_with_2(corridor, arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in result.stderr
    assert result.stdout == ""
    assert corridor.calls == []


# Things that go wrong with bufferize itself.


def test_our_bug_reads_as_ours(corridor):
    corridor.report = KeyError("mask")
    result = run("diff")
    assert (result.exit_code, result.stdout) == (4, "")
    head, _, log = result.stderr.strip().partition("; see ")
    assert head.startswith("bufferize: internal error, a bug in bufferize and not in your files: ")
    assert "KeyError: 'mask'" in Path(log).read_text()
    Path(log).unlink()


def test_an_interruption_is_no_finding(corridor):
    corridor.report = KeyboardInterrupt()
    result = run("check")
    assert (result.exit_code, result.stdout) == (130, "")
    assert result.stderr == "bufferize: interrupted\n"


# explain.


def test_explain_says_what_a_rule_means(corridor):
    result = run("explain", "zero-dim-constant")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout.startswith("zero-dim-constant (hazard)\n\n")
    document = json.loads(run("explain", "random", "--format", "json").stdout)
    jsonschema.validate(document, SCHEMA)
    assert document["kind"] == "reason"
    assert corridor.calls == []


def test_explain_looks_at_a_line(corridor, tmp_path):
    (tmp_path / "model.py").write_text("\n")
    corridor.report = HELD_BACK
    result = run("explain", "model.py:9")
    assert (result.exit_code, result.stderr) == (0, "")
    assert "decision: skip (held back), safety: unsafe" in result.stdout
    assert corridor.settings.paths == (Path("model.py"),)


def test_explain_looks_for_an_attribute_everywhere(corridor):
    corridor.report = HELD_BACK
    result = run("explain", "model:Attention.scale", "--format", "json")
    document = json.loads(result.stdout)
    jsonschema.validate(document, SCHEMA)
    assert [finding["attribute"] for finding in document["findings"]] == ["scale"]
    assert corridor.settings.paths == (Path(),)


def test_explain_tells_of_files_it_could_not_read(corridor):
    corridor.report = replace(HELD_BACK, failures=(Failed("a.py", "broken"),))
    result = run("explain", "model:Attention.scale")
    assert result.exit_code == 4
    assert result.stderr == "a.py: error: broken\n"


# A real process.


def bufferize_process(*arguments: str, cwd: Path, **options: object) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "bufferize", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, check=False, **options)


def test_a_process_says_its_version(tmp_path):
    done = bufferize_process("--version", cwd=tmp_path)
    assert done.returncode == 0
    assert done.stdout.decode().strip() == f"bufferize, version {bufferize.__version__}"


def test_a_reader_that_leaves_early_is_no_failure(tmp_path):
    done = subprocess.run(
        f"{sys.executable} -m bufferize explain random | true; echo ${{PIPESTATUS[0]}}",
        shell=True,
        executable="/bin/bash",
        cwd=tmp_path,
        capture_output=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == (b"0\n", b"")


MODEL = b"""\
import torch
from torch import nn


class Attention(nn.Module):
    def __init__(self, n: int = 4) -> None:
        super().__init__()
        self.mask = torch.triu(torch.ones(n, n), diagonal=1)  # \xe9
"""


@pytest.mark.parametrize("newline", [b"\n", b"\r\n"])
def test_git_apply_does_what_apply_does(tmp_path, newline):
    text = b"# coding: latin-1\n" + MODEL
    data = text.replace(b"\n", newline).removesuffix(newline)
    for folder in ("patched", "applied"):
        path = tmp_path / folder / "pkg" / "model.py"
        path.parent.mkdir(parents=True)
        path.write_bytes(data)
        subprocess.run(["git", "init", "--quiet"], cwd=tmp_path / folder, check=True)
    diff = bufferize_process("diff", cwd=tmp_path / "patched")
    assert diff.returncode == 0, diff.stderr.decode()
    command = ["git", "-c", "core.autocrlf=false", "apply", "-"]
    subprocess.run(command, cwd=tmp_path / "patched", input=diff.stdout, check=True)
    applied = bufferize_process("apply", "--no-verify", cwd=tmp_path / "applied")
    assert applied.returncode == 0, applied.stderr.decode()
    patched = (tmp_path / "patched" / "pkg" / "model.py").read_bytes()
    assert patched == (tmp_path / "applied" / "pkg" / "model.py").read_bytes()
    assert b"self.register_buffer(" in patched


def test_standard_input_comes_out_rewritten(tmp_path):
    data = MODEL.replace(b"\xe9", b"mask")
    done = bufferize_process("apply", "--no-verify", "-", cwd=tmp_path, input=data)
    assert done.returncode == 0, done.stderr.decode()
    assert b"self.register_buffer(" in done.stdout
    assert list(tmp_path.iterdir()) == []
