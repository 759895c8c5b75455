"""Where every finding stands, and how many stand there. In: a `Report`. Out: counts and places.

It refuses to know any output format.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from bufferize.model import (
    Action,
    Answer,
    Failed,
    Finding,
    Report,
    Rewritten,
    Safety,
    Text,
    Unchanged,
    Verdict,
)


class Standing(Text):
    REWRITTEN = "rewritten"
    HELD_BACK = "held back"
    SUGGESTED = "suggested"
    LEFT_ALONE = "left alone"
    REFUTED = "refuted"
    # neither proved nor refuted, and --strict asked for a proof
    UNPROVED = "unproved"


def standing(finding: Finding) -> Standing:
    if finding.verdict and finding.verdict.answer is Answer.REFUTED:
        return Standing.REFUTED
    if finding.action is Action.REWRITE:
        return Standing.REWRITTEN
    if finding.verdict and finding.verdict.answer is Answer.UNDECIDED:
        return Standing.UNPROVED
    if finding.action is Action.SUGGEST:
        return Standing.SUGGESTED
    return Standing.HELD_BACK if finding.safety is Safety.UNSAFE else Standing.LEFT_ALONE


@dataclass(frozen=True, slots=True)
class Tally:
    """How many findings stand where, and what the proof said about how many classes."""

    files: int
    rewrites: int
    persistent: int
    rewritten_files: int
    held_back: int
    suggestions: int
    left_alone: int
    unproved: int
    refuted: int
    failed: int
    classes_confirmed: int
    classes_undecided: int
    classes_refuted: int


def count(report: Report) -> Tally:
    stands = [standing(finding) for finding in report.findings]
    rewrites = in_order(f for f in report.findings if standing(f) is Standing.REWRITTEN)
    answers = [verdict.answer for _, verdict in verdicts(report)]
    return Tally(
        files=len(report.outcomes),
        rewrites=len(rewrites),
        persistent=sum(finding.persistent is True for finding in rewrites),
        rewritten_files=len({finding.site.name for finding in rewrites}),
        held_back=stands.count(Standing.HELD_BACK),
        suggestions=stands.count(Standing.SUGGESTED),
        left_alone=stands.count(Standing.LEFT_ALONE),
        unproved=stands.count(Standing.UNPROVED),
        refuted=stands.count(Standing.REFUTED),
        failed=len(failures(report)),
        classes_confirmed=answers.count(Answer.CONFIRMED),
        classes_undecided=answers.count(Answer.UNDECIDED),
        classes_refuted=answers.count(Answer.REFUTED),
    )


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    return tuple(sorted(findings, key=lambda f: (f.site.name, f.site.span, f.site.attribute)))


def failures(report: Report) -> tuple[Failed, ...]:
    return tuple(o for o in report.outcomes if isinstance(o, Failed)) + report.failures


def warnings(report: Report) -> tuple[Failed, ...]:
    readable = (o for o in report.outcomes if isinstance(o, Unchanged | Rewritten))
    return tuple(warning for outcome in readable for warning in outcome.warnings)


def verdicts(report: Report) -> tuple[tuple[tuple[Finding, ...], Verdict], ...]:
    """Every class that was put to the proof: its findings and what was said."""
    classes: dict[tuple[str, str], list[Finding]] = {}
    for finding in in_order(report.findings):
        if finding.verdict:
            classes.setdefault((finding.site.name, finding.site.cls), []).append(finding)
    # the findings of one class share its verdict; the worst one speaks if they do not
    return tuple((tuple(group), worst(group)) for group in classes.values())


def worst(findings: Iterable[Finding]) -> Verdict:
    order = list(Answer)
    said = [finding.verdict for finding in findings if finding.verdict]
    return min(said, key=lambda verdict: order.index(verdict.answer))


def line_of(finding: Finding) -> int:
    """The line as users count it: from the cell's first in a notebook."""
    inside = finding.site.line_in_cell
    return finding.site.span.line if inside is None else inside


def place(finding: Finding) -> str:
    """`path:line:col`, or `path:cell 3:line:col` in a notebook; columns from 1."""
    column = finding.site.span.column + 1
    return join_place(finding.site.name, finding.site.cell, line_of(finding), column)


def place_of(failed: Failed) -> str:
    column = None if failed.column is None else failed.column + 1
    return join_place(failed.name, failed.cell, failed.line, column)


def join_place(name: str, cell: int | None, line: int | None, column: int | None) -> str:
    parts = [name]
    if cell is not None:
        parts.append(f"cell {cell}")
    if line is not None:
        parts.append(str(line))
        if column is not None:
            parts.append(str(column))
    return ":".join(parts)
