"""One pass over a survey: hazards, agreement between sites, flags, findings with their edits."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from bufferize.classes import Candidate, ClassView, Survey
from bufferize.decisions import edits as planning
from bufferize.decisions.pragmas import Pragma, Pragmas, read_pragmas
from bufferize.decisions.sites import chain_of, site_of, span_of
from bufferize.hazards import assigned_earlier, before_super_init, class_attribute, registry
from bufferize.hazards.sibling_site import make as sibling_hazard
from bufferize.hazards.tuple_collision import make as collision_hazard
from bufferize.model import Action, Edit, EditKind, Finding, Hazard, Reason, Safety
from bufferize.persistence import Policy, choose_persistence
from bufferize.project import Module
from bufferize.settings import Settings

_ORDER = {Safety.SAFE: 0, Safety.UNSAFE: 1, Safety.DISPLAY_ONLY: 2}
# refusals for which the tool has something better to say than "left alone"
_SUGGESTIONS = frozenset({"lost-parameter", "tensor-container", "torchmetrics-metric"})


@dataclass(eq=False, slots=True)
class Judged:
    """A candidate with all that was said of it so far."""

    candidate: Candidate
    view: ClassView
    hazards: list[Hazard]
    pragma: Pragma | None = None
    safety: Safety = Safety.SAFE
    persistent: bool = False
    reason: Reason | None = None
    edits: list[Edit] = field(default_factory=list)

    def worsen(self) -> None:
        self.safety = max(
            (h.safety for h in self.hazards), key=_ORDER.__getitem__, default=Safety.SAFE
        )


def decide(
    survey: Survey, settings: Settings
) -> tuple[dict[Module, list[Finding]], dict[Module, Pragmas]]:
    """Findings by module in source order, and the pragmas of each file (to report unused ones)."""
    pragmas = {m: read_pragmas(m.source) for m in survey.project.judged_modules()}
    judged = {}
    for candidate in survey.candidates():
        item = _judge(candidate, survey.views[candidate.cls], pragmas)
        if item is not None:
            judged[candidate.key] = item
    _agree(judged, survey)
    _choose_flags(judged, settings)
    _plan(judged, survey, settings)
    findings: dict[Module, list[Finding]] = {}
    for item in judged.values():
        finding = _finding(item, settings)
        if _is_wanted(finding, settings):
            findings.setdefault(item.candidate.write.module, []).append(finding)
    for found in findings.values():
        found.sort(key=lambda f: (f.site.span, f.site.attribute))
    return findings, pragmas


def _judge(candidate: Candidate, view: ClassView, pragmas: dict[Module, Pragmas]) -> Judged | None:
    """Ask every hazard. None where a pragma says to leave the site alone."""
    hazards = [h for rule in registry().values() if (h := rule.judge(candidate, view)) is not None]
    if not planning.can_split(candidate):
        hazards.append(collision_hazard(candidate.attribute))
    item = Judged(candidate, view, hazards)
    item.worsen()
    file = pragmas[candidate.write.module]
    span = span_of(candidate.node, candidate.write.module.source)
    for pragma in file.within(span.line, span.end_line):
        if pragma.ignore is not None and _speaks(pragma, item):
            file.used.add(pragma.line)
            return None
        if pragma.persistent is not None:
            file.used.add(pragma.line)
            item.pragma = pragma
    return item


def _speaks(pragma: Pragma, item: Judged) -> bool:
    if not pragma.ignore:
        return True
    _, reason = choose_persistence(item.candidate, item.view, Policy())
    return bool(pragma.ignore & {reason.id, *(h.id for h in item.hazards)})


# -- agreement


def _agree(judged: dict[int, Judged], survey: Survey) -> None:
    """Sites of one attribute are registered together or not at all.

    Together are: the sites of one class, sites that run one after the other on one object
    (a base class's and a subclass's), and the targets of one statement that cannot be split.
    """
    for group in _groups(judged, survey):
        for item in _from_worst(group):
            worst = max(group, key=lambda other: _ORDER[other.safety])
            if _ORDER[item.safety] < _ORDER[worst.safety]:
                item.hazards.append(_sibling(item, worst))
                item.worsen()


def _sibling(item: Judged, worst: Judged) -> Hazard:
    where = f"{worst.candidate.write.module.source.name}:{worst.candidate.node.lineno}"
    first = max(worst.hazards, key=lambda h: _ORDER[h.safety])
    text = (
        f"`{item.candidate.attribute}` is also set at {where}, where {first.id} holds it back: "
        "one name is registered everywhere or nowhere"
    )
    return sibling_hazard(text, worst.safety, where)


def _from_worst(group: Sequence[Judged]) -> list[Judged]:
    return sorted(group, key=lambda item: -_ORDER[item.safety])


def _groups(judged: dict[int, Judged], survey: Survey) -> Iterable[list[Judged]]:
    parent = {key: key for key in judged}

    def find(key: int) -> int:
        while parent[key] != key:
            parent[key] = parent[parent[key]]
            key = parent[key]
        return key

    def unite(left: int, right: int) -> None:
        if left in parent and right in parent:
            parent[find(left)] = find(right)

    first: dict[object, int] = {}
    for key, item in judged.items():
        name = (item.candidate.cls, item.candidate.attribute)
        unite(key, first.setdefault(name, key))
        for other in item.candidate.earlier:
            unite(key, other)
    groups: dict[int, list[Judged]] = {}
    for key, item in judged.items():
        groups.setdefault(find(key), []).append(item)
    return groups.values()


# -- flags


def _choose_flags(judged: dict[int, Judged], settings: Settings) -> None:
    for item in judged.values():
        pragma = item.pragma.persistent if item.pragma else None
        policy = Policy(settings.persistent, pragma)
        item.persistent, item.reason = choose_persistence(item.candidate, item.view, policy)
    names = {(item.candidate.cls, item.candidate.attribute) for item in judged.values()}
    by_name: dict[object, list[Judged]] = {}
    for item in judged.values():
        attribute = item.candidate.attribute
        line = [item.candidate.cls, *item.view.ancestors]
        # the topmost class that sets the name: all below it take one flag
        top = [cls for cls in line if (cls, attribute) in names][-1]
        by_name.setdefault((top, attribute), []).append(item)
    for group in by_name.values():
        _align(group)


def _align(group: Sequence[Judged]) -> None:
    """Branches of a class, and classes of a hierarchy, take one flag: what loses nothing."""
    leader = next((i for i in group if i.reason and i.reason.id in {"pragma", "policy"}), None)
    leader = leader or next((i for i in group if i.persistent), group[0])
    for item in group:
        if item.persistent != leader.persistent:
            item.persistent, item.reason = leader.persistent, leader.reason


# -- edits


def _plan(judged: dict[int, Judged], survey: Survey, settings: Settings) -> None:
    by_statement: dict[int, list[Judged]] = {}
    for item in judged.values():
        if item.safety is not Safety.DISPLAY_ONLY:
            by_statement.setdefault(id(item.candidate.node), []).append(item)
    for group in by_statement.values():
        _plan_statement(group, survey, settings)


def _plan_statement(group: list[Judged], survey: Survey, settings: Settings) -> None:
    """Sites of one statement share its edit; those held back keep their plain target."""
    chosen = [i for i in group if i.safety is Safety.SAFE or settings.unsafe]
    for item in group:
        together = chosen if item in chosen else [*chosen, item]
        item.edits = _edits_of(item, together, survey, settings)


def _edits_of(
    item: Judged, together: Sequence[Judged], survey: Survey, settings: Settings
) -> list[Edit]:
    candidate, view = item.candidate, item.view
    module = candidate.write.module
    constructor = planning.buffer_constructor(settings.style, module, survey.project)
    flags = {other.candidate.key: other.persistent for other in together}
    order = sorted(together, key=lambda other: other.candidate.attribute)
    edit = planning.plan_edit([other.candidate for other in order], flags, constructor)
    behind = None
    if not candidate.initialised:
        behind = before_super_init.super_call_to_move_behind(candidate, view)
    if behind is not None:
        edit = replace(edit, kind=EditKind.MOVE, after=span_of(behind, module.source))
    edits = [edit]
    for write in assigned_earlier.convertible_none_writes(candidate, view):
        if write.module is module:
            edits.append(planning.none_edit(write, item.persistent))
    dropped = class_attribute.class_statement_to_drop(candidate, view)
    if dropped is not None:
        edits.append(planning.drop_edit(dropped, candidate.cls.module))
    return edits


def _finding(item: Judged, settings: Settings) -> Finding:
    action = _action(item, settings)
    flagged = item.safety is not Safety.DISPLAY_ONLY
    return Finding(
        site_of(item.candidate),
        action,
        item.safety,
        item.persistent if flagged else None,
        item.reason if flagged else None,
        tuple(sorted(item.hazards, key=lambda h: (-_ORDER[h.safety], h.id))),
        tuple(item.edits),
        chain_of(item.candidate, item.view),
        tuple(registry()),
    )


def _action(item: Judged, settings: Settings) -> Action:
    if item.safety is Safety.SAFE or (item.safety is Safety.UNSAFE and settings.unsafe):
        return Action.REWRITE
    if any(h.id in _SUGGESTIONS for h in item.hazards):
        return Action.SUGGEST
    return Action.SKIP


def _is_wanted(finding: Finding, settings: Settings) -> bool:
    """--select and --ignore choose findings by the hazards they carry."""
    ids = {h.id for h in finding.hazards}
    if settings.select and not ids & settings.select:
        return False
    return not ids & settings.ignore
