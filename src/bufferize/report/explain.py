"""What was decided and why, in full. In: what was asked, and findings. Out: text or an entry.

It refuses to read files: the findings come ready, the rules' own words from their docstrings.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bufferize.model import SCHEMA_VERSION, Finding, Hazard, Text, Verdict
from bufferize.report.json import dump
from bufferize.report.tally import line_of, place, standing
from bufferize.report.text import becomes, hazard_text, name, one_line

REASONS: Mapping[str, str] = {
    "pragma": "A comment `# bufferize: persistent=true` (or false) on the line says so.",
    "policy": "`--persistent always` or `never`, or the configuration, says so.",
    "same-as-registered": (
        "The same attribute is registered elsewhere in the class's hierarchy or in a sibling "
        "branch: the flag given there is taken."
    ),
    "random": (
        "The value holds random draws: a new construction would not bring it back, so it is "
        "persistent."
    ),
    "written-from-outside": (
        "Code outside the class changes the value, as in `model.mask[...] = 2`: it is state, so "
        "it is persistent."
    ),
    "changed-in-place": (
        "The class changes the value in place after construction, as running statistics and "
        "counters do: it is state, so it is persistent."
    ),
    "reassigned": (
        "The class assigns the attribute again from its own value after construction: it is "
        "state, so it is persistent."
    ),
    "cache": (
        "The value is computed again from the inputs whenever it is needed: it is not persistent."
    ),
    "loaded": (
        "The value is read from a file or another library: a new construction may not find it "
        "again, so it is persistent."
    ),
    "handed-in": (
        "The value is a tensor given to the constructor: only the caller could bring it back, so "
        "it is persistent."
    ),
    "recomputable": (
        "The value is a pure function of constructor arguments and constants: every construction "
        "makes it again. It is not persistent, so that the state_dict, and with it every existing "
        "checkpoint, stays as it is."
    ),
}


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
        return Question(Kind.ATTRIBUTE, what, **match.groupdict())
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


def rule_text(what: str, doc: str) -> bytes:
    return f"{what}\n\n{inspect.cleandoc(doc)}\n".encode()


def rule_document(kind: Kind, what: str, doc: str) -> bytes:
    return dump(
        {
            "schema_version": SCHEMA_VERSION,
            "command": "explain",
            "kind": str(kind),
            "id": what,
            "text": inspect.cleandoc(doc),
        }
    )


def finding_text(finding: Finding) -> str:
    return "\n".join(finding_lines(finding)) + "\n"


def finding_lines(finding: Finding) -> Iterator[str]:
    yield f"{place(finding)} {name(finding)}"
    yield f"  module: {finding.site.module}"
    yield f"  decision: {finding.action} ({standing(finding)}), safety: {finding.safety}"
    if finding.persistent is not None:
        yield f"  becomes: {becomes(finding)}"
    for step in finding.chain:
        yield f"  known from: {one_line(step)}"
    for hazard in finding.hazards:
        yield from hazard_lines(hazard)
    if finding.looked_for:
        yield f"  looked for: {', '.join(finding.looked_for)}"
    if finding.verdict:
        yield from proof_lines(finding.verdict)


def hazard_lines(hazard: Hazard) -> Iterator[str]:
    yield f"  {'note' if hazard.safety == 'safe' else hazard.safety}: {hazard_text(hazard)}"
    if hazard.remedy:
        yield f"    to make it safe: {one_line(hazard.remedy)}"


def proof_lines(verdict: Verdict) -> Iterator[str]:
    yield f"  verdict: {verdict.answer}, {verdict.level}"
    for check in verdict.evidence:
        yield f"    {check.level}: {check.answer}: {one_line(check.text)}"
