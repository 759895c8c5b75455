"""Which buffers classes register, read from their text. In: two versions. Out: what changed.

Literal names and flags only: what a program computes is for the proof to see, not for this reader.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from bufferize.model import Expected


@dataclass(frozen=True, slots=True)
class Registered:
    """One registration: `self.register_buffer("x", ...)` or `self.x = nn.Buffer(...)`."""

    cls: str
    attribute: str
    persistent: bool
    line: int


def find_promises(before: str | None, after: str | None) -> tuple[Expected, ...]:
    """The buffers whose registration differs; line 0 where it is gone and no key is promised."""
    old, new = by_attribute(before), by_attribute(after)
    promises = []
    for key, registrations in new.items():
        if flags(registrations) != flags(old.get(key, [])):
            first = {r.persistent: r for r in sorted(registrations, key=line_of, reverse=True)}
            promises += [Expected(r.cls, r.attribute, r.persistent, r.line) for r in first.values()]
    gone = [key for key in old if key not in new]
    promises += [Expected(cls, attribute, persistent=False) for cls, attribute in gone]
    return tuple(sorted(promises, key=lambda p: (p.line, p.cls, p.attribute, p.persistent)))


def line_of(registered: Registered) -> int:
    return registered.line


def flags(registrations: list[Registered]) -> set[bool]:
    return {registered.persistent for registered in registrations}


def by_attribute(text: str | None) -> dict[tuple[str, str], list[Registered]]:
    found: dict[tuple[str, str], list[Registered]] = {}
    for registered in find_registered(text or ""):
        found.setdefault((registered.cls, registered.attribute), []).append(registered)
    return found


def find_registered(text: str) -> list[Registered]:
    from bufferize.syntax import parse_text

    return list(walk_scope(parse_text(text), ""))


def walk_scope(scope: ast.AST, prefix: str) -> Iterator[Registered]:
    """Classes under a module, class or function, each with its qualified name."""
    for node in ast.iter_child_nodes(scope):
        if isinstance(node, ast.ClassDef):
            yield from walk_class(node, prefix + node.name)
            yield from walk_scope(node, f"{prefix}{node.name}.")
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield from walk_scope(node, f"{prefix}{node.name}.<locals>.")
        elif not isinstance(node, ast.expr):
            yield from walk_scope(node, prefix)


def walk_class(cls: ast.ClassDef, qualified: str) -> Iterator[Registered]:
    for method in methods_of(cls):
        arguments = [*method.args.posonlyargs, *method.args.args]
        if not arguments:
            continue
        receiver = arguments[0].arg
        for node in inner_nodes(method):
            yield from read_call(node, receiver, qualified)
            yield from read_assignment(node, receiver, qualified)


def methods_of(cls: ast.AST) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    """Methods, also those under an `if` in the class's body."""
    for node in ast.iter_child_nodes(cls):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node
        elif not isinstance(node, ast.ClassDef | ast.Lambda):
            yield from methods_of(node)


def inner_nodes(top: ast.AST) -> Iterator[ast.AST]:
    """Everything below but the inside of classes. No recursion: long sums nest deep."""
    pending = [top]
    while pending:
        for child in ast.iter_child_nodes(pending.pop()):
            if not isinstance(child, ast.ClassDef):
                yield child
                pending.append(child)


def read_call(node: ast.AST, receiver: str, cls: str) -> Iterator[Registered]:
    match node:
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name), attr="register_buffer")) if (
            name == receiver
        ):
            attribute = argument(node, 0, "name")
            persistent = read_flag(argument(node, 2, "persistent"))
            literal = attribute.value if isinstance(attribute, ast.Constant) else None
            if isinstance(literal, str) and persistent is not None:
                yield Registered(cls, literal, persistent, node.lineno)


def read_assignment(node: ast.AST, receiver: str, cls: str) -> Iterator[Registered]:
    match node:
        case ast.Assign(targets=targets, value=ast.Call() as call):
            pass
        case ast.AnnAssign(target=single, value=ast.Call() as call):
            targets = [single]
        case _:
            return
    persistent = read_flag(argument(call, 1, "persistent"))
    if not is_buffer(call.func) or persistent is None:
        return
    for target in targets:
        match target:
            case ast.Attribute(value=ast.Name(id=name), attr=attribute) if name == receiver:
                yield Registered(cls, attribute, persistent, target.lineno)


def is_buffer(function: ast.expr) -> bool:
    match function:
        case ast.Name(id="Buffer") | ast.Attribute(attr="Buffer"):
            return True
    return False


def argument(call: ast.Call, position: int, keyword: str) -> ast.expr | None:
    for given in call.keywords:
        if given.arg == keyword:
            return given.value
    return call.args[position] if len(call.args) > position else None


def read_flag(value: ast.expr | None) -> bool | None:
    """True where none is given, as torch has it; None where it is computed."""
    if value is None:
        return True
    if isinstance(value, ast.Constant) and isinstance(value.value, bool):
        return value.value
    return None
