"""Holds every hazard file to its own words: its examples are judged as the docstring says."""

from __future__ import annotations

import ast
import importlib
import re
import textwrap
from pathlib import Path

import pytest

from bufferize.classes import Survey
from bufferize.hazards import registry
from bufferize.model import Hazard, SourceFile
from bufferize.project import Project

HEAD = "import torch\nfrom torch import nn\n\n"
# the decision room makes these, from all sites or targets at once
MADE_ELSEWHERE = {"sibling-site", "tuple-collision"}
RULES = registry()


def survey_of(files: dict[str, str]) -> Survey:
    sources = []
    for name, text in files.items():
        ast.parse(text)
        sources.append(SourceFile(Path("/nowhere") / name, name, text.encode(), text))
    return Survey.of(Project(sources))


def judged(
    hazard: str, text: str, name: str = "net.py", **others: str
) -> dict[tuple[str, str], Hazard]:
    """What the hazard says of each candidate, where it bites, by (class, attribute)."""
    files = {name: text} | {f"{stem}.py": source for stem, source in others.items()}
    survey = survey_of(files)
    found = {}
    for candidate in survey.candidates():
        answer = RULES[hazard].judge(candidate, survey.views[candidate.cls])
        if answer is not None:
            assert answer.id == hazard
            found[candidate.cls.qualname, candidate.attribute] = answer
    return found


def examples(hazard: str) -> dict[str, str]:
    module = importlib.import_module("bufferize.hazards." + hazard.replace("-", "_"))
    pattern = r"^(Bites|Harmless)\b[^\n]*:\n((?:\n|[ \t]+[^\n]*(?:\n|$))+)"
    matches = re.finditer(pattern, module.__doc__ or "", re.MULTILINE)
    return {m[1].lower(): textwrap.dedent(m[2]).strip("\n") + "\n" for m in matches}


def with_imports(source: str) -> str:
    return source if "import torch\nfrom torch import nn" in source else HEAD + source


@pytest.fixture(params=sorted(RULES))
def hazard(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def test_docstring_has_title_reason_and_both_examples(hazard: str) -> None:
    doc = RULES[hazard].doc
    title, blank, reason = doc.split("\n")[:3]
    assert title.endswith((".", "`...")) and not blank and reason
    assert set(examples(hazard)) == {"bites", "harmless"}
    for source in examples(hazard).values():
        assert any(isinstance(node, ast.ClassDef) for node in ast.parse(source).body)


def test_bites_as_it_says(hazard: str) -> None:
    found = judged(hazard, with_imports(examples(hazard)["bites"]))
    assert bool(found) != (hazard in MADE_ELSEWHERE)
    for answer in found.values():
        assert "\n" not in answer.text
        assert re.fullmatch(r"net\.py:\d+", answer.where) or not answer.where


def test_lets_the_harmless_one_pass(hazard: str) -> None:
    source = with_imports(examples(hazard)["harmless"])
    assert list(survey_of({"net.py": source}).candidates()), "the example has nothing to judge"
    assert judged(hazard, source) == {}
