"""Holds the demo under tests/fixtures/demo to what the README promises of it.

In: copies of the notebooks and the lesson. Nothing is written into the checkout, and user code
runs in child processes only.
"""

from __future__ import annotations

import ast
import json
import shutil
import subprocess
import sys
import textwrap
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from bufferize import pipeline
from bufferize.model import (
    Action,
    Answer,
    Failed,
    FileOutcome,
    Finding,
    Level,
    Report,
    Rewritten,
    Verdict,
)
from bufferize.settings import Settings, load_settings

DEMO = Path(__file__).parent / "fixtures" / "demo"
THREE = "three_kinds_of_tensor.ipynb"
CAUSAL = "causal_mask.ipynb"
UNCHANGED = "causal_mask_unchanged.ipynb"
LESSON = "lesson.py"
PLAIN_CLASS = "CausalAttentionWithoutBuffers"
Decision = tuple[str, str, str, bool | None, str]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(shutil.copytree(DEMO, tmp_path_factory.mktemp("copy") / "demo"))


@pytest.fixture(scope="module")
def report(folder: Path) -> Report:
    return pipeline.find(make_settings(folder))


def make_settings(*paths: Path) -> Settings:
    return replace(load_settings({}, list(paths)), search_path=(), device="virtual")


def outcome_of(report: Report, name: str) -> FileOutcome:
    for outcome in report.outcomes:
        assert not isinstance(outcome, Failed), outcome
        if outcome.source.path.name == name:
            return outcome
    raise AssertionError(f"{name} has no outcome")


def rewritten(report: Report, name: str) -> Rewritten:
    outcome = outcome_of(report, name)
    assert isinstance(outcome, Rewritten)
    return outcome


def decide(finding: Finding) -> Decision:
    reason = finding.reason.id if finding.reason else ""
    site = finding.site
    return site.cls, site.attribute, str(finding.action), finding.persistent, reason


def decisions(report: Report, name: str) -> list[Decision]:
    outcome = outcome_of(report, name)
    assert not isinstance(outcome, Failed)
    return sorted(decide(finding) for finding in outcome.findings)


def sources(data: bytes) -> list[str]:
    return ["".join(cell["source"]) for cell in json.loads(data)["cells"]]


def changed_cells(before: bytes, after: bytes) -> list[tuple[str, str]]:
    return [(a, b) for a, b in zip(sources(before), sources(after), strict=True) if a != b]


# --------------------------------------------------------------------------- decisions


def test_mistake_is_a_persistent_buffer_and_the_rest_is_left(report: Report) -> None:
    assert decisions(report, THREE) == [("MyModel", "mistake_tensor", "rewrite", True, "random")]
    text = rewritten(report, THREE).text
    assert (
        '        self.register_buffer("mistake_tensor", torch.randn(3, 3), persistent=True)' in text
    )
    assert "        self.weight = nn.Parameter(torch.randn(3, 3))" in text
    assert '        self.register_buffer("running_mean", torch.randn(3, 3))' in text


def test_mask_that_a_later_cell_writes_is_persistent(report: Report) -> None:
    assert decisions(report, CAUSAL) == [
        (PLAIN_CLASS, "mask", "rewrite", True, "written-from-outside")
    ]


def test_mask_that_no_cell_writes_is_not_persistent(report: Report) -> None:
    assert decisions(report, UNCHANGED) == [(PLAIN_CLASS, "mask", "rewrite", False, "recomputable")]


@pytest.mark.parametrize("name", [THREE, CAUSAL, UNCHANGED, LESSON])
def test_decisions_are_the_same_file_by_file(name: str, report: Report, tmp_path: Path) -> None:
    shutil.copy(DEMO / name, tmp_path)
    alone = pipeline.find(make_settings(tmp_path / name))
    assert decisions(alone, name) == decisions(report, name)


def test_lesson_has_every_other_kind(report: Report) -> None:
    assert decisions(report, LESSON) == [
        ("CausalMean", "causal_mask", "rewrite", False, "recomputable"),
        ("CosinePositions", "cos_table", "rewrite", False, "recomputable"),
        ("RunningNorm", "running_mean", "rewrite", True, "changed-in-place"),
        ("RunningNorm", "running_var", "rewrite", True, "changed-in-place"),
        ("WarmUp", "steps", "rewrite", True, "changed-in-place"),
    ]


def test_reasons_are_sentences(report: Report) -> None:
    for finding in report.findings:
        assert finding.reason is not None
        assert len(finding.reason.text.split()) >= 3


# --------------------------------------------------------------------------- the files


@pytest.mark.parametrize("name", [THREE, CAUSAL, UNCHANGED])
def test_only_the_cell_of_the_class_changes(report: Report, name: str) -> None:
    before, after = (DEMO / name).read_bytes(), rewritten(report, name).data
    changed = changed_cells(before, after)
    assert len(changed) == 1
    assert "class " in changed[0][0]


@pytest.mark.parametrize("name", [THREE, CAUSAL, UNCHANGED])
def test_everything_but_sources_stays(report: Report, name: str) -> None:
    """Outputs, counts, metadata and key order stay; one line of the file gives way."""

    def without_sources(data: bytes) -> str:
        book: dict[str, Any] = json.loads(data)
        for cell in book["cells"]:
            cell["source"] = None
        return json.dumps(book)

    before, after = (DEMO / name).read_bytes(), rewritten(report, name).data
    assert without_sources(before) == without_sources(after)
    kept = set(after.splitlines())
    gone = [line for line in before.splitlines() if line not in kept]
    assert len(gone) == 1
    assert b"= torch." in gone[0]


@pytest.mark.parametrize("name", [CAUSAL, UNCHANGED])
def test_the_cell_that_moves_the_mask_changes_nothing(report: Report, name: str) -> None:
    moving = 'ca_without_buffer.mask = ca_without_buffer.mask.to("cuda")'
    assert any(moving in source for source in sources((DEMO / name).read_bytes()))
    assert any(moving in source for source in sources(rewritten(report, name).data))


def test_the_demo_has_what_makes_notebooks_hard() -> None:
    three, causal = (json.loads((DEMO / name).read_text("utf-8")) for name in (THREE, CAUSAL))
    assert "!pip" in "".join("".join(cell["source"]) for cell in three["cells"])
    outputs = [out for cell in causal["cells"] for out in cell.get("outputs", ())]
    errors = [out for out in outputs if out["output_type"] == "error"]
    assert [error["ename"] for error in errors] == ["RuntimeError"]
    assert "cuda:0" in errors[0]["evalue"]
    for book in (three, causal):
        assert (book["nbformat"], book["nbformat_minor"]) == (4, 5)
        assert any(cell.get("outputs") for cell in book["cells"])


def test_a_second_run_changes_nothing(report: Report, tmp_path: Path) -> None:
    for outcome in report.outcomes:
        assert isinstance(outcome, Rewritten)
        (tmp_path / outcome.source.path.name).write_bytes(outcome.data)
    again = pipeline.find(make_settings(tmp_path))
    assert not any(isinstance(outcome, Rewritten) for outcome in again.outcomes)
    assert not any(finding.action is Action.REWRITE for finding in again.findings)


# --------------------------------------------------------------------------- the proof


@pytest.fixture(scope="module")
def proved(report: Report, folder: Path) -> Report:
    pytest.importorskip("torch")
    return pipeline.prove(report, make_settings(folder))


def verdict_of(report: Report, name: str, cls: str) -> Verdict:
    outcome = outcome_of(report, name)
    assert not isinstance(outcome, Failed)
    verdict = next(f.verdict for f in outcome.findings if f.site.cls == cls)
    assert verdict is not None
    return verdict


@pytest.mark.slow
@pytest.mark.parametrize("name", [CAUSAL, UNCHANGED])
def test_attention_is_proved_on_the_device(proved: Report, name: str) -> None:
    """Nothing is configured: the arguments stand in the notebook."""
    verdict = verdict_of(proved, name, PLAIN_CLASS)
    assert (verdict.answer, verdict.level) == (Answer.CONFIRMED, Level.RUNS_ON_DEVICE), verdict
    assert name in verdict.cases
    assert "device" in verdict.old_error
    assert "mask" in verdict.old_error
    assert verdict.device


@pytest.mark.slow
def test_every_class_of_the_demo_is_confirmed(proved: Report) -> None:
    wanted = {(f.site.name, f.site.cls) for f in proved.findings if f.action is Action.REWRITE}
    assert len(wanted) == 7
    for finding in proved.findings:
        assert finding.verdict is not None
        assert finding.verdict.answer is Answer.CONFIRMED, (finding.site, finding.verdict.because)


@pytest.mark.slow
def test_proof_takes_nothing_back(report: Report, proved: Report) -> None:
    for name in (THREE, CAUSAL, UNCHANGED, LESSON):
        assert rewritten(proved, name).data == rewritten(report, name).data


SEEN = {
    THREE: ("MyModel()", ["weight"], "mistake_tensor"),
    CAUSAL: (
        f"{PLAIN_CLASS}(3, 2, 6, 0.0)",
        ["W_query.weight", "W_key.weight", "W_value.weight"],
        "mask",
    ),
}


@pytest.fixture(scope="module")
def seen(report: Report) -> dict[str, list[dict[str, Any]]]:
    """Of each notebook, what is seen of the class before and after: one process for all four."""
    pytest.importorskip("torch")
    programs = {}
    for name, (construct, _, _) in SEEN.items():
        outcome = rewritten(report, name)
        programs[name] = [program(t, construct) for t in (outcome.source.text, outcome.text)]
    run = f"""
        import json, torch
        seen = {{}}
        for name, programs in {programs!r}.items():
            for program in programs:
                scope = {{"__name__": "lesson"}}
                exec(program, scope)
                seen.setdefault(name, []).append(scope["seen"])
        print(json.dumps(seen))
    """
    command = [sys.executable, "-c", textwrap.dedent(run)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=300)
    answer: dict[str, list[dict[str, Any]]] = json.loads(done.stdout)
    return answer


def program(text: str, construct: str) -> str:
    """Python that says what an optimizer and a checkpoint see of an object."""
    wanted = (ast.Import, ast.ImportFrom, ast.ClassDef)
    body = [node for node in ast.parse(text).body if isinstance(node, wanted)]
    return ast.unparse(ast.Module(body, [])) + textwrap.dedent(f"""
        model = {construct}
        optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
        seen = {{
            "parameters": [name for name, _ in model.named_parameters()],
            "trained": sum(len(group["params"]) for group in optimizer.param_groups),
            "saved": list(model.state_dict()),
        }}
    """)


@pytest.mark.slow
@pytest.mark.parametrize("name", SEEN)
def test_optimizer_sees_the_same_parameters(
    seen: dict[str, list[dict[str, Any]]], name: str
) -> None:
    before, after = seen[name]
    _, parameters, saved = SEEN[name]
    assert before["parameters"] == after["parameters"] == parameters
    assert before["trained"] == after["trained"] == len(parameters)
    assert set(after["saved"]) - set(before["saved"]) == {saved}


@pytest.mark.slow
@pytest.mark.cuda
def test_attention_is_proved_on_cuda(report: Report, folder: Path) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device here")
    settings = replace(make_settings(folder), device="cuda")
    verdict = verdict_of(pipeline.prove(report, settings), CAUSAL, PLAIN_CLASS)
    assert (verdict.answer, verdict.level) == (Answer.CONFIRMED, Level.RUNS_ON_DEVICE), verdict
    assert verdict.device.startswith("cuda")
    assert "device" in verdict.old_error
