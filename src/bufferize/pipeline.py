"""The corridor: calls the rooms in order. It holds no opinion of its own.

find: paths -> what would be rewritten. prove: verdicts for it, refuted rewrites taken back.
write: the new files on disk. verify: verdicts for a change somebody else made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bufferize import discover
from bufferize.blame import blame
from bufferize.errors import UnreadableFile
from bufferize.interpreters import search_path
from bufferize.model import (
    Action,
    Answer,
    Edit,
    Expected,
    Failed,
    FileChange,
    FileOutcome,
    Finding,
    Report,
    Rewritten,
    Safety,
    Site,
    SourceFile,
    Span,
    Unchanged,
    Verdict,
)
from bufferize.project import Project
from bufferize.project.symbols import module_of
from bufferize.settings import Settings

Progress = Callable[[int, int], None]
# rounds of proof: a class whose refuted attributes were taken back is proved again
_ROUNDS = 3


def find(settings: Settings) -> Report:
    """What would be rewritten, and what not and why. Reads files; runs nothing."""
    sources, failed = _sources(settings)
    stumbled: list[Failed] = []
    while True:
        try:
            outcomes = _judge(sources, settings)
        except Exception as error:
            # whatever the rooms cannot handle costs one file; the others are judged without it
            culprit = blame(error, sources)
            if culprit is None:
                raise
            source, failure = culprit
            stumbled.append(failure)
            sources = tuple(each for each in sources if each is not source)
        else:
            return Report("find", (*outcomes, *stumbled), failures=failed)


def _judge(sources: Sequence[SourceFile], settings: Settings) -> tuple[FileOutcome, ...]:
    """One outcome a file."""
    from bufferize.classes import Survey
    from bufferize.decisions import decide

    project = Project(sources, _search_path(settings, sources))
    findings, pragmas = decide(Survey.of(project), settings)
    outcomes: list[FileOutcome] = []
    for source in sources:
        module = project.module_at(source.path)
        if module is None:
            error = project.failures[source.path]
            outcomes.append(Failed(source.name, str(error), error.line, error.column, error.cell))
            continue
        warnings = (*source.warnings, *pragmas[module].unused())
        outcomes.append(_render(source, findings.get(module, ()), warnings, settings))
    return tuple(outcomes)


def _sources(settings: Settings) -> tuple[tuple[SourceFile, ...], tuple[Failed, ...]]:
    if settings.stdin is not None:
        path = settings.paths[0]
        try:
            return (discover.stdin_source(settings.stdin, path.as_posix()),), ()
        except UnreadableFile as error:
            place = (error.line, error.column, error.cell)
            return (), (Failed(path.as_posix(), str(error), *place),)
    sources, failed = discover.find_sources(settings)
    if settings.changed_only:
        from bufferize.revisions import changed_files

        changed = changed_files(settings)
        sources = tuple(s for s in sources if s.path.resolve() in changed)
    return sources, failed


def _search_path(settings: Settings, sources: Iterable[SourceFile]) -> tuple[Path, ...]:
    """The project's own folders first, then the interpreter's packages."""
    installed = settings.search_path
    if installed is None:
        installed = search_path(settings.python)
    roots = dict.fromkeys(module_of(source.path)[1] for source in sources)
    own = [settings.root, settings.root / "src", *roots]
    return tuple(dict.fromkeys([*own, *installed]))


def _render(
    source: SourceFile,
    findings: Sequence[Finding],
    warnings: tuple[Failed, ...],
    settings: Settings,
) -> FileOutcome:
    """The file with the edits of all its rewrites."""
    edits: dict[Span, Edit] = {}
    for finding in findings:
        if finding.action is Action.REWRITE:
            edits |= {edit.span: edit for edit in finding.edits}
    if not edits:
        return Unchanged(source, tuple(findings), warnings)
    from bufferize.rewrite import apply_edits

    ordered = [edits[span] for span in sorted(edits)]
    data, text = apply_edits(source, ordered, settings.line_length or 88)
    return Rewritten(source, data, text, tuple(findings), warnings)


# -- the proof

Keys = frozenset[tuple[str, str]]


def prove(report: Report, settings: Settings, progress: Progress | None = None) -> Report:
    """Verdicts for every rewrite; what is refuted is taken back, and the rest proved again."""
    from bufferize.verify import find_neighbours, verify_changes

    known = tuple(o.source for o in report.outcomes if not isinstance(o, Failed))
    sources: tuple[SourceFile, ...] = ()
    only: Keys | None = None
    for turn in range(_ROUNDS):
        changes = tuple(_change_of(o) for o in report.outcomes if isinstance(o, Rewritten))
        if not changes:
            break
        sources = sources or (*known, *find_neighbours(settings, known))
        result = verify_changes(changes, settings, progress, sources, only)
        outcomes, again = _with_verdicts(
            report.outcomes, result.verdicts, settings, is_last=turn == _ROUNDS - 1
        )
        failures = (*report.failures, *result.failures)
        report = replace(report, outcomes=outcomes, failures=failures, proof=result.proof)
        if not again:
            break
        only = again
    return report


def _change_of(outcome: Rewritten) -> FileChange:
    from bufferize.notebooks import read_cells

    source = outcome.source
    module, root = module_of(source.path)
    expected = tuple(
        Expected(f.site.cls, f.site.attribute, bool(f.persistent), f.site.span.line)
        for f in outcome.findings
        if f.action is Action.REWRITE
    )
    return FileChange(
        path=source.path,
        name=source.name,
        module=module,
        root=root,
        before=source.text,
        after=outcome.text,
        expected=expected,
        is_notebook=source.is_notebook,
        before_cells=source.cells or (),
        after_cells=read_cells(outcome.data, source.name)[1] if source.is_notebook else (),
    )


def _with_verdicts(
    outcomes: Sequence[FileOutcome],
    verdicts: Mapping[tuple[str, str], Verdict],
    settings: Settings,
    is_last: bool,
) -> tuple[tuple[FileOutcome, ...], Keys]:
    """Outcomes with verdicts on their findings; the classes that must be proved once more."""
    again: set[tuple[str, str]] = set()
    changed: list[FileOutcome] = []
    for outcome in outcomes:
        if not isinstance(outcome, Rewritten):
            changed.append(outcome)
            continue
        guilty = _find_guilty(outcome.findings, verdicts, is_last)
        findings = []
        for finding in outcome.findings:
            key = (finding.site.name, finding.site.cls)
            verdict = verdicts.get(key)
            if finding.action is Action.REWRITE and verdict is not None:
                finding = _judged(finding, verdict, finding in guilty, settings)
                if finding.action is Action.REWRITE and _is_blamed(verdict):
                    again.add(key)
            findings.append(finding)
        changed.append(_render(outcome.source, findings, outcome.warnings, settings))
    return tuple(changed), frozenset(again) if not is_last else frozenset()


def _is_blamed(verdict: Verdict) -> bool:
    """Whether something in the class is refuted, if only another class's attribute."""
    return any(e.answer is Answer.REFUTED for e in verdict.evidence)


def _find_guilty(
    findings: Sequence[Finding], verdicts: Mapping[tuple[str, str], Verdict], is_last: bool
) -> list[Finding]:
    """The rewrites to take back: at least one of every refuted class, so that an end is reached."""
    guilty: list[Finding] = []
    for key in dict.fromkeys((f.site.name, f.site.cls) for f in findings):
        verdict = verdicts.get(key)
        if verdict is None or verdict.answer is not Answer.REFUTED:
            continue
        own = [f for f in findings if (f.site.name, f.site.cls) == key]
        named = [f for f in own if f.action is Action.REWRITE and _is_guilty(f, verdict)]
        guilty.extend(own if is_last or not named else named)
    return guilty


def _is_guilty(finding: Finding, verdict: Verdict) -> bool:
    """Whether a refuting check speaks of this attribute, or of none in particular."""
    blamed = {e.attribute for e in verdict.evidence if e.answer is Answer.REFUTED}
    site = finding.site
    own = {"", site.attribute, f"{site.module}:{site.cls}.{site.attribute}"}
    return not blamed.isdisjoint(own)


def _judged(finding: Finding, verdict: Verdict, guilty: bool, settings: Settings) -> Finding:
    if verdict.answer is Answer.REFUTED and not guilty:
        # proved again without the guilty ones
        return finding
    refused = guilty or (settings.strict and verdict.answer is Answer.UNDECIDED)
    action = Action.SKIP if refused else finding.action
    return replace(finding, verdict=verdict, action=action)


def verify(
    changes: Sequence[FileChange], settings: Settings, progress: Progress | None = None
) -> Report:
    """Verdicts for classes whose registrations differ between two versions, whoever edited them."""
    from bufferize.verify import find_neighbours, verify_changes

    if not any(change.expected for change in changes):
        return Report("verify", notes=("no class registers other buffers than before",))
    known = discover.find_sources(settings)[0]
    sources = (*known, *find_neighbours(settings, known))
    result = verify_changes(changes, settings, progress, sources)
    outcomes = tuple(_verified(change, result.verdicts) for change in changes)
    return Report("verify", outcomes, failures=result.failures, proof=result.proof)


def _verified(change: FileChange, verdicts: Mapping[tuple[str, str], Verdict]) -> FileOutcome:
    text = change.after if change.after is not None else change.before or ""
    cells = change.after_cells if change.after is not None else change.before_cells
    own = cells if change.is_notebook else None
    source = SourceFile(change.path, change.name, text.encode(), text, cells=own)
    findings = []
    for expected in change.expected:
        line = max(expected.line, 1)
        cell = source.cell_at(line)
        site = Site(
            change.name,
            change.module,
            expected.cls,
            expected.attribute,
            Span(line, 0, line, 0),
            cell.number if cell else None,
            line - cell.line + 1 if cell else None,
        )
        verdict = verdicts.get((change.name, expected.cls))
        findings.append(
            Finding(site, Action.REWRITE, Safety.SAFE, expected.persistent, verdict=verdict)
        )
    return Unchanged(source, tuple(findings))


# -- the disk


def write(report: Report) -> Report:
    """Write every rewritten file, all or none."""
    from bufferize.write import write_files

    changes = [
        (o.source.path, o.source.data, o.data)
        for o in report.outcomes
        if isinstance(o, Rewritten) and o.data != o.source.data
    ]
    if changes:
        write_files(changes)
    return replace(report, written=True)
