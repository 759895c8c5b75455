"""The report as people read it. In: a `Report` and a `View`. Out: document and commentary.

The document is what the command is for: diffs, findings or verdicts. The commentary gives reasons
and counts. It refuses to know streams.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

from bufferize.model import (
    Action,
    Answer,
    Evidence,
    Finding,
    Hazard,
    Report,
    Rewritten,
    Verdict,
)
from bufferize.report import Rendered, View
from bufferize.report.diff import cell_patch, patch
from bufferize.report.tally import (
    Standing,
    count,
    failures,
    in_order,
    line_of,
    place,
    place_of,
    standing,
    verdicts,
    warnings,
)

Paint = Callable[[str, str], str]
_MISSING = re.compile(r"No module named '([^'.]+)")

HEADINGS = (
    (Standing.REFUTED, "refuted, not rewritten"),
    (Standing.UNPROVED, "not proved, and --strict asks for a proof"),
    (Standing.HELD_BACK, "held back; --unsafe rewrites them"),
    (Standing.SUGGESTED, "for you to decide"),
    (Standing.LEFT_ALONE, "left alone"),
)


def render(report: Report, view: View) -> Rendered:
    out = b"".join(document(report, view))
    return Rendered(out, "".join(line + "\n" for line in commentary(report, view)))


def document(report: Report, view: View) -> Iterator[bytes]:
    if report.command == "diff":
        yield from patches(report, view)
        return
    lines = {"check": check_lines, "apply": apply_lines}.get(report.command, verdict_lines)
    for line in lines(report, view, view.paint_out):
        yield line.encode("utf-8", "surrogateescape") + b"\n"


def commentary(report: Report, view: View) -> Iterator[str]:
    if not view.quiet:
        if report.command == "diff":
            yield from apply_lines(report, view, view.paint_err)
        if report.command in ("diff", "apply"):
            yield from refusals(report, view)
        yield from (f"{place_of(w)}: warning: {one_line(w.message)}" for w in warnings(report))
        yield from missing_packages(report)
        yield from report.notes
        if report.command == "diff" and view.terminal and any(map(is_notebook, report.outcomes)):
            yield "notebooks are shown by cell; written to a file, the diff is one git apply takes"
    yield from summary_lines(report, view)


def summary(report: Report, view: View) -> str:
    """What stands on standard error where the document is for a program."""
    return "".join(line + "\n" for line in summary_lines(report, view))


def summary_lines(report: Report, view: View) -> Iterator[str]:
    for failed in failures(report):
        yield f"{place_of(failed)}: {view.paint_err('error', 'bad')}: {one_line(failed.message)}"
    if not view.quiet:
        yield total(report)


def is_notebook(outcome: object) -> bool:
    return isinstance(outcome, Rewritten) and outcome.source.is_notebook


def patches(report: Report, view: View) -> Iterator[bytes]:
    changed = [outcome for outcome in report.outcomes if isinstance(outcome, Rewritten)]
    for outcome in sorted(changed, key=lambda outcome: outcome.source.name):
        by_cell = view.terminal and outcome.source.is_notebook
        yield colored(cell_patch(outcome) if by_cell else patch(outcome), view.paint_out)


def colored(diff: bytes, paint: Paint) -> bytes:
    # latin-1 gives every byte back, whatever the file's encoding is
    lines = diff.decode("latin-1").split("\n")
    return "\n".join(paint_diff_line(line, paint) for line in lines).encode("latin-1")


def paint_diff_line(line: str, paint: Paint) -> str:
    heads = ("diff --git ", "--- ", "+++ ")
    if line.startswith(heads):
        return paint(line, "head")
    style = {"+": "added", "-": "removed", "@": "hunk"}.get(line[:1])
    return paint(line, style) if style else line


def check_lines(report: Report, view: View, paint: Paint) -> Iterator[str]:
    for finding in in_order(report.findings):
        yield f"{paint(place(finding), 'place')}: {name(finding)} {what_to_do(finding)}"
        yield from details(finding, view)


def what_to_do(finding: Finding) -> str:
    if finding.action is Action.REWRITE:
        return f"is an unregistered tensor: make it a {becomes(finding)}"
    why = "; ".join(f"{one_line(h.text)} [{h.id}]" for h in against(finding))
    return f"is an unregistered tensor, {standing(finding)}" + (f": {why}" if why else "")


def apply_lines(report: Report, view: View, paint: Paint) -> Iterator[str]:
    """The rewrites with their reasons, then what the proof said."""
    if not view.quiet:
        said: set[str] = set()
        for finding in in_order(report.findings):
            if standing(finding) is Standing.REWRITTEN:
                new = becomes(finding, said)
                yield f"{paint(place(finding), 'place')} {name(finding)} -> {new}"
                yield from notes(finding)
                yield from details(finding, view)
    proof = list(verdict_lines(report, view, paint))
    if proof and not view.quiet:
        yield "proof:"
    yield from proof


def missing_packages(report: Report) -> Iterator[str]:
    """One line for all classes that could not be imported for want of a package."""
    found = [_MISSING.search(verdict.because) for _, verdict in verdicts(report)]
    names = sorted({match[1] for match in found if match})
    if names:
        yield (
            f"not installed there: {', '.join(names)}; install what your code imports, or name the "
            "interpreter that has it with --python"
        )


def name(finding: Finding) -> str:
    return f"{finding.site.cls}.{finding.site.attribute}"


def becomes(finding: Finding, said: set[str] | None = None) -> str:
    """What it becomes and why; a reason that was `said` before is named, not repeated."""
    flag = f"buffer, persistent={finding.persistent}"
    reason = finding.reason
    if reason is None:
        return flag
    text = one_line(reason.text)
    if said is not None and text in said:
        return f"{flag} [{reason.id}]"
    if said is not None:
        said.add(text)
    return f"{flag}: {text} [{reason.id}]"


def against(finding: Finding) -> list[Hazard]:
    """The hazards that hold it back; where there are none, all of them."""
    hazards = [hazard for hazard in finding.hazards if hazard.safety != "safe"]
    return hazards or list(finding.hazards)


def notes(finding: Finding) -> Iterator[str]:
    for hazard in finding.hazards:
        yield f"    note: {one_line(hazard.text)} [{hazard.id}]"


def details(finding: Finding, view: View) -> Iterator[str]:
    if view.verbose and finding.chain:
        yield "    known from: " + " <- ".join(map(one_line, finding.chain))


def refusals(report: Report, view: View) -> Iterator[str]:
    """Everything that is not rewritten, by standing and then by hazard."""
    for kind, heading in HEADINGS:
        group = [f for f in in_order(report.findings) if standing(f) is kind]
        if not group:
            continue
        yield view.paint_err(f"{heading} ({len(group)}):", "unsure")
        for finding in sorted(group, key=first_hazard):
            yield from refusal(finding, view)


def first_hazard(finding: Finding) -> str:
    return against(finding)[0].id if finding.hazards else ""


def refusal(finding: Finding, view: View) -> Iterator[str]:
    head = f"  {view.paint_err(place(finding), 'place')} {name(finding)}"
    verdict = finding.verdict
    if standing(finding) in (Standing.REFUTED, Standing.UNPROVED) and verdict:
        yield f"{head}: {one_line(verdict.because)}"
        return
    reasons = [hazard_text(hazard, finding) for hazard in against(finding)]
    yield f"{head}: {'; '.join(reasons)}" if reasons else head
    remedies = [one_line(hazard.remedy) for hazard in against(finding) if hazard.remedy]
    if remedies:
        yield f"    to make it safe: {'; '.join(dict.fromkeys(remedies))}"
    yield from details(finding, view)


def hazard_text(hazard: Hazard, finding: Finding) -> str:
    text = one_line(hazard.text)
    # the finding's own line, or a place that the words name, need not be looked up again
    told = hazard.where == f"{finding.site.name}:{line_of(finding)}" or hazard.where in text
    return f"{text} [{hazard.id}]" if told else f"{text} [{hazard.id}, see {hazard.where}]"


STYLE_OF = {Answer.CONFIRMED: "good", Answer.UNDECIDED: "unsure", Answer.REFUTED: "bad"}


def verdict_lines(report: Report, view: View, paint: Paint) -> Iterator[str]:
    for findings, verdict in verdicts(report):
        if view.quiet and verdict.answer is not Answer.REFUTED:
            continue
        site = findings[0].site
        attributes = ", ".join(dict.fromkeys(finding.site.attribute for finding in findings))
        answer = paint(str(verdict.answer), STYLE_OF[verdict.answer])
        yield f"{paint(site.name, 'place')} {site.cls} ({attributes}): {answer}, {reached(verdict)}"
        yield from headline(verdict)
        yield from support(verdict, view)


def reached(verdict: Verdict) -> str:
    device = f" ({verdict.device})" if verdict.device else ""
    if verdict.answer is Answer.CONFIRMED:
        return f"{verdict.level}{device}"
    return f"reached: {verdict.level}{device}"


def headline(verdict: Verdict) -> Iterator[str]:
    if verdict.old_error:
        yield f"    before, on {verdict.device or 'the device'}: {one_line(verdict.old_error)}"
        yield f"    after,  on {verdict.device or 'the device'}: works"


def support(verdict: Verdict, view: View) -> Iterator[str]:
    if verdict.because and verdict.answer is not Answer.CONFIRMED:
        yield f"    because {one_line(verdict.because)}"
    if verdict.cases:
        yield f"    tried: {one_line(verdict.cases)}"
    if verdict.suggestion:
        yield f"    to decide it, add: {one_line(verdict.suggestion)}"
    for check in verdict.evidence:
        if view.verbose or (check.answer is Answer.REFUTED and check.text != verdict.because):
            yield f"    {evidence_line(check)}"


def evidence_line(check: Evidence) -> str:
    text = one_line(check.text)
    about = "" if text.startswith((check.attribute, f"`{check.attribute}")) else check.attribute
    return f"{check.level}: {check.answer}: {about + ': ' if about else ''}{text}"


def total(report: Report) -> str:
    tally = count(report)
    parts = []
    if report.command == "verify":
        classes = tally.classes_confirmed + tally.classes_undecided + tally.classes_refuted
        if not classes and not tally.failed:
            return "nothing to prove"
        parts.append(plural(classes, "class", "classes") + " put to the proof")
    else:
        parts.append(rewrites_total(report))
        parts += counted((tally.refuted, "refuted"), (tally.unproved, "not proved (--strict)"))
        parts += counted((tally.held_back, "held back (--unsafe)"))
        parts += counted((tally.suggestions, "for you to decide"), (tally.left_alone, "left alone"))
    text = ", ".join(parts)
    if report.verified:
        text += "; " + proof_total(report)
    if tally.failed:
        text += f"; {plural(tally.failed, 'failure')}"
    return text


def rewrites_total(report: Report) -> str:
    tally = count(report)
    if not report.outcomes and not tally.failed:
        return "no Python file or notebook found"
    if not report.findings:
        return f"nothing to rewrite in {plural(tally.files, 'file')}"
    text = plural(tally.rewrites, "rewrite")
    if tally.persistent:
        text += f" ({tally.persistent} persistent)"
    if tally.rewrites:
        text += f" in {plural(tally.rewritten_files, 'file')}"
    return text + (" written" if report.written and tally.rewrites else "")


def proof_total(report: Report) -> str:
    tally = count(report)
    answers = counted(
        (tally.classes_confirmed, "confirmed"),
        (tally.classes_undecided, "undecided"),
        (tally.classes_refuted, "refuted"),
    )
    return (", ".join(answers) or "nothing to prove") + (
        f" ({report.proof})" if report.proof else ""
    )


def counted(*parts: tuple[int, str]) -> list[str]:
    return [f"{number} {word}" for number, word in parts if number]


def plural(number: int, word: str, words: str = "") -> str:
    return f"{number} {word if number == 1 else words or word + 's'}"


def one_line(text: str) -> str:
    return " ".join(text.split())
