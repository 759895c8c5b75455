"""What people and programs read: text, JSON, diffs, explanations and the exit code."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import time
from dataclasses import replace
from importlib.resources import files
from io import StringIO
from pathlib import Path

import jsonschema
import pytest
import reports

import bufferize
from bufferize.errors import UsageError
from bufferize.model import Action, Failed, Report, Rewritten, Safety, SourceFile, Unchanged
from bufferize.notebooks import read_cells, replace_cells
from bufferize.report import View, exit_code
from bufferize.report import json as json_report
from bufferize.report import text as text_report
from bufferize.report.diff import cell_patch, patch
from bufferize.report.explain import (
    REASONS,
    answers,
    explain_findings,
    explain_rule,
    pick,
    read_question,
)
from bufferize.report.paint import paint, show_progress, wants_color
from bufferize.report.tally import Standing, count, standing

SCHEMA = json.loads(files("bufferize.report").joinpath("schema.json").read_text("utf-8"))


def out(report: Report, **view: object) -> str:
    return text_report.render(report, View(**view)).out.decode()


def err(report: Report, **view: object) -> str:
    return text_report.render(report, View(**view)).err


# The exit code: the highest that applies.

REFUTED_SKIP = replace(reports.rewrite(verdict=reports.REFUTED), action=Action.SKIP)
FAILED = (Failed("a.py", "broken"),)


@pytest.mark.parametrize(
    ("report", "code"),
    [
        (Report("diff"), 0),
        (Report("diff", (reports.rewritten(reports.rewrite()),)), 0),
        (Report("diff", (reports.rewritten(reports.rewrite()),), gate=True), 1),
        (Report("diff", (reports.unchanged(reports.skip(Safety.UNSAFE)),), gate=True), 0),
        (Report("check", (reports.unchanged(reports.skip(Safety.UNSAFE)),), gate=True), 1),
        (Report("check", (reports.unchanged(),), gate=True), 0),
        (reports.proved(reports.CONFIRMED, strict=True), 0),
        (reports.proved(reports.UNDECIDED), 0),
        (reports.proved(reports.UNDECIDED, strict=True), 3),
        (Report("apply", (reports.rewritten(reports.rewrite()),), verified=True, strict=True), 3),
        (Report("diff", (reports.rewritten(reports.rewrite()),), strict=True), 0),
        (reports.proved(reports.UNDECIDED, strict=True, failures=FAILED), 4),
        (Report("diff", FAILED), 4),
        (reports.proved(reports.REFUTED), 5),
        (Report("diff", (reports.unchanged(REFUTED_SKIP), *FAILED), gate=True), 5),
    ],
)
def test_the_highest_exit_code_wins(report, code):
    assert exit_code(report) == code


# Text.


def test_diff_is_the_document_and_reasons_are_commentary():
    report = reports.full_report()
    assert out(report).startswith("diff --git a/")
    said = err(report)
    assert (
        "model.py:1:1 Attention.mask -> buffer, persistent=False: "
        "a pure function of constructor arguments and constants [recomputable]\n"
        "    note: bfloat16 rounds this table [float-rounding]\n"
    ) in said
    assert "held back; --unsafe rewrites them (1):\n  model.py:9:1 Attention.scale: " in said
    assert "[zero-dim-constant]\n    to make it safe: make it a Python number\n" in said
    assert "left alone (1):\n  model.py:12:1 Attention.tied: shares memory" in said
    assert "[aliases-parameter, see model.py:7]" in said
    assert "broken.py:3:5: error: not valid Python: invalid syntax\n" in said
    assert "other.py:5:1: warning: unused pragma\n" in said


def test_the_last_line_counts():
    assert err(reports.full_report()).splitlines()[-1] == (
        "2 rewrites (1 persistent) in 1 file, 1 held back (--unsafe), 1 left alone; 1 failure"
    )
    assert err(Report("diff")) == "no Python file or notebook found\n"
    assert err(Report("diff", (reports.unchanged(),))) == "nothing to rewrite in 1 file\n"


def test_quiet_leaves_the_diff_and_the_errors():
    report = reports.full_report()
    assert out(report, quiet=True) == out(report)
    assert err(report, quiet=True) == "broken.py:3:5: error: not valid Python: invalid syntax\n"


def test_verbose_adds_the_chain():
    report = reports.full_report()
    chain = "    known from: torch.ones(3) <- torch.ones gives a tensor\n"
    assert chain in err(report, verbose=True)
    assert chain not in err(report)


def test_a_reason_is_said_in_full_once():
    first, second = reports.rewrite("a", 1), reports.rewrite("b", 2)
    report = Report("diff", (reports.rewritten(first, second),))
    assert err(report).splitlines()[:2] == [
        f"model.py:1:1 Attention.a -> buffer, persistent=False: {reports.PURE.text} [recomputable]",
        "model.py:2:1 Attention.b -> buffer, persistent=False [recomputable]",
    ]


def test_remedies_share_a_line_and_the_own_place_is_not_named_again():
    here = replace(reports.ALIAS, safety=Safety.UNSAFE, where="model.py:9", remedy="clone it")
    said = err(
        Report("diff", (reports.unchanged(reports.skip(Safety.UNSAFE, here, reports.SCALAR)),))
    )
    assert "shares memory with weight [aliases-parameter]; a constant" in said
    assert "    to make it safe: clone it; make it a Python number\n" in said


def test_a_missing_package_is_named_once():
    because = (
        "the old version does not import: ModuleNotFoundError: No module named 'einops' (m.py:1)"
    )
    verdict = replace(reports.UNDECIDED, because=because)
    said = err(reports.proved(verdict, "diff"))
    assert said.count("not installed there: einops; install what your code imports, or name") == 1
    assert "not installed" not in err(reports.proved(reports.UNDECIDED, "diff"))


def test_check_says_one_finding_a_line():
    lines = out(reports.full_report("check")).splitlines()
    assert [line.split(": ")[0] for line in lines] == [
        "model.py:1:1",
        "model.py:4:1",
        "model.py:9:1",
        "model.py:12:1",
    ]
    assert lines[1] == (
        "model.py:4:1: Attention.noise is an unregistered tensor: make it a buffer, "
        "persistent=True: random draws: a fresh construction would not reproduce them [random]"
    )
    assert lines[2] == (
        "model.py:9:1: Attention.scale is an unregistered tensor, held back: "
        "a constant never written to [zero-dim-constant]"
    )
    assert out(reports.full_report("check"), quiet=True).splitlines() == lines


def test_a_notebook_place_names_the_cell():
    finding = reports.rewrite(site=reports.site(line=30, cell=3, line_in_cell=2))
    report = Report("check", (reports.rewritten(finding, name="lesson.ipynb"),))
    assert out(report).startswith("model.py:cell 3:2:1: Attention.mask ")


def test_the_headline_shows_the_old_error_and_the_new_success():
    text = out(reports.proved(reports.CONFIRMED))
    assert "model.py Attention (mask): confirmed, runs on the device (virtual)\n" in text
    assert "    before, on virtual: RuntimeError: Expected all tensors to be on the same" in text
    assert "    after,  on virtual: works\n" in text
    assert "    tried: 2 inputs, 2 seeds, arguments from model.py:40\n" in text
    assert "equal bit for bit" not in text
    assert "    builds: confirmed: mask: equal bit for bit\n" in out(
        reports.proved(reports.CONFIRMED), verbose=True
    )


def test_undecided_says_why_and_what_to_add():
    text = out(reports.proved(reports.UNDECIDED, "verify"))
    assert text.startswith("model.py Attention (mask): undecided, reached: imports\n")
    assert "    because no arguments found for n_heads\n" in text
    assert '    to decide it, add: "model:Attention" = [{ construct' in text


def test_refuted_shows_the_evidence_even_when_quiet():
    for command in ("verify", "apply"):
        text = out(reports.proved(reports.REFUTED, command), quiet=True)
        assert "refuted, reached: imports\n" in text
        assert "    builds: refuted: mask: float64 became float32\n" in text
    assert out(reports.proved(reports.UNDECIDED), quiet=True) == ""


def test_a_proved_diff_keeps_the_verdicts_off_the_diff():
    report = reports.proved(reports.CONFIRMED, "diff", proof="virtual, torch 2.13.0")
    assert "confirmed" not in out(report)
    assert "Attention (mask): confirmed" in err(report)
    assert err(report).endswith(
        "1 rewrite in 1 file; 1 confirmed (virtual, torch 2.13.0)\n",
    )


def test_totals_of_apply_and_verify():
    applied = reports.proved(reports.REFUTED, written=True)
    assert err(applied).splitlines()[-1] == "0 rewrites, 1 refuted; 1 refuted"
    verified = reports.proved(reports.UNDECIDED, "verify")
    assert err(verified) == "1 class put to the proof; 1 undecided\n"
    written = Report("apply", (reports.rewritten(reports.rewrite()),), written=True)
    assert err(written) == "1 rewrite in 1 file written\n"


def test_messages_stay_on_one_line():
    report = Report("diff", (Failed("a.py", "first\n  second"),))
    assert err(report, quiet=True) == "a.py: error: first second\n"


@pytest.mark.parametrize(
    ("finding", "stands"),
    [
        (reports.rewrite(), Standing.REWRITTEN),
        (reports.rewrite(verdict=reports.UNDECIDED), Standing.REWRITTEN),
        (reports.rewrite(verdict=reports.REFUTED), Standing.REFUTED),
        (REFUTED_SKIP, Standing.REFUTED),
        (
            replace(reports.rewrite(verdict=reports.UNDECIDED), action=Action.SKIP),
            Standing.UNPROVED,
        ),
        (reports.skip(Safety.UNSAFE), Standing.HELD_BACK),
        (reports.skip(Safety.DISPLAY_ONLY), Standing.LEFT_ALONE),
        (replace(reports.skip(Safety.UNSAFE), action=Action.SUGGEST), Standing.SUGGESTED),
    ],
)
def test_where_findings_stand(finding, stands):
    assert standing(finding) is stands


def test_the_worst_verdict_of_a_class_speaks():
    findings = (
        reports.rewrite(verdict=reports.CONFIRMED),
        reports.rewrite("noise", 2, verdict=reports.REFUTED),
    )
    tally = count(Report("verify", (reports.rewritten(*findings),)))
    assert (tally.classes_confirmed, tally.classes_refuted) == (0, 1)


# JSON.


@pytest.mark.parametrize(
    "report",
    [
        reports.full_report(),
        reports.full_report("check", gate=True, notes=("a note",)),
        reports.proved(reports.CONFIRMED, written=True),
        reports.proved(reports.UNDECIDED, "verify", strict=True),
        reports.proved(reports.REFUTED, "diff"),
        Report("explain"),
    ],
    ids=lambda report: report.command,
)
def test_json_holds_to_the_schema(report):
    document = json.loads(json_report.render(report))
    jsonschema.validate(document, SCHEMA)
    assert document["exit_code"] == exit_code(report)


def test_the_schema_is_a_schema_and_refuses_what_is_not_described():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    document = json.loads(json_report.render(reports.full_report()))
    document["findings"][0]["surprise"] = 1
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(document, SCHEMA)


def test_json_says_everything_of_a_finding():
    document = json.loads(json_report.render(reports.proved(reports.CONFIRMED)))
    assert document["schema_version"] == "1.0"
    (finding,) = document["findings"]
    assert finding == {
        "path": "model.py",
        "cell": None,
        "line": 1,
        "column": 1,
        "end_line": 1,
        "end_column": 26,
        "module": "model",
        "class": "Attention",
        "attribute": "mask",
        "decision": "rewrite",
        "persistent": False,
        "persistence_reason": {"id": "recomputable", "text": reports.PURE.text},
        "safety": "safe",
        "hazards": [],
        "chain": [],
        "verdict": "confirmed",
        "evidence": [
            {
                "level": "builds",
                "answer": "confirmed",
                "text": "equal bit for bit",
                "attribute": "mask",
            }
        ],
        "proof": {
            "level": "runs on the device",
            "cases": "2 inputs, 2 seeds, arguments from model.py:40",
            "device": "virtual",
            "old_error": "RuntimeError: Expected all tensors to be on the same device",
            "because": "",
            "suggestion": "",
        },
    }


def test_json_counts_notebook_lines_from_the_cell():
    finding = reports.rewrite(site=reports.site(line=30, cell=3, line_in_cell=2))
    document = json.loads(json_report.render(Report("check", (reports.rewritten(finding),))))
    entry = document["findings"][0]
    assert (entry["cell"], entry["line"], entry["end_line"]) == (3, 2, 2)


def test_json_survives_paths_that_are_no_utf8():
    report = Report("diff", (Failed(os.fsdecode(b"caf\xe9.py"), "broken", 1, 0),))
    assert json.loads(json_report.render(report))["failures"][0]["line"] == 1


# Diffs.


def make_repo(folder: Path) -> None:
    subprocess.run(["git", "init", "--quiet"], cwd=folder, check=True)


def git_apply(folder: Path, diff: bytes) -> None:
    command = ["git", "-c", "core.autocrlf=false", "apply", "--whitespace=nowarn", "-"]
    done = subprocess.run(command, cwd=folder, input=diff, capture_output=True, check=False)
    assert done.returncode == 0, done.stderr.decode()


LONG = b"".join(b"line %d\n" % number for number in range(400))


@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b"a\nb\nc\n", b"a\nB\nc\n"),
        (b"a\r\nb\r\nc\r\n", b"a\r\nB\r\nc\r\n"),
        (b"a\r\nb\n\r\nc\r", b"a\r\nB\n\r\nc\r"),
        (b"a\nb", b"a\nB"),
        (b"a\nb\n", b"a\nb"),
        (b"a\nb", b"a\nb\nc"),
        (b"a", b"a\n"),
        (b"\xef\xbb\xbfa\nb\n", b"\xef\xbb\xbfa\nB\n"),
        (b"# coding: latin-1\nx = '\xe9'\n", b"# coding: latin-1\ny = '\xe9'\n"),
        (b"a\x0cb\x1cc\n\xc2\x85d\n", b"a\x0cb\x1cc\n\xc2\x85D\n"),
        (b"-- a\n++ b\n", b"++ a\n-- b\n"),
        (b"a\n", b""),
        (LONG, LONG.replace(b"line 3\n", b"x\ny\n").replace(b"line 390\n", b"")),
        (b"\n" * 3000 + b"a\n", b"b\n" + b"\n" * 3000 + b"c\n"),
    ],
)
def test_git_apply_takes_the_diff(tmp_path, before, after):
    make_repo(tmp_path)
    path = tmp_path / "model.py"
    path.write_bytes(before)
    outcome = Rewritten(SourceFile(path, "model.py", before, ""), after, "")
    git_apply(tmp_path, patch(outcome))
    assert path.read_bytes() == after


@pytest.mark.parametrize(
    "name",
    ["with space.py", "naïve.py", 'qu"ote.py', "back\\slash.py", "tab\tname.py", "a b/c d.py"],
)
def test_git_apply_takes_odd_names_from_any_folder(tmp_path, name):
    make_repo(tmp_path)
    path = tmp_path / "sub dir" / name
    path.parent.mkdir(parents=True)
    path.write_bytes(b"a\n")
    outcome = Rewritten(SourceFile(path, name, b"a\n", ""), b"b\n", "")
    git_apply(path.parent, patch(outcome))
    assert path.read_bytes() == b"b\n"


def test_names_count_from_the_current_folder_outside_a_repository(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    path = tmp_path / "pkg" / "model.py"
    diff = patch(reports.rewritten(path=path)).decode()
    if any((folder / ".git").exists() for folder in tmp_path.parents):
        pytest.skip("the temporary folder lies in a repository")
    assert diff.splitlines()[1] == "--- a/pkg/model.py"


def test_what_did_not_change_has_no_diff():
    assert patch(Rewritten(reports.source(), reports.BEFORE.encode(), reports.BEFORE)) == b""


def notebook(*sources: str, indent: int | None = 1, reverse: bool = False) -> bytes:
    cells = [
        {
            "cell_type": "markdown" if text.startswith("#") else "code",
            "metadata": {},
            "outputs": [{"name": "stdout", "text": ["cells", '"cells": [{'] * 3}],
            "source": text.splitlines(keepends=True),
        }
        for text in sources
    ]
    if reverse:
        cells = [dict(reversed(cell.items())) for cell in cells]
    top = {"metadata": {"cells": [1]}, "cells": cells, "nbformat": 4, "nbformat_minor": 5}
    return (json.dumps(top, indent=indent) + "\n").encode()


def rewritten_notebook(path: Path, data: bytes, changed: dict[int, str]) -> Rewritten:
    text, cells, _ = read_cells(data)
    source = SourceFile(path, path.name, data, text, cells=cells)
    after = replace_cells(data, changed)
    return Rewritten(source, after, read_cells(after)[0])


CELLS = ("# Title", "!pip install x\na = 1", "b = 1\nc = 2", "d = 1")


@pytest.mark.parametrize(("indent", "reverse"), [(1, False), (1, True), (None, False)])
def test_the_diff_of_a_notebook_applies_and_names_its_cells(tmp_path, indent, reverse):
    make_repo(tmp_path)
    path = tmp_path / "lesson.ipynb"
    path.write_bytes(notebook(*CELLS, indent=indent, reverse=reverse))
    outcome = rewritten_notebook(path, path.read_bytes(), {2: "!pip install x\na = 9", 4: "d = 9"})
    diff = patch(outcome)
    titles = [line for line in diff.decode().splitlines() if line.startswith("@@")]
    if indent:
        assert [title.rpartition("@@")[2] for title in titles] == [" cell 2", " cell 4"]
    else:
        assert titles[0].endswith("@@ cells 1, 2, 3, 4")
    git_apply(tmp_path, diff)
    assert path.read_bytes() == outcome.data


def test_a_terminal_shows_notebooks_by_cell(tmp_path):
    outcome = rewritten_notebook(
        tmp_path / "lesson.ipynb", notebook(*CELLS), {3: "b = 1\nc = 9", 2: "!pip install x\na = 9"}
    )
    diff = cell_patch(outcome).decode()
    assert "lesson.ipynb cell 2\n@@ -1,2 +1,2 @@\n !pip install x\n-a = 1\n+a = 9\n--- a/" in diff
    assert diff.endswith("lesson.ipynb cell 3\n@@ -1,2 +1,2 @@\n b = 1\n-c = 2\n+c = 9\n")
    report = Report("diff", (outcome,))
    assert out(report, terminal=True) == diff
    assert "notebooks are shown by cell" in err(report, terminal=True)
    assert out(report) == patch(outcome).decode()
    assert "notebooks are shown by cell" not in err(report)


# Colour and progress.


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("color", "stream", "environ", "wanted"),
    [
        ("auto", StringIO(), {}, False),
        ("auto", Terminal(), {}, True),
        ("auto", Terminal(), {"NO_COLOR": "1"}, False),
        ("auto", Terminal(), {"NO_COLOR": ""}, True),
        ("auto", Terminal(), {"TERM": "dumb"}, False),
        ("auto", StringIO(), {"FORCE_COLOR": "1"}, True),
        ("auto", StringIO(), {"FORCE_COLOR": "1", "NO_COLOR": "1"}, False),
        ("always", StringIO(), {"NO_COLOR": "1"}, True),
        ("never", Terminal(), {"FORCE_COLOR": "1"}, False),
    ],
)
def test_colour_is_for_terminals_and_those_who_ask(color, stream, environ, wanted):
    assert wants_color(color, stream, environ) is wanted


def test_colour_changes_nothing_but_colour():
    report = reports.full_report()
    plain = text_report.render(report, View())
    painted = text_report.render(report, View(paint_out=paint, paint_err=paint))
    assert "\x1b[32m+self.register_buffer" in painted.out.decode()
    assert strip(painted.out.decode()) == plain.out.decode()
    assert strip(painted.err) == plain.err


def strip(text: str) -> str:
    return re.sub(r"\x1b\[[0-9;]*m", "", text)


def test_progress_never_goes_into_a_pipe(monkeypatch):
    monkeypatch.setattr("bufferize.report.paint.PATIENCE", 0.0)
    pipe = StringIO()
    with show_progress("proving", pipe, wanted=True) as progress:
        assert progress is None
    assert pipe.getvalue() == ""


def test_short_work_shows_no_bar():
    terminal = Terminal()
    with show_progress("proving", terminal, wanted=True) as progress:
        progress(1, 2)
    assert terminal.getvalue() == ""


def test_long_work_shows_a_bar_on_a_terminal(monkeypatch):
    monkeypatch.setattr("bufferize.report.paint.PATIENCE", 0.0)
    monkeypatch.setenv("TERM", "xterm")
    terminal = Terminal()
    with show_progress("proving", terminal, wanted=True) as progress:
        progress(1, 2)
        wait_for(terminal)
    assert "proving" in terminal.getvalue()


def wait_for(terminal: StringIO) -> None:
    end = time.monotonic() + 10
    while "proving" not in terminal.getvalue() and time.monotonic() < end:
        time.sleep(0.02)


# Explanations.


class Rule:
    doc = """A constant.

    Bites: ...
    """


def test_a_hazard_is_explained_by_its_docstring():
    text = explain_rule("zero-dim-constant", {"zero-dim-constant": Rule()}, "text").decode()
    assert text == "zero-dim-constant (hazard)\n\nA constant.\n\nBites: ...\n"


@pytest.mark.parametrize("what", ["zero-dim-constant", *REASONS])
def test_explanations_of_rules_hold_to_the_schema(what):
    document = json.loads(explain_rule(what, {"zero-dim-constant": Rule()}, "json"))
    jsonschema.validate(document, SCHEMA)
    assert document["id"] == what


def test_every_reason_that_is_given_can_be_explained():
    persistence = Path(bufferize.__file__).with_name("persistence.py").read_text("utf-8")
    said = [
        call.args[1].value
        for call in ast.walk(ast.parse(persistence))
        if isinstance(call, ast.Call) and getattr(call.func, "id", "") == "_say"
    ]
    assert set(said) == set(REASONS)


def test_an_unknown_rule_is_a_usage_error():
    with pytest.raises(UsageError, match=r"randon: neither a hazard .* did you mean random"):
        explain_rule("randon", {}, "text")
    with pytest.raises(UsageError, match=r"xyzzy: .*FILE\.py:LINE"):
        explain_rule("xyzzy", {}, "text")


@pytest.mark.parametrize(
    ("what", "found"),
    [
        ("model.py:1", ["mask"]),
        ("model.py:4:1", ["noise"]),
        ("model.py:2", []),
        ("model:Attention.mask", ["mask"]),
        ("model:Attention.nothing", []),
        ("other:Attention.mask", []),
        ("model:Other.mask", []),
    ],
)
def test_a_line_or_a_name_picks_findings(what, found):
    picked = pick(read_question(what), reports.full_report("explain"))
    assert [finding.site.attribute for finding in picked.findings] == found
    assert exit_code(picked) == 4


def test_a_cell_can_be_asked_for():
    finding = reports.rewrite(site=reports.site(line=30, cell=3, line_in_cell=2))
    assert answers(read_question("a.ipynb:cell 3:2"), finding)
    assert answers(read_question("a.ipynb:2"), finding)
    assert not answers(read_question("a.ipynb:cell 4:2"), finding)
    assert not answers(read_question("a.ipynb:cell 3:30"), finding)


def test_a_dotted_module_may_be_cut_short_at_the_front():
    finding = reports.rewrite(site=replace(reports.site(), module="pkg.sub.model"))
    assert answers(read_question("sub.model:Attention.mask"), finding)
    assert not answers(read_question("b.model:Attention.mask"), finding)
    assert read_question("just-an-id") is None


def test_a_finding_is_explained_in_full():
    text = explain_findings(read_question("model.py:12"), reports.full_report("explain")).decode()
    assert text.splitlines() == [
        "model.py:12:1 Attention.tied",
        "  module: model",
        "  decision: skip (left alone), safety: display-only",
        "  display-only: shares memory with weight [aliases-parameter, see model.py:7]",
    ]


def test_nothing_found_names_what_is_near():
    text = explain_findings(read_question("model.py:2"), reports.full_report("explain")).decode()
    assert text.startswith("model.py:2: no tensor was found that a module should register\n")
    assert "  nearby: model.py:1:1 Attention.mask\n" in text


def test_unchanged_files_keep_their_findings_in_a_pick():
    outcome = Unchanged(reports.source(), (reports.skip(Safety.UNSAFE),))
    picked = pick(read_question("model.py:9"), Report("explain", (outcome,)))
    assert len(picked.findings) == 1
