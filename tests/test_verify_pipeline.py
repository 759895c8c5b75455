"""How the pipeline proves: what it hands over, what it takes back, and when it stops.

The proof itself is played by functions here; test_demo.py and the last test run the real one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

import bufferize.verify
from bufferize import pipeline
from bufferize.model import Action, Answer, Evidence, Level, Report, Rewritten, Unchanged, Verdict
from bufferize.settings import Settings, load_settings
from bufferize.verify import VerifyResult, find_neighbours

TWO = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.a = torch.ones(2)
        self.b = torch.ones(3)


class Other(nn.Module):
    def __init__(self):
        super().__init__()
        self.c = torch.ones(4)
"""
FINE = Verdict(Answer.CONFIRMED, Level.RUNS)
UNSURE = Verdict(Answer.UNDECIDED, Level.NOTHING, because="cannot be built")


def refuted(*attributes: str) -> Verdict:
    evidence = tuple(Evidence(Level.BUILDS, Answer.REFUTED, "differs", a) for a in attributes)
    return Verdict(Answer.REFUTED, Level.IMPORTS, evidence)


def settings_of(folder: Path, **more: object) -> Settings:
    return replace(load_settings({}, [folder]), search_path=(), device="virtual", **more)


Judge = Callable[[str, frozenset[str]], Verdict]


@pytest.fixture
def play(tmp_path, monkeypatch):
    """Prove TWO with a judge in place of the proof; gives the report and the rounds it took."""

    def run(judge: Judge, text: str = TWO, **more: object) -> tuple[Report, list[set[str]]]:
        (tmp_path / "m.py").write_text(text)
        rounds: list[set[str]] = []

        def verify_changes(changes, settings, progress=None, sources=(), only=None):
            keys = {(c.name, e.cls) for c in changes for e in c.expected}
            asked = keys if only is None else keys & only
            rounds.append({cls for _, cls in asked})
            held = {
                key: frozenset(e.attribute for c in changes for e in c.expected if e.cls == key[1])
                for key in asked
            }
            return VerifyResult({key: judge(key[1], held[key]) for key in asked}, "torch")

        monkeypatch.setattr(bufferize.verify, "verify_changes", verify_changes)
        settings = settings_of(tmp_path, **more)
        return pipeline.prove(pipeline.find(settings), settings), rounds

    return run


def actions(report: Report) -> dict[str, tuple[Action, Answer | None]]:
    return {
        f.site.attribute: (f.action, f.verdict.answer if f.verdict else None)
        for f in report.findings
    }


def test_innocent_attributes_are_proved_again_without_the_guilty(play):
    report, rounds = play(lambda cls, held: refuted("a") if "a" in held else FINE)
    assert actions(report) == {
        "a": (Action.SKIP, Answer.REFUTED),
        "b": (Action.REWRITE, Answer.CONFIRMED),
        "c": (Action.REWRITE, Answer.CONFIRMED),
    }
    # a class that nothing was said against is not proved twice
    assert rounds == [{"Net", "Other"}, {"Net"}]
    text = next(o for o in report.outcomes if isinstance(o, Rewritten)).text
    assert "self.a = torch.ones(2)" in text and 'register_buffer("b"' in text


def test_an_address_names_the_attribute_of_its_class_only(play):
    judge = lambda cls, held: refuted("m:Net.a") if held >= {"a"} else FINE  # noqa: E731
    report, _ = play(judge)
    assert actions(report)["a"] == (Action.SKIP, Answer.REFUTED)
    assert actions(report)["b"] == (Action.REWRITE, Answer.CONFIRMED)


def test_a_class_that_is_refuted_for_nothing_of_its_own_is_taken_back(play):
    def judge(cls, held):
        return refuted("elsewhere:Thing.x") if cls == "Net" else FINE

    report, rounds = play(judge)
    assert actions(report)["a"] == actions(report)["b"] == (Action.SKIP, Answer.REFUTED)
    assert actions(report)["c"] == (Action.REWRITE, Answer.CONFIRMED)
    assert len(rounds) == 1


def test_rounds_end_whatever_the_proof_says(play):
    many = "\n".join(f"        self.t{i} = torch.ones({i + 1})" for i in range(9))
    text = TWO.replace("        self.b = torch.ones(3)", many)
    # another attribute in every round
    report, rounds = play(lambda cls, held: refuted(min(held)) if cls == "Net" else FINE, text)
    assert len(rounds) == 3
    assert not any(f.action is Action.REWRITE and f.site.cls == "Net" for f in report.findings)
    assert not any(f.verdict is None for f in report.findings)


def test_undecided_by_another_class_is_proved_again_once_that_one_is_out(play):
    foreign = Evidence(Level.BUILDS, Answer.REFUTED, "differs", "m:Net.a")
    first = Verdict(Answer.UNDECIDED, Level.IMPORTS, (foreign,), because="it holds m:Net.a")
    of_other = iter([first, FINE])

    def judge(cls, held):
        if cls == "Other":
            return next(of_other)
        return refuted("a") if "a" in held else FINE

    report, rounds = play(judge)
    assert rounds == [{"Net", "Other"}, {"Net", "Other"}]
    assert actions(report)["c"] == (Action.REWRITE, Answer.CONFIRMED)


def test_undecided_keeps_its_verdict_and_is_written(play):
    report, rounds = play(lambda cls, held: UNSURE)
    assert set(actions(report).values()) == {(Action.REWRITE, Answer.UNDECIDED)}
    assert rounds == [{"Net", "Other"}]


def test_strict_writes_nothing_that_is_undecided(play):
    report, _ = play(lambda cls, held: UNSURE if cls == "Net" else FINE, strict=True)
    assert actions(report) == {
        "a": (Action.SKIP, Answer.UNDECIDED),
        "b": (Action.SKIP, Answer.UNDECIDED),
        "c": (Action.REWRITE, Answer.CONFIRMED),
    }


# --- what else is read


def test_neighbours_are_the_projects_tests_and_examples(tmp_path):
    for name in ("pkg/m.py", "pkg/train.py", "tests/test_m.py", "examples/deep/e.py", "far/x.py"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    (tmp_path / "tests" / "broken.py").write_bytes(b"\xff\xfe")
    (tmp_path / "pyproject.toml").write_text("")
    settings = settings_of(tmp_path / "pkg" / "m.py")
    known = pipeline.find(settings).outcomes
    sources = [o.source for o in known if isinstance(o, Unchanged)]
    found = {s.path.relative_to(tmp_path).as_posix() for s in find_neighbours(settings, sources)}
    assert found == {"pkg/train.py", "tests/test_m.py", "examples/deep/e.py"}


def test_a_lone_file_has_no_neighbours_but_those_beside_it(tmp_path):
    for name in ("a/m.py", "a/n.py", "tests/test_m.py"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text("x = 1\n")
    settings = replace(settings_of(tmp_path / "a" / "m.py"), root=tmp_path)
    found = {s.path.name for s in find_neighbours(settings, ())}
    assert found == {"m.py", "n.py"}


def test_neighbours_are_bounded(tmp_path, monkeypatch):
    monkeypatch.setattr("bufferize.verify.neighbours.MOST_FILES", 3)
    for number in range(9):
        (tmp_path / f"n{number}.py").write_text("x = 1\n")
    assert len(find_neighbours(settings_of(tmp_path), ())) == 3


# --- the real proof


BASE = """
import torch
from torch import nn


class Base(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.table = torch.arange(self.count(width)).float()

    def count(self, width):
        raise NotImplementedError

    def forward(self, x):
        return x * self.table
"""
SUB = """
from base import Base


class Sub(Base):
    def count(self, width):
        return width * 2
"""
ROW = """
import torch
from torch import nn


class Row(nn.Module):
    def __init__(self, n=2):
        super().__init__()
        self.plain = [1]
        for i in range(n):
            setattr(self, f"p{i}", torch.ones(3) * i)

    def forward(self, x):
        return x + self.p0 + self.p1
"""
CELLS = [
    "import torch\nfrom torch import nn",
    "class Mask(nn.Module):\n    def __init__(self, n):\n        super().__init__()\n"
    "        self.mask = torch.ones(n)\n\n    def forward(self, x):\n        return x * self.mask",
]


@pytest.fixture(scope="module")
def proved(tmp_path_factory) -> Report:
    pytest.importorskip("torch")
    root = tmp_path_factory.mktemp("tree")
    for name, text in (("base", BASE), ("sub", SUB), ("row", ROW)):
        (root / f"{name}.py").write_text(text)
    (root / "tests").mkdir()
    (root / "tests" / "test_sub.py").write_text(
        "import torch\nfrom sub import Sub\n\n\ndef test_it():\n"
        "    sub = Sub(3)\n    sub(torch.randn(2, 6))\n"
    )
    cells = [
        {"cell_type": "code", "metadata": {}, "execution_count": None, "outputs": [], "source": s}
        for s in (*CELLS, "Mask(4)(torch.ones(2, 4))")
    ]
    book = {"cells": cells, "metadata": {}, "nbformat": 4, "nbformat_minor": 5}
    (root / "book.ipynb").write_text(json.dumps(book))
    (root / "pyproject.toml").write_text("")
    files = [root / name for name in ("base.py", "sub.py", "row.py", "book.ipynb")]
    settings = replace(load_settings({}, files), search_path=(), device="virtual")
    return pipeline.prove(pipeline.find(settings), settings)


def verdict_of(report: Report, cls: str) -> Verdict:
    verdict = next(f.verdict for f in report.findings if f.site.cls == cls)
    assert verdict is not None
    return verdict


@pytest.mark.slow
def test_an_abstract_base_is_proved_through_its_subclass(proved):
    verdict = verdict_of(proved, "Base")
    assert (verdict.answer, verdict.level) == (Answer.CONFIRMED, Level.RUNS_ON_DEVICE), verdict
    assert verdict.evidence[0].text.startswith("proved through its subclass Sub, for Base alone:")
    # the test lies beside the files that were named
    assert "test_sub.py:6" in verdict.cases and verdict.cases.endswith("as Sub")


@pytest.mark.slow
def test_names_of_a_loop_are_proved_together(proved):
    verdict = verdict_of(proved, "Row")
    assert verdict.answer is Answer.CONFIRMED, verdict.because
    moved = next(e.text for e in verdict.evidence if e.text.endswith("nothing else changed place"))
    assert moved.startswith("p0, p1 on virtual")


@pytest.mark.slow
def test_places_in_a_notebook_are_told_by_cell(proved):
    verdict = verdict_of(proved, "Mask")
    assert verdict.answer is Answer.CONFIRMED, verdict.because
    assert verdict.cases.endswith("book.ipynb cell 3:1")
    assert verdict.old_error.startswith("RuntimeError: Expected all tensors to be on the same")
    assert verdict.old_error.endswith(": `mask` stayed on the CPU (book.ipynb cell 2:7)")
