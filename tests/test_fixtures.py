"""Holds the tool to tests/fixtures: one folder is one case, and adding a case is adding a folder.

A case folder has `before.py`, `before.ipynb` or a tree `before/`, the same as `after` only where
something is rewritten, and a `case.toml`:

    options = ["--unsafe"]          # optional
    [[expect]]                      # one for each finding, in any order
    cls = "Net"
    attribute = "mask"
    action = "rewrite"              # or "skip", "suggest"
    persistent = true               # rewrites only, as `reason`
    reason = "random"
    hazards = []                    # the exact set of ids, notes included
    safety = "safe"
    verdict = "undecided"           # only where the proof cannot say "confirmed"

`pytest --update-fixtures` writes what the tool does now and fails, so that a person reads the diff.
"""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest
from fixture_cases import (
    NAMES,
    ROOT,
    SUITES,
    FixtureCase,
    decode,
    find_cases,
    lay_out,
    make_settings,
    update_after,
    update_toml,
)

from bufferize import pipeline
from bufferize.model import Action, Expected, Failed, FileChange, Finding, Report, Rewritten

CASES = find_cases()
REWRITING = [case for case in CASES if case.rewrites]


def apply_to(report: Report, folder: Path, files: dict[str, bytes]) -> dict[str, bytes]:
    """What `apply --no-verify` would leave in the folder."""
    result = dict(files)
    for outcome in report.outcomes:
        assert not isinstance(outcome, Failed), outcome
        if isinstance(outcome, Rewritten):
            name = outcome.source.path.resolve().relative_to(folder.resolve()).as_posix()
            result[name] = outcome.data
    return result


@dataclass(frozen=True)
class Run:
    """One case, found once and looked at by several tests."""

    case: FixtureCase
    folder: Path
    report: Report

    @cached_property
    def outputs(self) -> dict[str, bytes]:
        return apply_to(self.report, self.folder, self.case.inputs)


_runs: dict[str, Run] = {}


@pytest.fixture(params=CASES, ids=lambda case: case.id)
def case(request: pytest.FixtureRequest) -> FixtureCase:
    return request.param


@pytest.fixture
def run(case: FixtureCase, tmp_path_factory: pytest.TempPathFactory) -> Run:
    return run_case(case, tmp_path_factory)


def run_case(case: FixtureCase, factory: pytest.TempPathFactory) -> Run:
    if case.id not in _runs:
        folder = lay_out(case.inputs, factory.mktemp("case"))
        settings = make_settings(case.toml.get("options", ()), folder)
        _runs[case.id] = Run(case, folder, pipeline.find(settings))
    return _runs[case.id]


def describe(finding: Finding) -> dict[str, Any]:
    """A finding as case.toml states it."""
    entry: dict[str, Any] = {
        "cls": finding.site.cls,
        "attribute": finding.site.attribute,
        "action": str(finding.action),
    }
    if finding.action is Action.REWRITE:
        entry["persistent"] = finding.persistent
        entry["reason"] = finding.reason.id if finding.reason else ""
    entry["hazards"] = sorted({hazard.id for hazard in finding.hazards})
    entry["safety"] = str(finding.safety)
    return entry


def in_order(entries: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    bare = [{k: v for k, v in entry.items() if k != "verdict"} for entry in entries]
    bare = [entry | {"hazards": sorted(entry["hazards"])} for entry in bare]
    return sorted(bare, key=lambda entry: json.dumps(entry, sort_keys=True))


def test_output_is_exactly_after(run: Run, update_fixtures: bool) -> None:
    if update_fixtures and run.outputs != run.case.outputs:
        update_after(run.case, run.outputs)
        pytest.fail("after was rewritten: read the diff")
    for name in sorted(run.case.outputs):
        assert run.outputs[name].decode("utf-8", "replace") == run.case.outputs[name].decode(
            "utf-8", "replace"
        ), name
    assert run.outputs == run.case.outputs


def test_findings_are_as_stated(run: Run, update_fixtures: bool) -> None:
    found = [describe(finding) for finding in run.report.findings]
    stated = run.case.toml["expect"]
    if update_fixtures and in_order(found) != in_order(stated):
        update_toml(run.case, found)
        pytest.fail("case.toml was rewritten: read the diff")
    assert in_order(found) == in_order(stated)


def test_output_parses_and_a_second_run_changes_nothing(run: Run, tmp_path: Path) -> None:
    for outcome in run.report.outcomes:
        if isinstance(outcome, Rewritten):
            ast.parse(outcome.text)
    lay_out(run.outputs, tmp_path)
    again = pipeline.find(make_settings(run.case.toml.get("options", ()), tmp_path))
    assert apply_to(again, tmp_path, run.outputs) == run.outputs


def test_case_folder_is_whole(case: FixtureCase) -> None:
    assert sum((case.folder / name).exists() for name in NAMES) == 1
    allowed = {"case.toml", case.before.name}
    if case.rewrites:
        allowed.add(case.after.name)
    present = {path.name for path in case.folder.iterdir() if path.name != "__pycache__"}
    assert present == allowed
    if case.rewrites:
        assert case.outputs != case.inputs
        assert set(case.outputs) == set(case.inputs)
    for entry in case.toml["expect"]:
        assert entry["action"] in {str(action) for action in Action}
        assert ("persistent" in entry) == ("reason" in entry) == (entry["action"] == "rewrite")


@pytest.mark.parametrize("suite", SUITES)
def test_no_stray_folder(suite: str) -> None:
    """A folder is a case, lies in a case, or holds nothing but folders."""
    known = {case.folder for case in CASES}
    for folder in walk_folders(ROOT / suite, known):
        files = [path.name for path in folder.iterdir() if path.is_file()]
        assert not files, f"{folder}: {files} belong to no case (case.toml is missing)"
        assert any(folder.iterdir()), f"{folder} is empty"


def walk_folders(folder: Path, stop: set[Path]) -> Iterator[Path]:
    if folder in stop or folder.name == "__pycache__":
        return
    yield folder
    for child in sorted(path for path in folder.iterdir() if path.is_dir()):
        yield from walk_folders(child, stop)


def test_as_many_cases_are_left_alone_as_found() -> None:
    found = [case for case in CASES if case.id.startswith("find/")]
    assert sum(not case.rewrites for case in found) >= sum(case.rewrites for case in found)


# --------------------------------------------------------------------------- hazards


def hazard_ids() -> list[str]:
    from bufferize import hazards

    return sorted(hazards.registry())


@pytest.mark.parametrize("hazard", hazard_ids())
def test_hazard_has_a_fixture_on_both_sides(hazard: str) -> None:
    cases = [case for case in CASES if case.id.startswith(f"hazards/{hazard}/")]
    sides = {any(hazard in entry["hazards"] for entry in case.toml["expect"]) for case in cases}
    assert sides == {True, False}, f"hazards/{hazard}/ needs one that bites and one that does not"


@pytest.mark.parametrize("hazard", hazard_ids())
def test_hazard_docstring_has_both_examples(hazard: str) -> None:
    module = importlib.import_module("bufferize.hazards." + hazard.replace("-", "_"))
    examples = read_examples(module.__doc__ or "")
    assert set(examples) == {"bites", "harmless"}
    for source in examples.values():
        assert ast.parse(source).body


def read_examples(doc: str) -> dict[str, str]:
    """The indented blocks that follow the lines `Bites:` and `Harmless:`."""
    found: dict[str, str] = {}
    pattern = r"^[ \t]*(bites|harmless)\b[^\n]*:[ \t]*\n((?:[ \t]*\n|[ \t]+[^\n]*(?:\n|$))+)"
    for match in re.finditer(pattern, doc, re.IGNORECASE | re.MULTILINE):
        found[match[1].lower()] = textwrap.dedent(match[2]).strip("\n")
    return found


def test_every_hazard_folder_names_a_hazard() -> None:
    folders = {path.name for path in (ROOT / "hazards").iterdir() if path.is_dir()}
    assert folders - {"__pycache__"} == set(hazard_ids())


# --------------------------------------------------------------------------- the proof


@pytest.mark.slow
def test_every_rewrite_is_proved(tmp_path: Path) -> None:
    """All rewriting cases go through one call: before against after, as written by hand."""
    pytest.importorskip("torch")
    from bufferize.verify import verify_changes

    planned = [(case, change) for case in REWRITING for change in plan_changes(case, tmp_path)]
    changes = [change for _, change in planned]
    modules = [change.module for change in changes]
    assert len(modules) == len(set(modules)), "two cases use one module name"
    settings = replace(make_settings((), tmp_path), jobs=os.cpu_count() or 1)
    result = verify_changes(changes, settings)
    assert not result.failures
    wrong = []
    for case, change in planned:
        for expected in change.expected:
            answer = stated_verdict(case, expected)
            verdict = result.verdicts.get((change.name, expected.cls))
            if verdict is None or str(verdict.answer) != answer:
                got = verdict and f"{verdict.answer} at {verdict.level}: {verdict.because}"
                wrong.append(f"{case.id} {expected.cls}: wanted {answer}, got {got}")
    assert not wrong, "\n".join(wrong)


def stated_verdict(case: FixtureCase, expected: Expected) -> str:
    for entry in case.toml["expect"]:
        if (entry["cls"], entry["attribute"]) == (expected.cls, expected.attribute):
            return entry.get("verdict", "confirmed")
    return "confirmed"


def plan_changes(case: FixtureCase, root: Path) -> list[FileChange]:
    """The changed modules of a case, laid out below `root`; a tree gets a root of its own."""
    home = root / case.id.replace("/", "_") if case.before.is_dir() else root
    lay_out(case.inputs, home)
    changes = []
    for name in sorted(n for n, data in case.inputs.items() if case.outputs[n] != data):
        path = home / name
        if path.suffix != ".py":
            continue
        before = decode(case.inputs[name])
        changes.append(
            FileChange(
                path=path,
                name=path.relative_to(root).as_posix(),
                module=".".join(Path(name).with_suffix("").parts),
                root=home,
                before=before,
                after=decode(case.outputs[name]),
                expected=tuple(expected_of(case, before)),
            )
        )
    return changes


def expected_of(case: FixtureCase, text: str) -> Iterator[Expected]:
    """What case.toml promises of the classes that stand in `text`."""
    for entry in case.toml["expect"]:
        name = entry["cls"].rpartition(".")[2]
        if entry["action"] == "rewrite" and re.search(rf"^\s*class {name}\b", text, re.MULTILINE):
            yield Expected(entry["cls"], entry["attribute"], entry["persistent"])
