"""Candidates of one statement -> Edits, with the remedies that hazards promised."""

from __future__ import annotations

import ast
from collections.abc import Mapping, Sequence

from bufferize.classes import Candidate
from bufferize.decisions.sites import span_of, text_of
from bufferize.model import Edit, EditKind, Registration, Span
from bufferize.project import ExternalSymbol, Module, Project
from bufferize.tensors import values as v
from bufferize.tensors.frame import Write

Flags = Mapping[int, bool]


def can_split(candidate: Candidate) -> bool:
    """Whether the statement's form can be written with registrations."""
    node = candidate.node
    if isinstance(node, ast.Assign):
        return all(_simple(t) for target in node.targets for t in _elements(target))
    return isinstance(node, ast.AnnAssign) or _setattr_statement(candidate)


def _elements(target: ast.expr) -> list[ast.expr]:
    return list(target.elts) if isinstance(target, ast.Tuple | ast.List) else [target]


def _simple(target: ast.expr) -> bool:
    return isinstance(target, ast.Name | ast.Attribute | ast.Subscript)


def _setattr_statement(candidate: Candidate) -> bool:
    return isinstance(candidate.node, ast.Call) and candidate.form == "setattr"


def plan_edit(candidates: Sequence[Candidate], flags: Flags, constructor: str) -> Edit:
    """The edit of one statement, on which all `candidates` stand."""
    first = candidates[0]
    node, source = first.node, first.write.module.source
    span = span_of(node, source)
    if isinstance(node, ast.Assign) and (
        len(node.targets) > 1 or not isinstance(node.targets[0], ast.Attribute)
    ):
        bind, registrations = _several(node, candidates, flags)
    else:
        bind, registrations = None, (_single(first, flags[first.key]),)
    return Edit(
        EditKind.REPLACE, span, first.write.receiver, registrations, bind, constructor=constructor
    )


def _single(candidate: Candidate, persistent: bool) -> Registration:
    write = candidate.write
    name = _dynamic_name(write) or f'"{candidate.attribute}"'
    assert write.expression is not None
    value = span_of(write.expression, write.module.source)
    suffix = ".contiguous()" if v.EXPANDED in candidate.value.traits else ""
    return Registration(name, value, persistent, suffix)


def _dynamic_name(write: Write) -> str:
    """The name of a setattr as it stands in the source, '' where it is a literal."""
    if not write.dynamic or not isinstance(write.node, ast.Call):
        return ""
    return text_of(write.node.args[1], write.module.source)


def _several(
    node: ast.Assign, candidates: Sequence[Candidate], flags: Flags
) -> tuple[tuple[str, Span] | None, tuple[Registration, ...]]:
    by_name = {c.attribute: c for c in candidates}
    value = span_of(node.value, candidates[0].write.module.source)
    if isinstance(node.targets[0], ast.Tuple | ast.List) and len(node.targets) == 1:
        return _unpacked(node.targets[0], by_name, value, flags)
    kept = [ast.unparse(t) for t in node.targets if not _candidate_of(t, by_name)]
    names = [c for t in node.targets if (c := _candidate_of(t, by_name))]
    if kept:
        bind = (" = ".join(kept), value)
        return bind, tuple(_named(c, kept[0], flags) for c in names)
    first = names[0]
    source = f"{first.write.receiver}.{first.attribute}"
    registrations = [Registration(f'"{first.attribute}"', value, flags[first.key])]
    registrations += [_named(c, source, flags, ".clone()") for c in names[1:]]
    return None, tuple(registrations)


def _named(candidate: Candidate, source: str, flags: Flags, suffix: str = "") -> Registration:
    return Registration(f'"{candidate.attribute}"', source, flags[candidate.key], suffix)


def _candidate_of(target: ast.expr, by_name: Mapping[str, Candidate]) -> Candidate | None:
    return by_name.get(target.attr) if isinstance(target, ast.Attribute) else None


def _unpacked(
    target: ast.Tuple | ast.List, by_name: Mapping[str, Candidate], value: Span, flags: Flags
) -> tuple[tuple[str, Span], tuple[Registration, ...]]:
    """`self.cos, self.sin = f()` -> `cos, sin = f()` and two registrations."""
    taken = _names_around(next(iter(by_name.values())))
    parts, registrations = [], []
    for element in target.elts:
        candidate = _candidate_of(element, by_name)
        if candidate is None:
            parts.append(ast.unparse(element))
            continue
        local = free_name(candidate.attribute, taken)
        taken.add(local)
        parts.append(local)
        suffix = ".contiguous()" if v.EXPANDED in candidate.value.traits else ""
        registrations.append(_named(candidate, local, flags, suffix))
    text = ", ".join(parts) + ("," if len(parts) == 1 else "")
    return (text, value), tuple(registrations)


def _names_around(candidate: Candidate) -> set[str]:
    """Every name the function or its file's top level uses: a new local must shadow none."""
    function = candidate.write.function
    names = set(candidate.write.module.bindings)
    if function is not None:
        for node in ast.walk(function.node):
            if isinstance(node, ast.Name):
                names.add(node.id)
            elif isinstance(node, ast.arg):
                names.add(node.arg)
    return names


def free_name(wanted: str, taken: set[str]) -> str:
    name = wanted.strip("_") or "value"
    while name in taken or not name.isidentifier():
        name += "_"
    return name


def none_edit(write: Write, persistent: bool) -> Edit:
    """`self.m = None` -> `self.register_buffer("m", None, ...)`."""
    assert isinstance(write.node, ast.stmt)
    span = span_of(write.node, write.module.source)
    registration = Registration(f'"{write.attribute}"', "None", persistent)
    # nn.Buffer(None) makes no empty slot: this one is always registered by call
    return Edit(EditKind.REPLACE, span, write.receiver, (registration,))


def drop_edit(statement: ast.stmt, module: Module) -> Edit:
    return Edit(EditKind.DELETE, span_of(statement, module.source))


def buffer_constructor(style: str, module: Module, project: Project) -> str:
    """How the file spells torch.nn.Buffer, for --style nn.Buffer; '' for register_buffer."""
    if style != "nn.Buffer":
        return ""
    for name in ("nn", "torch"):
        symbol = project.resolve(module, name)
        if isinstance(symbol, ExternalSymbol):
            if symbol.name == "torch.nn":
                return f"{name}.Buffer"
            if symbol.name == "torch":
                return f"{name}.nn.Buffer"
    return ""
