"""The corridor: calls the rooms in order. It holds no opinion of its own.

find: paths -> what would be rewritten. prove: verdicts for it, refuted rewrites taken back.
write: the new files on disk. verify: verdicts for a change somebody else made.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from bufferize import discover
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
    from bufferize.classes import Survey
    from bufferize.decisions import decide

    sources, failed = _sources(settings)
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
    return Report("find", tuple(outcomes), failures=failed)


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


def prove(report: Report, settings: Settings, progress: Progress | None = None) -> Report:
    """Verdicts for every rewrite; what is refuted is taken back, and the rest proved again."""
    from bufferize.verify import verify_changes

    for _ in range(_ROUNDS):
        changes = tuple(_change_of(o) for o in report.outcomes if isinstance(o, Rewritten))
        if not changes:
            return report
        result = verify_changes(changes, settings, progress)
        report = replace(report, proof=result.proof)
        outcomes, again = _with_verdicts(report.outcomes, result.verdicts, settings)
        report = replace(report, outcomes=outcomes)
        if not again:
            break
    return replace(report, failures=(*report.failures, *result.failures))


def _change_of(outcome: Rewritten) -> FileChange:
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
    )


def _with_verdicts(
    outcomes: Sequence[FileOutcome], verdicts: Mapping[tuple[str, str], Verdict], settings: Settings
) -> tuple[tuple[FileOutcome, ...], bool]:
    """Outcomes with verdicts on their findings; whether some class must be proved once more."""
    again = False
    changed: list[FileOutcome] = []
    for outcome in outcomes:
        if not isinstance(outcome, Rewritten):
            changed.append(outcome)
            continue
        findings = []
        for finding in outcome.findings:
            verdict = verdicts.get((finding.site.name, finding.site.cls))
            if finding.action is Action.REWRITE and verdict is not None:
                guilty = _is_guilty(finding, verdict)
                again |= verdict.answer is Answer.REFUTED and not guilty
                finding = _judged(finding, verdict, guilty, settings)
            findings.append(finding)
        changed.append(_render(outcome.source, findings, outcome.warnings, settings))
    return tuple(changed), again


def _is_guilty(finding: Finding, verdict: Verdict) -> bool:
    """Whether a refuting check speaks of this attribute, or of none in particular."""
    if verdict.answer is not Answer.REFUTED:
        return False
    blamed = {e.attribute for e in verdict.evidence if e.answer is Answer.REFUTED}
    return finding.site.attribute in blamed or "" in blamed or not blamed


def _judged(finding: Finding, verdict: Verdict, guilty: bool, settings: Settings) -> Finding:
    if verdict.answer is Answer.REFUTED and not guilty:
        return finding
    refused = guilty or (settings.strict and verdict.answer is Answer.UNDECIDED)
    action = Action.SKIP if refused else finding.action
    return replace(finding, verdict=verdict, action=action)


def verify(
    changes: Sequence[FileChange], settings: Settings, progress: Progress | None = None
) -> Report:
    """Verdicts for classes whose registrations differ between two versions, whoever edited them."""
    from bufferize.verify import verify_changes

    if not any(change.expected for change in changes):
        return Report("verify", notes=("no class registers other buffers than before",))
    result = verify_changes(changes, settings, progress)
    outcomes = tuple(_verified(change, result.verdicts) for change in changes)
    return Report("verify", outcomes, failures=result.failures, proof=result.proof)


def _verified(change: FileChange, verdicts: Mapping[tuple[str, str], Verdict]) -> FileOutcome:
    text = change.after if change.after is not None else change.before or ""
    source = SourceFile(change.path, change.name, text.encode(), text)
    if change.is_notebook and change.path.is_file():
        source = discover.read_source(change.path, change.name)
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
