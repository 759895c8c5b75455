"""What is to be proved, stated before anything runs.

In: the changed files and the settings. Out: one plan a class (where it lies, what its rewrite
promises, the cases on offer), the two worlds, and which attribute names are written in place
somewhere. It refuses to run anything: text and trees only.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from bufferize.model import Case, Cell, Expected, FileChange, SourceFile
from bufferize.settings import Settings
from bufferize.verify.cases import mine_cases
from bufferize.verify.heirs import Heir, find_heirs
from bufferize.verify.overlay import WorldFile
from bufferize.verify.suggesting import UNKNOWN, Skeleton, read_skeleton
from bufferize.verify.touched import Statement, find_touched

MOST_HEIRS = 3
_CONSTRUCTORS = frozenset({"__init__", "__post_init__", "__new__"})


@dataclass(frozen=True, slots=True)
class ClassPlan:
    """One class to prove."""

    name: str
    module: str
    root: str
    cls: str
    expected: tuple[Expected, ...]
    # statements of the old version that must be seen to run
    touched: tuple[Statement, ...] = ()
    path: str = ""
    skeleton: Skeleton = UNKNOWN
    cases: tuple[Case, ...] = ()
    # subclasses, each with its cases, to be proved in its stead where that fails
    heirs: tuple[tuple[Heir, tuple[Case, ...]], ...] = ()

    @property
    def subject(self) -> Heir:
        """The class itself, as what is to be built."""
        return Heir(self.module, self.cls, self.root)

    @property
    def key(self) -> tuple[str, str]:
        return self.name, self.cls

    @property
    def address(self) -> str:
        return f"{self.module}:{self.cls}"

    @property
    def contradictions(self) -> tuple[str, ...]:
        """Attributes that are promised to be saved in one place and not in another."""
        promised = {(expected.attribute, expected.persistent) for expected in self.expected}
        return tuple(sorted(name for name, flag in promised if flag and (name, False) in promised))


@dataclass(frozen=True, slots=True)
class Plan:
    """Everything the proof needs to know."""

    classes: tuple[ClassPlan, ...]
    before: tuple[WorldFile, ...]
    after: tuple[WorldFile, ...]
    # every rewritten attribute of the tree, with the file that promises it
    promises: tuple[tuple[FileChange, Expected], ...]
    # ('path:Class', attribute) that some method writes in place; ('', attribute) where the receiver
    # is not self
    written: frozenset[tuple[str, str]]

    def rewritten_for(self, home: str) -> dict[str, dict[str, bool]]:
        """'module:Class' -> attribute -> persistent, as seen from the folder `home`.

        Two scripts of one name in two folders: the one in `home` counts, as in the overlay.
        """
        ordered = sorted(self.promises, key=lambda pair: str(pair[0].root.resolve()) == home)
        homes = {change.module: change.root for change, _ in ordered}
        found: dict[str, dict[str, bool]] = {}
        for change, expected in ordered:
            if homes[change.module] == change.root:
                own = found.setdefault(f"{change.module}:{expected.cls}", {})
                own[expected.attribute] = expected.persistent
        return found


def make_plan(
    changes: Sequence[FileChange], sources: Sequence[SourceFile], settings: Settings
) -> Plan:
    """State the classes, their promises and their cases."""
    classes = [_plan_class(change, cls) for change in changes for cls in _classes_of(change)]
    known = [*sources, *_as_sources(changes, sources)]
    wanted = {plan.subject.key for plan in classes}
    importable = {change.path.resolve() for change in changes}
    heirs = find_heirs(wanted, known, settings.root, importable)
    heirs = {key: found[:MOST_HEIRS] for key, found in heirs.items()}
    wanted |= {heir.key for found in heirs.values() for heir in found}
    mined = mine_cases(wanted, known, settings.root, settings)
    names = {expected.attribute for change in changes for expected in change.expected}
    return Plan(
        classes=tuple(
            replace(
                plan,
                cases=mined[plan.subject.key],
                heirs=tuple((heir, mined[heir.key]) for heir in heirs[plan.subject.key]),
            )
            for plan in classes
        ),
        before=tuple(_world_file(c, c.before, c.before_cells) for c in changes),
        after=tuple(_world_file(c, c.after, c.after_cells) for c in changes),
        promises=tuple((change, e) for change in changes for e in change.expected),
        written=frozenset().union(
            *(_find_written(source) for source in known if _names_one(source.text, names))
        ),
    )


def _classes_of(change: FileChange) -> list[str]:
    return list(dict.fromkeys(expected.cls for expected in change.expected))


def _plan_class(change: FileChange, cls: str) -> ClassPlan:
    expected = tuple(e for e in change.expected if e.cls == cls)
    return ClassPlan(
        change.name,
        change.module,
        str(change.root.resolve()),
        cls,
        expected,
        find_touched(change.before, change.after, cls, change.before_cells),
        str(change.path.resolve()),
        read_skeleton(change.before, cls),
    )


def _world_file(change: FileChange, text: str | None, cells: Sequence[Cell]) -> WorldFile:
    return {
        "module": change.module,
        "path": str(change.path.resolve()),
        "root": str(change.root.resolve()),
        "text": text,
        "notebook": change.is_notebook,
        "cells": [(cell.number, cell.line, cell.lines) for cell in cells],
    }


def _as_sources(changes: Iterable[FileChange], sources: Sequence[SourceFile]) -> list[SourceFile]:
    """The changed files themselves, where the caller did not hand them in."""
    known = {source.path.resolve() for source in sources}
    return [
        SourceFile(
            change.path,
            change.name,
            text.encode(),
            text,
            cells=_cells_of(change) if change.is_notebook else None,
        )
        for change in changes
        if change.path.resolve() not in known and (text := change.before or change.after)
    ]


def _cells_of(change: FileChange) -> tuple[Cell, ...]:
    return change.before_cells if change.before else change.after_cells


def _names_one(text: str, names: Iterable[str]) -> bool:
    return any(name.partition("{")[0] in text for name in names)


def _find_written(source: SourceFile) -> frozenset[tuple[str, str]]:
    """What code outside constructors writes in place: `x.a[...] = v`, `self.a.add_(1)`."""
    try:
        tree = ast.parse(source.text)
    except (SyntaxError, ValueError, RecursionError):
        return frozenset()
    path = source.path.resolve()
    found: set[tuple[str, str]] = set()
    waiting: list[tuple[ast.AST, str]] = [(tree, "")]
    while waiting:
        node, cls = waiting.pop()
        if isinstance(node, ast.FunctionDef) and node.name in _CONSTRUCTORS:
            continue
        if isinstance(node, ast.ClassDef):
            cls = f"{path}:{node.name}"
        found.update((cls if own else "", name) for own, name in _written_by(node))
        waiting.extend((child, cls) for child in ast.iter_child_nodes(node))
    return frozenset(found)


def _written_by(node: ast.AST) -> list[tuple[bool, str]]:
    targets: list[ast.expr] = []
    if isinstance(node, ast.Assign):
        targets = [target for target in node.targets if isinstance(target, ast.Subscript)]
    elif isinstance(node, ast.AugAssign):
        targets = [node.target]
    elif isinstance(node, ast.Call):
        targets = [keyword.value for keyword in node.keywords if keyword.arg == "out"]
        called = node.func
        if isinstance(called, ast.Attribute) and _is_in_place(called.attr):
            targets.append(called.value)
    return [found for target in targets if (found := _attribute_of(target))]


def _is_in_place(method: str) -> bool:
    return method.endswith("_") and not method.startswith("_") and method != "requires_grad_"


def _attribute_of(target: ast.expr) -> tuple[bool, str] | None:
    """The attribute written to, and whether it is one of self's."""
    while isinstance(target, ast.Subscript):
        target = target.value
    if isinstance(target, ast.Attribute) and target.attr == "data":
        target = target.value
    if not isinstance(target, ast.Attribute):
        return None
    return isinstance(target.value, ast.Name) and target.value.id == "self", target.attr


def expected_keys(
    rewritten: Mapping[str, Mapping[str, object]], attributes: Mapping[str, Mapping[str, object]]
) -> tuple[set[str], set[str]]:
    """Keys that the state_dict gains and loses, from the old attributes and the promises alone."""
    held = {path: attributes[path] for path in rewritten if is_tensor(attributes.get(path))}
    saved = {path for path in held if held[path]["kind"] == "persistent buffer"}
    wanted = {path for path in held if rewritten[path]["persistent"]}
    return wanted - saved, saved - wanted


def is_tensor(held: Mapping[str, object] | None) -> bool:
    value = held["value"] if held else None
    return isinstance(value, dict) and "bytes" in value
