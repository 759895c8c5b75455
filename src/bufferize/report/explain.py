"""What was decided and why, in full. In: what was asked, and findings. Out: text or an entry.

It refuses to read files: the findings come ready, the rules' own words from their docstrings.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Protocol

from bufferize.errors import UsageError
from bufferize.model import (
    SCHEMA_VERSION,
    Action,
    Failed,
    Finding,
    Hazard,
    Report,
    Text,
    Unchanged,
    Verdict,
)
from bufferize.persistence import REASONS
from bufferize.report.json import dump
from bufferize.report.tally import in_order, line_of, place, standing
from bufferize.report.text import becomes, evidence_line, hazard_text, name, one_line


class Kind(Text):
    HAZARD = "hazard"
    REASON = "reason"
    LINE = "line"
    ATTRIBUTE = "attribute"


@dataclass(frozen=True, slots=True)
class Question:
    """What `explain` was asked about."""

    kind: Kind
    what: str
    # for LINE: the file, perhaps a cell, and the line
    path: str = ""
    cell: int | None = None
    line: int = 0
    # for ATTRIBUTE
    module: str = ""
    cls: str = ""
    attribute: str = ""


LINE = re.compile(r"(?P<path>.+\.(?:py|ipynb)):(?:cell (?P<cell>\d+):)?(?P<line>\d+)(?::\d+)?")
ATTRIBUTE = re.compile(r"(?P<module>[\w.\-]+):(?P<cls>[\w.<>]+)\.(?P<attribute>\w+)")


def read_question(what: str) -> Question | None:
    """`file.py:12`, `a.ipynb:cell 3:12` or `pkg.mod:Class.attr`; None for anything else."""
    if match := LINE.fullmatch(what):
        cell = int(match["cell"]) if match["cell"] else None
        return Question(Kind.LINE, what, path=match["path"], cell=cell, line=int(match["line"]))
    if match := ATTRIBUTE.fullmatch(what):
        module, cls, attribute = match.groups()
        return Question(Kind.ATTRIBUTE, what, module=module, cls=cls, attribute=attribute)
    return None


def answers(question: Question, finding: Finding) -> bool:
    """Whether the finding is what was asked for."""
    site = finding.site
    if question.kind is Kind.LINE:
        first = line_of(finding)
        last = first + site.span.end_line - site.span.line
        if question.cell is not None and question.cell != site.cell:
            return False
        return first <= question.line <= last
    same_module = f".{site.module}".endswith(f".{question.module}")
    return same_module and (site.cls, site.attribute) == (question.cls, question.attribute)


class Rule(Protocol):
    """A hazard, as its registry holds it."""

    @property
    def doc(self) -> str: ...


def explain_rule(what: str, hazards: Mapping[str, Rule], form: str) -> bytes:
    """The words of a hazard or of a persistence reason, as text or as a JSON document."""
    if what in hazards:
        kind, doc = Kind.HAZARD, inspect.cleandoc(hazards[what].doc)
    elif what in REASONS:
        kind, doc = Kind.REASON, REASONS[what]
    else:
        near = get_close_matches(what, [*hazards, *REASONS], 1)
        hint = f"did you mean {near[0]}?" if near else "ask for FILE.py:LINE or pkg.mod:Class.attr"
        raise UsageError(f"{what}: neither a hazard nor a persistence reason; {hint}")
    if form == "text":
        return f"{what} ({kind})\n\n{doc}\n".encode()
    entry = {"schema_version": SCHEMA_VERSION, "command": "explain", "kind": str(kind)}
    return dump({**entry, "id": what, "text": doc})


def pick(question: Question, report: Report) -> Report:
    """The report with those findings alone that were asked for."""
    outcomes = []
    for outcome in report.outcomes:
        if not isinstance(outcome, Failed):
            found = tuple(f for f in outcome.findings if answers(question, f))
            outcome = Unchanged(outcome.source, found)
        outcomes.append(outcome)
    return replace(report, outcomes=tuple(outcomes))


def explain_findings(question: Question, report: Report) -> bytes:
    """What was asked for, in full; if nothing was found there, what that means."""
    picked = in_order(pick(question, report).findings)
    lines = [line for finding in picked for line in finding_lines(finding)]
    if not picked:
        lines.append(f"{question.what}: no tensor was found that a module should register")
        near = [f for f in in_order(report.findings) if is_near(question, f)]
        lines += [f"  nearby: {place(finding)} {name(finding)}" for finding in near]
    return ("\n".join(lines) + "\n").encode("utf-8", "surrogateescape")


def is_near(question: Question, finding: Finding) -> bool:
    return question.kind is Kind.LINE or question.cls == finding.site.cls


def finding_lines(finding: Finding) -> Iterator[str]:
    yield f"{place(finding)} {name(finding)}"
    yield f"  module: {finding.site.module}"
    yield f"  decision: {finding.action} ({standing(finding)}), safety: {finding.safety}"
    if finding.persistent is not None:
        tense = "becomes" if finding.action is Action.REWRITE else "would become"
        yield f"  {tense}: {becomes(finding)}"
    for step in finding.chain:
        yield f"  known from: {one_line(step)}"
    for hazard in finding.hazards:
        yield from hazard_lines(hazard, finding)
    if finding.looked_for:
        yield f"  looked for: {', '.join(finding.looked_for)}"
    if finding.verdict:
        yield from proof_lines(finding.verdict)


def hazard_lines(hazard: Hazard, finding: Finding) -> Iterator[str]:
    kind = "note" if hazard.safety == "safe" else hazard.safety
    yield f"  {kind}: {hazard_text(hazard, finding)}"
    if hazard.remedy:
        yield f"    to make it safe: {one_line(hazard.remedy)}"


def proof_lines(verdict: Verdict) -> Iterator[str]:
    yield f"  verdict: {verdict.answer}, {verdict.level}"
    for check in verdict.evidence:
        yield f"    {evidence_line(check)}"
